"""Validate every new line of Bronze: accept it, or name the rules that it broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import Increment, SilverSnapshot
from capstone_metrics.pipelines.bronze_to_silver.batch import ACCEPTED, ValidatedBatch, union_all
from capstone_metrics.schemas import QUARANTINE
from capstone_metrics.validation.contract import contract_of

Counts = Mapping[str, Any]


@dataclass(frozen=True)
class ValidationResult:
    """The validated lines of an increment, and the Silver to merge them into.

    Attributes:
        accepted: the lines that broke no rule, without some that a later line supersedes: the
            columns of Silver, and the object and line number in Bronze.
        rejected: the lines that broke a rule, with the columns of the quarantine.
        counts: for each Bronze object, by its name, how many lines were `accepted` and
            `quarantined`; how many broke each rule (`reasons`), and how many have each field that
            its source does not declare (`new_fields`).
        objects: the `lines`, `bytes` and `sha256` of each object, by its name.
        snapshot: Silver as of its last commit.
        is_full: whether Silver is rebuilt from these lines alone.
        declared: the digest of each source's declaration, by `fonte`.
    """

    accepted: ir.Table
    rejected: ir.Table
    counts: Mapping[str, Counts]
    objects: Mapping[str, Mapping[str, Any]]
    snapshot: SilverSnapshot
    is_full: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)

    def count_lines(self, outcome: str) -> int:
        """Return how many lines were `accepted`, or `quarantined`."""
        return sum(counts[outcome] for counts in self.counts.values())


def validate(
    increment: Increment,
    sources: Mapping[str, Any],
    networks: list[str],
    schedule: Mapping[str, Any],
) -> ValidationResult:
    """Parse and validate the lines of an increment.

    Args:
        increment: the lines, in batches.
        sources: the declarations, by `fonte`.
        networks: the known values of `rede_social`.
        schedule: its `timezone` is the zone of windows, and of times without one.

    Raises:
        CapstoneError: if the declaration of a source is invalid.
    """
    zone = schedule["timezone"]
    contracts = {name: contract_of(name, source, zone) for name, source in sources.items()}
    accepted, rejected = [], []
    objects: dict[str, Mapping[str, Any]] = {}
    counts: dict[str, Counts] = {}
    for batch in increment.batches:
        validated = ValidatedBatch(batch, contracts, networks, zone)
        objects |= batch.objects
        counts |= validated.counts
        accepted.append(_materialize(validated.accepted()))
        if (quarantined := validated.rejected()) is not None:
            rejected.append(_materialize(quarantined))
        validated.release()
    return ValidationResult(
        union_all(accepted) if accepted else ibis.memtable([], schema=ACCEPTED),
        union_all(rejected) if rejected else ibis.memtable([], schema=QUARANTINE),
        counts,
        objects,
        increment.snapshot,
        increment.is_full,
        {name: c.digest(sorted(networks), zone) for name, c in contracts.items()},
    )


def _materialize(table: ir.Table) -> ir.Table:
    """Return a table evaluated now, so that the tables it is computed from can be released."""
    cached = table.cache()
    cached.count().to_pyarrow()
    return cached
