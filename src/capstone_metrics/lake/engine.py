"""What evaluates the expressions: a connection, and the functions that Ibis lacks.

The functions are declared, with their meaning, beside the expressions that call them, in
`pipelines/bronze_to_silver/functions.py`.
"""

from __future__ import annotations

import weakref
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import ibis
from ibis.util import gen_name

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    import ibis.expr.datatypes as dt
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.duckdb import Backend


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


def table_of(engine: str, batches: pa.RecordBatchReader) -> ir.Table:
    """A table of the engine, filled from batches; it lasts as long as an expression uses it."""
    connection, name = connect(engine), gen_name("batches")
    connection.con.register("incoming", batches)
    connection.raw_sql(f"CREATE TEMP TABLE {name} AS FROM incoming")
    connection.con.unregister("incoming")
    table = connection.table(name)
    weakref.finalize(table.op(), connection.drop_table, name, force=True)
    return table


def read_parquet(
    engine: str, paths: list[str], schema: ibis.Schema, partition_by: list[str]
) -> ir.Table:
    """Hive-partitioned Parquet files as a lazy table of the schema."""
    return _read(engine, "read_parquet", paths, schema, partition_by)


def read_json_lines(
    engine: str, paths: list[str], schema: ibis.Schema, partition_by: list[str]
) -> ir.Table:
    """Hive-partitioned JSON lines as a lazy table of the schema."""
    kinds = {name: kind for name, kind in schema.items() if name not in partition_by}
    columns = f"columns = {_struct(engine, kinds)}, format = 'newline_delimited'"
    limit = f"maximum_object_size = {LONGEST_LINE}"
    return _read(engine, "read_json", paths, schema, partition_by, columns, limit)


def _read(
    engine: str,
    function: str,
    paths: list[str],
    schema: ibis.Schema,
    partition_by: list[str],
    *options: str,
) -> ir.Table:
    """Files as a view.

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
