"""JSON documents in a lake."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.storage.base import Storage


def format_document(content: Mapping[str, Any]) -> bytes:
    """Return a document as indented JSON."""
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def read_document(
    storage: Storage, key: str, next_step: str = "rebuild the layer"
) -> dict[str, Any]:
    """Read a JSON document of the lake.

    Args:
        storage: the lake.
        key: the key of the document.
        next_step: what the message advises if it is invalid, before a full run.

    Raises:
        StorageError: if it does not exist or is not JSON of an object.
    """
    content = parse_document(storage.read(key))
    if content is None:
        raise StorageError(
            f"{storage.address(key)}: is not valid JSON of an object; {next_step}: "
            "kedro run --params=full=true."
        )
    return content


def parse_document(content: bytes) -> dict[str, Any] | None:
    """Return a document by its bytes; None if they are not JSON of an object."""
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
