"""The Spark engine: the active session, or a new one.

Bronze is read and files are staged on the workers, so they need this package.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import ibis
import ibis.expr.operations as ops
import pyarrow as pa
from ibis.formats.pyarrow import PyArrowData
from ibis.util import gen_name

from capstone_metrics import errors
from capstone_metrics.changes import ValidatedLines
from capstone_metrics.engines.base import Engine, open_objects
from capstone_metrics.engines.java import provide_java
from capstone_metrics.engines.lines import SCHEMA, read_lines
from capstone_metrics.errors import ConfigError, EngineError, StorageError
from capstone_metrics.storage import storage_of
from capstone_metrics.storage.base import StagedObject
from capstone_metrics.storage.folder import Folder

try:
    from ibis.backends.pyspark import Backend
    from ibis.backends.pyspark.datatypes import PySparkSchema
    from py4j.protocol import Py4JError
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
except ImportError as error:
    raise ConfigError(
        f"engine: spark needs the extra 'spark' of this package, which is not installed ({error}); "
        "install it, or set engine: duckdb in globals.yml."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import ibis.expr.types as ir
    from pyspark.sql import DataFrame

    from capstone_metrics.engines.base import Changes
    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.storage.base import Storage
    from capstone_metrics.storage.bucket import Bucket
    from capstone_metrics.validation.validator import Objects, Validator

REQUIRED_OPTIONS = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}
"""Options that the expressions require of any session."""

APP_OPTIONS = {"spark.app.name": "capstone-metrics", "spark.ui.showConsoleProgress": "false"}
"""Options that override the options of `spark-submit`, but not the options of the engine."""

LOCAL_OPTIONS = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "4",
}
"""Defaults of a session with a local master."""

DEFAULT_TASKS = 200
"""The default number of shuffle partitions in Spark."""

DEFAULT_CONNECT_PORT = 15002
"""The port of a Connect server whose URL has none."""

CONNECT_TIMEOUT_SECONDS = 10

WORKER_ERROR = re.compile(r"^capstone_metrics\.errors\.(\w+Error): (.+)$", re.MULTILINE)
"""The last line of a worker's traceback that ends with a `CapstoneError`: its class and message."""


