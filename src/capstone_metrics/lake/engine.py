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
    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends.duckdb import Backend


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
    if not paths:
        return table_of(engine, schema.to_pyarrow().empty_table().to_reader())
    table = connect(engine).read_parquet(paths, hive_partitioning=True, hive_types_autocast=False)
    return table.select(*schema).cast(schema)


def read_json_lines(
    engine: str, paths: list[str], schema: ibis.Schema, partition_by: list[str]
) -> ir.Table:
    """Hive-partitioned JSON lines as a lazy table of the schema."""
    if not paths:
        return table_of(engine, schema.to_pyarrow().empty_table().to_reader())
    types = {
        name: "VARCHAR[]" if kind.is_array() else "VARCHAR"
        for name, kind in schema.items()
        if name not in partition_by
    }
    table = connect(engine).read_json(
        paths,
        columns=types,
        format="newline_delimited",
        hive_partitioning=True,
        hive_types_autocast=False,
    )
    return table.select(*schema).cast(schema)


READERS = {"parquet": read_parquet, "jsonl": read_json_lines, "index": read_parquet}
