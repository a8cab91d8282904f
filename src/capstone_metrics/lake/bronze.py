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
    """The location of Bronze and its objects."""

    def __init__(self, path: str, prefix: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.prefix = prefix
        self.metadata = metadata

    @property
    def address(self) -> str:
        """The path or URL of Bronze."""
        return self.storage.address(self.prefix)

    def objects(self) -> list[str]:
        """Return the names of the objects, `fonte=…/janela=…/….jsonl`, sorted."""
        names = [key.removeprefix(f"{self.prefix}/") for key in self.storage.keys(self.prefix)]
        known = [name for name in names if _is_object(name)]
        for unknown in sorted(set(names) - set(known)):
            log.warning("%s/%s is not a Bronze object; it is ignored.", self.prefix, unknown)
        return known

    def open(self, name: str) -> IO[bytes]:
        """Open an object for reading."""
        return self.storage.open(f"{self.prefix}/{name}")

    def _exists(self) -> bool:
        return bool(self.storage.keys(self.prefix))

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.prefix}


class BronzeDataset(_Bronze, AbstractDataset["Objects", "ir.Table"]):
    """Saves new objects, leaving existing ones alone; loads all lines.

    Saved: for each object its name and a function that returns its bytes in chunks. Loaded: an
    Ibis table of `lake.lines.SCHEMA`.
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
        lines, size = {}, 0
        for name, chunks in progress(data.items(), "Ingesting"):
            counter = LineCounter()
            if self.storage.create(f"{self.prefix}/{name}", counter.count(chunks())):
                lines[name] = counter.lines
                size += counter.bytes
        rows = sum(lines.values())
        self.write_stats = WriteStats(
            rows, len(lines), bytes=size, lines=lines, address=self.address
        )

    def load(self) -> ir.Table:
        lines, _ = engine_of(self.engine).lines_of(self.storage, self.prefix, self.objects())
        return lines


class BronzeObjectsDataset(_Bronze, AbstractDataset[None, "list[str]"]):
    """Loads the names of the objects of Bronze, sorted."""

    def load(self) -> list[str]:
        return self.objects()

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The list of Bronze objects is read-only.")


class BronzeObjectStatsDataset(_Bronze, AbstractDataset[None, "dict[str, dict[str, Any]]"]):
    """Loads the `lines`, `bytes` and `sha256` of each object, computed from its bytes."""

    def load(self) -> dict[str, dict[str, Any]]:
        stats = {}
        for name in self.objects():
            with self.open(name) as file:
                stats[name] = compute_stats(file)
        return stats

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The statistics of Bronze objects are read-only.")


def _is_object(name: str) -> bool:
    parts = name.split("/")
    return (
        [part.partition("=")[0] for part in parts[:-1]] == ["fonte", "janela"]
        and parts[-1].endswith(".jsonl")
        and not parts[-1].startswith(".")
    )
