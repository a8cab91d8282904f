"""Engines: they evaluate the expressions, read the files of a lake and stage those of a commit.

An engine also implements the functions that Ibis lacks. They are declared and documented beside
the expressions that call them, in `pipelines/bronze_to_silver/functions.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis

from capstone_metrics.changes import Batch
from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends import BaseBackend

    from capstone_metrics.lake.commit import Commit
    from capstone_metrics.lake.partitions import Layout
    from capstone_metrics.lake.storage import StagedObject, Storage

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

    @abstractmethod
    def lines_of(
        self, storage: Storage, prefix: str, names: list[str]
    ) -> tuple[ir.Table, dict[str, dict[str, Any]]]:
        """Return the lines of objects of Bronze, and the statistics of each object.

        Args:
            storage: the lake.
            prefix: the prefix of Bronze, below the root.
            names: the names of the objects, below the prefix.

        Returns:
            A table of `lake.lines.SCHEMA`; and by name the result of `lake.lines.compute_stats`.
        """

    def batches_of(self, storage: Storage, prefix: str, names: list[str]) -> Iterator[Batch]:
        """Yield the lines and statistics in batches, to bound memory; all in one by default.

        The lines of a batch exist until the next one is requested.
        """
        if names:
            yield Batch(*self.lines_of(storage, prefix, names))

    @abstractmethod
    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        """Return a lazy table of files; partitions that a filter excludes are not opened."""

    @abstractmethod
    def stage(self, table: ir.Table, layout: Layout, commit: Commit) -> Iterator[StagedPartition]:
        """Stage a file for each partition of a table; the caller adds it to the commit."""


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
