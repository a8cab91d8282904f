"""Datasets of Bronze: objects that are only ever added, and are read as lines."""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.lines import LineCounter, compute_stats
from capstone_metrics.lake.progress import progress
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.lake.engine import EngineConfig

    Objects = Mapping[str, Callable[[], Iterable[bytes]]]

log = logging.getLogger(__name__)


class _Bronze:
    """Base of the datasets of Bronze: its location and its objects."""

    def __init__(self, path: str, prefix: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.prefix = prefix
        self.metadata = metadata

    @property
    def address(self) -> str:
        """The path or URL of Bronze."""
        return self.storage.address(self.prefix)

    def object_names(self) -> list[str]:
        """Return the names of the objects, `fonte=…/janela=…/….jsonl`, sorted."""
        file_names = [key.removeprefix(f"{self.prefix}/") for key in self.storage.keys(self.prefix)]
        object_names = [name for name in file_names if _is_object_name(name)]
        for ignored in sorted(set(file_names) - set(object_names)):
            log.warning("%s/%s is not a Bronze object; it is ignored.", self.prefix, ignored)
        return object_names

    def open(self, name: str) -> IO[bytes]:
        """Open an object for reading."""
        return self.storage.open(f"{self.prefix}/{name}")

    def _exists(self) -> bool:
        return bool(self.storage.keys(self.prefix))

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.prefix}


class BronzeDataset(_Bronze, AbstractDataset["Objects", "ir.Table"]):
    """Saves new objects, and leaves existing ones alone; loads all lines.

    It saves objects by their names, each as a function that yields its bytes in chunks. It loads an
    Ibis table with the schema `lake.lines.SCHEMA`.
    """

    def __init__(
        self,
        *,
        path: str,
        prefix: str,
        engine: EngineConfig,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(path, prefix, metadata)
        self.engine = engine
        self.write_stats = WriteStats()

    def save(self, data: Objects) -> None:
        line_counts: dict[str, int] = {}
        size = 0
        for name, read_chunks in progress(data.items(), "Ingesting"):
            counter = LineCounter()  # counts while the object is written
            if self.storage.create(f"{self.prefix}/{name}", counter.count(read_chunks())):
                line_counts[name] = counter.lines
                size += counter.bytes
        self.write_stats = WriteStats(
            rows=sum(line_counts.values()),
            files=len(line_counts),
            bytes=size,
            lines=line_counts,
            address=self.address,
        )

    def load(self) -> ir.Table:
        return engine_of(self.engine).lines_of(self.storage, self.prefix, self.object_names())


class BronzeObjectsDataset(_Bronze, AbstractDataset[None, "list[str]"]):
    """Loads the names of the objects of Bronze, sorted."""

    def load(self) -> list[str]:
        return self.object_names()

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The list of Bronze objects is read-only.")


class BronzeObjectStatsDataset(_Bronze, AbstractDataset[None, "dict[str, dict[str, Any]]"]):
    """Loads the `lines`, `bytes` and `sha256` of each object, computed from its bytes."""

    def load(self) -> dict[str, dict[str, Any]]:
        stats = {}
        for name in self.object_names():
            with self.open(name) as file:
                stats[name] = compute_stats(file)
        return stats

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The statistics of Bronze objects are read-only.")


def _is_object_name(name: str) -> bool:
    parts = name.split("/")
    return (
        [part.partition("=")[0] for part in parts[:-1]] == ["fonte", "janela"]
        and parts[-1].endswith(".jsonl")
        and not parts[-1].startswith(".")
    )
