"""Validate every new line of Bronze: accept it, or name the rules that it broke."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ibis.expr.types as ir

from capstone_metrics.changes import Increment, SilverSnapshot
from capstone_metrics.sources import Declarations
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.silver import SILVER, columns_of
from capstone_metrics.validation.validator import Validator


@dataclass(frozen=True)
class ValidationResult:
    """The validated lines of an increment, and the Silver to merge them into.

    Attributes:
        accepted: the lines that broke no rule, without some that a later line supersedes: the
            columns of Silver, and the line in Bronze.
        observed: the last of them of each video on each day, and perhaps earlier ones, without
            those of sources whose counters count in a period; and all increments by day.
        rejected: the lines that broke a rule, with the columns of the quarantine.
        objects: for each Bronze object, by its name, its `lines`, `bytes` and `sha256`; how many
            lines were `accepted`, `quarantined` and `withdrawn`; how many were `ignored` by each
            rule, or broke each rule (`reasons`), and how many have each field that its source does
            not declare (`new_fields`).
        snapshot: Silver as of its last commit.
        repeated_days: the days on which `observed` may have several lines of a video; None if that
            is not known.
        daily_lines: how many of the accepted lines are increments by day.
        is_full: whether Silver is rebuilt from these lines alone.
        withdrawn: the names of the objects of Bronze that were read anew in another way.
        declaration_digests: the digest of the declaration of each source, by `fonte`.
        columns: the types of the columns of Silver, in order.
    """

    accepted: ir.Table
    observed: ir.Table
    rejected: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    snapshot: SilverSnapshot
    repeated_days: frozenset[dt.date] | None = None
    daily_lines: int = 0
    is_full: bool = False
    withdrawn: frozenset[str] = frozenset()
    declaration_digests: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=lambda: SILVER)

    @property
    def has_daily_lines(self) -> bool:
        """Whether increments by day are among these lines, or in Silver."""
        return bool(self.daily_lines or self.snapshot.head.get("daily_lines"))

    def count_lines(self, outcome: str) -> int:
        """Return how many lines were `accepted`, or `quarantined`."""
        return sum(counts[outcome] for counts in self.objects.values())


def validate(
    increment: Increment,
    sources: Mapping[str, Any],
    networks: list[str],
    columns: Mapping[str, str],
    schedule: Mapping[str, Any],
) -> ValidationResult:
    """Parse and validate the lines of an increment.

    Args:
        increment: the objects whose lines are validated.
        sources: the declarations of the sources, by `fonte`.
        networks: the known values of `rede_social`.
        columns: the types of the declared columns, by name.
        schedule: the schedule, whose `timezone` applies to windows, and to times without one.
    """
    timezone, every_column = schedule["timezone"], columns_of(columns)
    contracts = {
        fonte: contract_of(fonte, declaration, timezone, every_column)
        for fonte, declaration in Declarations.of(sources, networks, every_column).valid.items()
    }
    validator = Validator(contracts, tuple(networks), timezone, increment.withdrawn, every_column)
    validated = increment.validate(validator)
    return ValidationResult(
        accepted=validated.accepted,
        observed=validated.observed,
        repeated_days=validated.repeated_days,
        rejected=validated.rejected,
        objects=validated.objects,
        daily_lines=sum(
            counts["accepted"]
            for name, counts in validated.objects.items()
            if (contract := contracts.get(parse_object_name(name)[0])) and contract.is_daily
        ),
        snapshot=increment.snapshot,
        is_full=increment.is_full,
        withdrawn=increment.withdrawn,
        declaration_digests={
            fonte: contract.digest(sorted(networks), timezone)
            for fonte, contract in contracts.items()
        },
        columns=every_column,
    )
