"""Silver and its quarantine in the catalog: one file a partition, replaced only if it differs."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from kedro.io import AbstractDataset

from capstone_metrics.lake import engine as engines
from capstone_metrics.lake.commit import opened
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import ibis.expr.types as ir

    from capstone_metrics.changes import Change

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
        engine: str,
        format: Literal["parquet", "jsonl", "index"],  # noqa: A002 - the word that catalogs use
        schema: str,
        partition_by: list[str],
        sort_by: list[str],
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.storage = storage_of(path)
        self.prefix = prefix
        self.layer = prefix.split("/", maxsplit=1)[0]
        self.engine = engine
        self.leaf = f"part-0.{format}"
        self.is_data = format != "index"
        self.encode = ENCODERS[format]
        self.read = engines.READERS[format]
        self.schema = TABLES[schema]
        self.partition_by = partition_by
        self.sort_by = sort_by
        self.metadata = metadata
        self.saved = Saved()

    def save(self, data: Change) -> None:
        self.saved = Saved()
        if data.partitions == []:
            return
        table = data.rows.select(*self.schema).cast(self.schema)
        ordered = table.order_by([*self.partition_by, *self.sort_by])
        before = set(self.keys())
        if data.partitions is not None:
            before &= {self._key(values) for values in data.partitions}
        commit, after = opened(self.storage, self.layer), set()
        rows = files = 0
        for values, part in _partitions(ordered.to_pyarrow_batches(), self.partition_by):
            key = self._key(values)
            after.add(key)
            with commit.stage(key) as file:
                self.encode(part.drop_columns(self.partition_by), file)
            if commit.put(key):
                files += 1
                rows += part.num_rows
        for gone in before - after:
            commit.delete(gone)
        counted = rows if self.is_data else 0
        self.saved = Saved(rows=counted, files=files, removed=len(before - after))

    def load(self) -> ir.Table:
        paths = engines.reach(self.engine, self.storage, self.keys())
        return self.read(self.engine, paths, self.schema, self.partition_by)

    def keys(self) -> list[str]:
        """The files of the table. What else lies among them is reported, and not read."""
        keys = self.storage.keys(self.prefix)
        own = [key for key in keys if self._is_part(key.removeprefix(f"{self.prefix}/"))]
        for strange in sorted(set(keys) - set(own)):
            log.warning("%s is no part of the table; it is not read.", strange)
        return own

    def _key(self, values: Iterable[Any]) -> str:
        pairs = zip(self.partition_by, values, strict=True)
        folders = (f"{column}={_folder(str(value))}" for column, value in pairs)
        return "/".join([self.prefix, *folders, self.leaf])

    def _is_part(self, name: str) -> bool:
        *folders, leaf = name.split("/")
        return leaf == self.leaf and [f.partition("=")[0] for f in folders] == self.partition_by

    def _exists(self) -> bool:
        return bool(self.keys())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.prefix, "engine": self.engine}


class DeferredTableDataset(TableDataset):
    """The same, loaded as a function that gives the table: one that nobody calls reads nothing."""

    def load(self) -> Callable[[], ir.Table]:
        return super().load


def _folder(value: str) -> str:
    """A value as part of a path. What engines read as a null is written so that they do not."""
    if value.lower() in {"null", "__hive_default_partition__"}:
        return f"%{ord(value[0]):02X}{value[1:]}"
    return quote(value, safe=" ")


def _partitions(
    batches: Iterable[pa.RecordBatch], columns: list[str]
) -> Iterator[tuple[tuple[Any, ...], pa.Table]]:
    """The rows of each partition, from batches sorted by its columns."""
    current: tuple[Any, ...] | None = None
    parts: list[pa.RecordBatch] = []
    for batch in batches:
        starts = _starts(batch, columns)
        for start, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
            values = tuple(batch[column][start].as_py() for column in columns)
            if parts and values != current:
                assert current is not None
                yield current, pa.Table.from_batches(parts)
                parts = []
            current = values
            parts.append(batch.slice(start, end - start))
    if parts:
        assert current is not None
        yield current, pa.Table.from_batches(parts)


def _starts(batch: pa.RecordBatch, columns: list[str]) -> list[int]:
    """The rows of a sorted batch at which a partition begins."""
    begins = np.zeros(batch.num_rows, bool)
    begins[:1] = True
    for column in columns:
        values = batch[column]
        begins[1:] |= pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return [int(start) for start in np.flatnonzero(begins)]


def _write_parquet(part: pa.Table, file: Path) -> None:
    pq.write_table(part.combine_chunks(), file, compression="zstd")


def _write_json_lines(part: pa.Table, file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for row in part.to_pylist():
            filled = {name: value for name, value in row.items() if value is not None}
            out.write(json.dumps(filled, ensure_ascii=False) + "\n")


ENCODERS = {"parquet": _write_parquet, "jsonl": _write_json_lines, "index": _write_parquet}
