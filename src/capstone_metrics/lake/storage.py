"""Objects in a folder: each is whole or absent, old or new, whatever kills the writer."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader

TEMPORARY = "_tmp"
ONE_OBJECT = "object"
"""What the folders of `_tmp` that stage a single object start with; then the process and a name."""


class Folder:
    """A lake in a local folder. A key is a relative path with `/`, such as `gold/x.csv`.

    Nothing is written under its own name: bytes are first staged and synced in `_tmp`, then
    put into place by one atomic call. So a glob over a layer never sees a part of an object.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """Where the object of a key lies.

        Raises:
            CapstoneError: if the key would leave the lake.
        """
        path = self.root / key
        if ".." in Path(key).parts or Path(key).is_absolute():
            raise CapstoneError(f"{key!r} is not a key of the lake at {self.root}.")
        return path

    def keys(self, prefix: str) -> list[str]:
        """The keys under a prefix, sorted."""
        top = self.path(prefix)
        with plain_errors(top):
            paths = (
                Path(folder, name)
                for folder, _, names in os.walk(top, onerror=_unless_gone)
                for name in names
            )
            return sorted(
                path.relative_to(self.root).as_posix() for path in paths if path.is_file()
            )

    def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""
        with plain_errors(self.path(key)):
            return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        """The bytes of an object.

        Raises:
            CapstoneError: if there is none, or it cannot be read.
        """
        with plain_errors(self.path(key)):
            return self.path(key).read_bytes()

    def open(self, key: str) -> BufferedReader:
        """An object, to read it in parts.

        Raises:
            CapstoneError: if there is none, or it cannot be read.
        """
        with plain_errors(self.path(key)):
            return self.path(key).open("rb")

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder for new files, on the lake's own file system, gone at the end."""
        with plain_errors(self.root / TEMPORARY):
            (self.root / TEMPORARY).mkdir(parents=True, exist_ok=True)
            name = f"{ONE_OBJECT}-{os.getpid()}-"
            folder = Path(tempfile.mkdtemp(prefix=name, dir=self.root / TEMPORARY))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Write an object unless its key is taken; say whether it was written."""
        path = self.path(key)
        if self.exists(key):
            return False
        with self.staging() as folder, plain_errors(path):
            staged = folder / "object"
            with staged.open("wb") as file:
                file.writelines(chunks)
            sync(staged)
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(staged, path)
            except FileExistsError:
                return False
            sync(path.parent)
        return True

    def move(self, staged: Path, key: str) -> None:
        """Put a synced file into place; it is there already if the file is gone."""
        path = self.path(key)
        with plain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                staged.replace(path)
            except FileNotFoundError:
                if not path.exists():
                    raise

    def delete(self, key: str) -> None:
        """Remove an object, and the folders that this leaves empty."""
        path = self.path(key)
        with plain_errors(path):
            if not path.parent.exists():
                return
            path.unlink(missing_ok=True)
            sync(path.parent)
            for parent in path.parents:
                if parent == self.root or any(parent.iterdir()):
                    return
                parent.rmdir()


def document(content: dict[str, Any]) -> str:
    """JSON that a person can read."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_document(
    storage: Folder, key: str, way_out: str = "build the layer anew"
) -> dict[str, Any]:
    """A JSON document of the lake.

    Args:
        storage: the lake.
        key: of the document.
        way_out: what to do if it is broken, besides a full run.

    Raises:
        CapstoneError: if it is not there, or not JSON any more.
    """
    try:
        content: dict[str, Any] = json.loads(storage.read(key))
    except ValueError as error:
        raise CapstoneError(
            f"{storage.path(key)}: is not JSON any more ({error}); {way_out}: "
            "kedro run --params=full=true."
        ) from error
    return content


def _unless_gone(error: OSError) -> None:
    """Let a walk go on where a folder is not there, and only there."""
    if not isinstance(error, FileNotFoundError):
        raise error


def same_bytes(one: Path, other: Path) -> bool:
    """Whether two files are there and equal."""
    return other.exists() and filecmp.cmp(one, other, shallow=False)


def sync(path: Path) -> None:
    """Have the disk hold what was written. A folder cannot be synced on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Say an error of the file system in one sentence that names the path and a way out."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "free some space and run again",
            errno.EACCES: "give this user the right to it and run again",
            errno.EROFS: "the file system is read-only; choose another folder for the lake",
            errno.ENOENT: "run the pipeline that makes it first",
        }.get(error.errno or 0, "check the disk and run again")
        where = error.filename2 or error.filename or path
        what = (error.strerror or str(error)).lower()
        raise CapstoneError(f"{where}: {what}; {advice}.") from error
