"""A lot of lines with their verdicts: most at one look, the others field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from capstone_metrics.changes import lot_of
from capstone_metrics.pipelines.bronze_to_silver.latest import latest_of_few
from capstone_metrics.pipelines.bronze_to_silver.plain import plain_of
from capstone_metrics.pipelines.bronze_to_silver.verdicts import judge_by_field, refuse
from capstone_metrics.schemas import PLACES, QUARANTINE, SILVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import ibis.expr.types as ir

    from capstone_metrics.changes import Lot
    from capstone_metrics.pipelines.bronze_to_silver.declaration import Contract
    from capstone_metrics.pipelines.bronze_to_silver.plain import Plain

    Verdicts = dict[str, Any]

PLACE = ["objeto", "linha"]
ACCEPTED = ibis.schema({**SILVER, **{name: PLACES[name] for name in PLACE}})
"""A row of Silver, and its place in Bronze."""


class JudgedLot:
    """The lines of a lot with their verdicts.

    Args:
        lot: the lines.
        contracts: of the sources, by `fonte`.
        networks: the known values of `rede_social`.
        zone: of windows, and of times without one.
    """

    def __init__(
        self, lot: Lot, contracts: Mapping[str, Contract], networks: list[str], zone: str
    ) -> None:
        self.verdicts: dict[str, Verdicts] = {
            name: {"accepted": 0, "quarantined": 0, "reasons": {}, "new_fields": {}}
            for name in lot.objects
        }
        self.plain: list[tuple[Plain, ir.CachedTable]] = []
        rows = []
        for fonte in sorted({lot_of(name)[0] for name in lot.objects}):
            lines, contract = lot.lines.filter(lot.lines.fonte == fonte), contracts.get(fonte)
            source = plain_of(lines, contract, zone) if contract else None
            if source:
                places = source.places(networks).cache()
                self.plain.append((source, places))
                if self._count_plain(places):
                    continue
                lines = lines.semi_join(places.filter(~places.is_plain), PLACE)
            rows.append(
                judge_by_field(lines, contract, networks, zone) if contract else refuse(lines, zone)
            )
        self.rows = together(rows).cache() if rows else None
        if self.rows is not None:
            self._count_rows(self.rows)

    def accepted(self) -> ir.Table:
        """The latest accepted line of each video."""
        places = [places.filter(places.is_plain).select(*PLACES) for _, places in self.plain]
        if self.rows is None:
            last = latest_of_few(together(places))
            return together([lines.rows(last) for lines, _ in self.plain])
        rows = self.rows.filter(self.rows.regras.isnull())
        last = latest_of_few(together([*places, rows.select(*PLACES)]))
        at_one_look = last.anti_join(rows, PLACE)
        by_field = rows.semi_join(last, PLACE).select(*ACCEPTED)
        return together([by_field, *(lines.rows(at_one_look) for lines, _ in self.plain)])

    def rejected(self) -> ir.Table | None:
        """The rejected lines, as the quarantine keeps them, if there are any."""
        if not any(verdicts["quarantined"] for verdicts in self.verdicts.values()):
            return None
        assert self.rows is not None
        return self.rows.filter(self.rows.regras.notnull()).select(*QUARANTINE)

    def release(self) -> None:
        """Have the engine forget what was worked out."""
        if self.rows is not None:
            self.rows.release()
        for _, places in self.plain:
            places.release()

    def _count_plain(self, places: ir.Table) -> bool:
        """Count those that are accepted at one look. Are they all?"""
        are_all = True
        for row in _counts(places, "objeto", "is_plain"):
            are_all &= row["is_plain"]
            self.verdicts[row["objeto"]]["accepted"] += row["lines"] * row["is_plain"]
        return are_all

    def _count_rows(self, rows: ir.Table) -> None:
        is_rejected = rows.regras.notnull()
        for row in _counts(rows.select("objeto", is_rejected=is_rejected), "objeto", "is_rejected"):
            kind = "quarantined" if row["is_rejected"] else "accepted"
            self.verdicts[row["objeto"]][kind] += row["lines"]
        for kind, column in (("reasons", "regras"), ("new_fields", "new_fields")):
            listed = rows.filter(rows[column].notnull())
            values = listed.select("objeto", value=listed[column].unnest())
            for row in _counts(values, "objeto", "value"):
                self.verdicts[row["objeto"]][kind][row["value"]] = row["lines"]


def together(tables: Sequence[ir.Table]) -> ir.Table:
    """The rows of some tables, one at least."""
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def _counts(table: ir.Table, *columns: str) -> Iterable[dict[str, Any]]:
    """How many `lines` have each of the values of some columns, in the order of these."""
    counts = table.group_by(columns).agg(lines=table.count()).order_by(columns)
    found: list[dict[str, Any]] = counts.to_pyarrow().to_pylist()
    return found
