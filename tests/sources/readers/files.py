"""Read a content as a source declares it, for the tests of the readers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from capstone_metrics.sources.readers import Reading, members, read

if TYPE_CHECKING:
    from pathlib import Path


def reading_of(**options: Any) -> Reading:
    """Return how the files of a source named `export` are read."""
    return Reading.of("export", {"type": "files", "path": "x"} | options)


def lines_of(path: Path, /, **options: Any) -> list[bytes]:
    """Return the lines that a file gives."""
    reading = reading_of(**options)
    content = b"".join(
        chunk for member in members(path, reading) for chunk in read(path, reading, member)
    )
    return content.splitlines()


def lines(folder: Path, content: bytes, **options: Any) -> list[bytes]:
    """Return the lines that a file of this content gives."""
    path = folder / "export"
    path.write_bytes(content)
    return lines_of(path, **options)


def rows(folder: Path, content: bytes, **options: Any) -> list[Any]:
    """Return the records that a file of this content gives."""
    return [json.loads(line) for line in lines(folder, content, **options)]
