"""Datasets of Hive-partitioned tables: one file a partition, replaced only if it changes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from kedro.io import AbstractDataset

from capstone_metrics.lake.commit import open_commit
from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.partitions import Layout
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.schemas import TABLES
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir

    from capstone_metrics.changes import PartitionOverwrite
    from capstone_metrics.lake.engine import EngineConfig

log = logging.getLogger(__name__)


class TableDataset(AbstractDataset["PartitionOverwrite", "ir.Table"]):
    """A table of Hive-partitioned files, overwritten by whole partitions.

    A save stages the new files of the changed partitions, and the layer's commit applies them.
    Partitions whose bytes do not change are not rewritten. A load returns the table as of the last
    commit.

    Args:
        path: the root of the lake.
        prefix: the folder of the table, below the root; its first part is the layer.
        engine: the engine that reads and writes the table.
        format: `parquet`, `jsonl`, or `index`: Parquet that a glob for `*.parquet` does not match.
        schema: the name of its schema in `capstone_metrics.schemas.TABLES`.
        partition_by: the columns that become folders, `column=value`, and are not in the files.
        sort_by: the order of rows within a file.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(  # noqa: PLR0913 - one argument for each property of the catalog entry
        self,
        *,
        path: str,
        prefix: str,
        engine: EngineConfig,
        format: Literal["parquet", "jsonl", "index"],  # noqa: A002 - the usual name in catalogs
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
        self.write_stats = WriteStats()

    @property
    def address(self) -> str | None:
        """The path or URL of the table; None for an index, which is internal."""
        return self.storage.address(self.layout.prefix) if self.is_data else None

    def save(self, data: PartitionOverwrite) -> None:
        schema = self.layout.schema
        columns = {name: str(kind) for name, kind in schema.items()} if self.is_data else {}
        self.write_stats = WriteStats(columns=columns, address=self.address)
        if data.partitions == []:
            return
        table = data.rows.select(*schema).cast(schema)
        old_keys = set(self.keys())
        if data.partitions is not None:
            old_keys &= {self.layout.key(values) for values in data.partitions}
        commit, new_keys = open_commit(self.storage, self.layer), set()
        rows = files = size = 0
        for staged in engine_of(self.engine).stage(table, self.layout, commit):
            new_keys.add(staged.key)
            if commit.put(staged.key, staged.staged_object):
                files += 1
                rows += staged.rows
                size += commit.size(staged.key)
        removed = old_keys - new_keys
        for key in removed:
            commit.delete(key)
        reported_rows = rows if self.is_data else 0
        self.write_stats = replace(
            self.write_stats, rows=reported_rows, files=files, removed=len(removed), bytes=size
        )

    def load(self) -> ir.Table:
        return engine_of(self.engine).read(self.storage, self.keys(), self.layout)

    def keys(self) -> list[str]:
        """Return the keys of the table's files; other objects among them are logged and ignored."""
        keys = self.storage.keys(self.layout.prefix)
        own = [key for key in keys if self.layout.has(key)]
        for unknown in sorted(set(keys) - set(own)):
            log.warning("%s is not a file of the table; it is ignored.", unknown)
        return own

    def _exists(self) -> bool:
        return bool(self.keys())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.layout.prefix, "engine": self.engine}


class DeferredTableDataset(TableDataset):
    """A table that is loaded as a function, which reads nothing until it is called."""

    def load(self) -> Callable[[], ir.Table]:
        return super().load
