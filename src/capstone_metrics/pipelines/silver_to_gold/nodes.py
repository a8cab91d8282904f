"""Aggregate Silver into the declared marts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from capstone_metrics.changes import GoldSnapshot, MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span
from capstone_metrics.schemas import Mart, marts_of

TableLoader = Callable[[], ir.Table]
"""A function that loads a table, called only if the table is needed."""

VIDEO_KEY = ("video_id", "rede_social", "data_postagem")
"""A video and its partition."""

NOT_INFORMED = "(não informado)"
"""Stands for a missing text in a key: its videos are counted, and no key is null."""


@dataclass(frozen=True)
class RebuildScope:
    """The days of Gold to rebuild, and the rows to rebuild them from.

    Attributes:
        days: the days; None for all of them.
        rows: the columns of Silver that the marts need, for these days; None if there are no days.
        gold: Gold as of its last commit.
        silver_head: the head of Silver as it is now.
    """

    days: set[dt.date] | None
    rows: ir.Table | None
    gold: GoldSnapshot
    silver_head: Mapping[str, Any]

    def reusable_rows(self, mart: Mart) -> pa.Table | None:
        """Return the current rows of a mart, to reuse on other days; None if all are rebuilt.

        All rows are rebuilt if the mart is new, was declared differently, or has no day in its key.
        """
        entry = self.gold.manifest.get("marts", {}).get(mart.name, {})
        declared = {"key": list(mart.key), "measures": mart.declared_measures}
        is_declared_alike = {name: entry.get(name) for name in declared} == declared
        has_reusable_days = self.days == set() or "data_postagem" in mart.key
        is_reusable = is_declared_alike and has_reusable_days
        return self.gold.tables.get(mart.name) if is_reusable else None


def find_rebuild_scope(
    silver: TableLoader,
    provenance: TableLoader,
    silver_head: Mapping[str, Any],
    gold: GoldSnapshot,
    declarations: Mapping[str, Any],
    full: bool,
    first: str | None,
    last: str | None,
) -> RebuildScope:
    """Find the days of Gold to rebuild, and load and check the rows of Silver for them.

    These are the days of Silver that changed since Gold was built, and the days of a backfill. If
    a mart is new, was declared differently, or has no day in its key, and a day changed, all days
    of all marts are rebuilt.

    Args:
        silver: loads the table of Silver.
        provenance: loads the provenance of the rows of Silver.
        silver_head: the head of Silver.
        gold: Gold as of its last commit.
        declarations: the declared marts.
        full: whether to rebuild all days.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.

    Raises:
        CapstoneError: if Silver, on these days, is not what its last commit wrote.
    """
    marts = marts_of(declarations)
    days = _days(gold, full, first, last)
    scope = RebuildScope(days, None, gold, silver_head)
    if any(scope.reusable_rows(mart) is None for mart in marts.values()):
        days = None
    if days == set():
        return scope
    columns = {*VIDEO_KEY, *(column for mart in marts.values() for column in mart.source_columns)}
    rows = _of_days(silver(), days).select(*sorted(columns)).cache()
    committed = _of_days(provenance(), days).select(*VIDEO_KEY).cache()
    _check_silver(rows, committed, silver_head["total"]["current"] if days is None else None)
    return RebuildScope(days, rows, gold, silver_head)


def dry_run(
    gold: GoldSnapshot, full: bool, first: str | None, last: str | None
) -> list[dt.date] | None:
    """Return the days that changed since Gold was built or that a backfill names; None for all.

    They are sorted. The declarations are not compared: if one changed, `find_rebuild_scope`
    rebuilds all days.
    """
    days = _days(gold, full, first, last)
    return None if days is None else sorted(days)


def _days(
    gold: GoldSnapshot, full: bool, first: str | None, last: str | None
) -> set[dt.date] | None:
    span = Span.of(first, last)
    changed = None if full else gold.changed_days
    if changed is None:
        return None
    return changed.union(span.days if span else ())


def aggregate(scope: RebuildScope, declarations: Mapping[str, Any], name: str) -> ir.Table:
    """Return a mart: one row for each value of its key, sorted by the key.

    The rows of days outside the scope are the current ones.
    """
    mart = marts_of(declarations)[name]
    current = scope.reusable_rows(mart)
    if scope.rows is None:  # no day changed, so each mart has reusable rows, which are sorted
        return ibis.memtable(current)
    rebuilt = _aggregate(scope.rows, mart)
    if scope.days is None:
        return rebuilt
    old = ibis.memtable(current)
    unchanged = old.filter(old.data_postagem.notin(sorted(scope.days)))
    return ibis.union(rebuilt, unchanged).order_by(*mart.key)


def _aggregate(silver: ir.Table, mart: Mart) -> ir.Table:
    keys = {
        column: silver[column].fill_null(NOT_INFORMED)
        if silver[column].type().is_string()
        else silver[column]
        for column in mart.key
    }
    keyed = silver.mutate(**keys)
    table = keyed.group_by(*mart.key).agg(**_measures(keyed, mart))
    return table.select(*mart.columns).order_by(*mart.key)


def reconcile(
    scope: RebuildScope, declarations: Mapping[str, Any], *files: MartFile
) -> dict[str, Any]:
    """Check the written marts against Silver, and return the manifest of Gold.

    Args:
        scope: the days that were rebuilt, and the rows they were rebuilt from.
        declarations: the declared marts.
        files: the files of the marts, in the order of the declarations.

    Returns:
        The generation; the origin, generation and number of rows of the Silver that Gold was built
        from; and the key, measures, number of rows, totals and SHA-256 of each mart.

    Raises:
        CapstoneError: if a mart and Silver differ in a total.
    """
    entries = {}
    for mart, file in zip(marts_of(declarations).values(), files, strict=True):
        table = file.to_pyarrow()
        totals = {name: sum(table[name].to_pylist()) for name in mart.measure_names}
        expected = _expected_totals(scope, mart)
        if totals != expected:
            raise CapstoneError(
                f"{mart.name} does not add up to Silver: it has {totals} where Silver has "
                f"{expected}. Rebuild Gold: kedro run --pipelines=silver_to_gold "
                "--params=full=true."
            )
        entries[mart.name] = {
            "key": list(mart.key),
            "measures": mart.declared_measures,
            "rows": table.num_rows,
            "totals": totals,
            "sha256": table.schema.metadata[b"sha256"].decode(),
        }
    content = {
        "silver_origin": scope.silver_head["origin"],
        "silver_generation": scope.silver_head["generation"],
        "silver_rows": scope.silver_head["total"]["current"],
        "marts": entries,
    }
    previous = scope.gold.manifest
    generation = previous.get("generation", 0)
    is_unchanged = previous == {"generation": generation, **content}
    return previous if is_unchanged else {"generation": generation + 1, **content}


def _expected_totals(scope: RebuildScope, mart: Mart) -> dict[str, int]:
    """Return the totals of Silver on the rebuilt days, plus the mart's totals on the other days."""
    if scope.rows is None:
        return dict(scope.gold.manifest["marts"][mart.name]["totals"])
    measures = scope.rows.agg(**_measures(scope.rows, mart))
    rebuilt: dict[str, int] = measures.to_pyarrow().to_pylist()[0]
    current = scope.reusable_rows(mart)
    if scope.days is None or current is None:
        return rebuilt
    is_reused = [day not in scope.days for day in current["data_postagem"].to_pylist()]
    reused = current.filter(pa.array(is_reused, pa.bool_()))
    return {name: total + sum(reused[name].to_pylist()) for name, total in rebuilt.items()}


