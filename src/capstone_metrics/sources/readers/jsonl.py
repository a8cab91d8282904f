"""Read JSON lines: each line is a record and stays as it is, whatever it holds."""

from __future__ import annotations

import itertools
import re
from typing import IO, TYPE_CHECKING

from capstone_metrics.errors import SourceError
from capstone_metrics.sources.readers.content import (
    CHUNK_BYTES,
    has_byte_order_mark,
    utf8_chunks,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

NOT_LINES = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:\[|\{\s*[\r\n])")
"""How a file begins that has its records in an array, or one over several lines."""


def records(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the bytes of JSON lines.

    Raises:
        SourceError: if it is an array or a document instead, or has another encoding.
    """
    head = file.read(CHUNK_BYTES)
    if reading.encoding or has_byte_order_mark(head) or b"\0" in head[:2]:
        file.seek(0)
        chunks = utf8_chunks(path, file, reading.encoding)
        head = next(chunks, b"")
    else:
        chunks = iter(lambda: file.read(CHUNK_BYTES), b"")
    if NOT_LINES.match(head):
        raise SourceError(
            f"{path}: its records are not one a line; declare format: json, which reads arrays and "
            "documents too."
        )
    yield from filter(None, itertools.chain([head], chunks))
