"""Datasets of the state of Silver: the increment to merge, and the receipts."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import ibis
from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.changes import (
    Increment,
    LazyTables,
    SilverSnapshot,
    ValidatedLines,
)
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.bronze import BronzeObjectsDataset
from capstone_metrics.lake.commit import open_commit, recover, reset
from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.storage import format_document, read_document, storage_of
from capstone_metrics.schedule import Span
from capstone_metrics.schemas import QUARANTINE, ROWS
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from capstone_metrics.lake.bronze import Objects
    from capstone_metrics.lake.engine import EngineConfig
    from capstone_metrics.validation.validator import Validator

LAYER, HEAD, RECEIPTS = "silver", "silver/head.json", "silver/receipts"


class IncrementDataset(AbstractDataset[Any, Increment]):
    """Loads the Bronze objects without a receipt in Silver, and prepares a commit of Silver.

    The recorded commit of a killed run is applied first. The head of Silver is read before the
    receipts, so the commit of this run fails if another run commits in between.

    With `first` and `last`, only objects of these windows are loaded.

    Args:
        path: the root of the lake.
        prefix: the prefix of Bronze, below the root.
        engine: the engine that reads the lines.
        tables: the catalog entries of Silver's tables, by name.
        full: whether Silver is rebuilt from all objects.
        first: the day or window at which a backfill starts.
        last: the day or window at which a backfill ends.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(  # noqa: PLR0913 - one argument for each property of the catalog entry
        self,
        *,
        path: str,
        prefix: str,
        engine: EngineConfig,
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
        """The path or URL of Bronze."""
        return self.bronze.address

    def load(self) -> Increment:
        recover(self.storage, LAYER, HEAD)
        reset(self.storage, LAYER)
        return self._increment({})

    def _increment(self, new_objects: Objects) -> Increment:
        """Return the increment with objects of Bronze, and with new ones not in Bronze yet."""
        snapshot = self._snapshot()
        names = [name for name in self._names() if name not in new_objects]
        return Increment(partial(self._validate, names, new_objects), snapshot, self.full)

    def _validate(
        self, names: list[str], new_objects: Objects, validator: Validator
    ) -> ValidatedLines:
        """Return the validated lines of both; without objects no engine is started."""
        accepted, rejected = (ibis.memtable([], schema=schema) for schema in (ROWS, QUARANTINE))
        validated = ValidatedLines(accepted, rejected, {})
        if names:
            validated = engine_of(self.engine).validate(
                self.storage, self.bronze.prefix, names, validator
            )
        if new_objects:
            objects = ((name, partial(_in_memory, chunks)) for name, chunks in new_objects.items())
            new = engine_of(self.engine).validate_here(objects, validator)
            validated = ValidatedLines(
                validated.accepted.union(new.accepted),
                validated.rejected.union(new.rejected),
                {**validated.objects, **new.objects},
            )
        return validated

    def _names(self) -> list[str]:
        span = Span.of(self.first, self.last)
        if span and self.full:
            raise CapstoneError("full: Silver is rebuilt from all of Bronze; omit from and to.")
        merged = set() if self.full else set(self.storage.keys(RECEIPTS))
        return [
            name
            for name in self.bronze.load()
            if receipt_key(name) not in merged
            and (span is None or parse_object_name(name)[1] in span)
        ]

    def _snapshot(self) -> SilverSnapshot:
        head = read_document(self.storage, HEAD) if self.storage.exists(HEAD) else {}
        return SilverSnapshot(
            LazyTables({name: table.load for name, table in self.tables.items()}), head
        )

    def save(self, data: Any) -> None:
        raise DatasetError("The increment of Bronze is read-only.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "full": self.full}


class DryRunIncrementDataset(IncrementDataset):
    """The increment as if some objects were saved to Bronze; nothing is written.

    Saved: for each of these objects its name and a function that returns its bytes in chunks.
    Loaded: `Increment`.
    """

    new_objects: Objects = MappingProxyType({})

    def save(self, data: Objects) -> None:
        self.new_objects = data

    def load(self) -> Increment:
        return self._increment(self.new_objects)


class ReceiptsDataset(AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """Receipts: how the lines of each merged Bronze object were counted.

    Saved and loaded by the name of the object. A save stages them; saving `silver_head` commits.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.metadata = metadata
        self.write_stats = WriteStats()

    def save(self, data: dict[str, Any]) -> None:
        commit, files = open_commit(self.storage, LAYER), 0
        for name, receipt in data.items():
            key = receipt_key(name)
            with commit.stage(key) as file:
                file.write_text(format_document(receipt), encoding="utf-8")
            files += commit.put(key)
        self.write_stats = WriteStats(files=files)

    def load(self) -> dict[str, Any]:
        keys = (key for key in self.storage.keys(RECEIPTS) if key.endswith(".json"))
        receipts = (read_document(self.storage, key) for key in keys)
        return {receipt["object"]: receipt for receipt in receipts}

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root}


def _in_memory(chunks: Callable[[], Iterable[bytes]]) -> IO[bytes]:
    return BytesIO(b"".join(chunks()))


def receipt_key(name: str) -> str:
    """Return the key of the receipt of a Bronze object."""
    return f"{RECEIPTS}/{name.removesuffix('.jsonl')}.json"
