"""Read files as people have them into records, one line of JSON each."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING

from capstone_metrics.sources.readers.content import members, opened
from capstone_metrics.sources.readers.objects import to_line
from capstone_metrics.sources.readers.options import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Reading", "members", "read"]

OBJECT = re.compile(rb"^((?:\xef\xbb\xbf)?[ \t]*\{)(?:[ \t]*(\}))?", re.MULTILINE)


def read(path: Path, reading: Reading, member: str = "") -> Iterator[bytes]:
    """Yield the records of a file as lines of JSON, in chunks.

    Args:
        path: of the file.
        reading: how it is read.
        member: the member of a zip; empty if the file is none.

    Raises:
        CapstoneError: if it cannot be read so.
    """
    with opened(path, member) as file:
        # the module of a format is imported with the first file that needs it, since some are slow
        reader = import_module(f"{__name__}.{reading.format}")
        chunks: Iterator[bytes] = reader.records(path, file, reading)
        if reading.file_name:
            name = f"{path.name}/{member}" if member else path.name
            chunks = _with_field(_complete_lines(chunks), reading.file_name, name)
        yield from chunks


def _with_field(chunks: Iterator[bytes], name: str, value: str) -> Iterator[bytes]:
    """Yield lines with one more field at the beginning of each object."""
    field = to_line({name: value})[1:-2]
    for chunk in chunks:
        yield OBJECT.sub(lambda m: m[1] + field + (m[2] or b","), chunk)


def _complete_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        lines, end, cut = (rest + chunk).rpartition(b"\n")
        yield lines + end
        rest = cut
    yield rest
