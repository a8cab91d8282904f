"""Split Bronze objects into lines: numbers and text, exactly as they were written."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.changes import parse_object_name
from capstone_metrics.lake.storage import translate_os_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 25
MERGED_BYTES = 1 << 20
"""The minimum size of the merged batches of lines."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

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


def read_lines(
    objects: Iterable[tuple[str, Callable[[], IO[bytes]]]],
    stats: dict[str, dict[str, Any]],
    max_bytes: float = math.inf,
) -> pa.RecordBatchReader:
    """Return the lines of objects, one object after another.

    Args:
        objects: the name of each object, and a function that opens it.
        stats: receives the statistics of each object once its lines are read.
        max_bytes: the number of bytes after which no further object is started.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        read_bytes = 0
        for name, open_object in objects:
            with (
                open_object() as file,
                translate_os_errors(Path(getattr(file, "name", None) or name)),
            ):
                object_stats = ObjectStats()
                yield from line_batches(name, object_stats.count(blocks_of(file)))
                stats[name] = object_stats.to_dict()
            read_bytes += object_stats.bytes
            if read_bytes >= max_bytes:
                return

    return pa.RecordBatchReader.from_batches(SCHEMA, _merged(batches()))


def _merged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Merge small batches into larger ones: DuckDB needs 70 KB for each, even for a single row."""
    parts: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        parts.append(batch)
        size += batch.nbytes
        if size >= MERGED_BYTES:
            yield from pa.Table.from_batches(parts).combine_chunks().to_batches()
            parts, size = [], 0
    yield from pa.Table.from_batches(parts, SCHEMA).combine_chunks().to_batches()


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks."""
    while block := file.read(BLOCK_BYTES):
        yield block


def line_batches(name: str, blocks: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
    """Yield the lines of one object, without blank ones, in batches of `SCHEMA`.

    Lines end with LF or CRLF and are numbered from 1. A byte order mark is removed.

    Args:
        name: the name of the object, `fonte=…/janela=…/….jsonl`.
        blocks: its bytes.
    """
    fonte, janela, _ = parse_object_name(name)
    first = 1
    for block in _blocks_of_lines(blocks):
        ends = _ends(block)
        linha, texto, encoded = _split(block, ends, first)
        shape = pa.array(np.zeros(len(linha), np.int8))
        constants = (
            pa.DictionaryArray.from_arrays(shape, pa.array([value])).cast(pa.string())
            for value in (fonte, janela, name)
        )
        yield pa.RecordBatch.from_arrays([*constants, linha, texto, encoded], schema=SCHEMA)
        first += len(ends)


class _LineBuffer:
    """Regroups the bytes of an object into blocks of complete lines, without a byte order mark."""

    def __init__(self) -> None:
        self._rest = b""
        self._mark = BYTE_ORDER_MARK

    def add(self, block: bytes) -> bytes:
        """Add the next bytes, and return the lines that end in them."""
        pending = self._rest + block if self._rest else block
        end = pending.rfind(b"\n") + 1
        lines, self._rest = (
            (pending, b"") if end == len(pending) else (pending[:end], pending[end:])
        )
        if lines:
            lines, self._mark = lines.removeprefix(self._mark), b""
        return lines

    @property
    def rest(self) -> bytes:
        """The last line, if it has no line feed."""
        return self._rest.removeprefix(self._mark)


def _blocks_of_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks of complete lines; the very last line may have no line feed."""
    buffer = _LineBuffer()
    for block in blocks:
        if lines := buffer.add(block):
            yield lines
    if buffer.rest:
        yield buffer.rest


class LineCounter:
    """Counts the bytes and the lines that are not blank of an object while it is streamed."""

    def __init__(self) -> None:
        self.bytes = 0
        self._complete_lines = 0
        self._buffer = _LineBuffer()

    def add(self, block: bytes) -> None:
        """Count the next bytes."""
        self.bytes += len(block)
        if lines := self._buffer.add(block):
            ends = _ends(lines)
            self._complete_lines += len(ends) - len(_blank(lines, ends))

    def count(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Count blocks as they are streamed, and yield them unchanged."""
        for block in blocks:
            self.add(block)
            yield block

    @property
    def lines(self) -> int:
        """The number of lines so far; the last one may have no line feed."""
        return self._complete_lines + bool(self._buffer.rest.strip())


class ObjectStats(LineCounter):
    """Computes the lines, bytes and SHA-256 of an object while it is streamed."""

    def __init__(self) -> None:
        super().__init__()
        self._digest = hashlib.sha256()

    def add(self, block: bytes) -> None:
        """Count the next bytes."""
        super().add(block)
        self._digest.update(block)

    def to_dict(self) -> dict[str, Any]:
        """Return the `lines`, `bytes` and `sha256` so far."""
        return {"lines": self.lines, "bytes": self.bytes, "sha256": self._digest.hexdigest()}


def compute_stats(file: IO[bytes]) -> dict[str, Any]:
    """Return the `lines`, `bytes` and `sha256` of an object, computed from its bytes."""
    stats = ObjectStats()
    for block in blocks_of(file):
        stats.add(block)
    return stats.to_dict()


def _split(block: bytes, ends: NDArray[np.intp], first: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return number, text and base64 of each line that is not blank; one of the latter is null."""
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(block)]
    raw = pa.Array.from_buffers(pa.binary(), len(ends), buffers)
    numbers = pa.array(np.arange(first, first + len(ends)))
    try:
        text, encoded = raw.cast(pa.string()), pa.nulls(len(ends), pa.string())
    except pa.ArrowInvalid:
        text, encoded = _decode(raw)
    text = pc.ascii_rtrim(text, characters="\r\n")
    if blank := _blank(block, ends):
        mask = np.ones(len(ends), bool)
        mask[blank] = False
        is_filled = pa.array(mask)
        numbers, text, encoded = (each.filter(is_filled) for each in (numbers, text, encoded))
    return numbers, text, encoded


def _ends(block: bytes) -> NDArray[np.intp]:
    """Return the offsets behind the lines of a block; the last one may have no line feed."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    return ends if block.endswith(b"\n") else np.append(ends, len(block))


def _blank(block: bytes, ends: NDArray[np.intp]) -> list[int]:
    """Return the indices of blank lines; only lines that begin with white space are examined."""
    starts = np.concatenate([[0], ends[:-1]])
    first = np.frombuffer(block, np.uint8)[starts]
    starting_with_space = np.flatnonzero(IS_SPACE[first]).tolist()
    return [line for line in starting_with_space if not block[starts[line] : ends[line]].strip()]


def _decode(raw: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return the text of lines in UTF-8, and the base64 of all others."""
    texts: list[str | None] = []
    encoded: list[str | None] = []
    for line in raw.to_pylist():
        try:
            texts.append(line.decode())
            encoded.append(None)
        except UnicodeDecodeError:
            texts.append(None)
            encoded.append(base64.b64encode(line.rstrip(b"\r\n")).decode())
    return pa.array(texts, pa.string()), pa.array(encoded, pa.string())
