"""Every pending line of Bronze gets its verdict: accepted, or the rules that it broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import Before, Pending
from capstone_metrics.pipelines.bronze_to_silver.declaration import contract_of
from capstone_metrics.pipelines.bronze_to_silver.lot import ACCEPTED, JudgedLot, together
from capstone_metrics.schemas import QUARANTINE

Verdicts = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """The pending lines with their verdicts, and what they came with.

    Attributes:
        accepted: the lines that broke no rule, but for some that a later one supersedes: the
            columns of Silver, and the place in Bronze.
        rejected: the lines that broke one, as the quarantine keeps them.
        verdicts: of each Bronze object, by its name, the lines that were `accepted` and
            `quarantined`; and those that had each of the `reasons`, and of the `new_fields` that
            its source does not declare.
        objects: what is known of the objects.
        before: Silver as it was.
        is_full: whether Silver is to be built anew from them.
        declared: by source, what tells its declaration from another one.
    """

    accepted: ir.Table
    rejected: ir.Table
    verdicts: Mapping[str, Verdicts]
    objects: Mapping[str, Mapping[str, Any]]
    before: Before
    is_full: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)

    def lines(self, kind: str) -> int:
        """How many lines were `accepted`, or `quarantined`."""
        return sum(verdicts[kind] for verdicts in self.verdicts.values())


def observe(
    pending: Pending, sources: Mapping[str, Any], networks: list[str], schedule: Mapping[str, Any]
) -> Judged:
    """Read the pending lines of Bronze and judge each.

    Args:
        pending: the lines, in lots.
        sources: the declarations, by `fonte`.
        networks: the known values of `rede_social`.
        schedule: its `timezone` is that of windows, and of times without a zone.

    Raises:
        CapstoneError: if the `fields` of a source do not hold.
    """
    zone = schedule["timezone"]
    contracts = {name: contract_of(name, source, zone) for name, source in sources.items()}
    accepted, rejected = [], []
    objects: dict[str, Mapping[str, Any]] = {}
    verdicts: dict[str, Verdicts] = {}
    for lot in pending.lots:
        lines = JudgedLot(lot, contracts, networks, zone)
        objects |= lot.objects
        verdicts |= lines.verdicts
        accepted.append(_held(lines.accepted()))
        if (refused := lines.rejected()) is not None:
            rejected.append(_held(refused))
        lines.release()
    return Judged(
        together(accepted) if accepted else ibis.memtable([], schema=ACCEPTED),
        together(rejected) if rejected else ibis.memtable([], schema=QUARANTINE),
        verdicts,
        objects,
        pending.before,
        pending.is_full,
        {name: c.digest(sorted(networks), zone) for name, c in contracts.items()},
    )


def _held(table: ir.Table) -> ir.Table:
    """The same, worked out now: what it is made of may go."""
    held = table.cache()
    held.count().to_pyarrow()
    return held
