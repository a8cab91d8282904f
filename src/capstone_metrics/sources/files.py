"""Ingest a user's own exports: a content that is read in one way is one object of Bronze."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import re
import stat
from collections import defaultdict
from dataclasses import replace
from functools import partial
from glob import glob, has_magic
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from unicodedata import normalize

from capstone_metrics.config_schema import ANYTHING, TEXT
from capstone_metrics.errors import CapstoneError, SourceChangedError, SourceError
from capstone_metrics.sources.objects import NewObjects
from capstone_metrics.sources.readers import Reading, members, read
from capstone_metrics.sources.readers.content import translate_errors
from capstone_metrics.sources.readers.options import OPTIONS as READING
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.texts import REPLACED, composed, shown_name

if TYPE_CHECKING:
    from _hashlib import HASH
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from capstone_metrics.schedule import Calendar

log = logging.getLogger(__name__)

OPTIONS = {
    "path": TEXT,
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
    name: str,
    declaration: Mapping[str, Any],
    calendar: Calendar,
    existing: Collection[str],
    last_contents: Mapping[str, str],
) -> NewObjects:
    """Return an object for each content at `path` (a glob) that Bronze has not, or not read so.

    A new content belongs to the latest due window, after those that arrived in it before. One that
    was read in another way keeps the window and the number of that reading. A file that is again
    what it was before another content arrives once more. A member of a zip that was read, and is
    not any more, has no line in the declared reading.

    Raises:
        ConfigError: for an invalid option.
        SourceError: for a `path` that matches no file.
    """
    reading = Reading.of(name, declaration)
    paths, refused = _matches(declaration["path"])
    if not paths and not refused:
        raise SourceError(
            f"sources.{name}.path: no file at {declaration['path']!r}, relative to "
            f"{Path.cwd()}; put the export there or correct the path."
        )
    window = calendar.arrival_window()
    if window is None:
        return NewObjects(is_looked_at=False)
    bronze = _Arrivals(name, existing, reading)
    new, unread = NewObjects(refused=refused), set()
    for path in paths:
        try:
            contents = list(_contents(path, reading))
        except SourceError as error:
            new.refused.append(str(error))
            continue
        for member, content, is_read in contents:
            if is_read:
                place = f"{path}/{member}" if member else str(path)
                new.contents[place] = content
                bronze.arrive(place, content, last_contents.get(place), str(window))
            else:
                unread.add(content)
            chunks = partial(_read_whole, path, reading, member, content) if is_read else _nothing
            new.objects.update((file.name(name), chunks) for file in bronze.unread(content))
    if stale := bronze.stale({*new.contents.values(), *unread}):
        log.warning(
            "sources.%s: %d contents in Bronze were read in another way than is declared now, and "
            "are not at its path; their lines stay as they were read.",
            name,
            len(stale),
        )
    return new


class _Arrivals:
    """The arrivals of the contents of a source in Bronze, as windows and numbers within them.

    Args:
        source: the name of the source.
        existing: the names of the objects in Bronze.
        reading: how files are read.

    Attributes:
        arrivals: of each content, in their order.
    """

    def __init__(self, source: str, existing: Collection[str], reading: Reading) -> None:
        self.source, self.digest = source, reading.digest
        files = sorted(file for key in existing if (file := FileObject.of(source, key)))
        self.known = {file._replace(reading=file.reading or self.digest) for file in files}
        self.arrivals: dict[str, list[tuple[str, int]]] = {}
        for file in files:
            arrivals = self.arrivals.setdefault(file.content, [])
            if (file.window, file.number) not in arrivals:
                arrivals.append((file.window, file.number))

    def arrive(self, place: str, content: str, last: str | None, window: str) -> None:
        """Add an arrival of a content, after all others of a window, if it is new.

        So it is if its file is again as it was before another content.

        Args:
            place: the path of the file.
            content: its content.
            last: the content that it last had; None if that is not known.
            window: that of the arrival.
        """
        known = self.arrivals
        is_put_back = content in known and last in known and known[content][-1] < known[last][-1]
        if is_put_back:
            log.warning(
                "sources.%s: %s is as it was before; it counts as a new observation.",
                self.source,
                place,
            )
        if is_put_back or content not in known:
            numbers = [n for each in known.values() for w, n in each if w == window]
            known.setdefault(content, []).append((window, max(numbers, default=0) + 1))

    def unread(self, content: str) -> Iterator[FileObject]:
        """Yield the objects that Bronze lacks of a content, as it is read now."""
        for window, number in self.arrivals.get(content, ()):
            file = FileObject(window, number, content, self.digest)
            if file not in self.known:
                yield file

    def stale(self, present: Iterable[str]) -> set[str]:
        """Return the contents that Bronze has, not read as now, apart from those at hand."""
        current = {file.content for file in self.known if file.reading == self.digest}
        return {file.content for file in self.known} - current - set(present)


def _read_whole(path: Path, reading: Reading, member: str, content: str) -> Iterator[bytes]:
    """Yield the records of a file in chunks, if its content is what it was.

    Raises:
        SourceChangedError: if it is not.
        SourceError: if it cannot be read.
    """
    changed = SourceChangedError(f"{path}: changed while it was read; the next run reads it.")
    try:
        yield from read(path, reading, member)
    except SourceError:
        if _content(_digest(path), member) != content:
            raise changed from None
        raise
    if _content(_digest(path), member) != content:
        raise changed


def shared(sources: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], list[Path]]:
    """Return the files of which two sources read the same records, by the names of these sources.

    Two members of a zip, sheets of a workbook, tables or lists of a file are not the same records,
    nor are those that two sources select by `only`.
    """
    matches: dict[Path, list[tuple[str, Path]]] = defaultdict(list)
    for name, declaration in sources.items() if len(sources) > 1 else ():
        for path in matching_files(declaration["path"]):
            matches[path.resolve()].append((name, path))
    readings = {name: Reading.of(name, declaration) for name, declaration in sources.items()}
    readers: dict[Any, list[tuple[str, Path]]] = defaultdict(list)
    for file, matching in matches.items():
        for name, path in matching if len(matching) > 1 else ():
            for part in _parts(path, readings[name]):
                readers[file, part, repr(sources[name].get("only"))].append((name, path))
    result: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for each in readers.values():
        for (one, path), (other, _) in combinations(each, 2):
            if one != other:  # a file may have two names
                result[one, other].append(path)
    return result


def _parts(path: Path, reading: Reading) -> list[tuple[Any, ...]]:
    """Return which parts of a file are read; none of one that the ingestion refuses."""
    table = reading.header if reading.until else ()
    try:
        return [
            (member, reading.sheet, reading.records, table) for member in members(path, reading)
        ]
    except SourceError:
        return []


def withdrawn(sources: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> frozenset[str]:
    """Return the objects whose content was read anew in another way.

    Of the readings of an arrival the declared one counts; without it, the last by name.

    Args:
        sources: the declarations of the sources of files, by name.
        names: the names of objects of Bronze, of any source.
    """
    digests = {source: Reading.of(source, each).digest for source, each in sources.items()}
    readings: dict[tuple[str, FileObject], list[tuple[bool, str]]] = defaultdict(list)
    for name in names:
        source = parse_object_name(name)[0]
        if source in digests and (file := FileObject.of(source, name)):
            is_declared = file.reading in {"", digests[source]}
            readings[source, file._replace(reading="")].append((is_declared, name))
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
        reading = Reading.of(source, sources[source])
        for path in matching_files(sources[source]["path"]):
            with contextlib.suppress(CapstoneError):
                for member, content, _ in _contents(path, reading):
                    if name := objects.get((source, content)):
                        result[name] = f"{path}/{member}" if member else str(path)
    return result


def matching_files(pattern: str) -> list[Path]:
    """Return the files at a glob in the order in which they were written.

    The accents of their names may be composed or not. Hidden files are left out, and so are those
    of spreadsheets that are open, `~$`, and those reached again by a link to a folder above.
    """
    return _matches(pattern)[0]


def _matches(pattern: str) -> tuple[list[Path], list[str]]:
    """Return the files at a glob, and why others that are there cannot be read."""
    files: dict[tuple[int, str], tuple[int, Path]] = {}
    refused: dict[str, None] = {}
    for parts in product(*map(_spellings, pattern.split("/"))):
        for folder in _closed_folders(parts):
            refused[f"{folder}: permission denied; make the export readable for this user."] = None
        for path in map(Path, glob("/".join(parts), recursive=True)):
            is_of_editor = path.name.startswith("~$") and not parts[-1].startswith("~$")
            if is_of_editor or ("**" in parts and _is_repeated(path)):
                continue
            try:
                status = _status(path)
            except SourceError as error:
                refused[str(error)] = None
            else:
                if stat.S_ISREG(status.st_mode):
                    # some file systems find a file by both spellings
                    files[status.st_ino, composed(str(path))] = status.st_mtime_ns, path
    return [path for _, path in sorted(files.values())], list(map(shown_name, refused))


def _spellings(name: str) -> Iterable[str]:
    """Return the ways to write the accents of a name."""
    if "[" in name:  # a choice of characters, of which a letter and its accent would be two
        return [name]
    return dict.fromkeys((name, normalize("NFD", name), composed(name)))


def _status(path: Path) -> os.stat_result:
    """Return what the file system says of a file.

    Raises:
        SourceError: for a link that leads nowhere, a file that this user may not see, or a name
            that is not UTF-8.
    """
    with translate_errors(path):
        try:
            status = path.stat()
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP}:
                raise SourceError(f"{path}: is a link that leads nowhere; remove it.") from error
            raise
    name = shown_name(str(path))
    if REPLACED in name and name != str(path) and stat.S_ISREG(status.st_mode):
        raise SourceError(f"{name}: its name is not UTF-8; rename it.")
    return status


def _closed_folders(parts: Sequence[str]) -> Iterator[str]:
    """Yield the folders on the way of a glob that this user may not list, or enter."""
    steps = (*parts, "*") if parts[-1] == "**" else parts
    for place in range(1, len(steps)):
        is_listed = has_magic(steps[place]) or steps[place - 1] == "**"
        mode = os.R_OK if is_listed else os.X_OK
        for folder in glob("/".join(steps[:place]) + "/", recursive=True):
            if not os.access(folder, mode, effective_ids=os.access in os.supports_effective_ids):
                yield folder


def _is_repeated(path: Path) -> bool:
    """Return whether a file is reached through a link to a folder above that link."""
    return any(
        folder.is_symlink() and folder.resolve() in map(Path.resolve, folder.parents)
        for folder in reversed(path.parents)
    )


def _contents(path: Path, reading: Reading) -> Iterator[tuple[str, str, bool]]:
    """Yield each member of a file, the SHA-256 of its content, and whether it is read.

    Of a file that is no zip the member is empty; of a zip, the hash is that of the zip and the
    member's name.
    """
    digest = _digest(path)
    declared = members(path, reading)
    is_zip = any(declared)
    for member in members(path, replace(reading, member=EVERY_MEMBER)) if is_zip else declared:
        yield member, _content(digest, member), member in declared


def _digest(path: Path) -> HASH:
    with translate_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _content(digest: HASH, member: str) -> str:
    """Return the SHA-256 of a file, or of a member of a zip, by the hash of the file."""
    content = digest.copy()
    if member:
        content.update(b"\0" + member.encode())
    return content.hexdigest()


def _nothing() -> Iterator[bytes]:
    """Return the content of a member that the declaration does not read."""
    return iter(())
