"""Bronze objects as lines: their bytes, numbers and text, exactly as they were written."""

from __future__ import annotations

import base64
import hashlib
import math
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.changes import lot_of
from capstone_metrics.lake.storage import plain_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

BLOCK_BYTES = 1 << 25
MERGED_BYTES = 1 << 20
"""Lines are handed on in batches of at least this size."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))
"""By byte, whether it is white space of ASCII."""

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
"""A line of Bronze. Where the bytes are not UTF-8, `texto` is null and `texto_base64` has them."""


def read_lines(
    objects: Iterable[tuple[str, Callable[[], IO[bytes]]]],
    measures: dict[str, dict[str, Any]],
    most: float = math.inf,
) -> pa.RecordBatchReader:
    """The lines of some objects, one object after another.

    Args:
        objects: the name of each, and what opens it.
        measures: takes the measure of each object once its lines are read.
        most: the bytes after which no other object is begun.
    """

    def batches() -> Iterator[pa.RecordBatch]:
        held = 0
        for name, opened in objects:
            with opened() as file, plain_errors(Path(getattr(file, "name", None) or name)):
                measure = Measure()
                yield from line_batches(name, measure.passing(blocks_of(file)))
                measures[name] = measure.taken
            held += measure.bytes
            if held >= most:
                return

    return pa.RecordBatchReader.from_batches(SCHEMA, _merged(batches()))


def _merged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches as few larger ones: DuckDB takes 70 KB for each, be it a single row."""
    parts: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        parts.append(batch)
        held += batch.nbytes
        if held >= MERGED_BYTES:
            yield from pa.Table.from_batches(parts).combine_chunks().to_batches()
            parts, held = [], 0
    yield from pa.Table.from_batches(parts, SCHEMA).combine_chunks().to_batches()


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of a file in blocks."""
    while block := file.read(BLOCK_BYTES):
        yield block


def line_batches(name: str, blocks: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
    """The lines of one object, but for blank ones, in batches of `SCHEMA`.

    Lines end with LF or CRLF and are numbered from 1. A byte order mark is no part of the first.

    Args:
        name: of the object, `fonte=…/janela=…/….jsonl`.
        blocks: its bytes.
    """
    fonte, janela, _ = lot_of(name)
    first = 1
    for whole in _whole_lines(blocks):
        ends = _ends(whole)
        linha, texto, encoded = _split(whole, ends, first)
        shape = pa.array(np.zeros(len(linha), np.int8))
        constants = (
            pa.DictionaryArray.from_arrays(shape, pa.array([value])).cast(pa.string())
            for value in (fonte, janela, name)
        )
        yield pa.RecordBatch.from_arrays([*constants, linha, texto, encoded], schema=SCHEMA)
        first += len(ends)


class _WholeLines:
    """The bytes of an object as blocks of whole lines, without a byte order mark."""

    def __init__(self) -> None:
        self._rest = b""
        self._mark = BYTE_ORDER_MARK

    def add(self, block: bytes) -> bytes:
        """The lines that end in the next bytes."""
        held = self._rest + block if self._rest else block
        end = held.rfind(b"\n") + 1
        whole, self._rest = (held, b"") if end == len(held) else (held[:end], held[end:])
        if whole:
            whole, self._mark = whole.removeprefix(self._mark), b""
        return whole

    @property
    def rest(self) -> bytes:
        """The last line, if it lacks its end."""
        return self._rest.removeprefix(self._mark)


def _whole_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks of such lines, the last one of a line that may lack its end."""
    lines = _WholeLines()
    for block in blocks:
        if whole := lines.add(block):
            yield whole
    if lines.rest:
        yield lines.rest


class LineCount:
    """Counts the lines of an object that are not blank, by its bytes alone, as they pass."""

    def __init__(self) -> None:
        self.bytes = 0
        self._whole = 0
        self._lines = _WholeLines()

    def add(self, block: bytes) -> None:
        """Take the next bytes."""
        self.bytes += len(block)
        if whole := self._lines.add(block):
            ends = _ends(whole)
            self._whole += len(ends) - len(_blank(whole, ends))

    def passing(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The same blocks, counted on their way."""
        for block in blocks:
            self.add(block)
            yield block

    @property
    def lines(self) -> int:
        """How many there were so far; the last one may lack its end."""
        return self._whole + bool(self._lines.rest.strip())


class Measure(LineCount):
    """Takes the measure of an object by its bytes alone, as they pass."""

    def __init__(self) -> None:
        super().__init__()
        self._digest = hashlib.sha256()

    def add(self, block: bytes) -> None:
        """Take the next bytes."""
        super().add(block)
        self._digest.update(block)

    @property
    def taken(self) -> dict[str, Any]:
        """Its `lines`, `bytes` and `sha256`."""
        return {"lines": self.lines, "bytes": self.bytes, "sha256": self._digest.hexdigest()}


def measure(file: IO[bytes]) -> dict[str, Any]:
    """The `lines`, `bytes` and `sha256` of an object, by its bytes alone."""
    found = Measure()
    for block in blocks_of(file):
        found.add(block)
    return found.taken


def _split(block: bytes, ends: NDArray[np.intp], first: int) -> tuple[pa.Array, pa.Array, pa.Array]:
    """The numbers of the lines that are not blank, their texts, and those that are no text."""
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
        kept = pa.array(mask)
        numbers, text, encoded = (each.filter(kept) for each in (numbers, text, encoded))
    return numbers, text, encoded


def _ends(block: bytes) -> NDArray[np.intp]:
    """Where the lines of a block end, behind their line feeds; the last one may lack its own."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    return ends if block.endswith(b"\n") else np.append(ends, len(block))


def _blank(block: bytes, ends: NDArray[np.intp]) -> list[int]:
    """Which lines are blank. Only those that begin with white space are looked at whole."""
    starts = np.concatenate([[0], ends[:-1]])
    first = np.frombuffer(block, np.uint8)[starts]
    begun_by_space = np.flatnonzero(IS_SPACE[first]).tolist()
    return [line for line in begun_by_space if not block[starts[line] : ends[line]].strip()]


def _decode(raw: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Text of the lines that are UTF-8, base64 of those that are not."""
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
