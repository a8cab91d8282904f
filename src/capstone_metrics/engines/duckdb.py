"""The DuckDB engine, which runs in this process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import weakref
from collections import defaultdict
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import duckdb
import psutil
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.util import gen_name

from capstone_metrics.engines.base import Engine
from capstone_metrics.engines.sql import sql_literal
from capstone_metrics.errors import CapstoneError, CommitConflictError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

    from capstone_metrics.engines.base import Changes
    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.storage.base import Storage
    from capstone_metrics.storage.bucket import Bucket

MEMORY = "768MB"
"""The default memory limit of DuckDB; Python and Arrow need some more."""

SPILL_PREFIX = "capstone-duckdb-"
"""The start of the name of a folder that DuckDB spills to; the process id follows."""

UNORDERED = {"preserve_insertion_order": "false"}
"""Rows are unordered: no expression relies on an implicit order, which costs a tenth more time."""

DEFAULT_MAX_LINE_BYTES = 1 << 24
"""The longest JSON line that DuckDB reads by default."""

CACHED_VIEWS = 16

CHANGED_FILE_ERRORS = (duckdb.IOException, duckdb.HTTPException, duckdb.InvalidInputException)
"""What DuckDB raises for a file that changed while it was read."""

CHANGED_FILE_MESSAGES = (
    *("Out of buffer", "TProtocolException"),  # if a file was replaced after it was opened
    *("FileExpired", "FileNotFoundError", "PermissionError", "OSError"),  # s3fs, within DuckDB
)
"""How the messages of its other errors for such a file begin."""

SECRETS_OF_URL = re.compile(r"(?<=://)[^\s/'\"]*@|\?[^\s'\"]*")
"""The user and the query of a URL, which may have a password or a signature."""


class Connection(Backend):  # type: ignore[misc]
    """The backend of Ibis; a file that changes while it is read is an error of the user.

    Attributes:
        find_store_error: returns the error of an object store, which DuckDB does not pass on, by
            what DuckDB said; None if an object was changed, and for a folder.
    """

    find_store_error: Callable[[str], CapstoneError | None] | None = None

    def raw_sql(self, query: Any, **options: Any) -> Any:
        """Execute a statement."""
        with self.translate_errors():
            return super().raw_sql(query, **options)

    def to_pyarrow(self, expr: ir.Expr, /, **options: Any) -> Any:
        """Execute an expression, and return its result as Arrow."""
        with self.translate_errors():
            return super().to_pyarrow(expr, **options)

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        with self.translate_errors():
            return super()._create_cached_table(name, expr)

    @contextlib.contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Translate the error of a file that changed while it was read, and an interrupt."""
        try:
            yield
        except Exception as error:
            if isinstance(error.__cause__, KeyboardInterrupt):
                self.con.interrupt()  # else the query goes on
                raise error.__cause__ from None
            message = str(error)
            if not isinstance(error, CHANGED_FILE_ERRORS) and not message.startswith(
                CHANGED_FILE_MESSAGES
            ):
                raise
            first_line = SECRETS_OF_URL.sub("", message.partition("\n")[0])
            store_error = self.find_store_error and self.find_store_error(first_line)
            raise store_error or CommitConflictError(
                f"Another run changed the lake while this run was reading it ({first_line}). Run "
                "again; if no other run is active, the file was edited or lost: rebuild the lake "
                "from Bronze, kedro run --params=full=true."
            ) from error


