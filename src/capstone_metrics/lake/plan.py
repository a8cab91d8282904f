"""Compute what a save would change, for a run that writes nothing."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import ibis

from capstone_metrics.changes import GoldSnapshot, LazyMapping, MartFile, SilverSnapshot
from capstone_metrics.facts import count_of, days_of
from capstone_metrics.gold_csv import read_csv
from capstone_metrics.mart_declarations import marts_in
from capstone_metrics.schemas import DAYS
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    import ibis.expr.types as ir
    import pyarrow as pa

    from capstone_metrics.changes import GoldUpdate, SilverUpdate
    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.marts import Mart


def planned_silver(
    update: SilverUpdate, layouts: Mapping[str, Layout]
) -> tuple[SilverSnapshot, dict[str, WriteStats]]:
    """Return Silver as it would be after an update, and what that would write, by table."""
    base = update.base
    stats: dict[str, WriteStats] = {}
    changed: dict[str, set[dt.date]] = {name: set() for name in DAYS}
    tables = dict(base.tables)
    for name, overwrite in update.overwrites.items():
        layout = layouts[name]
        before = _with_schema(base.tables[name], layout.schema)
        replaced, others = overwrite.split(before, layout.partition_by)
        rows = overwrite.rows.select(*layout.schema).cast(layout.schema)
        tables[name] = rows.union(others)
        added, removed = rows, replaced  # if they have other columns now
        if tuple(base.tables[name].columns) == layout.schema.names:
            added, removed = rows.difference(replaced).cache(), replaced.difference(rows).cache()
        if day := DAYS.get(name):
            changed[name] = {*days_of(added, day), *days_of(removed, day)}
        stats[name] = WriteStats(
            rows=count_of(added),
            removed=count_of(removed),
            days=tuple(sorted(changed.get(name, ()))),
        )

    def days_changed_since(origin: str | None, generation: int) -> dict[str, set[dt.date]] | None:
        before = base.days_changed_since(origin, generation)
        if before is None or update.head.get("origin") != origin:
            return None
        return {name: before[name] | days for name, days in changed.items()}

    def merged_objects() -> set[str]:
        earlier = set() if update.is_rebuild else base.merged_objects()
        return earlier | set(update.receipts)

    snapshot = SilverSnapshot(
        generation=update.head["generation"],
        head=update.head,
        tables=tables,
        merged_objects=merged_objects,
        receipts=base.receipts,
        days_changed_since=days_changed_since,
        lost_days=dict if update.is_rebuild else base.lost_days,
    )
    return snapshot, stats


def planned_gold(update: GoldUpdate) -> tuple[GoldSnapshot, dict[str, WriteStats]]:
    """Return Gold as it would be after an update, and what that would write, by mart."""
    stats = {}
    marts = marts_in(update.manifest)
    for name, content in update.files.items():
        after = _rows(read_csv(content, marts[name].types))
        before = _rows(update.base.tables.get(name))
        days = {
            day
            for row in before ^ after
            for name, day in row
            if name in DAYS.values() and isinstance(day, dt.date)
        }
        stats[name] = WriteStats(
            rows=len(after - before), removed=len(before - after), days=tuple(sorted(days))
        )
    manifest = update.manifest
    files = {name: _in_memory(marts[name], each) for name, each in update.files.items()}
    tables = LazyMapping({name: file.to_pyarrow for name, file in files.items()})
    return GoldSnapshot(manifest["generation"], manifest, files, tables), stats


def _with_schema(table: ir.Table, schema: ibis.Schema) -> ir.Table:
    """Return a table with the columns of a schema, of which it may lack some."""
    missing = {name: ibis.null(kind) for name, kind in schema.items() if name not in table.columns}
    return table.mutate(**missing).select(*schema).cast(schema)


def _in_memory(mart: Mart, content: bytes) -> MartFile:
    digest = hashlib.sha256(content).hexdigest()
    return MartFile(lambda: content, lambda: digest, lambda: read_csv(content, mart.types))


def _rows(table: pa.Table | None) -> set[tuple[tuple[str, object], ...]]:
    return {tuple(row.items()) for row in table.to_pylist()} if table is not None else set()
