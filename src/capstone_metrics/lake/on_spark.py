"""Spark as the engine: the session that exists, or one of this machine's own.

What reads Bronze and writes the staged files runs on the workers, so these need this package.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import sys
import tempfile
import weakref
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import ibis
import ibis.expr.operations as ops
import pyarrow as pa
from ibis.formats.pyarrow import PyArrowData
from ibis.util import gen_name

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.engine import Engine, Staged
from capstone_metrics.lake.folder import Folder
from capstone_metrics.lake.java import provide_java
from capstone_metrics.lake.lines import SCHEMA, blocks_of, line_batches, measure
from capstone_metrics.lake.spark_functions import FUNCTIONS
from capstone_metrics.lake.storage import Shared, storage_of

try:
    from ibis.backends.pyspark import Backend
    from ibis.backends.pyspark.datatypes import PySparkSchema, PySparkType
    from ibis.backends.sql.compilers.pyspark import PySparkCompiler
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
except ImportError as error:
    raise CapstoneError(
        f"engine: spark needs the extra 'spark' of this package, which is not installed ({error}); "
        "install it, or set engine: duckdb in globals.yml."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import ibis.expr.types as ir
    from pyspark.sql import DataFrame

    from capstone_metrics.lake.commit import Commit
    from capstone_metrics.lake.partitions import Layout
    from capstone_metrics.lake.storage import Storage

MEANING = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
"""What the expressions rely on, whoever made the session."""

OWN = {"spark.app.name": "capstone-metrics", "spark.ui.showConsoleProgress": "false"}
"""What `spark-submit` names otherwise, and no option."""

OF_THIS_MACHINE = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "4",
}
"""A session whose master is local, where nothing says otherwise."""

TASKS = 200
"""In how many tasks Spark shuffles unless told."""

TASK_BYTES = 1 << 26
"""Bytes of Bronze for which there is a task, where there are more than the session shuffles in."""

CONNECT_PORT = 15002
"""Where a Connect server listens if its URL names no port."""

SECONDS_TO_ANSWER = 10

MEASURES = pa.schema(
    {"name": pa.string(), "lines": pa.int64(), "bytes": pa.int64(), "sha256": pa.string()}
)
STAGED = pa.schema(
    {
        "key": pa.string(),
        "rows": pa.int64(),
        "place": pa.string(),
        "version": pa.string(),
        "size": pa.int64(),
    }
)


class Compiler(PySparkCompiler):  # type: ignore[misc]
    """Ibis's own, with a function whose type no function of a session can have: any struct."""

    __slots__ = ()

    def visit_ScalarUDF(self, op: Any, **arguments: Any) -> Any:  # noqa: N802 - Ibis's name
        """`json_values` by Spark's own function, which has to read the types in its call."""
        if op.__func_name__ != "json_values":
            return super().visit_ScalarUDF(op, **arguments)
        line, *_ = arguments.values()
        fields = (
            f"`{name.replace('`', '``')}` {PySparkType.from_ibis(kind).simpleString()}"
            for name, kind in op.dtype.items()
        )
        return self.f.from_json(line, ", ".join(fields))


class Connection(Backend):  # type: ignore[misc]
    """Ibis's own, with Arrow where it goes by pandas, which makes a float of a null."""

    compiler = Compiler()

    def frame(self, expression: ir.Table, **how: Any) -> DataFrame:
        """What an expression says, for Spark."""
        self._run_pre_execute_hooks(expression)
        return self._session.sql(self.compile(expression, **how))

    def fill(self, name: str, table: pa.Table, schema: ibis.Schema) -> None:
        """Have a view hold the rows of a table."""
        kinds = pa.schema([(field.name, _in_utc(field.type)) for field in schema.to_pyarrow()])
        whole = table.cast(kinds).combine_chunks()  # Spark stops at an empty batch
        frame = self._session.createDataFrame(whole, PySparkSchema.from_ibis(schema))
        frame.createOrReplaceTempView(name)

    def named(self, name: str, schema: ibis.Schema) -> ir.Table:
        """The table of a view. Of a time, Spark does not tell whether its zone is UTC or none."""
        return ops.DatabaseTable(name=name, schema=schema, source=self).to_expr()

    def to_pyarrow(
        self,
        expr: ir.Expr,
        /,
        *,
        params: Mapping[ir.Scalar, Any] | None = None,
        limit: int | str | None = None,
        **_: Any,
    ) -> Any:
        """The value of an expression."""
        table = expr.as_table()
        found = self.frame(table, params=params, limit=limit).toArrow()
        return expr.__pyarrow_result__(PyArrowData.convert_table(found, table.schema()))

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        """Keep what an expression gives, where that is possible; else it is worked out anew."""
        frame = self.frame(expr)
        with contextlib.suppress(PySparkException):  # serverless compute keeps nothing
            frame = self._cached_dataframes[name] = frame.cache()
        frame.createTempView(name)
        return self.named(name, expr.schema())

    def _drop_cached_table(self, name: str) -> None:
        # a Connect session may be closed, and looks anew for what the table was made of
        with contextlib.suppress(RuntimeError, PySparkException):
            self._session.catalog.dropTempView(name)
            if frame := self._cached_dataframes.pop(name, None):
                frame.unpersist()

    def _register_in_memory_table(self, op: Any) -> None:
        self.fill(op.name, op.data.to_pyarrow(op.schema), op.schema)


