"""Validate a batch of lines: most on the fast path, the others field by field."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ibis

from capstone_metrics.changes import parse_object_name
from capstone_metrics.pipelines.bronze_to_silver.fast_path import fast_path_of
from capstone_metrics.pipelines.bronze_to_silver.latest import latest_in_memory
from capstone_metrics.pipelines.bronze_to_silver.rules import reject_undeclared, validate_by_field
from capstone_metrics.schemas import PROVENANCE, QUARANTINE, SILVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import ibis.expr.types as ir

    from capstone_metrics.changes import Batch
    from capstone_metrics.pipelines.bronze_to_silver.fast_path import FastPath
    from capstone_metrics.validation.contract import Contract

    Counts = dict[str, Any]

LINE_KEY = ["objeto", "linha"]
ACCEPTED = ibis.schema({**SILVER, **{name: PROVENANCE[name] for name in LINE_KEY}})
"""A row of Silver, and the object and line number that it comes from."""


class ValidatedBatch:
    """The validated lines of a batch.

    Args:
        batch: the lines.
        contracts: those of the sources, by `fonte`.
        networks: the known values of `rede_social`.
        zone: the time zone of windows, and of times without one.

    Attributes:
        counts: for each object, as in `ValidationResult`.
        fast: for each source with a fast path, that, and its result for every line.
        rows: the lines validated field by field; None if there are none.
    """

    def __init__(
        self, batch: Batch, contracts: Mapping[str, Contract], networks: list[str], zone: str
    ) -> None:
        self.counts: dict[str, Counts] = {
            name: {"accepted": 0, "quarantined": 0, "reasons": {}, "new_fields": {}}
            for name in batch.objects
        }
        self.fast: list[tuple[FastPath, ir.CachedTable]] = []
        rows = []
        for fonte in sorted({parse_object_name(name)[0] for name in batch.objects}):
            lines, contract = batch.lines.filter(batch.lines.fonte == fonte), contracts.get(fonte)
            fast_path = fast_path_of(lines, contract, zone) if contract else None
            if fast_path:
                checked = fast_path.check(networks).cache()
                self.fast.append((fast_path, checked))
                if self._count_fast_path(checked):
                    continue
                lines = lines.semi_join(checked.filter(~checked.is_accepted), LINE_KEY)
            rows.append(
                validate_by_field(lines, contract, networks, zone)
                if contract
                else reject_undeclared(lines, zone)
            )
        self.rows = union_all(rows).cache() if rows else None
        if self.rows is not None:
            self._count_rows(self.rows)

    def accepted(self) -> ir.Table:
        """Return the latest accepted line of each video."""
        fast = [checked.filter(checked.is_accepted).select(*PROVENANCE) for _, checked in self.fast]
        if self.rows is None:
            last = latest_in_memory(union_all(fast))
            return union_all([fast_path.rows(last) for fast_path, _ in self.fast])
        rows = self.rows.filter(self.rows.regras.isnull())
        last = latest_in_memory(union_all([*fast, rows.select(*PROVENANCE)]))
        by_fast_path = last.anti_join(rows, LINE_KEY)
        by_field = rows.semi_join(last, LINE_KEY).select(*ACCEPTED)
        return union_all([by_field, *(fast_path.rows(by_fast_path) for fast_path, _ in self.fast)])

    def rejected(self) -> ir.Table | None:
        """Return the rejected lines with the columns of the quarantine, None if there are none."""
        if not any(counts["quarantined"] for counts in self.counts.values()):
            return None
        assert self.rows is not None
        return self.rows.filter(self.rows.regras.notnull()).select(*QUARANTINE)

    def release(self) -> None:
        """Drop the tables that the engine cached for this batch."""
        if self.rows is not None:
            self.rows.release()
        for _, checked in self.fast:
            checked.release()

    def _count_fast_path(self, checked: ir.Table) -> bool:
        """Count the lines accepted on the fast path; return whether these are all lines."""
        are_all = True
        for row in _counts(checked, "objeto", "is_accepted"):
            are_all &= row["is_accepted"]
            self.counts[row["objeto"]]["accepted"] += row["lines"] * row["is_accepted"]
        return are_all

    def _count_rows(self, rows: ir.Table) -> None:
        is_rejected = rows.regras.notnull()
        for row in _counts(rows.select("objeto", is_rejected=is_rejected), "objeto", "is_rejected"):
            outcome = "quarantined" if row["is_rejected"] else "accepted"
            self.counts[row["objeto"]][outcome] += row["lines"]
        for count, column in (("reasons", "regras"), ("new_fields", "new_fields")):
            with_values = rows.filter(rows[column].notnull())
            values = with_values.select("objeto", value=with_values[column].unnest())
            for row in _counts(values, "objeto", "value"):
                self.counts[row["objeto"]][count][row["value"]] = row["lines"]


def union_all(tables: Sequence[ir.Table]) -> ir.Table:
    """Return the rows of one or more tables."""
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def _counts(table: ir.Table, *columns: str) -> Iterable[dict[str, Any]]:
    """Return the number of `lines` for each combination of values of some columns, sorted."""
    counts = table.group_by(columns).agg(lines=table.count()).order_by(columns)
    rows: list[dict[str, Any]] = counts.to_pyarrow().to_pylist()
    return rows
