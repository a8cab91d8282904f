"""DuckDB as the engine: in this process, with functions of its own SQL."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from uuid import uuid4

import ibis
import pyarrow as pa
from ibis.util import gen_name

from capstone_metrics.changes import Lot
from capstone_metrics.lake.engine import Engine, Staged
from capstone_metrics.lake.lines import read_lines
from capstone_metrics.lake.progress import progress
from capstone_metrics.lake.storage import LOCAL, abandoned_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir

    from capstone_metrics.lake.bucket import Bucket
    from capstone_metrics.lake.commit import Commit
    from capstone_metrics.lake.partitions import Layout
    from capstone_metrics.lake.storage import Storage

MEMORY = "1GB"
"""What DuckDB takes, unless its options say otherwise; Python and Arrow take some more."""

SPILL = "duckdb"

LOT_BYTES = 1 << 29
"""How much of Bronze is read at once: there is room for it, and for what is made of it."""

UNORDERED = {"preserve_insertion_order": "false"}
"""No expression counts on the order of rows that it does not say, and to keep it costs a tenth."""

SHORT_LINE = 1 << 24
"""Bytes of a line of JSON for which DuckDB has room, unless it is told of longer ones."""


class OnDuckDB(Engine):
    """A database in memory.

    Args:
        options: settings of DuckDB.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.connection = ibis.duckdb.connect(**{**UNORDERED, **_bounded(), **options})
        functions = resources.files(__package__).joinpath("duckdb.sql").read_text()
        self.connection.raw_sql(functions)
        self._view = lru_cache(maxsize=16)(self._new_view)

    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        connection, name = self.connection, gen_name("batches")
        raised: list[Exception] = []

        def watched() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except Exception as error:
                raised.append(error)
                raise

        incoming = pa.RecordBatchReader.from_batches(batches.schema, watched())
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

    def lines_of(
        self, storage: Storage, prefix: str, names: list[str]
    ) -> tuple[ir.Table, dict[str, dict[str, Any]]]:
        measures: dict[str, dict[str, Any]] = {}
        return self.table_of(read_lines(_opened(storage, prefix, names), measures)), measures

    def lots_of(self, storage: Storage, prefix: str, names: list[str]) -> Iterator[Lot]:
        objects = _opened(storage, prefix, names)
        while True:
            measures: dict[str, dict[str, Any]] = {}
            lines = self.table_of(read_lines(objects, measures, LOT_BYTES))
            if not measures:
                return
            yield Lot(lines, measures)
            self.connection.drop_table(lines.get_name(), force=True)

    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        if not keys:
            return self.table_of(layout.schema.to_pyarrow().empty_table().to_reader())
        longest = SHORT_LINE
        if layout.format == "jsonl":  # a line is as long as its file, at most
            longest = max(longest, *(storage.size(key) for key in keys))
        return self._view(tuple(self._reach(storage, keys)), layout, longest)

    def _reach(self, storage: Storage, keys: list[str]) -> list[str]:
        """The addresses of objects of a lake, which can be read from then on."""
        if storage.is_remote:
            from capstone_metrics.lake import remote  # noqa: PLC0415 - boto3 is slow to import

            remote.reach(self.connection.con, cast("Bucket", storage), keys)
        return [storage.address(key) for key in keys]

    def _new_view(self, paths: tuple[str, ...], layout: Layout, longest: int) -> ir.Table:
        """Files as a view: the same one for the same files, which each query reads anew.

        Its partition columns have their types from the start: a filter on a cast of one would
        have every file opened.
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

    def stage(self, table: ir.Table, layout: Layout, commit: Commit) -> Iterator[Staged]:
        ordered = table.order_by(list(layout.order))
        for key, part in layout.parts(ordered.to_pyarrow_batches()):
            with commit.stage(key) as file:
                layout.write(part, file)
            yield Staged(key, part.num_rows)


def _opened(
    storage: Storage, prefix: str, names: list[str]
) -> Iterator[tuple[str, Callable[[], IO[bytes]]]]:
    """The name of each object of Bronze, and what opens it."""
    for name in progress(names, "Reading Bronze"):
        yield name, partial(storage.open, f"{prefix}/{name}")


def _bounded() -> dict[str, str]:
    """Settings by which tables that do not fit into memory lie in files.

    DuckDB makes the folder when it needs it, and removes it in the end; a killed run cannot.
    """
    for spilled in abandoned_here(SPILL):
        shutil.rmtree(spilled, ignore_errors=True)
    folder = Path(tempfile.gettempdir()) / f"{LOCAL}{SPILL}-{os.getpid()}-{uuid4().hex}"
    return {"memory_limit": MEMORY, "temp_directory": str(folder)}


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
