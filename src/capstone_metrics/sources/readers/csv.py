"""Read CSV: each row becomes the object of its cells, which stay text.

Most rows are read by arrays: the separators of a block outside of quotes give the cells, which are
joined as JSON in one step. That is the same as reading value by value where each quote begins or
ends a value or is doubled within one. From the first quote that is none of these, the rest of the
block is read value by value. A row that cannot be split into values becomes a JSON string of its
text and ends where the next row with all values begins, so it costs no other row.
"""

from __future__ import annotations

import itertools
import re
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa

from capstone_metrics.sources.readers import table
from capstone_metrics.sources.readers.content import check_file_name, utf8_chunks
from capstone_metrics.sources.readers.objects import content_of, escape, object_lines, to_line
from capstone_metrics.sources.readers.table import Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from capstone_metrics.sources.readers.options import Reading

    Positions = NDArray[np.int64]

LINE_FEED, CARRIAGE_RETURN = ord("\n"), ord("\r")
MAX_ROW_BYTES = 1 << 26
"""The length from which a row without an end is taken for one that cannot be split."""

HEADER_BYTES = 1 << 20
"""The bytes in which the header of a file is looked for."""

LINE_END = re.compile(r"\r\n?|\n")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
"""The first line by which spreadsheets are told the delimiter."""


