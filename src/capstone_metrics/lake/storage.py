"""Where a lake lies: the objects of a folder or a bucket, and what a commit needs of either."""

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
"""The folder of the lake for what is no object of a layer: staged files and locks."""

ONE_OBJECT = "object"
"""What the workspaces in which a single object is staged belong to, in place of a layer."""

LOCAL = "capstone-"
"""What the names of workspaces outside of a lake start with; then what for, and which process."""

SECONDS_TO_WAIT = 60
"""How long a run waits for another one that holds the lock of a layer."""


class Shared(NamedTuple):
    """An object that a worker staged in the lake itself.

    Attributes:
        key: where it is staged.
        version: of it.
        size: in bytes.
    """

    key: str
    version: str
    size: int


class Storage(ABC):
    """The objects of a lake. A key is a relative path with `/`, such as `gold/x.csv`.

    An object is whole or absent, old or new, whatever kills the writer. All methods raise a
    `CapstoneError` where the storage refuses, and for a key that would leave the lake.
    """

    root: str
    """Where the lake lies, as messages name it."""

    is_remote = False
    """Whether engines need credentials to read it."""

    @abstractmethod
    def address(self, key: str) -> str:
        """Where an object lies, as an engine reads it."""

    @abstractmethod
    def keys(self, prefix: str) -> list[str]:
        """The keys under a prefix, sorted."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there is an object of this key."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The bytes of an object; an error if there is none."""

    @abstractmethod
    def version(self, key: str) -> str:
        """What changes whenever the bytes of an object do; empty where there is none.

        It is known without reading them, and may change where they stay the same.
        """

    @abstractmethod
    def size(self, key: str) -> int:
        """How many bytes an object has; an error if there is none."""

    @abstractmethod
    def open(self, key: str) -> IO[bytes]:
        """An object, to read it in parts and from any place; an error if there is none."""

    @abstractmethod
    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        """Write an object unless its key is taken; say whether it was written."""

    @abstractmethod
    def overwrite(self, key: str, content: bytes) -> str:
        """Write an object, whatever was there; who writes last has it.

        It is for notes that no commit depends on, and for what workers stage: no reader sees a
        part of one, but a machine that loses its power may lose it.

        Returns:
            Its version.
        """

    @abstractmethod
    def put(self, files: Mapping[str, Path]) -> None:
        """Put staged files into place as the objects of their keys, each old or new at any time.

        It may be done again after it was interrupted.
        """

    @abstractmethod
    def put_shared(self, objects: Mapping[str, Shared]) -> None:
        """The same of objects that workers staged; their bytes do not pass through this process."""

    @abstractmethod
    def delete(self, keys: Collection[str]) -> None:
        """Remove objects; one that is not there is no error."""

    @abstractmethod
    def holds(self, key: str, file: Path) -> bool:
        """Whether the object of a key is known to have the bytes of a file."""

    @abstractmethod
    def holds_shared(self, key: str, shared: Shared) -> bool:
        """The same for an object that a worker staged."""

    @abstractmethod
    def workspace(self, layer: str) -> Path:
        """A new local folder in which a commit of a layer is staged."""

    @abstractmethod
    def share(self, workspace: Path) -> str:
        """Have workers, who may be on other machines, stage for a commit as well.

        Returns:
            The prefix of the lake below which they write; it goes with the workspace.
        """

    @abstractmethod
    def keep(self, workspace: Path) -> str:
        """Have what was staged outlive this process.

        Returns:
            The name under which another process finds it.
        """

    @abstractmethod
    def kept(self, name: str) -> AbstractContextManager[Path]:
        """A local folder with what was kept under a name; it lacks what is gone."""

    @abstractmethod
    def discard(self, workspace: Path) -> None:
        """Remove a workspace, and what was kept of it."""

    @abstractmethod
    def has_abandoned(self, layer: str) -> bool:
        """Whether dead processes left behind what they staged for a layer."""

    @abstractmethod
    def sweep(self, layer: str) -> None:
        """Remove what dead processes staged for a layer. Call with its lock held."""

    @abstractmethod
    def locked(self, layer: str) -> AbstractContextManager[None]:
        """Hold the lock of a layer's commits; an error if another run holds it for too long.

        A holder that dies loses it.
        """

    def busy(self) -> CapstoneError:
        """What is said to a run that waited too long for the lock."""
        return CapstoneError(
            f"Another run has been writing to {self.root} for {SECONDS_TO_WAIT} s; "
            "wait for it and run again."
        )


def storage_of(where: str | Mapping[str, Any]) -> Storage:
    """The storage at a path, or in a bucket.

    Args:
        where: a path; `s3://<bucket>/<prefix>`; or the latter as `url` beside a `region` and an
            `endpoint_url`, each of which may be null and then is that of the environment.
    """
    said = dict(where) if isinstance(where, Mapping) else {"url": str(where)}
    return _storage(**{name: said.get(name) for name in ("url", "region", "endpoint_url")})


@cache
def _storage(url: str, region: str | None, endpoint_url: str | None) -> Storage:
    """One for each lake in a process: what it knows of the versions of objects is shared."""
    if url.startswith("s3://"):
        from capstone_metrics.lake.bucket import Bucket  # noqa: PLC0415 - boto3 is slow to import

        return Bucket(url, region, endpoint_url)
    from capstone_metrics.lake.folder import Folder  # noqa: PLC0415 - it imports this module

    return Folder(url)


def new_workspace(parent: Path, layer: str, before: str = "") -> Path:
    """A new folder, whose name says what it is for and which process made it."""
    with plain_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{before}{layer}-{os.getpid()}-", dir=parent))


def dead_workspaces(parent: Path, layer: str, before: str = "") -> list[Path]:
    """The workspaces of processes that live no more: of a layer, and of single objects."""
    return [
        folder
        for name in (layer, ONE_OBJECT)
        for folder in parent.glob(f"{before}{name}-*-*")
        if not psutil.pid_exists(int(folder.name.removeprefix(before).split("-")[1]))
    ]


def abandoned_here(name: str) -> list[Path]:
    """The workspaces outside of a lake that dead processes left, by what they were for."""
    return dead_workspaces(Path(tempfile.gettempdir()), name, LOCAL)


def check_key(key: str, root: str) -> str:
    """A key that stays in the lake.

    Raises:
        CapstoneError: if it would leave it.
    """
    if ".." in Path(key).parts or Path(key).is_absolute():
        raise CapstoneError(f"{key!r} is not a key of the lake at {root}.")
    return key


def document(content: dict[str, Any]) -> str:
    """JSON that a person can read."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def read_document(
    storage: Storage, key: str, way_out: str = "build the layer anew"
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
            f"{storage.address(key)}: is not JSON any more ({error}); {way_out}: "
            "kedro run --params=full=true."
        ) from error
    return content


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
