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
    LOCK_TIMEOUT_SECONDS,
    SINGLE_OBJECT,
    TEMPORARY,
    Storage,
    check_key,
    dead_workspaces,
    new_workspace,
    translate_os_errors,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from capstone_metrics.lake.storage import StagedObject


class Folder(Storage):
    """A local folder whose files are the objects.

    Bytes are first staged and synced in `_tmp`, then moved to their key by one atomic call, so a
    glob over a layer never sees a partial object.
    """

    def __init__(self, root: str | Path) -> None:
        self.folder = Path(root)
        self.root = str(root)

    def path(self, key: str) -> Path:
        """Return the path of an object."""
        return self.folder / check_key(key, self.root)

    def address(self, key: str) -> str:
        return str(self.path(key))

    def keys(self, prefix: str) -> list[str]:
        top = self.path(prefix)
        with translate_os_errors(top):
            return sorted(_files(top, prefix and f"{prefix}/"))

    def exists(self, key: str) -> bool:
        with translate_os_errors(self.path(key)):
            return self.path(key).is_file()

    def read(self, key: str) -> bytes:
        with translate_os_errors(self.path(key)):
            return self.path(key).read_bytes()

    def version(self, key: str) -> str:
        """Return inode, size, mtime and ctime (ns) of the file; no program can set back ctime."""
        with translate_os_errors(self.path(key)):
            if not self.path(key).is_file():
                return ""
            stat = self.path(key).stat()
        return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ctime_ns}"

    def size(self, key: str) -> int:
        with translate_os_errors(self.path(key)):
            return self.path(key).stat().st_size

    def open(self, key: str) -> IO[bytes]:
        with translate_os_errors(self.path(key)):
            return self.path(key).open("rb")

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        path = self.path(key)
        if self.exists(key):
            return False
        workspace = self.workspace(SINGLE_OBJECT)
        try:
            with translate_os_errors(path):
                staged_path = workspace / "object"
                with staged_path.open("wb") as file:
                    file.writelines(chunks)
                sync(staged_path)
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(staged_path, path)
                except FileExistsError:
                    return False
                sync(path.parent)
        finally:
            self.discard(workspace)
        return True

    def overwrite(self, key: str, content: bytes) -> str:
        layer = key.partition("/")[0]
        path, workspace = (
            self.path(key),
            self.workspace({TEMPORARY: SINGLE_OBJECT}.get(layer, layer)),
        )
        try:
            with translate_os_errors(path):
                staged_path = workspace / "object"
                staged_path.write_bytes(content)
                path.parent.mkdir(parents=True, exist_ok=True)
                staged_path.replace(path)
        finally:
            self.discard(workspace)
        return self.version(key)

    def put(self, files: Mapping[str, Path]) -> None:
        for key, file in files.items():
            path = self.path(key)
            with translate_os_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    file.replace(path)
                except FileNotFoundError:  # an earlier, interrupted call moved it
                    if not path.exists():
                        raise
        for parent in {self.path(key).parent for key in files}:
            with translate_os_errors(parent):
                sync(parent)

    def put_staged(self, objects: Mapping[str, StagedObject]) -> None:
        self.put({key: self.path(staged.key) for key, staged in objects.items()})

    def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            path = self.path(key)
            with translate_os_errors(path):
                if path.parent.exists():
                    path.unlink(missing_ok=True)
                    sync(path.parent)
                    self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.folder and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent

    def matches_file(self, key: str, file: Path) -> bool:
        path = self.path(key)
        with translate_os_errors(path):
            return path.exists() and filecmp.cmp(path, file, shallow=False)

    def matches_staged(self, key: str, staged_object: StagedObject) -> bool:
        return self.matches_file(key, self.path(staged_object.key))

    def workspace(self, layer: str) -> Path:
        return new_workspace(self.folder / TEMPORARY, layer)

    def stage_remotely(self, workspace: Path) -> str:
        return workspace.relative_to(self.folder).as_posix()

    def persist(self, workspace: Path) -> str:
        with translate_os_errors(workspace):
            sync(workspace.parent)
            sync(workspace)
        for folder, _, names in os.walk(workspace):
            for path in (*(Path(folder, name) for name in names), Path(folder)):
                with translate_os_errors(path):
                    sync(path)
        return self.stage_remotely(workspace)

    @contextlib.contextmanager
    def open_persisted(self, name: str) -> Iterator[Path]:
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
        """Hold a file lock of the operating system, which is released if the holder dies."""
        path = self.folder / TEMPORARY / f"{layer}.lock"
        lock = FileLock(path, timeout=LOCK_TIMEOUT_SECONDS)
        with translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                raise self.lock_timeout_error() from error
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
    """Flush a file or folder to disk. Windows cannot sync folders."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
