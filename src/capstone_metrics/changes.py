"""The types that the lake and the pipelines exchange: snapshots, increments and overwrites."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa

    from capstone_metrics.validation.validator import Validator


class LazyTables(Mapping[str, "ir.Table"]):
    """Tables by name, each loaded when it is first accessed.

    Args:
        loaders: for each name a function that loads the table.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], ir.Table]]) -> None:
        self.loaders = loaders
        self.loaded: dict[str, ir.Table] = {}

    def __getitem__(self, name: str) -> ir.Table:
        if name not in self.loaded:
            self.loaded[name] = self.loaders[name]()
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaders)

    def __len__(self) -> int:
        return len(self.loaders)


@dataclass(frozen=True)
class SilverSnapshot:
    """Silver as of its last commit.

    Attributes:
        tables: its tables by name, loaded lazily.
        head: the document of its last commit; empty before the first.
    """

    tables: Mapping[str, ir.Table]
    head: dict[str, Any]

    @property
    def generation(self) -> int:
        """The number of commits so far."""
        return int(self.head.get("generation", 0))


class ValidatedLines(NamedTuple):
    """The validated lines of an increment.

    Attributes:
        accepted: those that broke no rule, without some that a later line supersedes: the columns
            of Silver, and the object and line number in Bronze.
        rejected: those that broke a rule, with the columns of the quarantine.
        objects: the counts of each object for its receipt, by its name.
    """

    accepted: ir.Table
    rejected: ir.Table
    objects: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Increment:
    """The Bronze objects to merge, and the Silver to merge them into.

    Attributes:
        validate: returns their validated lines.
        snapshot: Silver as of its last commit.
        is_full: whether Silver is rebuilt from these objects alone.
    """

    validate: Callable[[Validator], ValidatedLines]
    snapshot: SilverSnapshot
    is_full: bool = False


@dataclass(frozen=True)
class PartitionOverwrite:
    """New rows for whole partitions of a table.

    Attributes:
        rows: all rows of the partitions.
        partitions: the values of each partition, as text; None if `rows` is the whole table.
    """

    rows: ir.Table
    partitions: list[tuple[str, ...]] | None = None


@dataclass(frozen=True)
class MartFile:
    """The CSV file of a mart, read lazily.

    Attributes:
        read: returns its bytes; raises a `CapstoneError` if there is no file.
        version: returns a token that changes whenever the bytes do, without reading them; empty if
            there is no file.
        to_pyarrow: returns its rows; the metadata of the schema has the `sha256` of the bytes.
    """

    read: Callable[[], bytes]
    version: Callable[[], str]
    to_pyarrow: Callable[[], pa.Table]

    def to_pandas(self) -> pd.DataFrame:
        """Return its rows."""
        return self.to_pyarrow().to_pandas()


@dataclass(frozen=True)
class GoldSnapshot:
    """Gold as of its last commit.

    Attributes:
        manifest: its manifest; empty before the first commit.
        tables: the marts whose files match the manifest.
        days_changed_since: returns the days of Silver that changed after a generation, given the
            origin of that Silver and the generation; None if unknown, as for another origin.
    """

    manifest: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    days_changed_since: Callable[[str | None, int], set[dt.date] | None] = lambda *_: None

    @property
    def changed_days(self) -> set[dt.date] | None:
        """The days of Silver that changed since this Gold was built; None if unknown."""
        return self.days_changed_since(
            self.manifest.get("silver_origin"), self.manifest.get("silver_generation", 0)
        )
