"""Read JSON documents: the records of a list become lines, each value as it is written.

A file is one document, an array, or documents one a line or one after another. What is valid is
split by msgspec, which gives the text of each value. What is not, such as a document that was cut,
is split by its brackets, so that the records before and after the fault come whole.
"""

from __future__ import annotations

import codecs
import itertools
import mmap
import re
import sys
import tempfile
from typing import IO, TYPE_CHECKING

import msgspec

from capstone_metrics.errors import SourceError
from capstone_metrics.sources.readers.content import (
    CHUNK_BYTES,
    has_byte_order_mark,
    shown,
    utf8_chunks,
)
from capstone_metrics.sources.readers.objects import to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

    Buffer = bytes | mmap.mmap | msgspec.Raw

INVALID = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""The errors of a text that is no JSON, or is nested too deeply to be split at once."""

GROUP_RECORDS = 1024
NEARBY_LINES, NEARBY_BYTES = 100, 1 << 16
"""How far is looked for the end of a document whose first line is broken."""

MAX_DEPTH = 3
"""How many lists within one another are gone through for records."""

TOKEN = re.compile(
    rb'"(?:[^"\\]++|\\[\s\S])*+(?:"|\Z)'  # a text, or one that is cut
    rb"|[\[{]|[\]}]"
    rb'|[^\s,:\[\]{}"]++'  # a number or a word
)
FIRST_CHARACTER = re.compile(rb"\s*(\S)")
LINE = re.compile(rb"\n([{\[][^\n]{2,})")
"""A line that may be a document, unlike one within an indented document."""
SEPARATORS, CLOSING = b" \t\r\n,", b"]}"
OBJECT, ARRAY = ord("{"), ord("[")


def records(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the records of a file as lines of JSON, in chunks.

    Raises:
        SourceError: if no document has the declared list of records, or for another encoding.
    """
    with tempfile.TemporaryFile() as copy:  # the file itself may change while it is read
        for chunk in _utf8(path, file, reading):
            copy.write(chunk)
        copy.flush()
        if copy.tell():
            documents = _Documents(path, reading)
            yield from _chunks(
                documents.lines(mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ))
            )
            documents.check()


