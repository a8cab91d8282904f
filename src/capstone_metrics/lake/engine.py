"""What evaluates the expressions: a connection, and the functions that Ibis lacks.

The functions are declared, with their meaning, beside the expressions that call them, in
`pipelines/bronze_to_silver/functions.py`.
"""

from __future__ import annotations

import weakref
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, cast

import ibis
import pyarrow as pa
from ibis.util import gen_name

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir
    from ibis.backends.duckdb import Backend

    from capstone_metrics.lake.bucket import Bucket
    from capstone_metrics.lake.storage import Storage

LONGEST_LINE = 1 << 30
"""Bytes that a line of JSON may have."""


@cache
def connect(engine: str) -> Backend:
    """The connection of an engine; one for the life of the process.

    Raises:
        CapstoneError: for an engine that the platform does not know.
    """
    if engine != "duckdb":
        raise CapstoneError(f"engine: {engine!r} is not one of duckdb; correct globals.yml.")
    ibis.options.sql.fuse_selects = False  # else what is named once is written out at each use
    connection = ibis.duckdb.connect()
    connection.raw_sql(resources.files(__package__).joinpath("duckdb.sql").read_text())
    return connection


def reach(engine: str, storage: Storage, keys: list[str]) -> list[str]:
    """The addresses of objects of a lake, which an engine can read from then on."""
    if keys and storage.is_remote:
        from capstone_metrics.lake import remote  # noqa: PLC0415 - boto3 is slow to import

        remote.reach(connect(engine).con, cast("Bucket", storage), keys)
    return [storage.address(key) for key in keys]


def table_of(engine: str, batches: pa.RecordBatchReader) -> ir.Table:
    """A table of the engine, filled from batches; it lasts as long as an expression uses it.

    An error of what gives the batches is raised as it is.
    """
    connection, name = connect(engine), gen_name("batches")
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


def read_parquet(
    engine: str, paths: list[str], schema: ibis.Schema, partition_by: list[str]
) -> ir.Table:
    """Hive-partitioned Parquet files as a lazy table of the schema."""
    return _read(engine, "read_parquet", tuple(paths), schema, tuple(partition_by))


def read_json_lines(
    engine: str, paths: list[str], schema: ibis.Schema, partition_by: list[str]
) -> ir.Table:
    """Hive-partitioned JSON lines as a lazy table of the schema."""
    kinds = {name: kind for name, kind in schema.items() if name not in partition_by}
    columns = f"columns = {_struct(engine, kinds)}, format = 'newline_delimited'"
    limit = f"maximum_object_size = {LONGEST_LINE}"
    return _read(engine, "read_json", tuple(paths), schema, tuple(partition_by), columns, limit)


@lru_cache(maxsize=16)
def _read(
    engine: str,
    function: str,
    paths: tuple[str, ...],
    schema: ibis.Schema,
    partition_by: tuple[str, ...],
    *options: str,
) -> ir.Table:
    """Files as a view: the same one for the same files, which each query reads anew.

    Its partition columns have their types from the start: a filter on a cast of one would have
    every file opened.
    """
    if not paths:
        return table_of(engine, schema.to_pyarrow().empty_table().to_reader())
    connection, name = connect(engine), gen_name(function)
    files = ", ".join(_quoted(path) for path in paths)
    types = _struct(engine, {column: schema[column] for column in partition_by})
    hive = f"hive_partitioning = true, hive_types = {types}"
    connection.raw_sql(
        f"CREATE TEMP VIEW {name} AS FROM {function}({', '.join([f'[{files}]', hive, *options])})"
    )
    return connection.table(name).select(*schema).cast(schema)


def _struct(engine: str, kinds: dict[str, dt.DataType]) -> str:
    name_of = connect(engine).compiler.type_mapper.to_string
    return "{" + ", ".join(f"{column}: {_quoted(name_of(t))}" for column, t in kinds.items()) + "}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


READERS = {"parquet": read_parquet, "jsonl": read_json_lines, "index": read_parquet}