class DuckDBEngine(Engine):
    """An in-memory DuckDB database.

    Args:
        options: settings of DuckDB.

    Raises:
        ConfigError: if DuckDB does not take one of them.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        _return_freed_memory()
        settings = {**UNORDERED, **_memory_settings(), **options}
        try:
            self.connection: Connection = Connection().connect(**settings)
        except duckdb.Error as error:
            raise ConfigError(
                f"engine: DuckDB does not take the options ({error}); correct globals.yml."
            ) from error
        self.connection.raw_sql("SET TimeZone = 'UTC'")
        # of the objects that were given to DuckDB, by bucket and key
        self._versions: dict[Bucket, dict[str, str]] = defaultdict(dict)
        # here, and not on the method, so that each engine has a cache of its own
        self._cached_view = lru_cache(maxsize=CACHED_VIEWS)(self._create_view)

    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        connection = self.connection
        name = gen_name("batches")
        raised: list[BaseException] = []

        def record_errors() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except BaseException as error:
                raised.append(error)
                raise

        incoming = pa.RecordBatchReader.from_batches(batches.schema, record_errors())
        connection.con.register("incoming", incoming)
        try:
            connection.raw_sql(f"CREATE TEMP TABLE {name} AS FROM incoming")
        except Exception:
            if raised:  # DuckDB reports an error of its own instead
                raise raised[0] from None
            raise
        finally:
            connection.con.unregister("incoming")
        table = connection.table(name)
        # expressions refer to the operation and not to this object, so it lives as long as they do
        weakref.finalize(table.op(), connection.drop_table, name, force=True)
        return table

    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        if not keys:
            return self.table_of(layout.schema.to_pyarrow().empty_table().to_reader())
        max_line_bytes = DEFAULT_MAX_LINE_BYTES
        if layout.format == "jsonl":  # a line is as long as its file, at most
            max_line_bytes = max(max_line_bytes, *(storage.size(key) for key in keys))
        versions = self._enable_reads(storage, keys)
        addresses = map(storage.address, keys)
        files = tuple(zip(addresses, versions, strict=True))
        return self._cached_view(files, layout, max_line_bytes)

    def _enable_reads(self, storage: Storage, keys: list[str]) -> list[str]:
        """Give DuckDB access to objects of a lake, and return their versions."""
        if not storage.is_remote:
            return [storage.version(key) for key in keys]
        from capstone_metrics.engines import duckdb_s3  # noqa: PLC0415 - boto3 is slow to import

        bucket = cast("Bucket", storage)
        versions = self._versions[bucket]
        versions |= {key: bucket.listing_entry(key)["ETag"] for key in keys}
        self.connection.find_store_error = partial(duckdb_s3.find_store_error, bucket, versions)
        duckdb_s3.enable_reads(self.connection.con, bucket, keys)
        return [versions[key] for key in keys]

    def _create_view(
        self, files: tuple[tuple[str, str], ...], layout: Layout, max_line_bytes: int
    ) -> ir.Table:
        """Create a view of files, by their addresses and versions; each query reads them again.

        Files that changed have a view of their own: Ibis would answer an equal expression by a
        result that it cached before. The partition columns are declared with their types: a filter
        on a cast of one would open every file.
        """
        name = gen_name(layout.format)
        schema = layout.schema
        reader, options = "read_parquet", ""
        if layout.format == "jsonl":
            columns = {c: kind for c, kind in schema.items() if c not in layout.partition_by}
            reader = "read_json"
            options = (
                f", columns = {self._types_literal(columns)}, format = 'newline_delimited'"
                f", maximum_object_size = {max_line_bytes}"
            )
        paths = ", ".join(sql_literal(path) for path, _ in files)
        types = self._types_literal({column: schema[column] for column in layout.partition_by})
        hive = f"hive_partitioning = true, hive_types = {types}"
        self.connection.raw_sql(
            f"CREATE TEMP VIEW {name} AS FROM {reader}([{paths}], {hive}{options})"
        )
        view = self.connection.table(name)
        weakref.finalize(view.op(), self.connection.drop_view, name, force=True)
        return view.select(*schema).cast(schema)

    def _types_literal(self, kinds: Mapping[str, dt.DataType]) -> str:
        """Return columns and their types as an SQL literal: `{column: 'TYPE'}`."""
        type_text = self.connection.compiler.type_mapper.to_string
        columns = (f"{column}: {sql_literal(type_text(kind))}" for column, kind in kinds.items())
        return "{" + ", ".join(columns) + "}"

    def stage(self, table: ir.Table, layout: Layout, changes: Changes) -> Iterator[tuple[str, int]]:
        ordered = table.order_by(list(layout.order))
        with self.connection.translate_errors():
            for key, part in layout.parts(ordered.to_pyarrow_batches()):
                changes.write(key, layout.encode(part))
                yield key, part.num_rows


def _return_freed_memory() -> None:
    """Have Arrow use jemalloc, which returns freed memory earlier than its default, where it is."""
    if pa.default_memory_pool().backend_name == "mimalloc":
        with contextlib.suppress(NotImplementedError):
            pa.set_memory_pool(pa.jemalloc_memory_pool())


def _memory_settings() -> dict[str, str]:
    """Delete what killed runs spilled; return settings that limit memory and allow spilling.

    DuckDB creates the folder when needed, and deletes it at the end unless the run is killed.
    """
    parent = Path(tempfile.gettempdir())
    for spilled in parent.glob(f"{SPILL_PREFIX}*-*"):
        if not psutil.pid_exists(int(spilled.name.removeprefix(SPILL_PREFIX).split("-")[0])):
            shutil.rmtree(spilled, ignore_errors=True)
    folder = parent / f"{SPILL_PREFIX}{os.getpid()}-{uuid4().hex}"
    return {"memory_limit": MEMORY, "temp_directory": str(folder)}
