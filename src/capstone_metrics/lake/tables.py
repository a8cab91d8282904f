"""Silver and its quarantine in the catalog: one file a partition, replaced only if it differs."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from kedro.io import AbstractDataset

from capstone_metrics.lake.commit import opened
from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.partitions import Layout
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir

    from capstone_metrics.changes import Change
    from capstone_metrics.lake.engine import Said

log = logging.getLogger(__name__)


class TableDataset(AbstractDataset["Change", "ir.Table"]):
    """A table as Hive-partitioned files, changed by whole partitions.

    A save stages the new files of the changed partitions; the layer's commit puts them into
    place. Partitions whose bytes stay the same are left alone. A load is the table as the last
    commit left it.

    Args:
        path: the root of the lake.
        prefix: the folder of the table, below it; its first part is the layer.
        engine: what evaluates the table.
        format: `parquet`, `jsonl`, or `index`: Parquet that no glob for `*.parquet` finds.
        schema: the name of its schema in `capstone_metrics.schemas.TABLES`.
        partition_by: columns that become folders, `column=value`, and leave the files.
        sort_by: the order of rows within a file.
        metadata: for Kedro-Viz.
    """

    def __init__(  # noqa: PLR0913 - one argument for each property of the catalog entry
        self,
        *,
        path: str,
        prefix: str,
        engine: Said,
        format: Literal["parquet", "jsonl", "index"],  # noqa: A002 - the word that catalogs use
        schema: str,
        partition_by: list[str],
        sort_by: list[str],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.storage = storage_of(path)
        self.layer = prefix.split("/", maxsplit=1)[0]
        self.engine = engine
        self.is_data = format != "index"
        self.layout = Layout(prefix, format, TABLES[schema], tuple(partition_by), tuple(sort_by))
        self.metadata = metadata
        self.saved = Saved()

    @property
    def address(self) -> str | None:
        """Where the table lies; None of an index, which is nobody else's."""
        return self.storage.address(self.layout.prefix) if self.is_data else None

    def save(self, data: Change) -> None:
        schema = self.layout.schema
        columns = {name: str(kind) for name, kind in schema.items()} if self.is_data else {}
        self.saved = Saved(columns=columns, address=self.address)
        if data.partitions == []:
            return
        table = data.rows.select(*schema).cast(schema)
        before = set(self.keys())
        if data.partitions is not None:
            before &= {self.layout.key(values) for values in data.partitions}
        commit, after = opened(self.storage, self.layer), set()
        rows = files = size = 0
        for staged in engine_of(self.engine).stage(table, self.layout, commit):
            after.add(staged.key)
            if commit.put(staged.key, staged.shared):
                files += 1
                rows += staged.rows
                size += commit.size(staged.key)
        gone = before - after
        for key in gone:
            commit.delete(key)
        counted = rows if self.is_data else 0
        self.saved = replace(self.saved, rows=counted, files=files, removed=len(gone), bytes=size)

    def load(self) -> ir.Table:
        return engine_of(self.engine).read(self.storage, self.keys(), self.layout)

    def keys(self) -> list[str]:
        """The files of the table. What else lies among them is reported, and not read."""
        keys = self.storage.keys(self.layout.prefix)
        own = [key for key in keys if self.layout.has(key)]
        for strange in sorted(set(keys) - set(own)):
            log.warning("%s is no part of the table; it is not read.", strange)
        return own

    def _exists(self) -> bool:
        return bool(self.keys())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.layout.prefix, "engine": self.engine}


class DeferredTableDataset(TableDataset):
    """The same, loaded as a function that gives the table: one that nobody calls reads nothing."""

    def load(self) -> Callable[[], ir.Table]:
        return super().load