class OnSpark(Engine):
    """A session of Spark, classic or Connect.

    Args:
        options: of the session, where it is still to be made: `spark.master`, `spark.remote`, …
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.session = SparkSession.getActiveSession() or _new_session(options)
        for option, value in MEANING.items():
            self.session.conf.set(option, value)
        Connection.register_options()
        self.connection = Connection()
        self.connection.do_connect(self.session)
        for function, kind in FUNCTIONS.items():
            self.session.udf.register(function.__name__, function, kind)
        functions = resources.files(__package__).joinpath("spark.sql").read_text()
        for statement in functions.split(";\n"):
            if statement.strip():
                self.session.sql(statement)

    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        name, table = gen_name("batches"), batches.read_all()
        schema = ibis.Schema.from_pyarrow(table.schema)
        self.connection.fill(name, table, schema)
        return self._view(name, schema)

    def _view(self, name: str, schema: ibis.Schema) -> ir.Table:
        table = self.connection.named(name, schema)
        # at the end of the process the session goes first, and all its views with it
        weakref.finalize(table.op(), self.session.catalog.dropTempView, name).atexit = False
        return table

    def lines_of(
        self, storage: Storage, prefix: str, names: list[str]
    ) -> tuple[ir.Table, dict[str, dict[str, Any]]]:
        if not names:
            return self.table_of(SCHEMA.empty_table().to_reader()), {}
        told, width = _told(storage), self._width()
        tasks = self.session.range(0, len(names), 1, min(width, len(names)))
        counted = tasks.mapInArrow(partial(_measured, told, prefix, names), _spark(MEASURES))
        found = {row.pop("name"): row for row in counted.toArrow().to_pylist()}
        width = max(width, sum(measure["bytes"] for measure in found.values()) // TASK_BYTES)
        tasks = self.session.range(0, len(names), 1, min(width, len(names)))
        name = gen_name("lines")
        lines = tasks.mapInArrow(partial(_lines, told, prefix, names), _spark(SCHEMA))
        lines.createOrReplaceTempView(name)
        return self._view(name, ibis.Schema.from_pyarrow(SCHEMA)), found

    def _width(self) -> int:
        """In how many tasks the session shuffles. A Python worker takes 0.1 s to begin a task."""
        said = self.session.conf.get("spark.sql.shuffle.partitions", "")
        return int(said) if said and said.isdigit() else TASKS  # Databricks has "auto", too

    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        schema, name = layout.schema, gen_name(layout.format)
        if not keys:
            return self.table_of(schema.to_pyarrow().empty_table().to_reader())
        reader = self.session.read.schema(PySparkSchema.from_ibis(schema))
        # Spark takes what it cached for the same files, whatever is in them by now; each read has
        # a name, so no two are the same
        reader = reader.options(
            basePath=_address(storage, layout.prefix), read=uuid4().hex, **_hadoop(storage)
        )
        paths = [_address(storage, key) for key in keys]
        with _explained(f"Spark cannot read {layout.prefix} of {storage.root}."):
            if layout.format == "jsonl":
                frame = reader.json(paths, lineSep="\n", mode="FAILFAST", encoding="UTF-8")
            else:
                frame = reader.parquet(*paths)
        for column, values in _misread(keys, layout).items():
            frame = frame.replace(values, subset=[column])
        frame.select(*schema).createOrReplaceTempView(name)
        return self._view(name, schema)

    def stage(self, table: ir.Table, layout: Layout, commit: Commit) -> Iterator[Staged]:
        told = _told(commit.storage)
        apart = self.connection.frame(table).repartition(*layout.partition_by)
        staged = apart.sortWithinPartitions(*layout.order).mapInArrow(
            partial(_staged, told, commit.shared, layout), _spark(STAGED)
        )
        for key, rows, *shared in staged.collect():
            yield Staged(key, rows, Shared(*shared))


def _new_session(options: Mapping[str, str]) -> SparkSession:
    """A session from the options, or from the environment, or a local one."""
    is_remote = "spark.remote" in options or "SPARK_REMOTE" in os.environ
    if is_remote:
        _check_answers(options.get("spark.remote") or os.environ["SPARK_REMOTE"])
    if is_remote or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return SparkSession.builder.config(map=dict(options)).getOrCreate()
    provide_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else any python3 of the path
    with _explained("Spark found no Java that it can start; install one, or the extra 'java'."):
        SparkContext._ensure_initialized(conf=SparkConf().setAll(list(options.items())))
    said = dict(SparkConf().getAll())  # with what spark-submit and spark-defaults.conf say
    settled, master = {**OWN, **options}, said["spark.master"]
    if master.startswith("local"):
        folder = tempfile.mkdtemp(prefix="capstone-spark-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        own = {**OF_THIS_MACHINE, "spark.sql.warehouse.dir": folder}
        settled |= {name: value for name, value in own.items() if name not in said}
    with _explained(f"Spark did not start with the master {master}; correct 'spark.master'."):
        return SparkSession.builder.config(map=settled).getOrCreate()


@contextlib.contextmanager
def _explained(sentence: str) -> Iterator[None]:
    """Say what to do about an error of Spark's."""
    try:
        yield
    except (Py4JError, PySparkException) as error:
        lines = [
            line for line in str(error).splitlines() if line and " occurred while " not in line
        ]
        raise CapstoneError(f"{sentence} It said: {lines[0].lstrip(': ')}") from error


