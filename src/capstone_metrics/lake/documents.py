"""The dataset of a JSON document that belongs to no layer."""

from __future__ import annotations

from typing import Any

from kedro.io import AbstractDataset

from capstone_metrics.storage import storage_of
from capstone_metrics.storage.documents import format_document, read_document


class JsonDocumentDataset(AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """A JSON document that no transaction writes: the last save wins, and it is empty before one.

    Args:
        path: the root of the lake.
        key: the key of the document.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.key = key
        self.metadata = metadata

    def save(self, data: dict[str, Any]) -> None:
        self.storage.overwrite(self.key, format_document(data))

    def load(self) -> dict[str, Any]:
        return read_document(self.storage, self.key) if self._exists() else {}

    def _exists(self) -> bool:
        return self.storage.exists(self.key)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.storage.address(self.key)}
