"""Many objects put into place as one: all of them or none, whatever kills the writer.

A commit is staged beside the lake, then written down, then carried out:

1. new objects are staged in a local workspace, and kept where they outlive the process; or in
   the lake itself, by workers on other machines;
2. `<layer>/commits/<generation>.json` is created: what to put, from where, and what to delete.
   From here on the commit counts;
3. each staged object is put into place, the deleted ones go, and last of all the head of the
   layer, which says the generation, is replaced.

A writer that dies before 2 has changed nothing. After 2, whoever comes next carries the record
out: each step may be done twice. Two writers that started from the same generation both want to
create the same record; one of them does, the other is told.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.storage import Shared, plain_errors, read_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.lake.storage import Storage

_open: dict[tuple[str, str], Commit] = {}


class Commit:
    """What a run has staged for a layer and not yet put into place.

    Args:
        storage: the lake.
        layer: its first folder, such as `silver`.
    """

    def __init__(self, storage: Storage, layer: str) -> None:
        self.storage = storage
        self.layer = layer
        self.puts: dict[str, Path | Shared] = {}
        self.deletes: set[str] = set()
        self.workspace = storage.workspace(layer)

    @contextmanager
    def stage(self, key: str) -> Iterator[Path]:
        """Give the path at which to write the new object of a key."""
        path = self.workspace / key
        with plain_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    @cached_property
    def shared(self) -> str:
        """The prefix of the lake below which workers stage the objects of their keys."""
        return self.storage.share(self.workspace)

    def put(self, key: str, shared: Shared | None = None) -> bool:
        """Take the staged object of a key into the commit, unless nothing changes.

        Args:
            key: of the object.
            shared: what a worker staged for it, if one did.

        Returns:
            Whether the object differs from the one in place.
        """
        self.deletes.discard(key)
        self.puts.pop(key, None)
        if shared:
            if self.storage.holds_shared(key, shared):
                return False
            self.puts[key] = shared
            return True
        staged = self.workspace / key
        if self.storage.holds(key, staged):
            staged.unlink()
            return False
        self.puts[key] = staged
        return True

    def size(self, key: str) -> int:
        """The bytes of an object that was taken into the commit."""
        staged = self.puts[key]
        return staged.size if isinstance(staged, Shared) else staged.stat().st_size

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
            self._write_down(head, generation)
        self.storage.discard(self.workspace)

    def _write_down(self, head: str, generation: int) -> None:
        record: dict[str, Any] = {
            "generation": generation,
            "head": head,
            "staged": self.storage.keep(self.workspace),
            "put": [key for key in self.puts if key != head],
            "delete": sorted(self.deletes),
        }
        if shared := {key: put for key, put in self.puts.items() if isinstance(put, Shared)}:
            record["shared"] = shared
        with self.storage.locked(self.layer):
            recover(self.storage, self.layer, head)
            with plain_errors(self.workspace):
                self.workspace.stat()
            text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
            is_next = generation_of(self.storage, head) == generation - 1
            if not (
                is_next and self.storage.create(_record(self.layer, generation), [text.encode()])
            ):
                self.storage.discard(self.workspace)
                raise CapstoneError(
                    f"Another run changed {self.layer} at {self.storage.root} while this one was "
                    "at work; nothing of this one was kept. Run again."
                )
            _carry_out(self.storage, record)


def begin(storage: Storage, layer: str) -> None:
    """Forget what an unfinished run of this process staged for a layer."""
    stale = _open.pop((storage.root, layer), None)
    if stale:
        storage.discard(stale.workspace)


def opened(storage: Storage, layer: str) -> Commit:
    """What this process is staging for a layer."""
    key = (storage.root, layer)
    if key not in _open:
        _open[key] = Commit(storage, layer)
    return _open[key]


def staged(storage: Storage, layer: str, key: str) -> Path | None:
    """The object that this process has staged for a key, if it has."""
    commit = _open.get((storage.root, layer))
    found = commit.puts.get(key) if commit else None
    return found if isinstance(found, Path) else None


def settle(storage: Storage, layer: str, head: str) -> None:
    """Finish the commit that a dead run left written down, and sweep away what it staged.

    The lock is held from the look at the records to the end of the sweep: else a run could write
    its commit down and die in between, and what it staged would be swept away.
    """
    is_pending = storage.exists(_record(layer, generation_of(storage, head) + 1))
    if is_pending or storage.has_abandoned(layer):
        with storage.locked(layer):
            recover(storage, layer, head)
            storage.sweep(layer)


def recover(storage: Storage, layer: str, head: str) -> None:
    """Carry out the commit after the head, if it is written down. Call with the lock held."""
    record = _record(layer, generation_of(storage, head) + 1)
    if storage.exists(record):
        _carry_out(storage, read_document(storage, record))


def generation_of(storage: Storage, head: str) -> int:
    """The generation that the head of a layer says; 0 where there is none.

    Raises:
        CapstoneError: if the head is not JSON any more.
    """
    if not storage.exists(head):
        return 0
    way_out = f"delete {storage.address(_folder(head))} and build it anew"
    return int(read_document(storage, head, way_out).get("generation", 0))


def records(storage: Storage, layer: str, head: str, after: int) -> list[dict[str, Any]] | None:
    """What each commit of a layer after a generation did; None if that is not known.

    It is not known if a record is missing, or if the layer was begun anew since then.
    """
    last = generation_of(storage, head)
    while storage.exists(_record(layer, last + 1)):
        last += 1
    wanted = [_record(layer, number) for number in range(after + 1, last + 1)]
    if last < after or not all(storage.exists(key) for key in wanted):
        return None
    return [read_document(storage, key) for key in wanted]


def _record(layer: str, generation: int) -> str:
    return f"{layer}/commits/{generation:08d}.json"


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _carry_out(storage: Storage, record: dict[str, Any]) -> None:
    head = record["head"]
    shared = {key: Shared(*said) for key, said in record.get("shared", {}).items()}
    with storage.kept(record["staged"]) as workspace:
        if not (workspace / head).exists():
            raise CapstoneError(
                f"{storage.address(record['staged'])}: what a run staged there is gone, so its "
                f"commit cannot be finished; delete {storage.address(_folder(head))} and build it "
                "anew: kedro run --params=full=true."
            )
        storage.put({key: workspace / key for key in record["put"] if key not in shared})
        storage.put_shared(shared)
        storage.delete(record["delete"])
        storage.put({head: workspace / head})
