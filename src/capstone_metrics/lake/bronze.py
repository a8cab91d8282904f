"""The dataset of Bronze: objects that are only ever added, and are read as lines."""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from dataclasses import replace
from functools import partial
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

import ibis
from kedro.io import AbstractDataset

from capstone_metrics.changes import (
    Bronze,
    Ingestion,
    SourceState,
    ValidatedLines,
)
from capstone_metrics.engines import engine_of
from capstone_metrics.engines.lines import LineCounter, compute_stats
from capstone_metrics.errors import SourceChangedError, SourceError
from capstone_metrics.lake.sources import read_sources, write_sources
from capstone_metrics.progress import progress
from capstone_metrics.schedule import YEARS
from capstone_metrics.storage import storage_of
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.engines import EngineConfig
    from capstone_metrics.validation.validator import Validator

    Objects = Mapping[str, Callable[[], Iterable[bytes]]]

log = logging.getLogger(__name__)

PREFIX = "bronze/criacao"


class BronzeDataset(AbstractDataset[Ingestion, Bronze]):
    """Saves new objects, leaving existing ones alone, and loads Bronze with all its objects.

    An object whose file cannot be read is left out, and the state of its source says why.

    Args:
        path: the root of the lake.
        engine: the engine that reads the lines.
        plan: whether saves are held in memory, for the loads after them, and write nothing.
        metadata: metadata for Kedro-Viz.

    Attributes:
        write_stats: what the last save wrote.
        planned: the objects that are held in memory.
        planned_sources: the states of sources that are held in memory; None without a plan.
    """

    def __init__(
        self,
        *,
        path: str,
        engine: EngineConfig,
        plan: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.storage = storage_of(path)
        self.engine = engine
        self.plan = plan
        self.metadata = metadata
        self.planned: Objects = {}
        self.planned_sources: Mapping[str, SourceState] | None = None
        self.write_stats: dict[str, WriteStats] = {}

    def addresses(self, _: Bronze) -> dict[str, str]:
        """Return the path or URL of Bronze."""
        return {"bronze_criacao": self.storage.address(PREFIX)}

    def load(self) -> Bronze:
        stored = self._names()
        names = sorted({*stored, *self.planned})
        planned = self.planned_sources
        sources = read_sources(self.storage) if planned is None else planned
        lines = partial(self._lines, stored)
        return Bronze(names, self._validate, lines, self._stats, sources)

    def save(self, data: Ingestion) -> None:
        line_counts: dict[str, int] = {}
        size = 0
        refused: dict[str, list[str]] = defaultdict(list)
        for name, read_chunks in progress(data.objects.items(), "Ingesting"):
            counter = LineCounter()
            try:
                is_new = self._create(name, counter.count(read_chunks()), read_chunks)
            except SourceChangedError as error:
                log.warning("%s", error)
                continue
            except SourceError as error:
                refused[parse_object_name(name)[0]].append(str(error))
                continue
            if is_new:  # else another run has created it
                line_counts[name] = counter.lines
                size += counter.bytes
        self._save_sources(
            {
                source: replace(state, refused=[*state.refused, *refused[source]])
                for source, state in data.sources.items()
            }
        )
        stats = WriteStats(
            rows=sum(line_counts.values()),
            files=len(line_counts),
            bytes=size,
            lines=line_counts,
            address=self.storage.address(PREFIX),
        )
        self.write_stats = {"bronze_criacao": stats}

    def _create(
        self, name: str, chunks: Iterable[bytes], read_chunks: Callable[[], Iterable[bytes]]
    ) -> bool:
        """Write an object, or in a plan read it to its end; return whether there was none."""
        if not self.plan:
            return self.storage.create(f"{PREFIX}/{name}", chunks)
        for _ in chunks:
            pass
        self.planned = {**self.planned, name: read_chunks}
        return True

    def _save_sources(self, sources: Mapping[str, SourceState]) -> None:
        if self.plan:
            self.planned_sources = sources
        elif sources != read_sources(self.storage):
            write_sources(self.storage, sources)

    def _names(self) -> list[str]:
        """Return the names of the stored objects; other files are logged and ignored."""
        file_names = [key.removeprefix(f"{PREFIX}/") for key in self.storage.keys(PREFIX)]
        names = [name for name in file_names if _is_object_name(name)]
        for ignored in sorted(set(file_names) - set(names)):
            log.warning("%s/%s is not a Bronze object; it is ignored.", PREFIX, ignored)
        return names

    def _validate(self, names: list[str], validator: Validator) -> ValidatedLines:
        """Validate the lines of objects; without objects no engine is started."""
        tables = {
            name: ibis.memtable(each.empty_table()) for name, each in validator.schemas.items()
        }
        validated = ValidatedLines(**tables, objects={})
        if stored := [name for name in names if name not in self.planned]:
            engine = engine_of(self.engine)
            validated = engine.validate(self.storage, PREFIX, stored, validator)
        if planned := [name for name in names if name in self.planned]:
            objects = ((name, partial(self._open, name)) for name in planned)
            new = engine_of(self.engine).validate_here(objects, validator)
            tables = {name: getattr(validated, name).union(getattr(new, name)) for name in tables}
            validated = ValidatedLines(**tables, objects={**validated.objects, **new.objects})
        return validated

    def _lines(self, names: list[str]) -> ir.Table:
        return engine_of(self.engine).lines_of(self.storage, PREFIX, names)

    def _stats(self) -> dict[str, dict[str, Any]]:
        stats = {}
        for name in self._names():
            with self.storage.open(f"{PREFIX}/{name}") as file:
                stats[name] = compute_stats(file)
        return stats

    def _open(self, name: str) -> IO[bytes]:
        return BytesIO(b"".join(self.planned[name]()))

    def _exists(self) -> bool:
        return bool(self._names())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.address(PREFIX)}


def _is_object_name(name: str) -> bool:
    *folders, file_name = name.split("/")
    return (
        [folder.partition("=")[0] for folder in folders] == ["fonte", "janela"]
        and _is_window(folders[1].partition("=")[2])
        and file_name.endswith(".jsonl")
        and not file_name.startswith(".")
    )


def _is_window(janela: str) -> bool:
    try:
        start = dt.datetime.fromisoformat(janela)
    except ValueError:
        return False
    return start.year in YEARS and f"{start:%Y-%m-%dT%H}" == janela
