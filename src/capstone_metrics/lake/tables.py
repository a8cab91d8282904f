"""Hive-partitioned tables of a lake: a partition is one file, replaced only if it changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from capstone_metrics.engines import engine_of
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from capstone_metrics.changes import PartitionOverwrite
    from capstone_metrics.engines import EngineConfig
    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.lake.transaction import Transaction
    from capstone_metrics.storage.base import Storage

log = logging.getLogger(__name__)


class LakeTable:
    """A table of Hive-partitioned files.

    Args:
        storage: the lake.
        layout: where the files of the table are, and what is in them.
        engine: the engine that reads and writes the files.
    """

    def __init__(self, storage: Storage, layout: Layout, engine: EngineConfig) -> None:
        self.storage = storage
        self.layout = layout
        self.engine = engine

    @property
    def address(self) -> str:
        """The path or URL of the table."""
        return self.storage.address(self.layout.prefix)

    def keys(self) -> list[str]:
        """Return the keys of the table's files; other objects among them are logged and ignored."""
        keys = self.storage.keys(self.layout.prefix)
        own = [key for key in keys if self.layout.has(key)]
        for unknown in sorted(set(keys) - set(own)):
            log.warning("%s is not a file of the table; it is ignored.", unknown)
        return own

    def read(self, keys: list[str] | None = None) -> ir.Table:
        """Return the table as of its last commit; files are read when it is evaluated.

        Args:
            keys: the keys of its files, if they are known.
        """
        keys = self.keys() if keys is None else keys
        return engine_of(self.engine).read(self.storage, keys, self.layout)

    def stage(self, overwrite: PartitionOverwrite, changes: Transaction) -> WriteStats:
        """Stage the new files of some partitions, and the deletion of those without rows.

        Partitions whose bytes do not change are not written.
        """
        schema = self.layout.schema
        columns = {name: str(kind) for name, kind in schema.items()}
        if overwrite.partitions == []:
            return WriteStats(columns=columns, address=self.address)
        table = overwrite.rows.select(*schema).cast(schema)
        old_keys = set(self.keys())
        if overwrite.partitions is not None:
            old_keys &= {self.layout.key(values) for values in overwrite.partitions}
        new_keys = set()
        rows = files = size = 0
        for key, partition_rows in engine_of(self.engine).stage(table, self.layout, changes):
            new_keys.add(key)
            if staged := changes.puts.get(key):
                files += 1
                rows += partition_rows
                size += staged.size
        removed = old_keys - new_keys
        for key in removed:
            changes.delete(key)
        return WriteStats(rows, files, len(removed), size, columns=columns, address=self.address)