def _in_utc(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a column is passed to Spark: timestamps are in UTC."""
    return pa.timestamp("us", "UTC") if pa.types.is_timestamp(kind) else kind


STAGED_SCHEMA = pa.schema(
    {
        "key": pa.string(),
        "rows": pa.int64(),
        "staged_key": pa.string(),
        "digest": pa.string(),
        "size": pa.int64(),
    }
)


class Connection(Backend):  # type: ignore[misc]
    """The backend of Ibis, with Arrow in place of pandas, where a null makes integers floats."""

    def to_frame(self, expression: ir.Table, **options: Any) -> DataFrame:
        """Return an expression as a data frame of Spark."""
        self._run_pre_execute_hooks(expression)
        return self._session.sql(self.compile(expression, **options))

    def register_rows(self, name: str, table: pa.Table, schema: ibis.Schema) -> None:
        """Create a view of the rows of a table."""
        kinds = pa.schema([(field.name, _in_utc(field.type)) for field in schema.to_pyarrow()])
        # Spark stops at an empty batch, and at a table without any
        rows = table.cast(kinds).combine_chunks() if len(table) else []
        frame = self._session.createDataFrame(rows, PySparkSchema.from_ibis(schema))
        frame.createOrReplaceTempView(name)

    def view_table(self, name: str, schema: ibis.Schema) -> ir.Table:
        """Return a view as a table of a schema: Spark does not say if a timestamp has a zone."""
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
        """Execute an expression, and return its result as Arrow."""
        table = expr.as_table()
        with _translate_worker_errors():
            result = self.to_frame(table, params=params, limit=limit).toArrow()
        return expr.__pyarrow_result__(PyArrowData.convert_table(result, table.schema()))

    def _create_cached_table(self, name: str, expr: ir.Table) -> ir.Table:
        """Cache the result of an expression if possible; otherwise each use evaluates it again."""
        frame = self.to_frame(expr)
        with contextlib.suppress(PySparkException):  # serverless compute has no cache
            frame = self._cached_dataframes[name] = frame.cache()
        frame.createTempView(name)
        return self.view_table(name, expr.schema())

    def _drop_cached_table(self, name: str) -> None:
        # a Connect session may be closed, or not find files that the table was read from
        with contextlib.suppress(RuntimeError, PySparkException):
            self._session.catalog.dropTempView(name)
            if frame := self._cached_dataframes.pop(name, None):
                frame.unpersist()

    def _register_in_memory_table(self, op: Any) -> None:
        self.register_rows(op.name, op.data.to_pyarrow(op.schema), op.schema)


class SparkEngine(Engine):
    """A session of Spark, classic or Connect.

    Args:
        options: options of a new session, such as `spark.master` or `spark.remote`.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.session = SparkSession.getActiveSession() or _new_session(options)
        for option, value in REQUIRED_OPTIONS.items():
            self.session.conf.set(option, value)
        Connection.register_options()
        self.connection = Connection()
        self.connection.do_connect(self.session)

    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        name = gen_name("batches")
        table = batches.read_all()
        schema = ibis.Schema.from_pyarrow(table.schema)
        self.connection.register_rows(name, table, schema)
        return self._view(name, schema)

    def _view(self, name: str, schema: ibis.Schema) -> ir.Table:
        table = self.connection.view_table(name, schema)
        # at the end of the process the session is closed first, with all its views
        weakref.finalize(table.op(), self.session.catalog.dropTempView, name).atexit = False
        return table

    def lines_of(self, storage: Storage, prefix: str, names: list[str]) -> ir.Table:
        if not names:
            return self.table_of(SCHEMA.empty_table().to_reader())
        lines = partial(_lines, _storage_config(storage), prefix, names)
        return self._map(lines, names, SCHEMA)

    def _map(self, function: Callable[..., Any], names: list[str], schema: pa.Schema) -> ir.Table:
        """Return a view of the rows that a function yields on workers for the indices of names."""
        name = gen_name("mapped")
        task_count = min(self._default_tasks(), len(names))
        tasks = self.session.range(0, len(names), 1, task_count)
        tasks.mapInArrow(function, _spark(schema)).createOrReplaceTempView(name)
        return self._view(name, ibis.Schema.from_pyarrow(schema))

    def validate(
        self, storage: Storage, prefix: str, names: list[str], validator: Validator
    ) -> ValidatedLines:
        function = partial(_validate, _storage_config(storage), prefix, names, validator)
        structs = {name: pa.struct(list(each)) for name, each in validator.schemas.items()}
        schema = pa.schema({**structs, "receipt": pa.string()})
        validated = self._map(function, names, schema).cache()
        accepted, observed, rejected, receipts = (
            validated.filter(validated[part].notnull())[part] for part in schema.names
        )
        documents = map(json.loads, receipts.to_pyarrow().to_pylist())
        objects = {document.pop("object"): document for document in documents}
        return ValidatedLines(accepted.lift(), observed.lift(), rejected.lift(), objects)

    def _default_tasks(self) -> int:
        """Return in how many tasks names are split: the shuffle partitions of the session.

        Starting a Python task takes 0.1 s.
        """
        partitions = self.session.conf.get("spark.sql.shuffle.partitions", "")
        is_number = partitions and partitions.isdigit()  # Databricks also has "auto"
        return int(partitions) if is_number else DEFAULT_TASKS

    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        schema = layout.schema
        name = gen_name(layout.format)
        if not keys:
            return self.table_of(schema.to_pyarrow().empty_table().to_reader())
        reader = self.session.read.schema(PySparkSchema.from_ibis(schema))
        # Spark reuses its cache for the same files even if they changed; a unique option makes
        # each read distinct
        reader = reader.options(
            basePath=_address(storage, layout.prefix), read=uuid4().hex, **_hadoop(storage)
        )
        paths = [_address(storage, key) for key in keys]
        with _translate_errors(f"Spark cannot read {layout.prefix} of {storage.root}."):
            if layout.format == "jsonl":
                frame = reader.json(paths, lineSep="\n", mode="FAILFAST", encoding="UTF-8")
            else:
                frame = reader.parquet(*paths)
        for column, values in _misread(keys, layout).items():
            frame = frame.replace(values, subset=[column])
        frame.select(*schema).createOrReplaceTempView(name)
        return self._view(name, schema)

    def stage(self, table: ir.Table, layout: Layout, changes: Changes) -> Iterator[tuple[str, int]]:
        config = _storage_config(changes.storage)
        partitioned = self.connection.to_frame(table).repartition(*layout.partition_by)
        staged = partitioned.sortWithinPartitions(*layout.order).mapInArrow(
            partial(_stage_partitions, config, changes.prefix, layout), _spark(STAGED_SCHEMA)
        )
        with _translate_worker_errors():
            rows_of_keys = staged.collect()
        for key, rows, *staged_object in rows_of_keys:
            changes.add(key, StagedObject(*staged_object))
            yield key, rows


def _new_session(options: Mapping[str, str]) -> SparkSession:
    """Start a session from the options, the environment, or else on this machine."""
    is_remote = "spark.remote" in options or "SPARK_REMOTE" in os.environ
    if is_remote:
        _check_connect_server(options.get("spark.remote") or os.environ["SPARK_REMOTE"])
    if is_remote or "DATABRICKS_RUNTIME_VERSION" in os.environ:
        return SparkSession.builder.config(map=dict(options)).getOrCreate()
    provide_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # otherwise any python3 on PATH
    with _translate_errors(
        "Spark found no Java that it can start; install one, or the extra 'java'."
    ):
        SparkContext._ensure_initialized(conf=SparkConf().setAll(list(options.items())))
    preset = dict(SparkConf().getAll())  # including spark-submit and spark-defaults.conf
    session_options = {**APP_OPTIONS, **options}
    master = preset["spark.master"]
    if master.startswith("local"):
        folder = tempfile.mkdtemp(prefix="capstone-spark-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        defaults = {**LOCAL_OPTIONS, "spark.sql.warehouse.dir": folder}
        session_options |= {name: value for name, value in defaults.items() if name not in preset}
    with _translate_errors(
        f"Spark did not start with the master {master}; correct 'spark.master'."
    ):
        return SparkSession.builder.config(map=session_options).getOrCreate()


@contextlib.contextmanager
def _translate_errors(message: str) -> Iterator[None]:
    """Translate errors of Spark to a message with the next step."""
    try:
        yield
    except (Py4JError, PySparkException) as error:
        lines = [
            line for line in str(error).splitlines() if line and " occurred while " not in line
        ]
        raise EngineError(f"{message} Spark reported: {lines[0].lstrip(': ')}") from error


@contextlib.contextmanager
def _translate_worker_errors() -> Iterator[None]:
    """Raise the `CapstoneError` that a worker raised, which arrives as the text of a traceback."""
    try:
        yield
    except (Py4JError, PySparkException) as error:
        if match := WORKER_ERROR.search(str(error)):
            name, message = match.groups()
            raise getattr(errors, name)(message) from error
        raise


def _check_connect_server(url: str) -> None:
    """Raise an error if a Connect server is unreachable: its client would retry for minutes."""
    parts = urlsplit(url)
    try:
        address = (parts.hostname or "", parts.port or DEFAULT_CONNECT_PORT)
        socket.create_connection(address, CONNECT_TIMEOUT_SECONDS).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            f"Spark Connect: no server answers at sc://{parts.netloc} ({error}); correct "
            "SPARK_REMOTE or 'spark.remote' in globals.yml, or start the server, and run again."
        ) from error


def _spark(schema: pa.Schema) -> Any:
    return PySparkSchema.from_ibis(ibis.Schema.from_pyarrow(schema))


def _storage_config(storage: Storage) -> dict[str, str | None]:
    """Return the configuration with which a worker opens the same storage."""
    if isinstance(storage, Folder):
        return {"url": str(storage.folder.resolve())}
    return {name: getattr(storage, name, None) for name in ("region", "endpoint_url")} | {
        "url": storage.root
    }


def _address(storage: Storage, key: str) -> str:
    """Return the URL of an object, as Hadoop reads it."""
    if isinstance(storage, Folder):
        return f"file://{storage.path(key).resolve()}"
    return storage.address(key).replace("s3://", "s3a://", 1)


def _hadoop(storage: Storage) -> dict[str, str]:
    """Return the options by which s3a goes where boto3 goes.

    Raises:
        StorageError: if it cannot.
    """
    if isinstance(storage, Folder):
        return {}
    place = cast("Bucket", storage).place
    if place.folder:
        raise StorageError(
            f"{storage.root}: Spark reads no store below a path, as {place.url}; set an endpoint "
            "without one, or engine: duckdb in globals.yml."
        )
    return place.s3a_options


def _misread(keys: list[str], layout: Layout) -> dict[str, dict[str, str]]:
    """Return, for each partition column, the values that Spark misreads, with the correct ones.

    Spark decodes the names of folders as Latin-1, and not as UTF-8.
    """
    corrections: dict[str, dict[str, str]] = {}
    for key in keys:
        for folder in key.removeprefix(f"{layout.prefix}/").split("/")[:-1]:
            column, _, value = folder.partition("=")
            misread = unquote(value, encoding="latin-1")
            if misread != unquote(value):
                corrections.setdefault(column, {})[misread] = unquote(value)
    return corrections


def _lines(
    config: Mapping[str, str | None],
    prefix: str,
    names: list[str],
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yield the lines of objects; runs on a worker."""
    yield from read_lines(_objects(config, prefix, names, batches))


def _objects(
    config: Mapping[str, str | None],
    prefix: str,
    names: list[str],
    batches: Iterator[pa.RecordBatch],
) -> Objects:
    """Yield the objects whose index is in the batches; runs on a worker."""
    own = [names[index] for batch in batches for index in batch.column(0).to_pylist()]
    return open_objects(storage_of(config), prefix, own)


def _validate(
    config: Mapping[str, str | None],
    prefix: str,
    names: list[str],
    validator: Validator,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Yield the validated lines and the receipts of objects; runs on a worker.

    In each row one of the columns has a value: a line as a struct, or a receipt.
    """
    for validated in validator.validate(_objects(config, prefix, names, batches), threads=1):
        receipts = [
            json.dumps({"object": result.origin.objeto, **result.receipt()})
            for result in validated.objects
        ]
        parts = {
            "accepted": _structs(validated.accepted),
            "observed": _structs(validated.observed),
            "rejected": _structs(validated.rejected),
            "receipt": pa.array(receipts, pa.string()),
        }
        for part, rows in parts.items():
            columns = {
                name: rows if name == part else pa.nulls(len(rows), other.type)
                for name, other in parts.items()
            }
            yield pa.RecordBatch.from_pydict(columns)


def _structs(rows: pa.Table) -> pa.Array:
    kinds = pa.schema([(field.name, _in_utc(field.type)) for field in rows.schema])
    return rows.cast(kinds).to_struct_array().combine_chunks()


def _stage_partitions(
    config: Mapping[str, str | None],
    prefix: str,
    layout: Layout,
    batches: Iterator[pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    """Stage the file of each partition under a prefix; runs on a worker, possibly twice."""
    storage = storage_of(config)
    kinds = layout.schema.to_pyarrow()
    for key, part in layout.parts(batch.cast(kinds) for batch in batches):
        staged = storage.stage(prefix, layout.encode(part))
        row = {
            "key": key,
            "rows": part.num_rows,
            "staged_key": staged.key,
            "digest": staged.digest,
            "size": staged.size,
        }
        yield pa.RecordBatch.from_pylist([row], STAGED_SCHEMA)
