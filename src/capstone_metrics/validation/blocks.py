"""Read objects of Bronze in blocks of complete lines, and count and hash their bytes meanwhile."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from capstone_metrics.validation.layout import PADDING

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator
    from io import BufferedIOBase

    from numpy.typing import NDArray

    from capstone_metrics.validation.objects import BronzeObject

BLOCK_BYTES, SMALL_BYTES = 1 << 22, 1 << 18
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LINE_FEED = b"\n"


@dataclass(frozen=True)
class Block:
    """Complete lines of an object.

    Attributes:
        origin: the object.
        first: the number of the first line.
        buffer: the memory that the lines are in.
        start: the offset of the first line in this memory.
        size: the number of bytes of the lines, after which are a line feed and `PADDING` bytes.
    """

    origin: BronzeObject
    first: int
    buffer: bytearray
    start: int
    size: int

    @property
    def content(self) -> NDArray[np.uint8]:
        """The bytes of the lines, and the bytes behind them."""
        return np.frombuffer(self.buffer, np.uint8, offset=self.start)

    def line(self, start: int) -> bytes:
        """Return the line that starts at an offset, without its line feed."""
        start += self.start
        return bytes(self.buffer[start : self.buffer.index(LINE_FEED, start)])

    def lines(self) -> list[bytes]:
        """Return the lines, without line feeds."""
        content = self.buffer[self.start : self.start + self.size].removesuffix(LINE_FEED)
        return [bytes(line) for line in content.split(LINE_FEED)]


class ObjectReader:
    """Reads an object in blocks.

    Args:
        origin: the object.
        file: the content of the object.
        free: memory that is used for blocks before more is allocated.

    Attributes:
        bytes: the number of bytes so far.
    """

    def __init__(self, origin: BronzeObject, file: IO[bytes], free: deque[bytearray]) -> None:
        self.bytes = 0
        self._origin, self._file, self._free = origin, cast("BufferedIOBase", file), free
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far, in hexadecimal digits."""
        return self._digest.hexdigest()

    def blocks(self) -> Iterator[Block]:
        """Yield the lines in blocks, without a byte order mark."""
        buffer, filled, is_last, first = self._buffer(BLOCK_BYTES), 0, False, 1
        while not is_last:
            room = len(buffer) - PADDING - filled
            count = self._read_into(memoryview(buffer)[filled : filled + room])
            filled, is_last = filled + count, count < room
            has_mark = self.bytes == filled and buffer.startswith(BYTE_ORDER_MARK, 0, filled)
            start = len(BYTE_ORDER_MARK) if has_mark else 0
            end = filled if is_last else buffer.rfind(LINE_FEED, 0, filled) + 1
            if end > start:
                rest, lines = buffer[end:filled], buffer.count(LINE_FEED, start, end)
                block = self._block(first, buffer, start, end)
                buffer, filled, first = self._buffer(2 * len(rest)), len(rest), first + lines
                buffer[:filled] = rest
                yield block
            elif not is_last:  # the line goes on
                buffer += bytes(len(buffer))
        self._free.append(buffer)

    def _block(self, first: int, buffer: bytearray, start: int, end: int) -> Block:
        """Return a block; a small one gets memory of its own, so that many small objects fit."""
        if end < SMALL_BYTES:
            self._free.append(buffer)
            buffer = buffer[: end + PADDING]
        buffer[end : end + 1] = LINE_FEED
        return Block(self._origin, first, buffer, start, end - start)

    def _buffer(self, size: int) -> bytearray:
        """Return memory for a block, with room for the bytes behind its lines."""
        if self._free and size <= BLOCK_BYTES:
            return self._free.pop()
        return bytearray(max(size, BLOCK_BYTES) + PADDING)

    def _read_into(self, view: memoryview) -> int:
        """Read bytes until a view is full or the object ends; return their number."""
        count = 0
        while read := self._file.readinto(view[count:]):
            count += read
        self._digest.update(view[:count])
        self.bytes += count
        return count
