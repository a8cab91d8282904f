"""Bronze in the catalog: objects that are only ever added, and read as lines."""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.lines import LineCount, measure
from capstone_metrics.lake.progress import progress
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.saved import Saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.lake.engine import Said

    Objects = Mapping[str, Callable[[], Iterable[bytes]]]

log = logging.getLogger(__name__)


class _Bronze:
    """Where Bronze lies, and what it holds."""

    def __init__(self, path: str, prefix: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.prefix = prefix
        self.metadata = metadata

    @property
    def address(self) -> str:
        """Where it lies."""
        return self.storage.address(self.prefix)

    def objects(self) -> list[str]:
        """The names of the objects, `fonte=…/janela=…/….jsonl`, in order."""
        names = [key.removeprefix(f"{self.prefix}/") for key in self.storage.keys(self.prefix)]
        known = [name for name in names if _is_object(name)]
        for strange in sorted(set(names) - set(known)):
            log.warning("%s/%s is no object of Bronze; it is not read.", self.prefix, strange)
        return known

    def open(self, name: str) -> IO[bytes]:
        """An object, to read it in parts."""
        return self.storage.open(f"{self.prefix}/{name}")

    def _exists(self) -> bool:
        return bool(self.storage.keys(self.prefix))

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": self.prefix}


class BronzeDataset(_Bronze, AbstractDataset["Objects", "ir.Table"]):
    """Saves objects whose names are not taken; loads every line.

    Saved: for each object its name and what gives its bytes. Loaded: an Ibis table of
    `lake.lines.SCHEMA`.
    """

    def __init__(
        self, *, path: str, prefix: str, engine: Said, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(path, prefix, metadata)
        self.engine = engine
        self.saved = Saved()

    def save(self, data: Objects) -> None:
        lines, size = {}, 0
        for name, chunks in progress(data.items(), "Ingesting"):
            count = LineCount()
            if self.storage.create(f"{self.prefix}/{name}", count.passing(chunks())):
                lines[name] = count.lines
                size += count.bytes
        rows = sum(lines.values())
        self.saved = Saved(rows, len(lines), bytes=size, lines=lines, address=self.address)

    def load(self) -> ir.Table:
        lines, _ = engine_of(self.engine).lines_of(self.storage, self.prefix, self.objects())
        return lines


class BronzeObjectsDataset(_Bronze, AbstractDataset[None, "list[str]"]):
    """Loads the names of the objects of Bronze, in order."""

    def load(self) -> list[str]:
        return self.objects()

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The list of Bronze's objects is read, not saved.")


class BronzeMeasuresDataset(_Bronze, AbstractDataset[None, "dict[str, dict[str, Any]]"]):
    """Loads the `lines`, `bytes` and `sha256` of each object, counted from its bytes."""

    def load(self) -> dict[str, dict[str, Any]]:
        measures = {}
        for name in self.objects():
            with self.open(name) as file:
                measures[name] = measure(file)
        return measures

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The measures of Bronze are read, not saved.")


def _is_object(name: str) -> bool:
    parts = name.split("/")
    return (
        [part.partition("=")[0] for part in parts[:-1]] == ["fonte", "janela"]
        and parts[-1].endswith(".jsonl")
        and not parts[-1].startswith(".")
    )
