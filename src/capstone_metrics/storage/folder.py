"""A lake in a local folder."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from stat import S_ISREG
from typing import IO, TYPE_CHECKING

from filelock import FileLock, Timeout

from capstone_metrics.errors import StorageError
from capstone_metrics.storage.base import (
    LOCK_TIMEOUT_SECONDS,
    TEMPORARY,
    Stat,
    Storage,
    check_key,
    check_root,
    md5,
    translate_os_errors,
)
from capstone_metrics.storage.staging import SINGLE_OBJECT, staging_prefix

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from capstone_metrics.storage.base import StagedObject


NOT_SUPPORTED = {
    *(errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK),
    errno.EBADF,
}
"""The errors of a call that a file system does not know."""

LOCK_MODE = 0o664
"""The permissions of a lock, which every user who may write to the lake opens to write."""


class Folder(Storage):
    """A local folder whose files are the objects.

    Bytes are first written to `_tmp`, then moved to their key by one atomic call, so a glob over a
    layer never sees a partial object.
    """

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root)
        self.root = check_root(str(root))

    def path(self, key: str) -> Path:
        """Return the path of an object."""
        return self.folder / check_key(key, self.root)

    def address(self, key: str) -> str:
        return str(self.path(key))

    def keys(self, prefix: str) -> list[str]:
        top = self.path(prefix)
        with translate_os_errors(top):
            return sorted(_files(top, prefix and f"{prefix}/"))

    def stat(self, key: str) -> Stat | None:
        """Return the size, and inode, size, mtime and ctime (ns) as the version.

        No program can set back ctime.
        """
        path = self.path(key)
        with translate_os_errors(path):
            try:
                stat = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
        if not S_ISREG(stat.st_mode):
            return None
        version = f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"
        return Stat(version, stat.st_size)

    def open(self, key: str) -> IO[bytes]:
        with translate_os_errors(self.path(key)):
            return self.path(key).open("rb")

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        path = self.path(key)
        if self.exists(key):
            return False
        with translate_os_errors(path), self._temporary_file() as temporary:
            with temporary.open("wb") as file:
                file.writelines(chunks)
            sync(temporary)
            path.parent.mkdir(parents=True, exist_ok=True)
            is_new = self._move_if_absent(temporary, path)
            sync(path.parent)
        return is_new

    def _move_if_absent(self, temporary: Path, path: Path) -> bool:
        """Give a file its path if nothing is there; return whether it was given it."""
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            with self.locked(SINGLE_OBJECT):  # as on exFAT, which has no links
                if path.exists():
                    return False
                temporary.replace(path)
        return True

    def overwrite(self, key: str, content: bytes) -> None:
        path = self.path(key)
        with translate_os_errors(path), self._temporary_file() as temporary:
            temporary.write_bytes(content)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(path)

    @contextlib.contextmanager
    def _temporary_file(self) -> Iterator[Path]:
        """Yield the path of a new file in `_tmp`; it is deleted at the end if it still exists."""
        path = self.folder / f"{staging_prefix(SINGLE_OBJECT)}file"
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def persist(self, keys: Collection[str]) -> None:
        paths = [self.path(key) for key in keys]
        for path in (*paths, *{path.parent for path in paths}):
            with translate_os_errors(path):
                sync(path)

    def matches(self, key: str, digest: str, size: int) -> bool:
        stat = self.stat(key)
        return stat is not None and stat.size == size and md5(self.read(key)) == digest

    def promote(self, objects: Mapping[str, StagedObject]) -> None:
        for key, staged in objects.items():
            path = self.path(key)
            with translate_os_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    self.path(staged.key).replace(path)
                except FileNotFoundError:  # an earlier, interrupted call moved it
                    if not self.matches(key, staged.digest, staged.size):
                        raise
        for parent in {self.path(key).parent for key in objects}:
            with translate_os_errors(parent):
                sync(parent)

    def delete(self, keys: Collection[str]) -> None:
        paths = [self.path(key) for key in keys]
        for path in paths:
            with translate_os_errors(path):
                if path.parent.exists():
                    path.unlink(missing_ok=True)
        for parent in {path.parent for path in paths}:
            with translate_os_errors(parent):
                if parent.exists():
                    sync(parent)
                    self._remove_empty(parent)

    def _remove_empty(self, folder: Path) -> None:
        """Remove a folder and those above that it leaves empty.

        `_tmp` stays: other processes may be about to stage in it.
        """
        kept = {self.folder, self.folder / TEMPORARY}
        while folder not in kept and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    @contextlib.contextmanager
    def locked(self, layer: str) -> Iterator[None]:
        """Hold a file lock of the operating system, which is released if the holder dies."""
        path = self.folder / TEMPORARY / f"{layer}.lock"
        lock = FileLock(path, LOCK_TIMEOUT_SECONDS, LOCK_MODE)
        with translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                raise self.lock_timeout_error() from error
            except OSError as error:
                if error.errno not in {*NOT_SUPPORTED, errno.ENOLCK}:
                    raise
                raise StorageError(
                    f"{self.root}: its file system has no locks, so two runs could write at once; "
                    "put the lake on another one, or mount this one with locks."
                ) from error
        try:
            yield
        finally:
            lock.release()


def _files(folder: str | Path, prefix: str) -> Iterator[str]:
    """Yield the keys of the files in a folder and its subfolders; none if it does not exist.

    They are strings: a lake has thousands, and a `Path` for each would cost more than the listing.
    """
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}"


def sync(path: Path) -> None:
    """Flush a file or folder to disk.

    Windows and some file systems cannot flush a folder: after a power failure it may be as it was
    before.

    Raises:
        StorageError: if the file system cannot flush a file.
    """
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        if not path.is_dir():
            raise StorageError(
                f"{path}: its file system cannot flush files to disk, so a power failure could "
                "lose what was committed; put the lake on another one."
            ) from error
    finally:
        os.close(descriptor)
