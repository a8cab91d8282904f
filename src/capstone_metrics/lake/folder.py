"""A lake in a local folder."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING

from filelock import FileLock, Timeout

from capstone_metrics.lake.storage import (
    ONE_OBJECT,
    SECONDS_TO_WAIT,
    TEMPORARY,
    Storage,
    check_key,
    dead_workspaces,
    new_workspace,
    plain_errors,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from capstone_metrics.lake.storage import Shared


class Folder(Storage):
    """Objects are files.

    Nothing is written under its own name: bytes are first staged and synced in `_tmp`, then put
    into place by one atomic call. So a glob over a layer never sees a part of an object.
    """

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root)
        self.root = str(root)

    def path(self, key: str) -> Path:
        """Where the object of a key lies."""
        return self.folder / check_key(key, self.root)

    def address(self, key: str) -> str:
        return str(self.path(key))

    def keys(self, prefix: str) -> list[str]:
        top = self.path(prefix)
        with plain_errors(top):
            return sorted(_files(top, prefix and f"{prefix}/"))

    def exists(self, key: str) -> bool:
        with plain_errors(self.path(key)):
            return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        with plain_errors(self.path(key)):
            return self.path(key).read_bytes()

    def version(self, key: str) -> str:
        """The inode, size and times (ns) of the file; no program sets back the last of them."""
        with plain_errors(self.path(key)):
            if not self.path(key).is_file():
                return ""
            stat = self.path(key).stat()
        return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"

    def size(self, key: str) -> int:
        with plain_errors(self.path(key)):
            return self.path(key).stat().st_size

    def open(self, key: str) -> IO[bytes]:
        with plain_errors(self.path(key)):
            return self.path(key).open("rb")

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        path = self.path(key)
        if self.exists(key):
            return False
        workspace = self.workspace(ONE_OBJECT)
        try:
            with plain_errors(path):
                staged = workspace / "object"
                with staged.open("wb") as file:
                    file.writelines(chunks)
                sync(staged)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(staged, path)
                except FileExistsError:
                    return False
                sync(path.parent)
        finally:
            self.discard(workspace)
        return True

    def overwrite(self, key: str, content: bytes) -> str:
        layer = key.partition("/")[0]
        path, workspace = self.path(key), self.workspace({TEMPORARY: ONE_OBJECT}.get(layer, layer))
        try:
            with plain_errors(path):
                staged = workspace / "object"
                staged.write_bytes(content)
                path.parent.mkdir(parents=True, exist_ok=True)
                staged.replace(path)
        finally:
            self.discard(workspace)
        return self.version(key)

    def put(self, files: Mapping[str, Path]) -> None:
        for key, file in files.items():
            path = self.path(key)
            with plain_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    file.replace(path)
                except FileNotFoundError:  # it is in place already
                    if not path.exists():
                        raise
        for parent in {self.path(key).parent for key in files}:
            with plain_errors(parent):
                sync(parent)

    def put_shared(self, objects: Mapping[str, Shared]) -> None:
        self.put({key: self.path(shared.key) for key, shared in objects.items()})

    def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            path = self.path(key)
            with plain_errors(path):
                if path.parent.exists():
                    path.unlink(missing_ok=True)
                    sync(path.parent)
                    self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.folder and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def holds(self, key: str, file: Path) -> bool:
        path = self.path(key)
        with plain_errors(path):
            return path.exists() and filecmp.cmp(path, file, shallow=False)

    def holds_shared(self, key: str, shared: Shared) -> bool:
        return self.holds(key, self.path(shared.key))

    def workspace(self, layer: str) -> Path:
        return new_workspace(self.folder / TEMPORARY, layer)

    def share(self, workspace: Path) -> str:
        return workspace.relative_to(self.folder).as_posix()

    def keep(self, workspace: Path) -> str:
        with plain_errors(workspace):
            sync(workspace.parent)
            sync(workspace)
        for folder, _, names in os.walk(workspace):
            for path in (*(Path(folder, name) for name in names), Path(folder)):
                with plain_errors(path):
                    sync(path)
        return self.share(workspace)

    @contextlib.contextmanager
    def kept(self, name: str) -> Iterator[Path]:
        yield self.folder / name

    def discard(self, workspace: Path) -> None:
        shutil.rmtree(workspace, ignore_errors=True)

    def has_abandoned(self, layer: str) -> bool:
        return bool(self._abandoned(layer))

    def sweep(self, layer: str) -> None:
        for workspace in self._abandoned(layer):
            self.discard(workspace)

    def _abandoned(self, layer: str) -> list[Path]:
        return dead_workspaces(self.folder / TEMPORARY, layer)

    @contextlib.contextmanager
    def locked(self, layer: str) -> Iterator[None]:
        """Hold the system's lock of a file: it goes with who holds it."""
        path = self.folder / TEMPORARY / f"{layer}.lock"
        lock = FileLock(path, timeout=SECONDS_TO_WAIT)
        with plain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                raise self.busy() from error
        try:
            yield
        finally:
            lock.release()


def _files(folder: str | Path, before: str) -> Iterator[str]:
    """The keys of the files in a folder and in those below it; none if it is not there.

    They stay text: a lake has thousands, and a `Path` of each would cost more than the listing.
    """
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{before}{entry.name}/")
            elif entry.is_file():
                yield f"{before}{entry.name}"


def sync(path: Path) -> None:
    """Have the disk hold what was written. A folder cannot be synced on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