def _check_silver(silver: ir.Table, provenance: ir.Table, head_rows: int | None) -> None:
    """Raise if Silver has lost, gained or repeated a video since its last commit.

    Args:
        silver: the rows of the days to rebuild.
        provenance: the provenance of the rows that were committed for these days.
        head_rows: the number of rows that the head of Silver has; None if not all days are rebuilt.

    Raises:
        CapstoneError: with the numbers of rows and videos.
    """
    aggregates = silver.agg(rows=silver.count(), videos=silver.video_id.nunique())
    counts = aggregates.to_pyarrow().to_pylist()[0]
    expected = provenance.count().to_pyarrow().as_py()
    matched = silver.semi_join(provenance, VIDEO_KEY).count().to_pyarrow().as_py()
    is_as_committed = counts["rows"] == counts["videos"] == matched == expected
    if not is_as_committed or head_rows not in {None, expected}:
        raise CapstoneError(
            f"Silver is not as its last commit left it: {counts['rows']} rows of "
            f"{counts['videos']} videos where {expected} were committed. If a run was killed, "
            "'kedro run --pipelines=bronze_to_silver' completes its commit; if a file was edited "
            "or lost, add --params=full=true to rebuild Silver from Bronze."
        )


def _of_days(table: ir.Table, days: set[dt.date] | None) -> ir.Table:
    return table if days is None else table.filter(table.data_postagem.isin(sorted(days)))


def _measures(silver: ir.Table, mart: Mart) -> dict[str, ir.Scalar]:
    return {
        name: getattr(silver[column], method)().fill_null(0).cast("int64")
        for name, method, column in mart.measures
    }
