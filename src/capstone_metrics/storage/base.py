"""The primitives of a lake's storage: objects that are replaced atomically, and a lock."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple
from uuid import uuid4

from capstone_metrics.errors import CommitConflictError, StorageError, os_error_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

TEMPORARY = "_tmp"
"""The folder of the lake for staged objects and locks, which belong to no layer."""

LOCK_TIMEOUT_SECONDS = 60
"""How long a run waits for the lock of a layer before it fails."""


class Stat(NamedTuple):
    """The state of an object, obtained without reading its bytes.

    Attributes:
        version: a token that changes whenever the bytes do; it may change even if they do not.
        size: the size in bytes.
    """

    version: str
    size: int


class StagedObject(NamedTuple):
    """An object in `_tmp` that a commit puts into place.

    Attributes:
        key: the key under which it is staged.
        digest: the MD5 of its bytes, in hexadecimal.
        size: the size in bytes.
    """

    key: str
    digest: str
    size: int


class Storage(ABC):
    """The objects of a lake. A key is a relative path with `/`, such as `gold/x.csv`.

    Writes are atomic: an object is either complete or absent, either old or new, even if the
    writer is killed. All methods raise a `CapstoneError` if the storage fails, and for a key
    outside the lake.
    """

    root: str
    """The path or URL of the lake, as messages show it."""

    is_remote = False
    """Whether it is an object store, for which engines need credentials."""

    @abstractmethod
    def address(self, key: str) -> str:
        """Return the path or URL of an object, as an engine reads it."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """Return the keys under a prefix, sorted."""

    @abstractmethod
    def stat(self, key: str) -> Stat | None:
        """Return the version and size of an object; None if it does not exist."""

    @abstractmethod
    def open(self, key: str) -> IO[bytes]:
        """Open an object as a seekable file; raise an error if it does not exist."""

    @abstractmethod
    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Write an object if its key does not exist; return whether it was written."""

    @abstractmethod
    def overwrite(self, key: str, content: bytes) -> None:
        """Write an object, replacing any existing one; the last writer wins.

        Readers never see a partial object, but until `persist` a power failure may lose it.
        """

    @abstractmethod
    def persist(self, keys: Collection[str]) -> None:
        """Make objects that were overwritten survive a power failure."""

    @abstractmethod
    def matches(self, key: str, digest: str, size: int) -> bool:
        """Return whether an object is known to have bytes of this MD5 and size."""

    @abstractmethod
    def promote(self, objects: Mapping[str, StagedObject]) -> None:
        """Promote staged objects to their keys, replacing each object atomically.

        It may be repeated after an interruption.
        """

    @abstractmethod
    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; missing ones are ignored."""

    @abstractmethod
    def locked(self, layer: str) -> AbstractContextManager[None]:
        """Hold the commit lock of a layer; raise an error if another run holds it for too long.

        The lock of a holder that dies is released.
        """

    def exists(self, key: str) -> bool:
        """Return whether an object exists."""
        return self.stat(key) is not None

    def version(self, key: str) -> str:
        """Return the version of an object; empty if it does not exist."""
        stat = self.stat(key)
        return stat.version if stat else ""

    def size(self, key: str) -> int:
        """Return the size of an object in bytes; raise an error if it does not exist."""
        with self.open(key) as file:
            return file.seek(0, os.SEEK_END)

    def read(self, key: str) -> bytes:
        """Return the bytes of an object; raise an error if it does not exist."""
        with self.open(key) as file:
            return file.read()

    def stage(self, prefix: str, content: bytes) -> StagedObject:
        """Write bytes under a new key that starts with a prefix, for `promote` to use later."""
        staged = StagedObject(f"{prefix}{uuid4().hex}", md5(content), len(content))
        self.overwrite(staged.key, content)
        return staged

    def lock_timeout_error(self) -> CommitConflictError:
        """Return the error of a run that waited too long for the lock."""
        return CommitConflictError(
            f"Another run has been writing to {self.root} for {LOCK_TIMEOUT_SECONDS} s; "
            "wait for it and run again."
        )


def md5(content: bytes) -> str:
    """Return the MD5 of bytes in hexadecimal, which S3 uses as the version of an object."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def check_root(root: str) -> str:
    """Return the path or URL of a lake, if engines do not read it as a pattern.

    Raises:
        StorageError: if they do.
    """
    if set(root) & set("*?["):
        raise StorageError(
            f"{root}: must not contain * ? or [, which engines read as a pattern; correct 'lake' "
            "in globals.yml, or rename the folder."
        )
    return root


def check_key(key: str, root: str) -> str:
    """Return a key if it stays within the lake.

    Raises:
        CapstoneError: if it leads outside the lake.
    """
    if ".." in Path(key).parts or Path(key).is_absolute():
        raise StorageError(f"{key!r} is not a key of the lake at {root}.")
    return key


@contextlib.contextmanager
def translate_os_errors(path: Path) -> Iterator[None]:
    """Translate errors of the file system to a message with the path and the next step."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "free some space and run again",
            errno.EACCES: "grant this user access to it and run again",
            errno.EROFS: "the file system is read-only; choose another folder for the lake",
            errno.ENOENT: "run the pipeline that creates it first",
        }.get(error.errno or 0, "check the disk and run again")
        raise StorageError(f"{os_error_message(error, path)}; {advice}.") from error
