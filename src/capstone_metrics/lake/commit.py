"""Many objects put into place as one: all of them or none, whatever kills the writer.

A commit is staged beside the lake, then written down, then carried out:

1. new objects are staged under `_tmp/<layer>-…` and synced;
2. `<layer>/commits/<generation>.json` is created: what to put, from where, and what to delete.
   From here on the commit counts;
3. each staged object is renamed to its key, the deleted ones go, and last of all the head of the
   layer, which says the generation, is replaced.

A writer that dies before 2 has changed nothing. After 2, whoever comes next carries the record
out: each step may be done twice. Two writers that started from the same generation both want to
create the same record; one of them does, the other is told.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from filelock import FileLock, Timeout

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.storage import (
    ONE_OBJECT,
    TEMPORARY,
    plain_errors,
    read_document,
    same_bytes,
    sync,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.lake.storage import Folder

SECONDS_TO_WAIT = 60

_open: dict[tuple[Path, str], Commit] = {}


class Commit:
    """What a run has staged for a layer and not yet put into place.

    Args:
        storage: the lake.
        layer: its first folder, such as `silver`.
    """

    def __init__(self, storage: Folder, layer: str) -> None:
        self.storage = storage
        self.layer = layer
        self.puts: dict[str, Path] = {}
        self.deletes: set[str] = set()
        with plain_errors(storage.root / TEMPORARY):
            (storage.root / TEMPORARY).mkdir(parents=True, exist_ok=True)
            name = tempfile.mkdtemp(prefix=f"{layer}-{os.getpid()}-", dir=storage.root / TEMPORARY)
        self.folder = Path(name)

    @contextmanager
    def stage(self, key: str) -> Iterator[Path]:
        """Give the path at which to write the new object of a key."""
        path = self.folder / key
        with plain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    def put(self, key: str) -> bool:
        """Take the staged object of a key into the commit, unless nothing changes.

        Returns:
            Whether the object differs from the one in place.
        """
        self.deletes.discard(key)
        self.puts.pop(key, None)
        staged = self.folder / key
        if same_bytes(staged, self.storage.path(key)):
            staged.unlink()
            return False
        self.puts[key] = staged
        return True

    def delete(self, key: str) -> None:
        """Have the object of a key go."""
        self.deletes.add(key)

    def finish(self, head: str, generation: int) -> None:
        """Put everything into place.

        Args:
            head: the key of the layer's head. It is staged too, and goes last.
            generation: the one that the head will say.

        Raises:
            CapstoneError: if another run committed since this one read the layer.
        """
        _open.pop((self.storage.root, self.layer), None)
        if self.puts or self.deletes:
            for staged in self.puts.values():
                with plain_errors(staged):
                    sync(staged)
            self._write_down(head, generation)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write_down(self, head: str, generation: int) -> None:
        record = {
            "generation": generation,
            "head": head,
            "staged": self.folder.relative_to(self.storage.root).as_posix(),
            "put": [key for key in self.puts if key != head],
            "delete": sorted(self.deletes),
        }
        with locked(self.storage, self.layer):
            recover(self.storage, self.layer, head)
            if generation_of(self.storage, head) != generation - 1:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise CapstoneError(
                    f"Another run changed {self.layer} at {self.storage.root} while this one was "
                    "at work; nothing of this one was kept. Run again."
                )
            with plain_errors(self.folder):
                sync(self.folder)
            text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
            self.storage.create(_record(self.layer, generation), [text.encode()])
            _carry_out(self.storage, record)


def begin(storage: Folder, layer: str) -> None:
    """Forget what an unfinished run of this process staged for a layer."""
    stale = _open.pop((storage.root, layer), None)
    if stale:
        shutil.rmtree(stale.folder, ignore_errors=True)


def opened(storage: Folder, layer: str) -> Commit:
    """What this process is staging for a layer."""
    key = (storage.root, layer)
    if key not in _open:
        _open[key] = Commit(storage, layer)
    return _open[key]


def staged(storage: Folder, layer: str, key: str) -> Path | None:
    """The object that this process has staged for a key, if it has."""
    commit = _open.get((storage.root, layer))
    return commit.puts.get(key) if commit else None


def settle(storage: Folder, layer: str, head: str) -> None:
    """Finish the commit that a dead run left written down, and sweep away what it staged.

    The lock is held from the look at the records to the end of the sweep: else a run could write
    its commit down and die in between, and what it staged would be swept away.
    """
    is_pending = storage.exists(_record(layer, generation_of(storage, head) + 1))
    if is_pending or _left_behind(storage, layer):
        with locked(storage, layer):
            recover(storage, layer, head)
            for folder in _left_behind(storage, layer):
                shutil.rmtree(folder, ignore_errors=True)


def recover(storage: Folder, layer: str, head: str) -> None:
    """Carry out the commit after the head, if it is written down. Call with the lock held."""
    record = _record(layer, generation_of(storage, head) + 1)
    if storage.exists(record):
        _carry_out(storage, read_document(storage, record))


def generation_of(storage: Folder, head: str) -> int:
    """The generation that the head of a layer says; 0 where there is none.

    Raises:
        CapstoneError: if the head is not JSON any more.
    """
    if not storage.exists(head):
        return 0
    way_out = f"delete {storage.path(head).parent} and build it anew"
    return int(read_document(storage, head, way_out).get("generation", 0))


def records(storage: Folder, layer: str, head: str, after: int) -> list[dict[str, Any]] | None:
    """What each commit of a layer after a generation did; None if that is not known.

    It is not known if a record is missing, or if the layer was begun anew since then.
    """
    keys, last = set(storage.keys(f"{layer}/commits")), generation_of(storage, head)
    while _record(layer, last + 1) in keys:
        last += 1
    wanted = [_record(layer, number) for number in range(after + 1, last + 1)]
    if last < after or not keys.issuperset(wanted):
        return None
    return [read_document(storage, key) for key in wanted]


@contextmanager
def locked(storage: Folder, layer: str) -> Iterator[None]:
    """Hold the lock of a layer's commits. It is the system's: it goes with who holds it.

    Raises:
        CapstoneError: if another run holds it for too long.
    """
    path = storage.root / TEMPORARY / f"{layer}.lock"
    lock = FileLock(path, timeout=SECONDS_TO_WAIT)
    with plain_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise CapstoneError(
                f"Another run has been writing to {storage.root} for {SECONDS_TO_WAIT} s; "
                "wait for it and run again."
            ) from error
    try:
        yield
    finally:
        lock.release()


def _record(layer: str, generation: int) -> str:
    return f"{layer}/commits/{generation:08d}.json"


def _carry_out(storage: Folder, record: dict[str, Any]) -> None:
    folder, head = storage.root / record["staged"], storage.path(record["head"])
    if not (folder / record["head"]).exists():
        raise CapstoneError(
            f"{folder}: what a run staged there is gone, so its commit cannot be finished; "
            f"delete {head.parent} and build it anew: kedro run --params=full=true."
        )
    for key in record["put"]:
        storage.move(folder / key, key)
    for parent in {storage.path(key).parent for key in record["put"]}:
        with plain_errors(parent):
            sync(parent)
    for key in record["delete"]:
        storage.delete(key)
    storage.move(folder / record["head"], record["head"])
    with plain_errors(folder):
        sync(head.parent)


def _left_behind(storage: Folder, layer: str) -> list[Path]:
    """The folders that processes staged in which live no more."""
    folders = [
        folder
        for prefix in (layer, ONE_OBJECT)
        for folder in (storage.root / TEMPORARY).glob(f"{prefix}-*-*")
    ]
    return [f for f in folders if not psutil.pid_exists(int(f.name.split("-")[1]))]
