"""Open a file as what it holds: the member of a zip, a decompressed gz, text as UTF-8."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import itertools
import lzma
import shutil
import tempfile
import zipfile
import zlib
from fnmatch import fnmatchcase
from typing import IO, TYPE_CHECKING, Any, cast

from capstone_metrics.errors import SourceError, os_error_message
from capstone_metrics.validation.texts import composed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

CHUNK_BYTES = 1 << 20
SHOWN_NAMES, SHOWN_CHARACTERS = 12, 60
GZIP, ZIP, EMPTY_ZIP = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06"
WORKBOOK = "[Content_Types].xml"
"""The member that tells a workbook from a zip with files."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",  # before UTF-16, with which it begins
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
BROKEN = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError)


def members(path: Path, reading: Reading) -> list[str]:
    """Return the members of a file that are read; of one that is no archive, an empty name.

    Raises:
        SourceError: if a zip has no such member, or several and none is declared.
    """
    with translate_errors(path):
        with path.open("rb") as file:
            magic = file.read(4)
        if magic not in {ZIP, EMPTY_ZIP}:
            return [""]
        try:
            with zipfile.ZipFile(path) as archive:
                names = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (UnicodeDecodeError, NotImplementedError) as error:  # of a name, or a rare version
            raise SourceError(
                f"{path}: cannot be unpacked ({error}); zip its files anew."
            ) from error
    if reading.format == "xlsx" and WORKBOOK in names:
        return [""]
    visible = [name for name in names if not _is_hidden(name)]
    matching = ([name for name in visible if _matches(name, pattern)] for pattern in reading.member)
    matches = next(filter(None, matching), []) if reading.member else visible
    if not matches or (len(matches) > 1 and not reading.member):
        patterns = " or ".join(map(repr, reading.member))
        missing = f"none of its members is {patterns}." if patterns else "which member?"
        raise SourceError(
            f"{path}: {missing} It has {shown(visible) or 'none'}; declare the one to read, "
            "such as member: '*.csv'."
        )
    return matches


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))


def _matches(name: str, pattern: str) -> bool:
    name = name if "/" in pattern else name.rpartition("/")[2]
    return fnmatchcase(composed(name), composed(pattern))


@contextlib.contextmanager
def opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open the content of a file, or of a member of a zip, for reading from its beginning on."""
    with translate_errors(path), contextlib.ExitStack() as stack:
        file = cast("IO[bytes]", stack.enter_context(path.open("rb")))
        if member:
            archive = stack.enter_context(zipfile.ZipFile(file))
            file = stack.enter_context(_open_member(path, archive, member))
        magic = file.read(2)
        file.seek(0)
        if magic == GZIP:
            file = cast("IO[bytes]", stack.enter_context(gzip.open(file)))
        yield file


def _open_member(path: Path, archive: zipfile.ZipFile, member: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except (RuntimeError, NotImplementedError) as error:  # a password, or a rare compression
        raise SourceError(
            f"{path}: {member} cannot be unpacked ({error}); unpack it and declare what it holds."
        ) from error


@contextlib.contextmanager
def seekable(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give a file that can be read in any order: this one, or a copy of what a zip or gz holds."""
    if isinstance(file, gzip.GzipFile | zipfile.ZipExtFile):
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy, CHUNK_BYTES)
            copy.seek(0)
            yield copy
    else:
        yield file


def utf8_chunks(path: Path, file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """Yield a text in UTF-8, without its byte order mark, which counts before the encoding.

    Raises:
        SourceError: if it is not in this encoding.
    """
    chunk = file.read(CHUNK_BYTES)
    mark = next((mark for mark in BYTE_ORDER_MARKS if chunk.startswith(mark)), b"")
    encoding = BYTE_ORDER_MARKS.get(mark, encoding) or "utf-8"
    chunk = chunk[len(mark) :]
    if encoding == "utf-8" and b"\0" in chunk[:2]:
        raise SourceError(f"{path}: is not UTF-8; declare its encoding, such as utf-16-le.")
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        while chunk:
            yield decoder.decode(chunk).encode()
            chunk = file.read(CHUNK_BYTES)
        decoder.decode(b"", final=True)
    except ValueError as error:
        raise SourceError(
            f"{path}: cannot be read as {encoding} ({error}); declare its encoding, such as "
            "cp1252, or save it as UTF-8."
        ) from error


def check_file_name(path: Path, reading: Reading, names: Iterable[str]) -> None:
    """Check that the field for the name of a file is no column of that file.

    Raises:
        SourceError: if it is.
    """
    if reading.file_name and reading.file_name in names:
        raise SourceError(
            f"{path}: has a column {reading.file_name!r} already; declare another file_name."
        )


def shown(names: Iterable[Any]) -> str:
    """Return the first of some names as a part of a sentence, long ones shortened."""
    first = list(itertools.islice(names, SHOWN_NAMES + 1))
    texts = [" ".join(str(name).split())[:SHOWN_CHARACTERS] for name in first[:SHOWN_NAMES]]
    return ", ".join(texts + ["…"] * (len(first) > SHOWN_NAMES))


def has_byte_order_mark(head: bytes) -> bool:
    """Return whether a text that begins so says which encoding other than UTF-8 it has."""
    return any(head.startswith(mark) for mark in BYTE_ORDER_MARKS if mark != codecs.BOM_UTF8)


@contextlib.contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise an error of the operating system, or of a broken archive, as one sentence."""
    try:
        yield
    except BROKEN as error:
        raise SourceError(
            f"{path}: the archive is incomplete or broken ({error}); copy it again."
        ) from error
    except OSError as error:
        raise SourceError(
            f"{os_error_message(error, path)}; make the export readable for this user."
        ) from error