def _utf8(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield a text in UTF-8. One that is said to be that is not checked: each record will be."""
    head = file.read(CHUNK_BYTES)
    if reading.encoding or has_byte_order_mark(head) or b"\0" in head[:2]:
        file.seek(0)
        yield from utf8_chunks(path, file, reading.encoding)
        return
    yield head.removeprefix(codecs.BOM_UTF8)
    yield from iter(lambda: file.read(CHUNK_BYTES), b"")


def _chunks(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines in chunks that are not small."""
    chunk: list[bytes] = []
    size = 0
    for part in parts:
        chunk.append(part)
        size += len(part)
        if size >= CHUNK_BYTES:
            yield b"".join(chunk)
            chunk, size = [], 0
    if chunk:
        yield b"".join(chunk)


class _Documents:
    """Finds the records in the documents of a file."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        self.paths = reading.records
        self.envelope = reading.envelope
        self.has_list = False
        self.other_fields: list[str] | None = None

    def check(self) -> None:
        """Raise an error if there were documents, and none had the list of records."""
        if self.other_fields is not None and not self.has_list and () not in self.paths:
            expected = " or ".join(".".join(path) for path in self.paths)
            raise SourceError(
                f"{self.path}: has no {expected}, where its records should be; its fields are "
                f"{shown(self.other_fields) or 'none'}; correct the declared records."
            )

    def lines(self, text: mmap.mmap) -> Iterator[bytes]:
        """Yield the records of a file as lines, one or more at a time."""
        if records := self._valid(text):
            yield from records
            return
        start = 0
        while start < len(text):
            end = text.find(b"\n", start)
            end = len(text) if end < 0 else end
            document = text[start:end].strip(SEPARATORS)
            following = end + 1
            has_bracket = document[:1] in {b"{", b"["}
            records = self._valid(document) if has_bracket else None
            if has_bracket and not records:
                if _is_cut(text, start, end):
                    document = text[start:end].strip()
                else:
                    following = _end(text, start)
                    document = text[start:following].strip(SEPARATORS)
            if document.strip(SEPARATORS + CLOSING):
                yield from records or self._document(document)
            start = following

    def _valid(self, text: Buffer) -> Iterator[bytes] | None:
        """Return the records of a document; None if it is not valid."""
        kind = _kind(text)
        try:
            if kind == ARRAY:
                return self._elements(msgspec.json.decode(text, type=list[msgspec.Raw]))
            if kind == OBJECT and self.paths:
                return self._page(text, msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
            msgspec.json.decode(text, type=msgspec.Raw)
        except INVALID:
            return None
        return _to_lines([bytes(text)])

    def _document(self, text: Buffer, depth: int = 0) -> Iterator[bytes]:
        """Yield the records of a document; itself if it has no list of records."""
        kind = _kind(text)
        if kind == ARRAY and depth < MAX_DEPTH:
            yield from self._elements(_elements(text), depth)
        elif kind == OBJECT and self.paths:
            yield from self._page(text, _fields(text))
        else:
            yield from _to_lines([bytes(text)])

    def _elements(self, elements: Sequence[Buffer], depth: int = 0) -> Iterator[bytes]:
        """Yield the records in the elements of an array."""
        if not self.paths:
            yield from _to_lines(_flat(elements))
            return
        for element in elements:
            yield from self._document(element, depth + 1)

    def _page(self, text: Buffer, fields: Mapping[str, Buffer]) -> Iterator[bytes]:
        """Yield the records of an object that has a list of them."""
        values = (_lookup(fields, path) for path in self.paths if path)
        value = next((value for value in values if value is not None), None)
        if value is None:
            self.other_fields = self.other_fields or list(fields)
            yield from _to_lines([bytes(text)])
            return
        self.has_list = True
        prefix = b"".join(
            to_line({name: 0})[1:-3] + _to_one_line(found) + b","
            for name, path in self.envelope
            if (found := _lookup(fields, path)) is not None
        )
        yield from _to_lines(_records(value), prefix)


def _records(value: Buffer) -> Iterator[bytes]:
    """Yield the records of a value: of a list its elements, of null none, else itself."""
    if _kind(value) == ARRAY:
        yield from _flat(_elements(value))
    elif (record := bytes(value)) != b"null":
        yield record


def _flat(elements: Sequence[Buffer], depth: int = 1) -> Iterator[bytes]:
    """Yield elements, and those of the lists among them."""
    for element in map(bytes, elements):
        if element[:1] == b"[" and depth < MAX_DEPTH:
            yield from _flat(_elements(element), depth + 1)
        else:
            yield element


def _to_lines(records: Iterable[bytes], prefix: bytes = b"") -> Iterator[bytes]:
    """Yield records as lines, many at a time.

    Args:
        records: values of JSON.
        prefix: fields at the beginning of each object, with a comma behind them.
    """
    records = iter(records)
    while group := list(itertools.islice(records, GROUP_RECORDS)):
        text = b"\n".join(group)
        if text.count(b"\n") >= len(group) or b"\r" in text:
            group = _in_one_line(group)
        if prefix:
            start = b"{" + prefix
            group = [
                start + record[1:] if record[:2] == b'{"' else _with_prefix(record, prefix)
                for record in group
            ]
        yield b"\n".join([*group, b""])


def _with_prefix(record: bytes, prefix: bytes) -> bytes:
    if not record.startswith(b"{"):
        return record
    is_empty = not record[1:].lstrip().strip(b"}")
    return b"{" + (prefix[:-1] if is_empty else prefix) + record[1:]


def _lookup(fields: Mapping[str, Buffer], path: Sequence[str]) -> Buffer | None:
    """Return the value at a path; of the lists on the way every element, as a list."""
    value = fields.get(path[0])
    if value is None or len(path) == 1:
        return value
    if _kind(value) == OBJECT:
        return _lookup(_fields(value), path[1:])
    if _kind(value) == ARRAY:
        objects = [_fields(element) for element in _records(value) if _kind(element) == OBJECT]
        parts = [part for each in objects if (part := _lookup(each, path[1:])) is not None]
        return b"[" + b",".join(map(bytes, parts)) + b"]" if parts else None
    return None


def _is_cut(text: mmap.mmap, start: int, end: int) -> bool:
    """Return whether a broken line is a cut document, and not the first line of a longer one.

    It is if what follows cannot go on from its end; where that can be, if a complete document
    follows on a line that is not a part of this one.
    """
    following = FIRST_CHARACTER.match(text, end)
    if following is None:
        return False
    if text[start:end].rstrip()[-1:] not in {b",", b":", b"[", b"{"}:
        return following[1] not in {b",", b":", b"]", b"}"}
    lines = LINE.finditer(text, end, end + NEARBY_BYTES)
    if not any(_is_valid(line[1]) for line in itertools.islice(lines, NEARBY_LINES)):
        return False
    return not _is_valid(text[start : _end(text, start, start + NEARBY_BYTES)])


def _is_valid(text: Buffer) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except INVALID:
        return False
    return True


def _kind(text: Buffer) -> int:
    """Return the first character of a value."""
    token = TOKEN.search(text)
    return token[0][0] if token else 0


def _elements(text: Buffer) -> Sequence[Buffer]:
    """Return the elements of an array, each as it is written."""
    try:
        return msgspec.json.decode(text, type=list[msgspec.Raw])
    except INVALID:
        return list(_values(bytes(text)))


def _fields(text: Buffer) -> dict[str, Buffer]:
    """Return the fields of an object, each value as it is written; of a repeated one the last."""
    fields: dict[str, Buffer]
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except INVALID:
        return _broken_fields(text)
    return fields


def _broken_fields(text: Buffer) -> dict[str, Buffer]:
    """Return the fields of an object that is not valid JSON, as far as its brackets tell."""
    values = _values(bytes(text))
    fields: dict[str, Buffer] = {}
    for key in values:
        try:
            name = msgspec.json.decode(key, type=str)
        except INVALID:
            name = key.decode(errors="replace")
        if value := next(values, b""):  # a cut one has no value
            fields[name] = value
    return fields


def _values(text: bytes) -> Iterator[bytes]:
    """Yield the values in an array or object, with the keys of the latter, by its brackets."""
    bracket = TOKEN.search(text)
    start = bracket.end() if bracket else len(text)
    while match := TOKEN.search(text, start):
        if match[0][:1] in {b"]", b"}"}:
            return
        start = _end(text, match.start())
        yield text[match.start() : start]


def _end(text: bytes | mmap.mmap, start: int, stop: int = sys.maxsize) -> int:
    """Return where a value ends by its brackets; the end of the text, or `stop`, if it is cut."""
    depth = 0
    for match in TOKEN.finditer(text, start, stop):
        kind = match[0][:1]
        if kind in {b"{", b"["}:
            depth += 1
        elif kind in {b"}", b"]"}:
            depth -= 1
        if depth <= 0:
            return match.end()
    return min(len(text), stop)


def _in_one_line(records: Sequence[bytes]) -> list[bytes]:
    """Return values without line ends between their tokens, of which none changes."""
    try:
        return [msgspec.json.format(record, indent=-1) for record in records]
    except INVALID:
        return [_to_one_line(record) for record in records]


def _to_one_line(text: Buffer) -> bytes:
    """Return a value without line ends between its tokens, none of which changes."""
    content = bytes(text).strip()
    if b"\n" not in content and b"\r" not in content:
        return content
    try:
        return bytes(msgspec.json.format(content, indent=-1))
    except INVALID:
        pass
    line = re.sub(rb"\s*[\r\n]\s*", b" ", content)
    is_same = TOKEN.findall(line) == TOKEN.findall(content)
    return line if is_same else to_line(content.decode(errors="replace"))[:-1]
