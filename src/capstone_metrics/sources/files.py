"""Ingest a user's own exports: a content that is read in one way is one object of Bronze."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
from collections import defaultdict
from dataclasses import replace
from functools import partial
from glob import glob
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from capstone_metrics.configuration import ANYTHING, TEXT
from capstone_metrics.errors import CapstoneError, SourceError
from capstone_metrics.sources.readers import Reading, members, read
from capstone_metrics.sources.readers.content import translate_errors
from capstone_metrics.sources.readers.options import OPTIONS as READING
from capstone_metrics.validation.objects import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from capstone_metrics.schedule import Calendar

log = logging.getLogger(__name__)

OPTIONS = {
    "path?": TEXT,
    "preset?": TEXT,
    "format?": ANYTHING,
    **{f"{name}?": ANYTHING for name in READING},
}
OBJECT_NAME = re.compile(
    r"fonte=(?P<source>[^/]+)/janela=(?P<window>[^/]+)/"
    r"(?:file-(?P<number>\d+)-)?(?P<content>[0-9a-f]{64})(?:-(?P<reading>[0-9a-f]{8}))?\.jsonl"
)
"""The name of an object: when its content arrived, what it is, and how it was read.

An object without a number and a reading has its name from an earlier version, which had no options
that this one reads in another way.
"""


EVERY_MEMBER = ("*",)


class FileObject(NamedTuple):
    """What the name of an object says.

    Attributes:
        window: in which its content arrived.
        number: of the content among those of its window, in the order of arrival; 0 if unknown.
        content: its SHA-256.
        reading: the digest of how it was read; empty if unknown.
    """

    window: str
    number: int
    content: str
    reading: str

    @classmethod
    def of(cls, source: str, name: str) -> FileObject | None:
        """Parse the name of an object of a source; None if it is of another, or of another kind."""
        match = OBJECT_NAME.fullmatch(name)
        if match is None or match["source"] != source:
            return None
        number = int(match["number"] or 0)
        return cls(match["window"], number, match["content"], match["reading"] or "")

    def name(self, source: str) -> str:
        """Return the name of the object in Bronze."""
        file_name = f"file-{self.number:06}-{self.content}-{self.reading}.jsonl"
        return f"fonte={source}/janela={self.window}/{file_name}"


def objects(
    name: str, declaration: Mapping[str, Any], calendar: Calendar, existing: Collection[str]
) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Return an object for each content at `path` (a glob) that Bronze has not, or not read so.

    A new content belongs to the latest due window, after those that arrived in it before. One that
    was read in another way keeps the window and the number of that reading. A member of a zip that
    was read, and is not any more, has no line in the declared reading.

    Raises:
        SourceError: for an invalid option, or a `path` that matches no file.
    """
    reading = Reading.of(name, declaration)
    paths = _paths(name, declaration)
    window = calendar.arrival_window()
    if window is None:
        return {}
    known = [file for key in existing if (file := FileObject.of(name, key))]
    arrivals = {file.content: file for file in sorted(known, reverse=True)}
    readings = {(file.content, file.reading or reading.digest) for file in known}
    number = max((file.number for file in known if file.window == str(window)), default=0)
    new: dict[str, Callable[[], Iterator[bytes]]] = {}
    for path in paths:
        for member, content, is_read in _contents(path, reading):
            if (content, reading.digest) in readings or not (is_read or content in arrivals):
                continue
            readings.add((content, reading.digest))
            if content in arrivals:
                file = arrivals[content]._replace(reading=reading.digest)
            else:
                number += 1
                file = FileObject(str(window), number, content, reading.digest)
            new[file.name(name)] = partial(read, path, reading, member) if is_read else _nothing
    stale = {f.content for f in known if (f.content, reading.digest) not in readings}
    if stale:
        log.warning(
            "sources.%s: %d contents in Bronze were read in another way than is declared now, and "
            "are not at its path; their lines stay as they were read.",
            name,
            len(stale),
        )
    return new


def shared(sources: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], list[Path]]:
    """Return the files of which two sources read the same records, by the names of these sources.

    Two members of a zip, sheets of a workbook, tables or lists of a file are not the same records,
    nor are those that two sources select by `only`.
    """
    readers: dict[Any, list[tuple[str, Path]]] = defaultdict(list)
    for name, declaration in sources.items() if len(sources) > 1 else ():
        reading = Reading.of(name, declaration)
        table = reading.header if reading.until else ()
        part = reading.sheet, reading.records, table, repr(declaration.get("only"))
        for path in _paths(name, declaration):
            for member in members(path, reading):
                readers[path.resolve(), member, part].append((name, path))
    result: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for each in readers.values():
        for (one, path), (other, _) in combinations(each, 2):
            if one != other:  # a file may have two names
                result[one, other].append(path)
    return result


def withdrawn(sources: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> frozenset[str]:
    """Return the objects whose content was read anew in another way.

    Of the readings of a content the declared one counts; without it, the last by name.

    Args:
        sources: the declarations of the sources of files, by name.
        names: the names of objects of Bronze, of any source.
    """
    readings: dict[tuple[str, str], list[tuple[bool, str]]] = defaultdict(list)
    for name in names:
        source = parse_object_name(name)[0]
        file = FileObject.of(source, name) if source in sources else None
        if file:
            declared = Reading.of(source, sources[source]).digest
            is_declared = (file.reading or declared) == declared
            readings[source, file.content].append((is_declared, name))
    return frozenset(name for objects in readings.values() for _, name in sorted(objects)[:-1])


def files_of(sources: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> dict[str, str]:
    """Return the file, and the member of it, that objects were read from, while it is at its path.

    Args:
        sources: the declarations of the sources of files, by name.
        names: the names of objects of Bronze, of any source.
    """
    objects = {
        (source, file.content): name
        for name in names
        for source in sources.keys() & {parse_object_name(name)[0]}
        if (file := FileObject.of(source, name))
    }
    result: dict[str, str] = {}
    for source in {source for source, _ in objects}:
        with contextlib.suppress(CapstoneError):
            reading = Reading.of(source, sources[source])
            for path in _paths(source, sources[source]):
                for member, content, _ in _contents(path, reading):
                    if name := objects.get((source, content)):
                        result[name] = f"{path}/{member}" if member else str(path)
    return result


def _paths(name: str, declaration: Mapping[str, Any]) -> list[Path]:
    """Return the files of a source in the order in which they were written."""
    matches = glob(declaration.get("path", ""), recursive=True)
    paths = [path for path in map(Path, matches) if path.is_file()]
    if not paths:
        raise SourceError(
            f"sources.{name}.path: no file at {declaration.get('path')!r}, relative to "
            f"{Path.cwd()}; put the export there or correct the path."
        )
    return sorted(paths, key=_written_at)


def _written_at(path: Path) -> tuple[int, Path]:
    with translate_errors(path):
        return path.stat().st_mtime_ns, path


def _contents(path: Path, reading: Reading) -> Iterator[tuple[str, str, bool]]:
    """Yield each member of a file, the SHA-256 of its content, and whether it is read.

    Of a file that is no zip the member is empty; of a zip, the hash is that of the zip and the
    member's name.
    """
    with translate_errors(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    declared = members(path, reading)
    is_zip = any(declared)
    for member in members(path, replace(reading, member=EVERY_MEMBER)) if is_zip else declared:
        content = digest.copy()
        if member:
            content.update(b"\0" + member.encode())
        yield member, content.hexdigest(), member in declared


def _nothing() -> Iterator[bytes]:
    """Return the content of a member that the declaration does not read."""
    return iter(())
