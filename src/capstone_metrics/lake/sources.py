"""The dataset of what the last ingestion found in the sources."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.changes import SourceState
from capstone_metrics.storage import storage_of
from capstone_metrics.storage.documents import format_document, parse_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.storage.base import Storage

    Sources = Mapping[str, SourceState]

KEY = "operations/sources.json"


class SourcesDataset(AbstractDataset["NoReturn", "Sources"]):
    """Loads what the last ingestion found in the sources, without a listing of Bronze.

    Args:
        path: the root of the lake.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.metadata = metadata

    def load(self) -> Sources:
        """Return the state of each source, by its name."""
        return read_sources(self.storage)

    def save(self, data: NoReturn) -> NoReturn:
        """Raise an error."""
        raise DatasetError("The state of the sources is saved with Bronze.")

    def _exists(self) -> bool:
        return self.storage.exists(KEY)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.storage.address(KEY)}


def read_sources(storage: Storage) -> Sources:
    """Return the state of each source, by its name; none if it was never saved, or is damaged.

    The next ingestion finds it again.
    """
    content = parse_document(storage.read(KEY)) if storage.exists(KEY) else None
    try:
        return {name: SourceState(**state) for name, state in (content or {}).items()}
    except TypeError:  # of another version
        return {}


def write_sources(storage: Storage, sources: Sources) -> None:
    """Replace the states of the sources."""
    document = {name: asdict(state) for name, state in sources.items()}
    storage.overwrite(KEY, format_document(document))
