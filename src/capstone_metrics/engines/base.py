"""The interface of engines: they evaluate expressions, and read and stage the files of a lake."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections import Counter
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import ibis
import pyarrow as pa

from capstone_metrics.changes import ValidatedLines
from capstone_metrics.engines.lines import SCHEMA, read_lines
from capstone_metrics.progress import progress
from capstone_metrics.schemas import DAYS
from capstone_metrics.storage.base import translate_os_errors

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

    import ibis.expr.types as ir
    from ibis.backends import BaseBackend

    from capstone_metrics.engines.layout import Layout
    from capstone_metrics.storage.base import StagedObject, Storage
    from capstone_metrics.validation.validator import Objects, Validator


class Changes(Protocol):
    """The changes of a commit, to which an engine adds the files that it stages."""

    @property
    def storage(self) -> Storage:
        """The lake."""

    @property
    def prefix(self) -> str:
        """The prefix of the keys under which workers stage objects for `add`."""

    def write(self, key: str, content: bytes) -> bool:
        """Stage the new bytes of an object; return whether they differ from the current ones."""

    def add(self, key: str, staged: StagedObject) -> bool:
        """Add an object that a worker staged; return whether it differs from the current one."""


class Engine(ABC):
    """The interface of an engine with an Ibis connection."""

    connection: BaseBackend

    @abstractmethod
    def table_of(self, batches: pa.RecordBatchReader) -> ir.Table:
        """Load batches into a table of the engine that lasts as long as an expression uses it.

        Errors raised while reading the batches are passed on unchanged.
        """

    def lines_of(self, storage: Storage, prefix: str, names: list[str]) -> ir.Table:
        """Return a table of the lines of some objects of Bronze, as `engines.lines.SCHEMA`.

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
            objects: the name of each object, and a function that opens it.
            validator: validates the lines.
        """
        tables = {
            name: [self.table_of(schema.empty_table().to_reader())]
            for name, schema in validator.schemas.items()
        }
        receipts: dict[str, dict[str, Any]] = {}
        batches_by_day: Counter[dt.date] = Counter()
        for batch in validator.validate(objects):
            batches_by_day.update(batch.observed[DAYS["observacao_dia"]].unique().to_pylist())
            for name, parts in tables.items():
                rows: pa.Table = getattr(batch, name)
                if rows.num_rows:
                    parts.append(self.table_of(rows.to_reader()))
            receipts |= {result.origin.objeto: result.receipt() for result in batch.objects}
        unions = {name: ibis.union(*parts) for name, parts in tables.items()}
        repeated = frozenset(day for day, batches in batches_by_day.items() if batches > 1)
        return ValidatedLines(**unions, objects=receipts, repeated_days=repeated)

    @abstractmethod
    def read(self, storage: Storage, keys: list[str], layout: Layout) -> ir.Table:
        """Return a lazy table over files; a filter on partitions leaves the others unopened."""

    @abstractmethod
    def stage(self, table: ir.Table, layout: Layout, changes: Changes) -> Iterator[tuple[str, int]]:
        """Stage a file for each partition of a table, and add it to the changes of a commit.

        Yields:
            The key and the number of rows of each partition, once it is added.
        """


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
