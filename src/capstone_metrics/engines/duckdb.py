"""The DuckDB engine, which runs in this process."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, cast
from uuid import uuid4

import ibis
import psutil
import pyarrow as pa
from ibis.util import gen_name

from capstone_metrics.engines.base import Engine
from capstone_metrics.engines.sql import quoted
from capstone_metrics.errors import store_checks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

    from capstone_metrics.engines.base import Changes
    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.storage.base import Storage
    from capstone_metrics.storage.bucket import Bucket

MEMORY = "1GB"
"""The default memory limit of DuckDB; Python and Arrow need some more."""

SPILL_PREFIX = "capstone-duckdb-"
"""How the names of the folders begin to which DuckDB spills; the process id follows."""

UNORDERED = {"preserve_insertion_order": "false"}
"""No expression relies on an implicit row order, and preserving it takes a tenth more time."""

SHORT_LINE = 1 << 24
"""The default maximum size in bytes of a JSON line in DuckDB."""


class DuckDBEngine(Engine):
    """An in-memory DuckDB database.

    Args:
        options: settings of DuckDB.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.connection = ibis.duckdb.connect(**{**UNORDERED, **_memory_settings(), **options})
        self.connection.raw_sql("SET TimeZone = 'UTC'")
        self._view = lru_cache(maxsize=16)(self._new_view)

    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        connection, name = self.connection, gen_name("batches")
        raised: list[Exception] = []

        def record_errors() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except Exception as error:
                raised.append(error)
                raise

        incoming = pa.RecordBatchReader.from_batches(batches.schema, record_errors())
        connection.con.register("incoming", incoming)
        try:
            connection.raw_sql(f"CREATE TEMP TABLE {name} AS FROM incoming")
        except Exception:
            if raised:
                raise raised[0] from None
            raise
        finally:
            connection.con.unregister("incoming")
        table = connection.table(name)
        weakref.finalize(table.op(), connection.drop_table, name, force=True)
        return table

    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        if not keys:
            return self.table_of(layout.schema.to_pyarrow().empty_table().to_reader())
        longest = SHORT_LINE
        if layout.format == "jsonl":  # a line is as long as its file, at most
            longest = max(longest, *(storage.size(key) for key in keys))
        return self._view(tuple(self._reachable(storage, keys)), layout, longest)

    def _reachable(self, storage: Storage, keys: list[str]) -> list[str]:
        """Return the addresses of objects of a lake, after giving DuckDB access to them."""
        store_checks.clear()
        if storage.is_remote:
            from capstone_metrics.engines import duckdb_s3  # noqa: PLC0415 - boto3 is slow to import

            duckdb_s3.enable_reads(self.connection.con, cast("Bucket", storage), keys)
        return [storage.address(key) for key in keys]

    def _new_view(self, paths: tuple[str, ...], layout: Layout, longest: int) -> ir.Table:
        """Create a view of files; it is cached for the same files, but queries read them again.

        Its partition columns are declared with their types: a filter on a cast of one would open
        every file.
        """
        name, schema, reader, options = gen_name(layout.format), layout.schema, "read_parquet", ""
        if layout.format == "jsonl":
            columns = {c: kind for c, kind in schema.items() if c not in layout.partition_by}
            reader = "read_json"
            options = (
                f", columns = {self._struct(columns)}, format = 'newline_delimited'"
                f", maximum_object_size = {longest}"
            )
        files = ", ".join(quoted(path) for path in paths)
        types = self._struct({column: schema[column] for column in layout.partition_by})
        hive = f"hive_partitioning = true, hive_types = {types}"
        self.connection.raw_sql(
            f"CREATE TEMP VIEW {name} AS FROM {reader}([{files}], {hive}{options})"
        )
        return self.connection.table(name).select(*schema).cast(schema)

    def _struct(self, kinds: Mapping[str, dt.DataType]) -> str:
        name_of = self.connection.compiler.type_mapper.to_string
        columns = (f"{column}: {quoted(name_of(kind))}" for column, kind in kinds.items())
        return "{" + ", ".join(columns) + "}"

    def stage(self, table: ir.Table, layout: Layout, changes: Changes) -> Iterator[tuple[str, int]]:
        ordered = table.order_by(list(layout.order))
        for key, part in layout.parts(ordered.to_pyarrow_batches()):
            changes.write(key, layout.encode(part))
            yield key, part.num_rows


def _memory_settings() -> dict[str, str]:
    """Return settings that limit memory and let DuckDB spill to files.

    DuckDB creates the folder when needed and deletes it at the end, unless the run is killed;
    folders of killed runs are deleted here.
    """
    parent = Path(tempfile.gettempdir())
    for spilled in parent.glob(f"{SPILL_PREFIX}*-*"):
        if not psutil.pid_exists(int(spilled.name.removeprefix(SPILL_PREFIX).split("-")[0])):
            shutil.rmtree(spilled, ignore_errors=True)
    folder = parent / f"{SPILL_PREFIX}{os.getpid()}-{uuid4().hex}"
    return {"memory_limit": MEMORY, "temp_directory": str(folder)}