def records(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the lines of JSON of a CSV, in chunks.

    Raises:
        CapstoneError: if it has another encoding, no such header, or two columns of one name.
    """
    chunks = utf8_chunks(path, file, reading.encoding)
    head = _read_head(chunks)
    text = head.decode(errors="ignore")
    separator = SEPARATOR_LINE.match(text)
    dialect = Dialect(
        reading.delimiter or (separator[1] if separator else ","), reading.quote, reading.escape
    )
    start = separator.end() if separator else 0
    rows = list(itertools.islice(dialect.rows(text, start), table.HEADER_ROWS))
    numbered = [(text.count("\n", 0, begin) + 1, values) for begin, _, values in rows]
    header_row = table.find_header(numbered, reading.header)
    if header_row is None:
        if not reading.header:
            return
        raise table.no_header(path, reading, rows[0][2] if rows else None)
    index, names = header_row
    check_file_name(path, reading, names)
    header = Header.of(path, names, keep_one_unnamed=True)
    body = len(text[: rows[index][1]].encode())
    rest = itertools.chain([head[body:]], chunks)
    yield from _Rows(header, dialect, ends_at_blank=bool(reading.until)).lines(rest)


def _read_head(chunks: Iterator[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= HEADER_BYTES:
            break
    return head


class Dialect:
    """How the values of a row are written.

    Args:
        delimiter: between values.
        quote: around a value; empty for none. Within a value it is doubled.
        escape: before a character that stands for itself; empty for none.
    """

    def __init__(self, delimiter: str, quote: str, escape: str) -> None:
        self.delimiter, self.quote, self.escape = delimiter, quote, escape
        between, around, before = map(re.escape, (delimiter, quote, escape))
        escaped = f"|{before}(?P<escaped>[\\s\\S])" if escape else ""
        escapes = escaped.replace("?P<escaped>", "?:")
        doubled = f"{around}(?P<quote>{around})" if quote else "(?!)"
        quoted = f"{around}((?:[^{around}{before}]++|{around}{around}{escapes})*+){around}"
        unquoted = f"((?:[^{between}{before}\\r\\n]{escapes})*+)"
        self.value = re.compile(f"{quoted if quote else '(?!)()'}|{unquoted}")
        self.escapes = re.compile(doubled + escaped)

    def rows(self, text: str, start: int = 0) -> Iterator[tuple[int, int, list[str]]]:
        """Yield where each row begins, where the next one does, and its values.

        A row that cannot be split has its first line as its value.
        """
        while start < len(text):
            values, end = self.row(text, start)
            if values is None:
                end = _next_line(text, start)
                values = [text[start:end].rstrip("\r\n")]
            yield start, end, values
            start = end

    def row(self, text: str, start: int) -> tuple[list[str] | None, int]:
        """Return the values of the row that begins here, and where the next one begins.

        Without values if it cannot be split: then the place of the fault, which is the end of the
        text if a quote is not closed.
        """
        values: list[str] = []
        while True:
            match = self.value.match(text, start)
            assert match is not None
            quoted, unquoted = match.groups()
            if unquoted is None:
                values.append(self._unescape(quoted))
            elif self.quote and unquoted.startswith(self.quote):
                return None, len(text)
            else:
                values.append(self._unescape(unquoted) if self.escape else unquoted)
            start = match.end()
            after = text[start : start + 1]
            if after == self.delimiter:
                start += 1
            elif after in {"\r", "\n", ""}:
                return values, start + (2 if text.startswith("\r\n", start) else len(after))
            else:
                return None, start

    def _unescape(self, text: str) -> str:
        return self.escapes.sub(lambda match: match[match.lastindex or 0], text)


class _Rows:
    """Reads the rows below a header."""

    def __init__(self, header: Header, dialect: Dialect, *, ends_at_blank: bool) -> None:
        self.header = header
        self.dialect = dialect
        self.ends_at_blank = ends_at_blank
        self.width = len(header.names)
        self.has_ended = False
        self.by_arrays = (
            dialect.delimiter.isascii() and dialect.quote.isascii() and not dialect.escape
        )

    def lines(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the lines of JSON of blocks of rows.

        Args:
            chunks: the bytes of the rows, in UTF-8.
        """
        rest, is_last = b"", False
        while not is_last and not self.has_ended:
            block = [rest]
            size = 0
            while size <= len(rest):  # at least doubles a row that is longer than a chunk
                chunk = next(chunks, None)
                if chunk is None:
                    is_last = True
                    break
                block.append(chunk)
                size += len(chunk)
            lines, rest = self._block(b"".join(block), is_last=is_last)
            if lines:
                yield b"".join(lines)

    def _block(self, block: bytes, *, is_last: bool) -> tuple[list[bytes | memoryview], bytes]:
        """Return the lines of the complete rows of a block, and the bytes after these."""
        held = b""
        if is_last and block and block[-1:] not in {b"\n", b"\r"}:
            block += b"\n"
        elif not is_last and block.endswith(b"\r"):  # a line feed may follow
            block, held = block[:-1], b"\r"
        lines: list[bytes | memoryview] = []
        end, is_unusual = 0, True
        if self.by_arrays:
            lines, end, is_unusual = self._regular(block, is_last=is_last)
        if not self.has_ended and (is_unusual or is_last or len(block) - end > MAX_ROW_BYTES):
            text = block[end:].decode()
            more, consumed = self._by_value(text, is_last=is_last or len(text) > MAX_ROW_BYTES)
            return lines + more, text[consumed:].encode() + held
        return lines, block[end:] + held

    # by arrays

    def _regular(
        self, block: bytes, *, is_last: bool
    ) -> tuple[list[bytes | memoryview], int, bool]:
        """Return the lines of the rows before an unusual quote, where they end, and if it exists.

        The row that a block ends within is left for the next one.
        """
        data = np.frombuffer(block, np.uint8)
        is_separator = (data == ord(self.dialect.delimiter)) | (data == LINE_FEED)
        if b"\r" in block:
            is_separator |= data == CARRIAGE_RETURN
        separators = np.flatnonzero(is_separator)
        is_unusual = False
        if self.dialect.quote and self.dialect.quote.encode() in block:
            is_quote = data == ord(self.dialect.quote)
            is_outside = np.cumsum(is_quote, dtype=np.int32)[separators] & 1 == 0
            unusual = _first_unusual(np.flatnonzero(is_quote), is_separator, is_last=is_last)
            is_unusual = unusual < len(block)
            separators = separators[is_outside & (separators < unusual)]
        separators, ends, is_end = _line_ends(data, separators)
        if not is_end.any():
            return [], 0, is_unusual
        last = int(np.flatnonzero(is_end)[-1]) + 1
        starts = np.concatenate(([0], separators[: last - 1] + 1))
        lines = self._lines_of(block, data, starts, ends[:last], is_end[:last])
        return lines, int(separators[last - 1]) + 1, is_unusual

    def _lines_of(
        self,
        block: bytes,
        data: NDArray[np.uint8],
        starts: Positions,
        ends: Positions,
        is_end: NDArray[np.bool_],
    ) -> list[bytes | memoryview]:
        """Return the lines of complete rows, of whose values the places are known."""
        last = np.flatnonzero(is_end)
        counts = np.diff(last, prepend=-1)
        first = last - counts + 1
        is_blank = (counts == 1) & (starts[first] == ends[last])
        if self.ends_at_blank and is_blank.any():
            self.has_ended = True
            stop = int(np.flatnonzero(is_blank)[0])
            last, counts, first, is_blank = (a[:stop] for a in (last, counts, first, is_blank))
            values = int(last[-1]) + 1 if stop else 0
            starts, ends = starts[:values], ends[:values]
        is_regular = (counts == self.width) & ~is_blank
        for column in self.header.unnamed:
            at = np.minimum(first + column, len(starts) - 1)
            is_regular &= (counts != self.width) | (starts[at] == ends[at])
        if not is_regular.all():
            keep = np.repeat(is_regular, counts)
            regular = self._join(block, data, starts[keep], ends[keep])
        else:
            regular = self._join(block, data, starts, ends)
        others = np.flatnonzero(~is_regular & ~is_blank)
        if not len(others):
            return [regular[0]]
        return self._insert(
            block,
            regular,
            np.cumsum(is_regular)[others],
            [block[starts[first[i]] : ends[last[i]]] for i in others],
        )

    def _insert(
        self,
        block: bytes,
        regular: tuple[memoryview, NDArray[np.int32]],
        positions: Positions,
        rows: Sequence[bytes],
    ) -> list[bytes | memoryview]:
        """Return the lines of regular rows with those of other rows at their positions."""
        content, offsets = regular
        lines: list[bytes | memoryview] = []
        begin = 0
        for position, row in zip(positions, rows, strict=True):
            end = int(offsets[position]) if len(offsets) else 0
            values, _ = self.dialect.row(row.decode(), 0)
            assert values is not None
            lines += [content[begin:end], to_line(self.header.to_object(values))]
            begin = end
        return [*lines, content[begin:]]

    def _join(
        self, block: bytes, data: NDArray[np.uint8], starts: Positions, ends: Positions
    ) -> tuple[memoryview, NDArray[np.int32]]:
        """Return rows of the width of the header as JSON, and where each begins."""
        if not len(starts):
            return memoryview(b""), np.zeros(1, np.int32)
        quote = self.dialect.quote
        if quote and quote.encode() in block:
            is_quoted = (data[starts] == ord(quote)) & (ends > starts)
            starts, ends = starts + is_quoted, ends - is_quoted
        offsets = np.empty(2 * len(starts), np.int32)
        offsets[0::2], offsets[1::2] = starts, ends
        # every second text is a value, the others are what stands between
        texts = pa.StringArray.from_buffers(
            len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(block)
        )
        columns = [i for i in range(self.width) if i not in self.header.unnamed]
        values = [
            texts.take(pa.array(np.arange(2 * column, len(offsets), 2 * self.width)))
            for column in columns
        ]
        names = [self.header.names[column] for column in columns]
        values = [escape(column, doubled=quote) for column in values]
        return content_of(object_lines(names, values, are_quoted=True))

    # value by value

    def _by_value(self, text: str, *, is_last: bool) -> tuple[list[bytes | memoryview], int]:
        """Return the lines of the complete rows of a text, and how much of it they are."""
        lines: list[bytes | memoryview] = []
        start = 0
        while start < len(text):
            values, end = self.dialect.row(text, start)
            is_complete = is_last or end < len(text) or text[end - 1 :] in {"\n", "\r"}
            if values is None:
                if end == len(text) and not is_last:  # its last quote may yet be closed
                    break
                found = self._resume(text, start, is_last=is_last)
                if found is None:
                    break
                lines.append(to_line(text[start:found].rstrip("\r\n")))
                end = found
            elif not is_complete:
                break
            elif values != [""] or text[start] not in "\r\n":
                lines.append(to_line(self.header.to_object(values)))
            elif self.ends_at_blank:
                self.has_ended = True
                break
            start = end
        return lines, start

    def _resume(self, text: str, start: int, *, is_last: bool) -> int | None:
        """Return where rows go on after one that cannot be split; None if that is not known yet.

        That is where a row with all values begins, or a line with as many that is broken too.
        """
        begin = _next_line(text, start)
        while begin < len(text):
            values, end = self.dialect.row(text, begin)
            if end >= len(text) and not is_last:
                return None
            following = _next_line(text, begin)
            is_like_a_row = text.count(self.dialect.delimiter, begin, following) >= self.width - 1
            if len(values) == self.width if values is not None else is_like_a_row:
                return begin
            begin = following
        return len(text) if is_last else None


def _first_unusual(quotes: Positions, is_separator: NDArray[np.bool_], *, is_last: bool) -> int:
    """Return the place of the first quote that neither begins or ends a value nor is doubled.

    The number of bytes if there is none. Of the quotes, each other one opens.
    """
    is_opening = np.arange(len(quotes)) % 2 == 0
    is_doubled = np.zeros(len(quotes) + 1, bool)  # whether a quote follows the one before it
    is_doubled[1:-1] = np.diff(quotes) == 1
    bounded = np.concatenate(([True], is_separator, [is_last or not len(is_separator)]))
    is_regular = np.where(
        is_opening,
        bounded[quotes] | is_doubled[:-1],
        bounded[quotes + 2] | is_doubled[1:],
    )
    if not is_last and len(quotes) and quotes[-1] == len(is_separator) - 1:
        is_regular[-1] = True  # what follows is not known yet
    unusual = np.flatnonzero(~is_regular)
    if len(unusual):
        return int(quotes[unusual[0]])
    return int(quotes[-1]) if is_last and len(quotes) % 2 else len(is_separator)


def _line_ends(
    data: NDArray[np.uint8], separators: Positions
) -> tuple[Positions, Positions, NDArray[np.bool_]]:
    """Return separators with CRLF as one, where the value before each ends, and which end a row."""
    kinds = data[separators]
    is_feed, is_return = kinds == LINE_FEED, kinds == CARRIAGE_RETURN
    if not is_return.any():
        return separators, separators, is_feed
    is_pair = np.zeros(len(separators), bool)  # whether it is the return of a CRLF
    is_pair[:-1] = is_return[:-1] & is_feed[1:] & (np.diff(separators) == 1)
    ends = separators.copy()
    ends[1:] -= is_pair[:-1]
    return separators[~is_pair], ends[~is_pair], (is_feed | is_return)[~is_pair]


def _next_line(text: str, start: int) -> int:
    """Return where the line after the one that has this place begins; the end if there is none."""
    match = LINE_END.search(text, start)
    return match.end() if match else len(text)
