"""Atomic commits of many objects: all of them or none, even if the writer is killed.

A commit of a layer is staged, then recorded, then applied:

1. new objects are staged under `_tmp` in the lake itself, and made durable;
2. `<layer>/commits/<generation>.json` is created: it names the objects to put, where each is
   staged, and the objects to delete. From here on the commit counts;
3. the staged objects are put into place, the deleted ones are removed, and finally the head of the
   layer, which has the generation, is replaced.

A writer that dies before step 2 has changed nothing. After step 2, the next run applies the
record: each step may be repeated. Two writers that start from the same generation both try to
create the same record; one succeeds, the other gets an error.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from capstone_metrics.errors import CommitConflictError, StorageError
from capstone_metrics.storage.base import TEMPORARY, StagedObject, md5
from capstone_metrics.storage.documents import format_document, parse_document, read_document
from capstone_metrics.storage.staging import abandoned_keys, staging_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from capstone_metrics.storage.base import Storage


RECORD = re.compile(r"/commits/(\d{8})\.json$")


class Layer(NamedTuple):
    """A layer of the lake that is written by commits.

    Attributes:
        name: the first folder of its keys.
        head: the key of the document with the generation, which is the number of commits so far.
    """

    name: str
    head: str


SILVER = Layer("silver", "silver/head.json")
GOLD = Layer("gold", "gold/manifest.json")


class Transaction:
    """The staged changes of a layer, which `commit` applies.

    Args:
        storage: the lake.
        layer: the layer.
        generation: the generation of the layer that the changes are based on.

    Attributes:
        puts: the staged object of each key that changes.
        deletes: the keys that are deleted.
        is_in_doubt: whether the commit may be recorded and not applied yet.
    """

    def __init__(self, storage: Storage, layer: Layer, generation: int) -> None:
        self.storage = storage
        self.layer = layer
        self.generation = generation
        self.puts: dict[str, StagedObject] = {}
        self.deletes: set[str] = set()
        self.is_in_doubt = False

    @cached_property
    def prefix(self) -> str:
        """The prefix of all staged objects, also of the ones that workers stage for `add`."""
        return staging_prefix(self.layer.name)

    def write(self, key: str, content: bytes) -> bool:
        """Stage the new bytes of an object; return whether they differ from the current ones."""
        self._forget(key)
        if self.storage.matches(key, md5(content), len(content)):
            return False
        self.puts[key] = self.storage.stage(self.prefix, content)
        return True

    def add(self, key: str, staged: StagedObject) -> bool:
        """Add an object that a worker staged; return whether it differs from the current one."""
        self._forget(key)
        if self.storage.matches(key, staged.digest, staged.size):
            return False
        self.puts[key] = staged
        return True

    def delete(self, key: str) -> None:
        """Have the commit delete an object."""
        self.puts.pop(key, None)
        self.deletes.add(key)

    def _forget(self, key: str) -> None:
        self.deletes.discard(key)
        self.puts.pop(key, None)

    def commit(self, head: Mapping[str, Any]) -> None:
        """Record the changes and apply them; write nothing if nothing changes.

        Args:
            head: the new head of the layer; its `generation` is set here.

        Raises:
            StorageError: if another run committed since this run read the layer.
        """
        is_same = self.generation > 0 and self._is_current({**head, "generation": self.generation})
        if is_same and not (self.puts or self.deletes):
            return
        generation = self.generation + 1
        content = format_document({**head, "generation": generation})
        self.puts[self.layer.head] = self.storage.stage(self.prefix, content)
        self.storage.persist([staged.key for staged in self.puts.values()])
        record = {
            "generation": generation,
            "head": self.layer.head,
            "put": self.puts,
            "delete": sorted(self.deletes),
        }
        with self.storage.locked(self.layer.name):
            roll_forward(self.storage, self.layer)
            self._check_staged()
            if not self._create_record(record):
                raise CommitConflictError(
                    f"Another run changed {self.layer.name} at {self.storage.root} during this "
                    "run, so nothing of this run was saved. Run again."
                )
            _apply(self.storage, record)
            self.is_in_doubt = False

    def _is_current(self, head: Mapping[str, Any]) -> bool:
        content = format_document(head)
        return self.storage.matches(self.layer.head, md5(content), len(content))

    def _check_staged(self) -> None:
        """Raise an error if the staged objects are gone: another run took this one for dead."""
        staged = {staged.key for staged in self.puts.values()}
        if missing := staged.difference(self.storage.keys(TEMPORARY)):
            raise StorageError(
                f"{self.storage.address(min(missing))}: the staged objects of this run were "
                "deleted; run again."
            )

    def _create_record(self, record: Mapping[str, Any]) -> bool:
        """Create the record of the commit; return False if another commit came first."""
        if read_head(self.storage, self.layer)[1] != self.generation:
            return False
        self.is_in_doubt = True  # also if this fails: the record may be there nevertheless
        key = _record_key(self.layer, record["generation"])
        self.is_in_doubt = self.storage.create(key, [format_document(record)])
        return self.is_in_doubt

    def discard(self) -> None:
        """Delete what was staged, unless another run has to finish this commit with it."""
        has_staged = "prefix" in vars(self)  # a cached property has a value once it was used
        if has_staged and not self.is_in_doubt:
            staged = (key for key in self.storage.keys(TEMPORARY) if key.startswith(self.prefix))
            self.storage.delete(list(staged))


@contextmanager
def transaction(storage: Storage, layer: Layer, generation: int) -> Iterator[Transaction]:
    """Yield a transaction; what it staged and did not commit is discarded at the end.

    Args:
        storage: the lake.
        layer: the layer to change.
        generation: the generation of the layer that the changes are based on.
    """
    changes = Transaction(storage, layer, generation)
    try:
        yield changes
    finally:
        changes.discard()


def recover(storage: Storage, layer: Layer) -> None:
    """Finish the recorded commit of a dead run, and sweep away what dead runs staged.

    The lock is held from reading the records to the end of the sweep: otherwise a run could record
    its commit and die in between, and the sweep would delete its staged objects.
    """
    if is_pending(storage, layer) or abandoned_keys(storage, layer.name):
        with storage.locked(layer.name):
            roll_forward(storage, layer)
            storage.delete(abandoned_keys(storage, layer.name))


def is_pending(storage: Storage, layer: Layer) -> bool:
    """Return whether a commit of a layer is recorded and not applied yet."""
    return storage.exists(_record_key(layer, read_head(storage, layer)[1] + 1))


def roll_forward(storage: Storage, layer: Layer) -> None:
    """Apply the commit after the head, if one is recorded. Call with the lock held.

    Raises:
        StorageError: if the record is not valid, or its staged objects are missing.
    """
    key = _record_key(layer, read_head(storage, layer)[1] + 1)
    if not storage.exists(key):
        return
    record = read_document(storage, key, _advice(storage, layer))
    if not _is_staged(storage, layer, record):
        raise StorageError(
            f"{storage.address(key)}: the staged objects of this commit are missing, so it cannot "
            f"be finished; {_advice(storage, layer)}: kedro run --params=full=true."
        )
    puts = {key: StagedObject(*staged) for key, staged in record["put"].items()}
    _apply(storage, {**record, "put": puts})


def read_head(storage: Storage, layer: Layer) -> tuple[dict[str, Any], int]:
    """Return the head of a layer, empty without one, and the generation of the layer.

    If the head was deleted, the generation is counted from the records of the commits.

    Raises:
        StorageError: if the head is not valid JSON or has no generation.
    """
    if storage.exists(layer.head):
        head = read_document(storage, layer.head, _advice(storage, layer))
        generation = head.get("generation")
        if not isinstance(generation, int) or generation < 1:
            raise StorageError(
                f"{storage.address(layer.head)}: is not a head, as its generation is "
                f"{generation!r}; {_advice(storage, layer)}: kedro run --params=full=true."
            )
        return head, generation
    names = (RECORD.search(key) for key in storage.keys(f"{layer.name}/commits"))
    last = max((int(name[1]) for name in names if name), default=0)
    record = parse_document(storage.read(_record_key(layer, last))) if last else None
    is_unapplied = record is not None and _is_staged(storage, layer, record)
    return {}, last - 1 if is_unapplied else last


def commit_records(
    storage: Storage, layer: Layer, since_generation: int
) -> list[dict[str, Any]] | None:
    """Return the records of a layer's commits after a generation, oldest first.

    Returns:
        None if a record is missing or was edited, or if the layer was deleted and rebuilt since.
    """
    last = read_head(storage, layer)[1]
    while storage.exists(_record_key(layer, last + 1)):  # recorded, and not applied yet
        last += 1
    keys = [_record_key(layer, number) for number in range(since_generation + 1, last + 1)]
    if last < since_generation or not all(storage.exists(key) for key in keys):
        return None
    records = [parse_document(storage.read(key)) for key in keys]
    if not all(record and {"put", "delete"} <= record.keys() for record in records):
        return None
    return [record for record in records if record]


def _record_key(layer: Layer, generation: int) -> str:
    return f"{layer.name}/commits/{generation:08d}.json"


def _advice(storage: Storage, layer: Layer) -> str:
    """Return what to do about a damaged layer, before the command of a full run."""
    return f"delete {storage.address(layer.name)} and rebuild it"


def _is_staged(storage: Storage, layer: Layer, record: Mapping[str, Any]) -> bool:
    """Return whether the objects of a record are staged, so that it is still to be applied."""
    put = record.get("put")
    head = put.get(layer.head) if isinstance(put, dict) else None
    return head is not None and storage.exists(head[0])


def _apply(storage: Storage, record: Mapping[str, Any]) -> None:
    """Move the objects of a recorded commit to their keys, the head last; it may be repeated."""
    head, puts = record["head"], record["put"]
    storage.promote({key: staged for key, staged in puts.items() if key != head})
    storage.delete(record["delete"])
    storage.promote({head: puts[head]})
