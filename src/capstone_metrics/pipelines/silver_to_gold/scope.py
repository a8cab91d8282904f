"""Find the days of Gold to rebuild, and the rows of Silver to rebuild them from."""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from capstone_metrics.changes import GoldSnapshot, SilverSnapshot
from capstone_metrics.errors import DataError
from capstone_metrics.facts import Facts, changed_days, facts_of
from capstone_metrics.mart_declarations import declaration_in, marts_of
from capstone_metrics.marts import Basis, Mart
from capstone_metrics.measures import keyed
from capstone_metrics.pipelines.silver_to_gold.committed import require_committed
from capstone_metrics.schedule import Span
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.wide_sums import (
    MAX_MEASURE,
    overflow,
    overflow_days,
    rows_within,
    sum_of,
    wide_sum,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RebuildScope:
    """The days of Gold to rebuild, and the rows to rebuild them from.

    Attributes:
        facts: the days and rows for the marts of each basis.
        gold: Gold as of its last commit.
        silver_head: the head of Silver as it is now.
        marts: the declared marts, by name.
        overflows: the sums of these rows that Gold cannot store.
    """

    facts: Mapping[Basis, Facts]
    gold: GoldSnapshot
    silver_head: Mapping[str, Any]
    marts: Mapping[str, Mart] = field(default_factory=dict)
    overflows: Sequence[Mapping[str, Any]] = ()

    def rows_of(self, mart: Mart) -> ir.Table:
        """Return the rows that a mart is rebuilt from; there are days to rebuild."""
        rows = self.facts[mart.basis].rows
        assert rows is not None
        return rows_within(rows, mart, self.overflows)

    @property
    def all_overflows(self) -> list[Mapping[str, Any]]:
        """The sums that Gold lacks: of these rows, and as before on other days."""
        before = self.gold.manifest.get("overflows", ())
        return [*(each for each in before if not self._is_rebuilt(each)), *self.overflows]

    def _is_rebuilt(self, each: Mapping[str, Any]) -> bool:
        facts = self.facts.get(Basis(*each["basis"]), Facts(None, None))
        return facts.days is None or bool(overflow_days([each]) & facts.days)

    def reusable_rows(self, mart: Mart) -> pa.Table | None:
        """Return the current rows of a mart, to be reused on other days; None if all are rebuilt.

        All rows are rebuilt if the mart is new, was declared differently, or has no day in its key.
        """
        entry = self.gold.manifest.get("marts", {}).get(mart.name, {})
        before = self.gold.manifest.get("columns", {})
        is_declared_alike = mart.declaration == declaration_in(entry) and all(
            before.get(name, kind) == kind for name, kind in mart.declared_columns.items()
        )
        has_reusable_days = self.facts[mart.basis].days == set() or mart.has_day
        is_reusable = is_declared_alike and has_reusable_days
        return self.gold.tables.get(mart.name) if is_reusable else None


def find_rebuild_scope(
    silver: SilverSnapshot,
    gold: GoldSnapshot,
    declarations: Mapping[str, Any],
    columns: Mapping[str, str],
    full: bool,
    first: str | None,
    last: str | None,
) -> RebuildScope:
    """Find the days of Gold to rebuild, and load and check the rows of Silver for them.

    These are the days of Silver that changed since Gold was built, and the days of a backfill. If
    a mart is new, was declared differently, or has no day in its key, and a day changed, all days
    of all marts of its basis are rebuilt.

    Args:
        silver: Silver as of its last commit.
        gold: Gold as of its last commit.
        declarations: the declared marts.
        columns: the types of the declared columns of Silver, by name.
        full: whether to rebuild all days.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.

    Raises:
        DataError: if there is no Silver, or it lacks a declared column; or if on these days it is
            not what its last commit wrote.
    """
    marts = marts_of(declarations, columns_of(columns))
    if not silver.head:
        raise DataError("There is no Silver to build Gold from; run 'kedro run' first.")
    by_basis: dict[Basis, list[Mart]] = defaultdict(list)
    for mart in marts.values():
        by_basis[mart.basis].append(mart)
    _require_columns(marts, silver)
    _tell_what_is_new(marts, gold)
    days = _days(silver, gold, by_basis, full, first, last)
    unread = {basis: Facts(days[basis], None) for basis in by_basis}
    scope = RebuildScope(unread, gold, silver.head, marts)
    facts = {}
    overflows = []
    for basis, own in by_basis.items():
        rebuilt = days[basis]
        if any(scope.reusable_rows(mart) is None for mart in own):
            rebuilt = None
        facts[basis] = Facts(rebuilt, None)
        if rebuilt != set():
            needed = set().union(*(mart.source_columns for mart in own))
            rows = facts_of(silver.tables, basis, needed, rebuilt).cache()
            summed = sorted(set().union(*(mart.summed_columns for mart in own)))
            facts[basis] = Facts(rebuilt, rows, sum_of(rows, summed))
            if facts[basis].sum_of == wide_sum:
                overflows += _overflows(rows, own)
    require_committed(silver, facts)
    return RebuildScope(facts, gold, silver.head, marts, overflows)


def _require_columns(marts: Mapping[str, Mart], silver: SilverSnapshot) -> None:
    """Raise an error if a mart needs a declared column as Silver was not built with it."""
    for mart in marts.values():
        for column, kind in sorted(mart.declared_columns.items()):
            if silver.columns.get(column) != kind:
                raise DataError(
                    f"marts.{mart.name}: Silver was built without {column} as it is declared now. "
                    "Run 'kedro run', which builds it again."
                )


def _tell_what_is_new(marts: Mapping[str, Mart], gold: GoldSnapshot) -> None:
    """Log which marts were declared since Gold was last committed, and what they bring."""
    known = gold.manifest.get("marts", {})
    for name in marts if known else ():
        if name not in known:
            log.info("%s is new: it is built from all of Silver, with every day.", name)


def _days(
    silver: SilverSnapshot,
    gold: GoldSnapshot,
    bases: Collection[Basis],
    full: bool,
    first: str | None,
    last: str | None,
) -> dict[Basis, set[dt.date] | None]:
    """Return the days that changed since Gold was built or that a backfill names; None for all."""
    span = Span.of(first, last)
    manifest = gold.manifest
    changed = silver.days_changed_since(
        manifest.get("silver_origin"), manifest.get("silver_generation", 0)
    )
    if full or changed is None:
        return dict.fromkeys(bases)
    backfilled = span.days if span else ()
    changed_of = changed_days(bases, changed, silver.tables)
    return {basis: days.union(backfilled) for basis, days in changed_of.items()}


def _overflows(rows: ir.Table, marts: Iterable[Mart]) -> list[dict[str, Any]]:
    """Return the sums of the marts of one basis that are past 64 bits."""
    found = []
    for mart in marts:
        sums = [each.name for each in mart.sums]
        labelled = keyed(rows, mart)
        measures = {each.name: wide_sum(labelled[each.column]) for each in mart.sums}
        table = labelled.group_by(*mart.key).agg(**measures)
        for name in sums:
            is_within = table[name].between(-MAX_MEASURE - 1, MAX_MEASURE)
            large = table.filter(~is_within).order_by(*mart.key)
            found += [
                overflow(mart, {column: row[column] for column in mart.key}, name, int(row[name]))
                for row in large.to_pyarrow().to_pylist()
            ]
    return found
