"""What the lake hands to a pipeline, and what it takes back: changes, not whole tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa


def lot_of(name: str) -> tuple[str, ...]:
    """The source, the window and the lot of an object of Bronze: `fonte=…/janela=…/<lot>.jsonl`."""
    fonte, janela, leaf = name.split("/")
    return fonte.partition("=")[2], janela.partition("=")[2], leaf.removesuffix(".jsonl")


class Tables(Mapping[str, "ir.Table"]):
    """Tables by name, each looked for when it is first asked for."""

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
class Before:
    """Silver as the last commit left it: its tables by name, lazy, and its head."""

    tables: Mapping[str, ir.Table]
    head: dict[str, Any]

    @property
    def generation(self) -> int:
        """How many commits there were."""
        return int(self.head.get("generation", 0))


@dataclass(frozen=True)
class Lot:
    """Lines of Bronze that are read together.

    Attributes:
        lines: the lines, with their `fonte`, `janela`, `objeto` and `linha`.
        objects: by name the `lines`, `bytes` and `sha256` of the objects that end among them,
            counted from the bytes.
    """

    lines: ir.Table
    objects: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Pending:
    """The Bronze objects that a merge takes in, and what it merges them with.

    Attributes:
        lots: their lines, read as they are asked for, once.
        before: Silver as the last commit left it.
        is_full: whether Silver is to be built anew from them, and to forget what it is.
    """

    lots: Iterable[Lot]
    before: Before
    is_full: bool = False


@dataclass(frozen=True)
class Change:
    """New rows of a table, whole partitions at a time.

    Attributes:
        rows: all rows of the partitions below.
        partitions: their values, as text; None says that `rows` is the whole table.
    """

    rows: ir.Table
    partitions: list[tuple[str, ...]] | None = None


@dataclass(frozen=True)
class MartFile:
    """A mart of Gold, of which nothing is read before it is asked for.

    Attributes:
        read: gives the bytes of its CSV; raises a `CapstoneError` where there are none.
        version: gives what changes whenever these do, without reading them; empty where there are
            none.
        to_pyarrow: gives its rows; the schema has the SHA-256 of the bytes under `sha256`.
    """

    read: Callable[[], bytes]
    version: Callable[[], str]
    to_pyarrow: Callable[[], pa.Table]

    def to_pandas(self) -> pd.DataFrame:
        """Its rows."""
        return self.to_pyarrow().to_pandas()


@dataclass(frozen=True)
class GoldBefore:
    """Gold as the last commit left it.

    Attributes:
        manifest: empty where there is none.
        tables: the marts whose files are those that the manifest names.
        days_since: the days of Silver that changed after a generation of it, which is told from
            those of another Silver by its origin; None where that is not known.
    """

    manifest: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pa.Table] = field(default_factory=dict)
    days_since: Callable[[str | None, int], set[dt.date] | None] = lambda *_: None

    @property
    def changed(self) -> set[dt.date] | None:
        """The days of Silver that changed since Gold was made; None if that is not known."""
        return self.days_since(
            self.manifest.get("silver_origin"), self.manifest.get("silver_generation", 0)
        )