def _check_answers(url: str) -> None:
    """Refuse a Connect server that is not there: its client would try for many minutes."""
    place = urlsplit(url)
    try:
        address = (place.hostname or "", place.port or CONNECT_PORT)
        socket.create_connection(address, SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise CapstoneError(
            f"Spark Connect: nobody answers at sc://{place.netloc} ({error}); correct SPARK_REMOTE "
            "or 'spark.remote' in globals.yml, or start the server, and run again."
        ) from error


def _spark(schema: pa.Schema) -> Any:
    return PySparkSchema.from_ibis(ibis.Schema.from_pyarrow(schema))


def _in_utc(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind


def _told(storage: Storage) -> dict[str, str | None]:
    """What makes the same storage on a worker."""
    if isinstance(storage, Folder):
        return {"url": str(storage.folder.resolve())}
    return {name: getattr(storage, name, None) for name in ("region", "endpoint_url")} | {
        "url": storage.root
    }


def _address(storage: Storage, key: str) -> str:
    """Where an object lies, as Hadoop reads it."""
    if isinstance(storage, Folder):
        return f"file://{storage.path(key).resolve()}"
    return storage.address(key).replace("s3://", "s3a://", 1)


def _hadoop(storage: Storage) -> dict[str, str]:
    """What leads Hadoop's s3a to a store that is not AWS's."""
    endpoint = getattr(storage, "endpoint", None)
    return {"fs.s3a.endpoint": endpoint, "fs.s3a.path.style.access": "true"} if endpoint else {}


def _misread(keys: list[str], layout: Layout) -> dict[str, dict[str, str]]:
    """By column, the values of folders that Spark misreads: it takes each byte for a character."""
    found: dict[str, dict[str, str]] = {}
    for key in keys:
        for folder in key.removeprefix(f"{layout.prefix}/").split("/")[:-1]:
            column, _, value = folder.partition("=")
            read = unquote(value, encoding="latin-1")
            if read != unquote(value):
                found.setdefault(column, {})[read] = unquote(value)
    return found


def _measured(
    told: Mapping[str, str | None], prefix: str, names: list[str], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """On a worker: the measure of each object."""
    for name, file in _objects(told, prefix, names, batches):
        yield pa.RecordBatch.from_pylist([{"name": name, **measure(file)}], MEASURES)


def _lines(
    told: Mapping[str, str | None], prefix: str, names: list[str], batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """On a worker: the lines of each object."""
    for name, file in _objects(told, prefix, names, batches):
        yield from line_batches(name, blocks_of(file))


def _objects(
    told: Mapping[str, str | None], prefix: str, names: list[str], batches: Iterator[pa.RecordBatch]
) -> Iterator[tuple[str, IO[bytes]]]:
    """On a worker: the name and the bytes of each object whose number is in a task's batches."""
    storage = storage_of(told)
    for batch in batches:
        for at in batch.column(0).to_pylist():
            with storage.open(f"{prefix}/{names[at]}") as file:
                yield names[at], file


def _staged(
    told: Mapping[str, str | None],
    prefix: str,
    layout: Layout,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """On a worker: the file of each partition, staged below a prefix. A task may be run twice."""
    storage, kinds = storage_of(told), layout.schema.to_pyarrow()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, layout.leaf)
        for key, part in layout.parts(batch.cast(kinds) for batch in batches):
            layout.write(part, file)
            place, content = f"{prefix}/{key}", file.read_bytes()
            row = {
                "key": key,
                "rows": part.num_rows,
                "place": place,
                "version": storage.overwrite(place, content),
                "size": len(content),
            }
            yield pa.RecordBatch.from_pylist([row], STAGED)
