"""The table at the end of a run: the rows in and out of each layer, and the time it took."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from capstone_metrics.changes import GoldUpdate, SilverUpdate
from capstone_metrics.errors import name_environment
from capstone_metrics.publication import Publication
from capstone_metrics.schemas import LINE_OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console

    from capstone_metrics.write_stats import WriteStats

LAYERS = ("bronze", "silver", "gold", "serving")
MAX_REFUSALS = 3
"""How many refusals of a source are shown."""

MAX_FINDINGS = 3
"""How many findings are shown; the record of the run has all of them."""

RARE = ("ignored", "withdrawn")
"""The outcomes that are only shown if a line has them."""


@dataclass
class LayerCounts:
    """Row counts and seconds of one layer in a run; a count is None where it does not apply."""

    rows_in: int | None = None
    accepted: int | None = None
    superseded: int | None = None
    quarantined: int | None = None
    ignored: int | None = None
    withdrawn: int | None = None
    written: int = 0
    removed: int = 0
    seconds: float = 0.0

    @property
    def current(self) -> int | None:
        """How many more lines are current: the accepted ones less the superseded."""
        if self.accepted is None or self.superseded is None:
            return None
        return self.accepted - self.superseded


@dataclass
class Summary:
    """The report at the end of a run.

    Attributes:
        layers: the counts of each layer in this run.
        total: the number of lines of Bronze by outcome, over all runs.
        reasons: for each rule the number of lines that it quarantined, over all runs.
        ignored: for each rule the number of lines that are no observations by it, over all runs.
        drift: for each source the undeclared fields that this run was the first to see.
        outdated: the sources of which some lines were validated by an earlier declaration.
        undeclared: the sources of which lines were validated, and that are not declared any more.
        findings: what the quality rules found unusual.
        blocking: which of these a run does not build Gold with.
        losses: what readers would lose by the publication of a plan, which is too much.
        refused: the reasons of what is refused, by the name of its source or mart.
        environment: the environment of commands; empty for the default.
        run: the identifier of the run.
    """

    layers: dict[str, LayerCounts] = field(default_factory=dict)
    total: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    ignored: dict[str, int] = field(default_factory=dict)
    drift: dict[str, list[str]] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)
    undeclared: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    blocking: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    refused: Mapping[str, list[str]] = field(default_factory=dict)
    environment: str = ""
    run: str = ""

    @property
    def refusal_lines(self) -> list[str]:
        """A line for each of the first refusals of a source or mart, and the number of others."""
        first = [reasons[:MAX_REFUSALS] for reasons in self.refused.values()]
        lines = [f"  refused: {reason}" for reasons in first for reason in reasons]
        if others := sum(map(len, self.refused.values())) - len(lines):
            lines.append(f"  refused besides: {others:,}; 'kedro status' names them")
        return [name_environment(line, self.environment) for line in lines]

    def add(self, layer: str, data: Any, stats: Iterable[WriteStats], seconds: float) -> None:
        """Add what a layer saved.

        Args:
            layer: one of `LAYERS`.
            data: the saved data.
            stats: the statistics of the write.
            seconds: the time since the previous save, which counts as the layer's.
        """
        row = self.layers.setdefault(layer, LayerCounts())
        row.seconds += seconds
        for each in stats:
            row.written += each.rows
            row.removed += each.removed
            if layer == "bronze":
                row.rows_in = row.accepted = each.rows
        if isinstance(data, SilverUpdate):
            accounts = data.accounts
            run = accounts["run"]
            row.rows_in, row.accepted = run["lines"], run["accepted"]
            row.superseded, row.quarantined = run["superseded"], run["quarantined"]
            row.ignored, row.withdrawn = run["ignored"], run["withdrawn"]
            self.total, self.reasons = accounts["total"], accounts["reasons"]
            self.ignored = accounts["ignored"]
            self.drift, self.outdated = accounts["drift"], accounts["outdated"]
            self.undeclared = accounts["undeclared"]
        elif isinstance(data, GoldUpdate):
            row.rows_in = row.accepted = data.manifest["silver_rows"]
        elif isinstance(data, Publication):
            marts = data.manifest["marts"].values()
            row.rows_in = row.accepted = sum(mart["rows"] for mart in marts)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Summary:
        """Return the counts of a recorded run; the other parts are empty."""
        names = {field.name for field in fields(LayerCounts)}
        layers = {
            layer: LayerCounts(**{name: value for name, value in counts.items() if name in names})
            for layer, counts in record["layers"].items()
        }
        return cls(
            layers, dict(record["total"]), dict(record["reasons"]), dict(record.get("ignored", {}))
        )

    @property
    def is_idle(self) -> bool:
        """Return whether the run wrote nothing."""
        return not any(layer.written or layer.removed for layer in self.layers.values())

    def show(
        self, console: Console, footer: Iterable[tuple[str, str]], *, is_complete: bool = True
    ) -> None:
        """Print the table, the balance of all lines, and what else there is to report.

        Args:
            console: where to print.
            footer: a label and a text for each line at the end, such as where the results are.
            is_complete: whether the run has ended without an error.
        """
        console.print(self.table())
        for line in self._account():
            console.print(escape(line), highlight=False, soft_wrap=True)
        for line in self.outdated_hint():
            console.print(line, highlight=False, soft_wrap=True)
        for line in self.refusal_lines:
            console.print(escape(line), highlight=False, soft_wrap=True)
        for line in self._unusual():
            console.print(escape(line), highlight=False, soft_wrap=True)
        if self.is_idle and is_complete:
            console.print("Nothing new: no file and no table was changed.")
        for label, text in footer:
            line = f"[bold]{label:<11}[/bold] {escape(text)}"
            console.print(line, soft_wrap=True, highlight=False)

    def outdated_hint(self) -> Iterator[str]:
        """Yield what to do about lines that an earlier declaration decided about."""
        if self.outdated:
            hint = (
                "  validated before their declaration or the networks changed: lines of "
                f"{', '.join(self.outdated)}; 'kedro quarantine replay' validates them again"
            )
            yield name_environment(hint, self.environment)
        if self.undeclared:
            hint = (
                f"  lines of {', '.join(self.undeclared)} have no valid declaration: declare them "
                "again under the same name, or 'kedro quarantine replay' rejects them"
            )
            yield name_environment(hint, self.environment)

    def _account(self) -> Iterator[str]:
        """Yield how all lines add up, how many each rule took out, and undeclared fields."""
        if self.total:
            yield balance(self.total)
        yield from (f"  quarantined by {rule}: {count}" for rule, count in self.reasons.items())
        yield from (f"  ignored by {rule}: {count}" for rule, count in self.ignored.items())
        for source, names in self.drift.items():
            if names:
                yield f"  undeclared fields of {source}, in Bronze only: {', '.join(names)}"

    def _unusual(self) -> Iterator[str]:
        """Yield a line for each of the first findings, and one for the number of the others."""
        for finding in self.findings[:MAX_FINDINGS]:
            yield f"  unusual: {finding}"
        if (others := len(self.findings) - MAX_FINDINGS) > 0:
            hint = f"  unusual besides: {others:,}; 'kedro runs show {self.run}' names them"
            yield name_environment(hint, self.environment)

    def table(self) -> Table:
        """Return a table of the counts of each layer.

        The lines in Silver add up: those of each outcome are all lines. Outcomes that hardly ever
        occur have a column if a line has them.
        """
        outcomes = [
            outcome
            for outcome in LINE_OUTCOMES
            if outcome not in RARE or any(getattr(each, outcome) for each in self.layers.values())
        ]
        blanks = 0 if {*outcomes} & {*RARE} else 1  # so that it fits a terminal of 80 columns
        table = Table(title="Rows", title_justify="left", padding=(0, blanks))
        table.add_column("layer")
        for column in ("in", *outcomes, "written", "seconds"):
            table.add_column(column, justify="right")
        for name in LAYERS:
            if name in self.layers:
                table.add_row(name, *_cells(self.layers[name], outcomes))
        return table


def is_balanced(total: Mapping[str, int]) -> bool:
    """Return whether the lines of each outcome add up to all lines."""
    return total["lines"] == sum(total[outcome] for outcome in LINE_OUTCOMES)


def balance(total: Mapping[str, int]) -> str:
    """Return how the lines of Bronze add up, over all runs.

    Args:
        total: the number of lines, and how many have each outcome.
    """
    sign = "=" if is_balanced(total) else "≠"
    parts = [f"{total['current']:,} current in Silver"]
    parts += [
        f"{total[outcome]:,} {outcome}"
        for outcome in LINE_OUTCOMES[1:]
        if total[outcome] or outcome not in RARE
    ]
    return f"{total['lines']:,} lines in Bronze {sign} {' + '.join(parts)}"


def _cells(layer: LayerCounts, outcomes: Iterable[str]) -> list[str]:
    counts = (layer.rows_in, *(getattr(layer, outcome) for outcome in outcomes))
    removed = f" (-{layer.removed})" if layer.removed else ""
    return [
        *("" if count is None else f"{count:,}" for count in counts),
        f"{layer.written:,}{removed}",
        f"{layer.seconds:.1f}",
    ]
