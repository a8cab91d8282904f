"""The types that the lake and the pipelines exchange: snapshots, increments and overwrites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import ibis

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa

    from capstone_metrics.validation.validator import Validator

T = TypeVar("T")

FORMAT = 5
"""The format of Silver's indexes, in its head. Silver of another format is rebuilt from Bronze."""


class LazyMapping(Mapping[str, T]):
    """Values by name, each loaded when it is first accessed.

    Args:
        loaders: a function for each name, which loads its value.
    """

    def __init__(self, loaders: Mapping[str, Callable[[], T]]) -> None:
        self.loaders = loaders
        self.loaded: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self.loaded:
            self.loaded[name] = self.loaders[name]()
        return self.loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.loaders)

    def __len__(self) -> int:
        return len(self.loaders)


@dataclass(frozen=True)
class SilverSnapshot:
    """Silver as of its last commit; everything but the head is read when it is asked for.

    Attributes:
        generation: the number of commits so far.
        head: the document of the last commit; empty before the first.
        tables: `criacao`, `observacao_dia` and `quarentena`, and the indexes `provenance`,
            `day_provenance` and `video_index`.
        merged_objects: returns the names of the Bronze objects that have a receipt.
        receipts: returns the receipts of some of these objects, by name.
        days_changed_since: returns the days of each table of `schemas.DAYS` that changed since an
            earlier state of Silver, given its origin and generation; None if they are unknown, as
            for another origin.
        lost_days: returns the days of each of these tables of which no file is there, although the
            table had rows of them.
        is_pending: returns whether a later commit is recorded and not applied yet.
    """

    generation: int
    head: dict[str, Any]
    tables: Mapping[str, ir.Table]
    merged_objects: Callable[[], set[str]]
    receipts: Callable[[Iterable[str]], dict[str, dict[str, Any]]]
    days_changed_since: Callable[[str | None, int], dict[str, set[dt.date]] | None]
    lost_days: Callable[[], dict[str, list[str]]] = dict
    is_pending: Callable[[], bool] = bool

    @property
    def columns(self) -> dict[str, str]:
        """The types of the declared columns that it was built with, by name."""
        return dict(self.head.get("columns", {}))


@dataclass(frozen=True)
class PartitionOverwrite:
    """New rows for whole partitions of a table.

    Attributes:
        rows: all rows of the partitions.
        partitions: the values of each partition, as text; None if `rows` is the whole table.
    """

    rows: ir.Table
    partitions: list[tuple[str, ...]] | None = None

    def split(self, table: ir.Table, partition_by: Iterable[str]) -> tuple[ir.Table, ir.Table]:
        """Return the rows of a table that the overwrite replaces, and its other rows."""
        if self.partitions is None:
            return table, table.limit(0)
        values = [table[column].cast("string") for column in partition_by]
        names = ["/".join(values) for values in self.partitions]
        partition = ibis.literal("/").join(values)
        return table.filter(partition.isin(names)), table.filter(partition.notin(names))


@dataclass(frozen=True)
class SilverUpdate:
    """A new state of Silver, saved in one transaction.

    Attributes:
        base: the state of Silver that it replaces.
        overwrites: the new partitions of each table of `SilverSnapshot.tables` that changes.
        receipts: the receipts of the objects that were merged, by name.
        head: the new head.
        accounts: the outcome of the lines of this run, and of all runs.
    """

    base: SilverSnapshot
    overwrites: Mapping[str, PartitionOverwrite]
    receipts: Mapping[str, Mapping[str, Any]]
    head: dict[str, Any]
    accounts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_rebuild(self) -> bool:
        """Whether Silver is replaced as a whole, with its receipts."""
        criacao = self.overwrites.get("criacao")
        return criacao is not None and criacao.partitions is None


class ValidatedLines(NamedTuple):
    """The validated lines of an increment.

    Attributes:
        accepted: the lines that broke no rule, without some that a later line supersedes.
        observed: the last of them of each video on each day, and perhaps earlier ones; and all
            lines of increments by day.
        rejected: the lines that broke a rule; all three as in `Validator.schemas`.
        objects: the counts for the receipt of each object, by its name.
        repeated_days: the days on which `observed` may have several lines of a video; None if that
            is not known.
    """

    accepted: ir.Table
    observed: ir.Table
    rejected: ir.Table
    objects: Mapping[str, Mapping[str, Any]]
    repeated_days: frozenset[dt.date] | None = None


