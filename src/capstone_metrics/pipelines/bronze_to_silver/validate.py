"""Validate every new line of Bronze: accept it, or name the rules that it broke."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis.expr.types as ir

from capstone_metrics.changes import Increment, SilverSnapshot
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.validator import Validator


@dataclass(frozen=True)
class ValidationResult:
    """The validated lines of an increment, and the Silver to merge them into.

    Attributes:
        accepted: the lines that broke no rule, without some that a later line supersedes: the
            columns of Silver, and the object and line number in Bronze.
        rejected: the lines that broke a rule, with the columns of the quarantine.
        objects: for each Bronze object, by its name, its `lines`, `bytes` and `sha256`; how many
            lines were `accepted` and `quarantined`; how many broke each rule (`reasons`), and how
            many have each field that its source does not declare (`new_fields`).
        snapshot: Silver as of its last commit.
        is_full: whether Silver is rebuilt from these lines alone.
        declared: the digest of each source's declaration, by `fonte`.
    """

    accepted: ir.Table
    rejected: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    snapshot: SilverSnapshot
    is_full: bool = False
    declared: Mapping[str, str] = field(default_factory=dict)

    def count_lines(self, outcome: str) -> int:
        """Return how many lines were `accepted`, or `quarantined`."""
        return sum(counts[outcome] for counts in self.objects.values())


def validate(
    increment: Increment,
    sources: Mapping[str, Any],
    networks: list[str],
    schedule: Mapping[str, Any],
) -> ValidationResult:
    """Parse and validate the lines of an increment.

    Args:
        increment: the lines.
        sources: the declarations, by `fonte`.
        networks: the known values of `rede_social`.
        schedule: its `timezone` is the zone of windows, and of times without one.

    Raises:
        CapstoneError: if the declaration of a source is invalid.
    """
    zone = schedule["timezone"]
    contracts = {name: contract_of(name, source, zone) for name, source in sources.items()}
    return ValidationResult(
        *increment.validate(Validator(contracts, tuple(networks), zone)),
        increment.snapshot,
        increment.is_full,
        {name: c.digest(sorted(networks), zone) for name, c in contracts.items()},
    )
