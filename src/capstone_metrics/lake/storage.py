"""Storage of a lake: the objects of a folder or a bucket, and the primitives of a commit."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import psutil

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from contextlib import AbstractContextManager

TEMPORARY = "_tmp"
"""The folder of the lake for staged files and locks, which belong to no layer."""

SINGLE_OBJECT = "object"
"""The name that replaces the layer's in workspaces that stage a single object."""

LOCAL_PREFIX = "capstone-"
"""Prefix of workspaces outside the lake; their purpose and process id follow it."""

LOCK_TIMEOUT_SECONDS = 60
"""How long a run waits for the lock of a layer before it fails."""


class StagedObject(NamedTuple):
    """An object that a worker staged in the lake itself.

    Attributes:
        key: the key under which it is staged.
        version: its version.
        size: its size in bytes.
    """

    key: str
    version: str
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
    def exists(self, key: str) -> bool:
        """Return whether an object exists."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes of an object; raise an error if it does not exist."""

    @abstractmethod
    def version(self, key: str) -> str:
        """Return a token that changes whenever the bytes of an object do; empty if it is absent.

        It is obtained without reading the bytes, and may change even if they do not.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the size of an object in bytes; raise an error if it does not exist."""

    @abstractmethod
    def open(self, key: str) -> IO[bytes]:
        """Open an object as a seekable file; raise an error if it does not exist."""

    @abstractmethod
    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Write an object if its key does not exist; return whether it was written."""

    @abstractmethod
    def overwrite(self, key: str, content: bytes) -> str:
        """Write an object, replacing any existing one; the last writer wins.

        It is for documents that no commit depends on, and for objects staged by workers: readers
        never see a partial object, but a power failure may lose it.

        Returns:
            The version of the new object.
        """

    @abstractmethod
    def put(self, files: Mapping[str, Path]) -> None:
        """Move staged files to their keys, replacing each object atomically.

        It may be repeated after an interruption.
        """

    @abstractmethod
    def put_staged(self, objects: Mapping[str, StagedObject]) -> None:
        """Copy objects staged by workers to their keys, without downloading them."""

    @abstractmethod
    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; missing ones are ignored."""

    @abstractmethod
    def matches_file(self, key: str, file: Path) -> bool:
        """Return whether an object is known to have the bytes of a file."""

    @abstractmethod
    def matches_staged(self, key: str, staged_object: StagedObject) -> bool:
        """Return whether an object is known to have the bytes of one staged by a worker."""

    @abstractmethod
    def workspace(self, layer: str) -> Path:
        """Create a local folder in which to stage a commit of a layer."""

    @abstractmethod
    def stage_remotely(self, workspace: Path) -> str:
        """Let workers, possibly on other machines, stage objects for a commit.

        Returns:
            The prefix of the lake under which they write; it is discarded with the workspace.
        """

    @abstractmethod
    def persist(self, workspace: Path) -> str:
        """Make the staged files survive this process.

        Returns:
            The name by which another process opens them.
        """

    @abstractmethod
    def open_persisted(self, name: str) -> AbstractContextManager[Path]:
        """Return a local folder with the persisted files of a name, as far as they still exist."""

    @abstractmethod
    def discard(self, workspace: Path) -> None:
        """Delete a workspace and everything persisted from it."""

    @abstractmethod
    def has_abandoned(self, layer: str) -> bool:
        """Return whether dead processes left staged files of a layer behind."""

    @abstractmethod
    def sweep(self, layer: str) -> None:
        """Delete the files that dead processes staged for a layer. Call with its lock held."""

    @abstractmethod
    def locked(self, layer: str) -> AbstractContextManager[None]:
        """Hold the commit lock of a layer; raise an error if another run holds it for too long.

        The lock of a holder that dies is released.
        """

    def lock_timeout_error(self) -> CapstoneError:
        """Return the error of a run that waited too long for the lock."""
        return CapstoneError(
            f"Another run has been writing to {self.root} for {LOCK_TIMEOUT_SECONDS} s; "
            "wait for it and run again."
        )


def storage_of(location: str | Mapping[str, Any]) -> Storage:
    """Return the storage of a lake in a folder or a bucket.

    Args:
        location: a path; `s3://<bucket>/<prefix>`; or a mapping with the latter as `url`, a
            `region` and an `endpoint_url`, where null means the environment's default.
    """
    config = dict(location) if isinstance(location, Mapping) else {"url": str(location)}
    return _storage(**{name: config.get(name) for name in ("url", "region", "endpoint_url")})


@cache
def _storage(url: str, region: str | None, endpoint_url: str | None) -> Storage:
    """Return this process's one storage of a lake, so that known object versions are shared."""
    if url.startswith("s3://"):
        from capstone_metrics.lake.bucket import Bucket  # noqa: PLC0415 - boto3 is slow to import

        return Bucket(url, region, endpoint_url)
    from capstone_metrics.lake.folder import Folder  # noqa: PLC0415 - it imports this module

    return Folder(url)


def new_workspace(parent: Path, layer: str, prefix: str = "") -> Path:
    """Create a folder whose name has its layer and the id of this process."""
    with translate_os_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{prefix}{layer}-{os.getpid()}-", dir=parent))


def dead_workspaces(parent: Path, layer: str, prefix: str = "") -> list[Path]:
    """Return the workspaces of dead processes: those of a layer, and those of single objects."""
    return [
        folder
        for name in (layer, SINGLE_OBJECT)
        for folder in parent.glob(f"{prefix}{name}-*-*")
        if not psutil.pid_exists(int(folder.name.removeprefix(prefix).split("-")[1]))
    ]


def dead_local_workspaces(name: str) -> list[Path]:
    """Return the workspaces outside the lake that dead processes left, by layer or purpose."""
    return dead_workspaces(Path(tempfile.gettempdir()), name, LOCAL_PREFIX)


def check_key(key: str, root: str) -> str:
    """Return a key if it stays within the lake.

    Raises:
        CapstoneError: if it leads outside the lake.
    """
    if ".." in Path(key).parts or Path(key).is_absolute():
        raise CapstoneError(f"{key!r} is not a key of the lake at {root}.")
    return key


def format_document(content: dict[str, Any]) -> str:
    """Return a document as indented JSON."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_document(
    storage: Storage, key: str, next_step: str = "rebuild the layer"
) -> dict[str, Any]:
    """Read a JSON document of the lake.

    Args:
        storage: the lake.
        key: the key of the document.
        next_step: what the message advises if it is invalid, before a full run.

    Raises:
        CapstoneError: if it does not exist or is not valid JSON.
    """
    try:
        content: dict[str, Any] = json.loads(storage.read(key))
    except ValueError as error:
        raise CapstoneError(
            f"{storage.address(key)}: is not valid JSON ({error}); {next_step}: "
            "kedro run --params=full=true."
        ) from error
    return content


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
        failed_path = error.filename2 or error.filename or path
        cause = (error.strerror or str(error)).lower()
        raise CapstoneError(f"{failed_path}: {cause}; {advice}.") from error