def current_rows(head: Mapping[str, Any]) -> int:
    """Return how many rows `criacao` has, by the head of Silver; each is one current line."""
    return int(head["total"]["current"]) - int(head.get("daily_lines", 0))


def accounted_lines(receipt: Mapping[str, Any]) -> int:
    """Return how many lines of an object have an outcome, by its receipt."""
    counts = [receipt[name] for name in ("accepted", "quarantined", "withdrawn")]
    return int(sum([*counts, *receipt["ignored"].values()]))


@dataclass(frozen=True)
class SourceState:
    """What the last ingestion found in a source.

    Attributes:
        refused: why it, or files of it, were not ingested.
        files: the SHA-256 of the content of each file, by its path.
        removed: the same of files that are no longer there.
        channels: the channels that it observes, if it declares them.
    """

    refused: list[str] = field(default_factory=list)
    files: Mapping[str, str] = field(default_factory=dict)
    removed: Mapping[str, str] = field(default_factory=dict)
    channels: list[str] = field(default_factory=list)


class Ingestion(NamedTuple):
    """What an ingestion adds to Bronze, and what it found in the sources.

    Attributes:
        objects: a function for each new object, by its name, that yields its bytes in chunks.
        sources: the new state of each source, by its name.
    """

    objects: Mapping[str, Callable[[], Iterable[bytes]]]
    sources: Mapping[str, SourceState]


@dataclass(frozen=True)
class Bronze:
    """The objects of Bronze, which are read when they are asked for.

    Attributes:
        names: the names of the objects, `fonte=…/janela=…/….jsonl`, sorted.
        validate: returns the validated lines of some objects.
        lines: returns the table of all lines; in a plan only of those that are stored.
        stats: returns the `lines`, `bytes` and `sha256` of each object, computed from its bytes.
        sources: what the last ingestion found in each source, by its name.
    """

    names: list[str]
    validate: Callable[[list[str], Validator], ValidatedLines]
    lines: Callable[[], ir.Table]
    stats: Callable[[], dict[str, dict[str, Any]]]
    sources: Mapping[str, SourceState] = field(default_factory=dict)


@dataclass(frozen=True)
class Increment:
    """The Bronze objects to merge, and the Silver to merge them into.

    Attributes:
        validate: returns the validated lines of the objects.
        snapshot: Silver as of its last commit.
        is_full: whether Silver is rebuilt from these objects alone.
        withdrawn: the names of the objects of Bronze that were read anew in another way.
    """

    validate: Callable[[Validator], ValidatedLines]
    snapshot: SilverSnapshot
    is_full: bool = False
    withdrawn: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MartFile:
    """The CSV file of a mart, read lazily.

    Attributes:
        read: returns the bytes of the file; raises a `CapstoneError` if there is none.
        version: returns a token that changes whenever the bytes do, without reading them; empty if
            there is no file.
        to_pyarrow: returns the rows of the mart.
    """

    read: Callable[[], bytes]
    version: Callable[[], str]
    to_pyarrow: Callable[[], pa.Table]

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows of the mart."""
        return self.to_pyarrow().to_pandas()


@dataclass(frozen=True)
class GoldSnapshot:
    """Gold as of its last commit; the files are read when they are asked for.

    Attributes:
        generation: the number of commits so far.
        manifest: the manifest of the last commit; empty before the first.
        files: the file of each mart in the manifest.
        tables: the rows of each mart; None if its file is lost, or not the one in the manifest.
        is_pending: returns whether a later commit is recorded and not applied yet.
    """

    generation: int = 0
    manifest: dict[str, Any] = field(default_factory=dict)
    files: Mapping[str, MartFile] = field(default_factory=dict)
    tables: Mapping[str, pa.Table | None] = field(default_factory=dict)
    is_pending: Callable[[], bool] = bool


@dataclass(frozen=True)
class GoldUpdate:
    """A new state of Gold, saved in one transaction.

    Attributes:
        base: the state of Gold that it replaces.
        files: the bytes of the CSV of every mart.
        manifest: the new manifest.
    """

    base: GoldSnapshot
    files: Mapping[str, bytes]
    manifest: dict[str, Any]
