"""The layout of a table in files: one for each partition, in Hive-style folders."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import ibis


@dataclass(frozen=True)
class Layout:
    """The location and file layout of a table.

    Attributes:
        prefix: the folder of the table, below the root of the lake.
        format: `parquet`, `jsonl`, or `index`: Parquet that a glob for `*.parquet` does not match.
        schema: the schema of the table.
        partition_by: the columns that become folders, `column=value`, and are not in the files.
        sort_by: the order of rows within a file.
    """

    prefix: str
    format: str
    schema: ibis.Schema
    partition_by: tuple[str, ...]
    sort_by: tuple[str, ...]

    @property
    def file_name(self) -> str:
        """The name of the file in each partition."""
        return f"part-0.{self.format}"

    @property
    def order(self) -> tuple[str, ...]:
        """The order of the rows of the whole table."""
        return (*self.partition_by, *self.sort_by)

    def key(self, values: Iterable[Any]) -> str:
        """Return the key of a partition's file."""
        pairs = zip(self.partition_by, values, strict=True)
        folders = (f"{column}={_folder(str(value))}" for column, value in pairs)
        return "/".join([self.prefix, *folders, self.file_name])

    def has(self, key: str) -> bool:
        """Return whether a key is that of a partition's file."""
        *folders, file_name = key.removeprefix(f"{self.prefix}/").split("/")
        columns = tuple(folder.partition("=")[0] for folder in folders)
        return file_name == self.file_name and columns == self.partition_by

    def parts(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[str, pa.Table]]:
        """Yield the key and the rows of each partition, from batches in the order of the table."""
        for values, part in partitions(batches, self.partition_by):
            yield self.key(values), part

    def encode(self, part: pa.Table) -> bytes:
        """Return the bytes of the file of a partition."""
        return ENCODERS[self.format](part.drop_columns(list(self.partition_by)))


def _folder(value: str) -> str:
    """Return a value encoded for a path, so that engines do not read it as a null."""
    if value.lower() in {"null", "__hive_default_partition__"}:
        return f"%{ord(value[0]):02X}{value[1:]}"
    return quote(value, safe=" ")


def partitions(
    batches: Iterable[pa.RecordBatch], columns: Iterable[str]
) -> Iterator[tuple[tuple[Any, ...], pa.Table]]:
    """Yield the values and the rows of each partition, from batches sorted by its columns."""
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


def _starts(batch: pa.RecordBatch, columns: Iterable[str]) -> list[int]:
    """Return the indices of the rows of a sorted batch at which a partition begins."""
    begins = np.zeros(batch.num_rows, bool)
    begins[:1] = True
    for column in columns:
        values = batch[column]
        begins[1:] |= pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return [int(start) for start in np.flatnonzero(begins)]


DISTINCT = ("video_id", "linha", "views")
"""Columns whose values mostly differ, of which a dictionary would be made for nothing."""


def _to_parquet(part: pa.Table) -> bytes:
    file = io.BytesIO()
    dictionary = [name for name in part.schema.names if name not in DISTINCT]
    pq.write_table(part.combine_chunks(), file, compression="zstd", use_dictionary=dictionary)
    return file.getvalue()


def _to_json_lines(part: pa.Table) -> bytes:
    rows = ({name: v for name, v in row.items() if v is not None} for row in part.to_pylist())
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


ENCODERS = {"parquet": _to_parquet, "jsonl": _to_json_lines, "index": _to_parquet}
