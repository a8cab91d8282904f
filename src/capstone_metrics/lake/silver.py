"""Silver's state in the catalog: what it holds, what it has yet to take in, and its receipts."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.changes import Before, Lot, Pending, Tables, lot_of
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.bronze import BronzeObjectsDataset
from capstone_metrics.lake.commit import begin, opened, settle
from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.lines import read_lines
from capstone_metrics.lake.storage import document, read_document, storage_of
from capstone_metrics.saved import Saved
from capstone_metrics.schedule import Span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from capstone_metrics.lake.bronze import Objects
    from capstone_metrics.lake.engine import Said

LAYER, HEAD, RECEIPTS = "silver", "silver/head.json", "silver/receipts"


class PendingDataset(AbstractDataset[Any, Pending]):
    """Loads the Bronze objects that Silver has no receipt of, and begins a commit of Silver.

    What a killed run left written down is carried out first. The head of Silver is read before
    the receipts: a run that commits in between is noticed when this one commits.

    With `first` and `last`, it is about the objects of these windows alone.

    Args:
        path: the root of the lake.
        prefix: of Bronze, below it.
        engine: what evaluates the lines.
        tables: the catalog entries of Silver's tables, by name.
        full: whether Silver is to be built anew, from all objects.
        first: the day or window at which a backfill begins.
        last: the day or window at which it ends.
        metadata: for Kedro-Viz.
    """

    def __init__(  # noqa: PLR0913 - one argument for each property of the catalog entry
        self,
        *,
        path: str,
        prefix: str,
        engine: Said,
        tables: dict[str, dict[str, Any]],
        full: bool = False,
        first: str | None = None,
        last: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.bronze = BronzeObjectsDataset(path=path, prefix=prefix)
        self.storage = self.bronze.storage
        self.engine = engine
        self.tables = {
            name: AbstractDataset.from_config(name, entry) for name, entry in tables.items()
        }
        self.full = full
        self.first, self.last = first, last
        self.metadata = metadata

    @property
    def address(self) -> str:
        """Where Bronze lies."""
        return self.bronze.address

    def load(self) -> Pending:
        settle(self.storage, LAYER, HEAD)
        begin(self.storage, LAYER)
        return self._pending({})

    def _pending(self, planned: Objects) -> Pending:
        """What is pending, and with it some objects that Bronze does not hold yet."""
        before = self._before()
        names = [name for name in self._names() if name not in planned]
        return Pending(self._lots(names, planned), before, self.full)

    def _lots(self, names: list[str], planned: Objects) -> Iterator[Lot]:
        """The lines of both; where there are none, no engine is started."""
        if names:
            yield from engine_of(self.engine).lots_of(self.storage, self.bronze.prefix, names)
        if planned:
            objects = ((name, partial(_in_memory, chunks)) for name, chunks in planned.items())
            measures: dict[str, dict[str, Any]] = {}
            yield Lot(engine_of(self.engine).table_of(read_lines(objects, measures)), measures)

    def _names(self) -> list[str]:
        span = Span.of(self.first, self.last)
        if span and self.full:
            raise CapstoneError(
                "full: Silver is built anew from all of Bronze; leave out from and to."
            )
        merged = set() if self.full else set(self.storage.keys(RECEIPTS))
        return [
            name
            for name in self.bronze.load()
            if receipt_key(name) not in merged and (span is None or lot_of(name)[1] in span)
        ]

    def _before(self) -> Before:
        head = read_document(self.storage, HEAD) if self.storage.exists(HEAD) else {}
        return Before(Tables({name: table.load for name, table in self.tables.items()}), head)

    def save(self, data: Any) -> None:
        raise DatasetError("What is pending is read, not saved.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "full": self.full}


class PlannedDataset(PendingDataset):
    """What would be pending if some objects were saved to Bronze. Nothing is written or begun.

    Saved: for each of these objects its name and what gives its bytes. Loaded: `Pending`.
    """

    planned: Objects = MappingProxyType({})

    def save(self, data: Objects) -> None:
        self.planned = data

    def load(self) -> Pending:
        return self._pending(self.planned)


class ReceiptsDataset(AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """Receipts: for each Bronze object that Silver took in, what became of its lines.

    Saved and loaded by the name of the object. A save stages; `silver_head` commits.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.metadata = metadata
        self.saved = Saved()

    def save(self, data: dict[str, Any]) -> None:
        commit, files = opened(self.storage, LAYER), 0
        for name, receipt in data.items():
            key = receipt_key(name)
            with commit.stage(key) as file:
                file.write_text(document(receipt), encoding="utf-8")
            files += commit.put(key)
        self.saved = Saved(files=files)

    def load(self) -> dict[str, Any]:
        keys = (key for key in self.storage.keys(RECEIPTS) if key.endswith(".json"))
        receipts = (read_document(self.storage, key) for key in keys)
        return {receipt["object"]: receipt for receipt in receipts}

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root}


def _in_memory(chunks: Callable[[], Iterable[bytes]]) -> IO[bytes]:
    return BytesIO(b"".join(chunks()))


def receipt_key(name: str) -> str:
    """The key of the receipt of a Bronze object."""
    return f"{RECEIPTS}/{name.removesuffix('.jsonl')}.json"
