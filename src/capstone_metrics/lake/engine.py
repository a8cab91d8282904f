"""Engines: they evaluate the expressions, read the files of a lake and stage those of a commit."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import ibis
import pyarrow as pa

from capstone_metrics.changes import ValidatedLines
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.lines import SCHEMA, read_lines
from capstone_metrics.lake.progress import progress
from capstone_metrics.lake.storage import translate_os_errors
from capstone_metrics.schemas import QUARANTINE, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

    from capstone_metrics.lake.commit import Commit
    from capstone_metrics.lake.partitions import Layout
    from capstone_metrics.lake.storage import StagedObject, Storage
    from capstone_metrics.validation.validator import Objects, Validator

    EngineConfig = str | Mapping[str, Any]

ENGINES = ("duckdb", "spark")


class StagedPartition(NamedTuple):
    """The staged file of a partition.

    Attributes:
        key: the key of the object to replace.
        rows: the number of its rows.
        staged_object: the file as staged by a worker; None if it is in the commit's workspace.
    """

    key: str
    rows: int
    staged_object: StagedObject | None = None


class Engine(ABC):
    """The interface of an engine with an Ibis connection."""

    connection: BaseBackend

    @abstractmethod
    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        """Load batches into a table of the engine that lasts as long as an expression uses it.

        Errors raised while reading the batches are passed on unchanged.
        """

    def lines_of(self, storage: Storage, prefix: str, names: list[str]) -> ir.Table:
        """Return the lines of objects of Bronze, as `lake.lines.SCHEMA`.

        Args:
            storage: the lake.
            prefix: the prefix of Bronze, below the root.
            names: the names of the objects, below the prefix.
        """
        lines = read_lines(open_objects(storage, prefix, names))
        return self.table_of(pa.RecordBatchReader.from_batches(SCHEMA, lines))

    def validate(
        self, storage: Storage, prefix: str, names: list[str], validator: Validator
    ) -> ValidatedLines:
        """Return the validated lines of objects of Bronze, by default read in this process.

        Args:
            storage: the lake.
            prefix: the prefix of Bronze, below the root.
            names: the names of the objects, below the prefix.
            validator: validates the lines.
        """
        return self.validate_here(open_objects(storage, prefix, names), validator)

    def validate_here(self, objects: Objects, validator: Validator) -> ValidatedLines:
        """Return the validated lines of objects, which are read in this process.

        Args:
            objects: for each its name, and a function that opens it.
            validator: validates the lines.
        """
        accepted, rejected = [self.table_of(_no_rows(ROWS))], [self.table_of(_no_rows(QUARANTINE))]
        receipts: dict[str, dict[str, Any]] = {}
        for batch in validator.validate(objects):
            for rows, tables in ((batch.accepted, accepted), (batch.rejected, rejected)):
                if rows.num_rows:
                    tables.append(self.table_of(rows.to_reader()))
            receipts |= {result.origin.objeto: result.receipt() for result in batch.objects}
        return ValidatedLines(ibis.union(*accepted), ibis.union(*rejected), receipts)

    @abstractmethod
    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        """Return a lazy table of files; partitions that a filter excludes are not opened."""

    @abstractmethod
    def stage(self, table: ir.Table, layout: Layout, commit: Commit) -> Iterator[StagedPartition]:
        """Stage a file for each partition of a table; the caller adds it to the commit."""


def open_objects(storage: Storage, prefix: str, names: Iterable[str]) -> Objects:
    """Yield the name of each object of Bronze, and a function that opens it.

    Args:
        storage: the lake.
        prefix: the prefix of Bronze, below the root.
        names: the names of the objects, below the prefix.
    """
    for name in progress(list(names), "Reading Bronze"):
        yield name, partial(_open, storage, f"{prefix}/{name}")


@contextlib.contextmanager
def _open(storage: Storage, key: str) -> Iterator[IO[bytes]]:
    """Open an object; an error while it is read names its path."""
    with storage.open(key) as file, translate_os_errors(Path(getattr(file, "name", None) or key)):
        yield file


def _no_rows(schema: ibis.Schema) -> pa.RecordBatchReader:
    return schema.to_pyarrow().empty_table().to_reader()


def engine_of(config: EngineConfig) -> Engine:
    """Return the engine of a configuration; there is one of each in a process.

    Args:
        config: `duckdb` or `spark`; or a mapping with this as `name` and the session `options`.

    Raises:
        CapstoneError: if the configuration is invalid or the engine unknown.
    """
    entry: dict[str, Any] = dict(config) if isinstance(config, Mapping) else {"name": config}
    name, options = entry.pop("name", None), entry.pop("options", None) or {}
    if name not in ENGINES or entry:
        raise CapstoneError(
            f"engine: {config!r} is not one of {', '.join(ENGINES)}, nor a mapping with one "
            "of these as 'name' and 'options'; correct globals.yml."
        )
    return _engine(name, tuple((str(option), str(value)) for option, value in options.items()))


@cache
def _engine(name: str, options: tuple[tuple[str, str], ...]) -> Engine:
    ibis.options.sql.fuse_selects = False  # else shared subexpressions are repeated at each use
    if name == "spark":
        from capstone_metrics.lake.spark_engine import SparkEngine  # noqa: PLC0415 - an optional extra

        return SparkEngine(dict(options))
    from capstone_metrics.lake.duckdb_engine import DuckDBEngine  # noqa: PLC0415 - it imports this module

    return DuckDBEngine(dict(options))
