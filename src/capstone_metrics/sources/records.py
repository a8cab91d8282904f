"""The records of a file, as the readers yield them, one by one."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from capstone_metrics.sources.readers import Reading, members, read
from capstone_metrics.validation.json_object import parse_object
from capstone_metrics.validation.texts import composed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lines_of(path: Path, reading: Reading) -> Iterator[bytes]:
    """Yield the lines of JSON of a file, or of all members of a zip that are read.

    Raises:
        CapstoneError: if it cannot be read so.
    """
    for member in members(path, reading):
        rest = b""
        for chunk in read(path, reading, member):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from filter(bytes.strip, lines)
        if rest.strip():
            yield rest


def record_of(line: bytes) -> dict[str, Any]:
    """Return the fields of a line by their composed names; none if it is no JSON object."""
    pairs = parse_object(line.decode(errors="replace")) or ()
    return {composed(name): value for name, value in pairs}


def first_records(path: Path, reading: Reading, count: int) -> list[dict[str, Any]]:
    """Return the first records of a file; one that is no JSON object has no field.

    Raises:
        CapstoneError: if it cannot be read so.
    """
    return [record_of(line) for line in islice(lines_of(path, reading), count)]
