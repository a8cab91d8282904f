"""What evaluates the expressions, reads the files of a lake and writes those of a commit.

An engine also gives the functions that Ibis lacks. They are declared, with their meaning, beside
the expressions that call them, in `pipelines/bronze_to_silver/functions.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import ibis

from capstone_metrics.changes import Lot
from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import pyarrow as pa
    from ibis.backends import BaseBackend

    from capstone_metrics.lake.commit import Commit
    from capstone_metrics.lake.partitions import Layout
    from capstone_metrics.lake.storage import Shared, Storage

    Said = str | Mapping[str, Any]

ENGINES = ("duckdb", "spark")


class Staged(NamedTuple):
    """The file of a partition.

    Attributes:
        key: of the object that it is to be.
        rows: in it.
        shared: where it is, if not in the commit's workspace.
    """

    key: str
    rows: int
    shared: Shared | None = None


class Engine(ABC):
    """An engine behind a connection of Ibis. The lake needs no more of it than this."""

    connection: BaseBackend

    @abstractmethod
    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        """A table of the engine, filled from batches; it lasts as long as an expression uses it.

        An error of what gives the batches is raised as it is.
        """

    @abstractmethod
    def lines_of(
        self, storage: Storage, prefix: str, names: list[str]
    ) -> tuple[ir.Table, dict[str, dict[str, Any]]]:
        """The lines of some objects of Bronze, and the measure of each, counted from its bytes.

        Args:
            storage: the lake.
            prefix: of Bronze, below its root.
            names: of the objects, below the prefix.

        Returns:
            A table of `lake.lines.SCHEMA`; and by name what `lake.lines.measure` says.
        """

    def lots_of(self, storage: Storage, prefix: str, names: list[str]) -> Iterator[Lot]:
        """The same in lots, one after the other, where the engine has no room for all lines.

        The lines of a lot are there until the next one is asked for.
        """
        if names:
            yield Lot(*self.lines_of(storage, prefix, names))

    @abstractmethod
    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        """The files of a table, lazily; those of partitions that a filter rules out stay shut."""

    @abstractmethod
    def stage(self, table: ir.Table, layout: Layout, commit: Commit) -> Iterator[Staged]:
        """Stage a file for each partition of a table. The caller puts it into the commit."""


def engine_of(said: Said) -> Engine:
    """The engine of a name; one for the life of the process.

    Args:
        said: `duckdb`, `spark`; or this as `name` beside the `options` of its session.

    Raises:
        CapstoneError: for an engine that the platform does not know.
    """
    entry: dict[str, Any] = dict(said) if isinstance(said, Mapping) else {"name": said}
    name, options = entry.pop("name", None), entry.pop("options", None) or {}
    if name not in ENGINES or entry:
        raise CapstoneError(
            f"engine: {said!r} is not one of {', '.join(ENGINES)}, nor one of these as a name "
            "beside options; correct globals.yml."
        )
    return _engine(name, tuple((str(option), str(value)) for option, value in options.items()))


@cache
def _engine(name: str, options: tuple[tuple[str, str], ...]) -> Engine:
    ibis.options.sql.fuse_selects = False  # else what is named once is written out at each use
    if name == "spark":
        from capstone_metrics.lake.on_spark import OnSpark  # noqa: PLC0415 - an optional extra

        return OnSpark(dict(options))
    from capstone_metrics.lake.on_duckdb import OnDuckDB  # noqa: PLC0415 - it imports this module

    return OnDuckDB(dict(options))
