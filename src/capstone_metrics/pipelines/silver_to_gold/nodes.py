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

Deferred = Callable[[], ir.Table]
"""A function that loads a table, called only if it is needed."""

VIDEO_KEY = ("video_id", "rede_social", "data_postagem")
"""A video and its partition."""

NOT_INFORMED = "(não informado)"
"""The key of videos without an optional text: they are counted, and a key is never null."""


@dataclass(frozen=True)
class RebuildScope:
    """The days of Gold to rebuild, and the rows to rebuild them from.

    Attributes:
        days: the days; None for all of them.
        rows: the columns of Silver that the marts need, for these days; None if there is no day.
        snapshot: Gold as of its last commit.
        silver: the head of the Silver that Gold is built from.
    """

    days: set[dt.date] | None
    rows: ir.Table | None
    snapshot: GoldSnapshot
    silver: Mapping[str, Any]

    def reusable(self, mart: Mart) -> pa.Table | None:
        """Return the current rows of a mart, None if all of them have to be rebuilt."""
        entry = self.snapshot.manifest.get("marts", {}).get(mart.name, {})
        declared = {"key": list(mart.key), "measures": mart.declared_measures}
        is_same = {name: entry.get(name) for name in declared} == declared
        is_by_day = self.days == set() or "data_postagem" in mart.key
        return self.snapshot.tables.get(mart.name) if is_same and is_by_day else None


def find_rebuild_scope(
    silver: Deferred,
    provenance: Deferred,
    head: Mapping[str, Any],
    snapshot: GoldSnapshot,
    declarations: Mapping[str, Any],
    full: bool,
    first: str | None,
    last: str | None,
) -> RebuildScope:
    """Find the days of Gold to rebuild: those of Silver that changed since it was built.

    A backfill adds the days from its first to its last. If one mart has to be rebuilt in full,
    because it is new or has no day in its key, so is every mart.

    Args:
        silver: loads the table.
        provenance: loads the provenance of its rows.
        head: the head of Silver.
        snapshot: Gold as of its last commit.
        declarations: the declared marts.
        full: whether to rebuild all days.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of it.

    Raises:
        CapstoneError: if Silver, on these days, is not what its last commit wrote.
    """
    marts = marts_of(declarations)
    days = _days(snapshot, full, first, last)
    scope = RebuildScope(days, None, snapshot, head)
    if any(scope.reusable(mart) is None for mart in marts.values()):
        days = None
    if days == set():
        return scope
    columns = {*VIDEO_KEY, *(column for mart in marts.values() for column in mart.source_columns)}
    rows, committed = (
        _of_days(table(), days).select(*names).cache()
        for table, names in ((silver, sorted(columns)), (provenance, VIDEO_KEY))
    )
    _check_silver(rows, committed, head["total"]["current"] if days is None else None)
    return RebuildScope(days, rows, snapshot, head)


def dry_run(
    snapshot: GoldSnapshot, full: bool, first: str | None, last: str | None
) -> list[dt.date] | None:
    """Return the days that `find_rebuild_scope` would rebuild, sorted; None for all of them."""
    days = _days(snapshot, full, first, last)
    return None if days is None else sorted(days)


def _days(
    snapshot: GoldSnapshot, full: bool, first: str | None, last: str | None
) -> set[dt.date] | None:
    span, changed = Span.of(first, last), None if full else snapshot.changed_days
    return None if changed is None else changed.union(span.days if span else ())


def aggregate(scope: RebuildScope, declarations: Mapping[str, Any], name: str) -> ir.Table:
    """Return a mart: one row for each value of its key, sorted by it.

    Days outside the scope keep their current rows.
    """
    mart = marts_of(declarations)[name]
    current = scope.reusable(mart)
    if scope.rows is None:
        return ibis.memtable(current)  # already sorted
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
        The generation, the Silver that Gold was built from, and the key, measures, rows, totals
        and SHA-256 of each mart.

    Raises:
        CapstoneError: if a total of a mart differs from that of Silver.
    """
    entries = {}
    for mart, file in zip(marts_of(declarations).values(), files, strict=True):
        table = file.to_pyarrow()
        totals = {name: sum(table[name].to_pylist()) for name, _, _ in mart.measures}
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
    head = {
        "silver_origin": scope.silver["origin"],
        "silver_generation": scope.silver["generation"],
        "silver_rows": scope.silver["total"]["current"],
        "marts": entries,
    }
    generation = scope.snapshot.manifest.get("generation", 0)
    if scope.snapshot.manifest == {"generation": generation, **head}:
        return scope.snapshot.manifest
    return {"generation": generation + 1, **head}


def _expected_totals(scope: RebuildScope, mart: Mart) -> dict[str, int]:
    """Return the totals of Silver: of the rebuilt days, plus the current ones of the other days."""
    if scope.rows is None:
        return dict(scope.snapshot.manifest["marts"][mart.name]["totals"])
    measures = scope.rows.agg(**_measures(scope.rows, mart))
    rebuilt: dict[str, int] = measures.to_pyarrow().to_pylist()[0]
    current = scope.reusable(mart)
    if scope.days is None or current is None:
        return rebuilt
    days = current["data_postagem"].to_pylist()
    return {
        name: total
        + sum(
            value
            for day, value in zip(days, current[name].to_pylist(), strict=True)
            if day not in scope.days
        )
        for name, total in rebuilt.items()
    }


def _check_silver(silver: ir.Table, provenance: ir.Table, current: int | None) -> None:
    """Check that Silver neither lost, gained nor repeats a video since its last commit.

    Args:
        silver: the rows of the days to rebuild.
        provenance: the provenance of the rows that were committed for these days.
        current: the number of rows that the head of Silver counts; None unless for all days.

    Raises:
        CapstoneError: if it did.
    """
    aggregates = silver.agg(rows=silver.count(), videos=silver.video_id.nunique())
    counts = aggregates.to_pyarrow().to_pylist()[0]
    expected = provenance.count().to_pyarrow().as_py()
    known = silver.semi_join(provenance, VIDEO_KEY).count().to_pyarrow().as_py()
    if not counts["rows"] == counts["videos"] == known == expected or current not in {
        None,
        expected,
    }:
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
        name: getattr(silver[column], aggregate)().fill_null(0).cast("int64")
        for name, aggregate, column in mart.measures
    }
