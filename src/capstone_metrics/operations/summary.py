"""The table at the end of a run: what came in, where it went, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from capstone_metrics.saved import Saved

LAYERS = ("bronze", "silver", "gold", "serving")

COMMITS = {
    "bronze_criacao@new": "bronze",
    "silver_head": "silver",
    "gold_manifest": "gold",
    "serving": "serving",
}
"""The datasets whose save makes what a run did to a layer count."""


@dataclass
class Layer:
    """What one layer did. Counts are rows; None where the layer knows no such count."""

    rows_in: int | None = None
    accepted: int | None = None
    superseded: int | None = None
    quarantined: int | None = None
    written: int = 0
    removed: int = 0
    seconds: float = 0.0


@dataclass
class Summary:
    """The layers that took part in a run, where rejected lines failed, and what fields are new."""

    layers: dict[str, Layer] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    drift: dict[str, list[str]] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    def saved(self, layer: str, dataset: str, data: Any, saved: Saved, seconds: float) -> None:
        """Take note of a dataset that a layer saved.

        Args:
            layer: one of `LAYERS`.
            dataset: its name in the catalog.
            data: what was saved.
            saved: what the save did.
            seconds: since the dataset before it.
        """
        row = self.layers.setdefault(layer, Layer())
        row.seconds += seconds
        row.written += saved.rows
        row.removed += saved.removed
        if layer == "bronze":
            row.rows_in = row.accepted = saved.rows
        elif dataset == "silver_accounts":
            run = data["run"]
            row.rows_in, row.accepted = run["lines"], run["accepted"]
            row.superseded, row.quarantined = run["superseded"], run["quarantined"]
            self.total, self.reasons = data["total"], data["reasons"]
            self.drift, self.outdated = data["drift"], data["outdated"]
        elif dataset == "gold_manifest":
            row.rows_in = row.accepted = data["silver_rows"]
        elif layer == "serving":
            row.rows_in = row.accepted = sum(
                listed["rows"] for listed in data.manifest["marts"].values()
            )

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Summary:
        """The table of a run of which there is a record."""
        names = {each.name for each in fields(Layer)}
        layers = {
            name: Layer(**{count: value for count, value in said.items() if count in names})
            for name, said in record["layers"].items()
        }
        return cls(layers, dict(record["total"]), dict(record["reasons"]))

    @property
    def is_idle(self) -> bool:
        """Whether the run wrote nothing."""
        return not any(layer.written or layer.removed for layer in self.layers.values())

    def show(self, console: Console, results: Iterable[tuple[str, str]]) -> None:
        """Print the table, the identity, and where the results are.

        Args:
            console: where to.
            results: what there is to look at, and where or how.
        """
        console.print(self.table())
        console.print(self._identity(), highlight=False)
        for rule, lines in self.reasons.items():
            console.print(f"  quarantined by {rule}: {lines}", highlight=False)
        for source, new in self.drift.items():
            if new:
                names = escape(", ".join(new))
                console.print(
                    f"  new in {source}, kept in Bronze and not declared: {names}", highlight=False
                )
        if self.outdated:
            console.print(
                f"  declared anew since some lines were judged: {', '.join(self.outdated)}; "
                "'kedro quarantine replay' judges them again",
                highlight=False,
            )
        for found in self.findings:
            console.print(f"  unusual: {escape(found)}", highlight=False, soft_wrap=True)
        if self.is_idle:
            console.print("Nothing new: every file and every table is as it was.")
        for what, where in results:
            console.print(
                f"[bold]{what:<11}[/bold] {escape(where)}", soft_wrap=True, highlight=False
            )

    def table(self) -> Table:
        """The counts of each layer."""
        table = Table(title="Rows", title_justify="left")
        table.add_column("layer")
        for column in ("in", "accepted", "superseded", "quarantined", "written", "seconds"):
            table.add_column(column, justify="right")
        for name in LAYERS:
            if name in self.layers:
                table.add_row(name, *_cells(self.layers[name]))
        return table

    def _identity(self) -> str:
        if not self.total:
            return ""
        return (
            "{lines} lines in Bronze = {current} current in Silver + {superseded} superseded"
            " + {quarantined} quarantined"
        ).format_map(self.total)


def _cells(layer: Layer) -> list[str]:
    counts = (layer.rows_in, layer.accepted, layer.superseded, layer.quarantined)
    removed = f" (-{layer.removed})" if layer.removed else ""
    return [
        *("" if count is None else f"{count:,}" for count in counts),
        f"{layer.written:,}{removed}",
        f"{layer.seconds:.1f}",
    ]
