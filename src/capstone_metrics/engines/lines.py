"""Split Bronze objects into lines: numbers and text, exactly as they were written."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.blocks import BYTE_ORDER_MARK, ObjectReader
from capstone_metrics.validation.lines import text_of
from capstone_metrics.validation.objects import BronzeObject

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from capstone_metrics.validation.validator import Objects

BLOCK_BYTES = 1 << 25
IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))
"""For each byte, whether it is ASCII white space."""

SCHEMA = pa.schema(
    {
        "fonte": pa.string(),
        "janela": pa.string(),
        "objeto": pa.string(),
        "linha": pa.int64(),
        "texto": pa.string(),
        "texto_base64": pa.string(),
    }
)
"""A line of Bronze. If its bytes are not UTF-8, `texto` is null and `texto_base64` has them."""


def read_lines(objects: Objects) -> Iterator[pa.RecordBatch]:
    """Yield the lines of objects, without blank ones, in batches of `SCHEMA`.

    Lines end with LF or CRLF and are numbered from 1. A byte order mark is removed.

    Args:
        objects: for each its name, and a function that opens it.
    """
    for name, open_object in objects:
        with open_object() as file:
            yield from _lines_of(BronzeObject(name, "UTC"), file)


def _lines_of(origin: BronzeObject, file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    for block in ObjectReader(origin, file, deque()).blocks():
        rows = [
            {
                "fonte": origin.fonte,
                "janela": origin.janela,
                "objeto": origin.objeto,
                "linha": number,
                **text_of(line),
            }
            for number, line in enumerate(block.lines(), block.first)
            if line.strip()
        ]
        yield pa.RecordBatch.from_pylist(rows, SCHEMA)


class LineCounter:
    """Counts the bytes and the lines that are not blank of an object while it is streamed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._complete_lines = 0
        self._rest = b""  # the last line, as long as it has no line feed
        self._mark = BYTE_ORDER_MARK

    def add(self, block: bytes) -> None:
        """Count the next bytes."""
        self.bytes += len(block)
        pending = self._rest + block
        end = pending.rfind(b"\n") + 1
        lines, self._rest = pending[:end], pending[end:]
        if lines:
            lines, self._mark = lines.removeprefix(self._mark), b""
            ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) + 1
            self._complete_lines += len(ends) - len(_blank(lines, ends))

    def count(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Count blocks as they are streamed, and yield them unchanged."""
        for block in blocks:
            self.add(block)
            yield block

    @property
    def lines(self) -> int:
        """The number of lines so far; the last one may have no line feed."""
        return self._complete_lines + bool(self._rest.removeprefix(self._mark).strip())


def compute_stats(file: IO[bytes]) -> dict[str, Any]:
    """Return the `lines`, `bytes` and `sha256` of an object, computed from its bytes."""
    counter, digest = LineCounter(), hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        counter.add(block)
        digest.update(block)
    return {"lines": counter.lines, "bytes": counter.bytes, "sha256": digest.hexdigest()}


def _blank(block: bytes, ends: NDArray[np.intp]) -> list[int]:
    """Return the indices of blank lines; only lines that begin with white space are examined."""
    starts = np.concatenate([[0], ends[:-1]])
    first = np.frombuffer(block, np.uint8)[starts]
    starting_with_space = np.flatnonzero(IS_SPACE[first]).tolist()
    return [line for line in starting_with_space if not block[starts[line] : ends[line]].strip()]
