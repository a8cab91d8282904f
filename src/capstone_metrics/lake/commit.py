"""Atomic commits of many objects: all of them or none, even if the writer is killed.

A commit is staged beside the lake, then recorded, then applied:

1. new objects are staged in a local workspace and persisted so that they survive the process; or
   they are staged in the lake itself, by workers on other machines;
2. `<layer>/commits/<generation>.json` is created, with the objects to put, their source, and the
   objects to delete. From here on the commit counts;
3. the staged objects are moved to their keys, the deleted ones are removed, and finally the head
   of the layer, which has the generation, is replaced.

A writer that dies before step 2 has changed nothing. After step 2, the next run applies the
record: each step may be repeated. Two writers that start from the same generation both try to
create the same record; one succeeds, the other gets an error.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.storage import StagedObject, read_document, translate_os_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.lake.storage import Storage

_open_commits: dict[tuple[str, str], Commit] = {}


class Commit:
    """The staged changes of a layer that are not yet applied.

    Args:
        storage: the lake.
        layer: the first folder of its keys, such as `silver`.
    """

    def __init__(self, storage: Storage, layer: str) -> None:
        self.storage = storage
        self.layer = layer
        self.puts: dict[str, Path | StagedObject] = {}
        self.deletes: set[str] = set()
        self.workspace = storage.workspace(layer)

    @contextmanager
    def stage(self, key: str) -> Iterator[Path]:
        """Yield the path at which to write the new object of a key."""
        path = self.workspace / key
        with translate_os_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield path

    @cached_property
    def staging_prefix(self) -> str:
        """The prefix of the lake under which workers stage objects, each below it at its key."""
        return self.storage.stage_remotely(self.workspace)

    def put(self, key: str, staged_object: StagedObject | None = None) -> bool:
        """Add the staged object of a key to the commit, unless it equals the current one.

        Args:
            key: the key of the object.
            staged_object: the object that a worker staged; None if it is in the workspace.

        Returns:
            Whether the object differs from the current one.
        """
        self.deletes.discard(key)
        self.puts.pop(key, None)
        if staged_object:
            if self.storage.matches_staged(key, staged_object):
                return False
            self.puts[key] = staged_object
            return True
        path = self.workspace / key
        if self.storage.matches_file(key, path):
            path.unlink()
            return False
        self.puts[key] = path
        return True

    def size(self, key: str) -> int:
        """Return the size in bytes of an object that was added to the commit."""
        staged = self.puts[key]
        return staged.size if isinstance(staged, StagedObject) else staged.stat().st_size

    def delete(self, key: str) -> None:
        """Add the deletion of an object to the commit."""
        self.deletes.add(key)

    def finish(self, head: str, generation: int) -> None:
        """Record the commit and apply it.

        Args:
            head: the key of the layer's head. It is staged too, and is replaced last.
            generation: the generation in the new head.

        Raises:
            CapstoneError: if another run committed since this run read the layer.
        """
        _open_commits.pop((self.storage.root, self.layer), None)
        if self.puts or self.deletes:
            self._record_and_apply(head, generation)
        self.storage.discard(self.workspace)

    def _record_and_apply(self, head: str, generation: int) -> None:
        record: dict[str, Any] = {
            "generation": generation,
            "head": head,
            "staged": self.storage.persist(self.workspace),
            "put": [key for key in self.puts if key != head],
            "delete": sorted(self.deletes),
        }
        if remote := {key: put for key, put in self.puts.items() if isinstance(put, StagedObject)}:
            record["shared"] = remote
        with self.storage.locked(self.layer):
            roll_forward(self.storage, self.layer, head)
            with translate_os_errors(self.workspace):
                self.workspace.stat()
            text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
            is_next = generation_of(self.storage, head) == generation - 1
            if not (
                is_next
                and self.storage.create(_record_key(self.layer, generation), [text.encode()])
            ):
                self.storage.discard(self.workspace)
                raise CapstoneError(
                    f"Another run changed {self.layer} at {self.storage.root} during this run, so "
                    "nothing of this run was saved. Run again."
                )
            _apply_record(self.storage, record)


def reset(storage: Storage, layer: str) -> None:
    """Discard what an unfinished run of this process staged for a layer."""
    stale = _open_commits.pop((storage.root, layer), None)
    if stale:
        storage.discard(stale.workspace)


def open_commit(storage: Storage, layer: str) -> Commit:
    """Return the open commit of a layer in this process; create it if there is none."""
    key = (storage.root, layer)
    if key not in _open_commits:
        _open_commits[key] = Commit(storage, layer)
    return _open_commits[key]


def staged_path(storage: Storage, layer: str, key: str) -> Path | None:
    """Return the path of the object that this process staged for a key; None if there is none."""
    commit = _open_commits.get((storage.root, layer))
    put = commit.puts.get(key) if commit else None
    return put if isinstance(put, Path) else None


def recover(storage: Storage, layer: str, head: str) -> None:
    """Finish the recorded commit of a dead run, and sweep away abandoned staged files.

    The lock is held from reading the records to the end of the sweep: otherwise a run could record
    its commit and die in between, and the sweep would delete its staged files.
    """
    is_pending = storage.exists(_record_key(layer, generation_of(storage, head) + 1))
    if is_pending or storage.has_abandoned(layer):
        with storage.locked(layer):
            roll_forward(storage, layer, head)
            storage.sweep(layer)


def roll_forward(storage: Storage, layer: str, head: str) -> None:
    """Apply the commit after the head, if one is recorded. Call with the lock held."""
    record = _record_key(layer, generation_of(storage, head) + 1)
    if storage.exists(record):
        _apply_record(storage, read_document(storage, record))


def generation_of(storage: Storage, head: str) -> int:
    """Return the generation in the head of a layer; 0 if there is no head.

    Raises:
        CapstoneError: if the head is not valid JSON.
    """
    if not storage.exists(head):
        return 0
    next_step = f"delete {storage.address(_folder(head))} and rebuild it"
    return int(read_document(storage, head, next_step).get("generation", 0))


def commit_records(
    storage: Storage, layer: str, head: str, after: int
) -> list[dict[str, Any]] | None:
    """Return the records of a layer's commits after a generation, oldest first.

    Returns:
        None if a record is missing, or if the layer was rebuilt from nothing since then.
    """
    last = generation_of(storage, head)
    while storage.exists(_record_key(layer, last + 1)):
        last += 1
    keys = [_record_key(layer, number) for number in range(after + 1, last + 1)]
    if last < after or not all(storage.exists(key) for key in keys):
        return None
    return [read_document(storage, key) for key in keys]


def _record_key(layer: str, generation: int) -> str:
    return f"{layer}/commits/{generation:08d}.json"


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _apply_record(storage: Storage, record: dict[str, Any]) -> None:
    head = record["head"]
    remote = {key: StagedObject(*fields) for key, fields in record.get("shared", {}).items()}
    with storage.open_persisted(record["staged"]) as workspace:
        if not (workspace / head).exists():
            raise CapstoneError(
                f"{storage.address(record['staged'])}: the staged files of a run are missing, so "
                "its commit cannot be finished; "
                f"delete {storage.address(_folder(head))} and rebuild it: "
                "kedro run --params=full=true."
            )
        storage.put({key: workspace / key for key in record["put"] if key not in remote})
        storage.put_staged(remote)
        storage.delete(record["delete"])
        storage.put({head: workspace / head})
