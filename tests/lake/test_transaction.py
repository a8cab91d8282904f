from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.transaction import (
    GOLD,
    SILVER,
    Transaction,
    commit_records,
    read_head,
    recover,
    transaction,
)
from capstone_metrics.storage.base import md5
from capstone_metrics.storage.documents import format_document
from capstone_metrics.storage.folder import Folder
from tests.lake import tasks
from tests.support.processes import child
from tests.support.s3_proxy import Faults
from tests.support.selection import sample
from tests.support.storages import another, staged_keys, stamp, write
from tests.support.waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from capstone_metrics.lake.transaction import Layer
    from capstone_metrics.storage.base import StagedObject, Storage
    from capstone_metrics.storage.bucket import Bucket
    from tests.support.s3_proxy import Faulty

HEAD = SILVER.head
OLD = {"silver/t/d=1/part-0.parquet": b"old 1", "silver/t/d=2/part-0.parquet": b"old 2"}
NEW = {"silver/t/d=1/part-0.parquet": b"new 1", "silver/q/w=3/part-0.jsonl": b"new 3"}
REMOVED = "silver/t/d=2/part-0.parquet"
STEPS = 4
"""The steps of the commit of NEW without REMOVED: two moves, a delete, and the head's move."""


def head(generation: int, **more: Any) -> bytes:
    """Return the head of a layer."""
    return format_document({**more, "generation": generation})


MERGED = {**NEW, HEAD: head(2)}


@pytest.fixture
def lake(storage: Storage) -> Storage:
    """A lake with one commit."""
    finish(prepared(storage, 0, OLD))
    return storage


def dying(lake: Storage, steps: int) -> Storage:
    """Return the lake for a writer that dies after it has written or deleted some objects."""
    left = iter(range(steps))

    class Dying(type(lake)):  # type: ignore[misc]
        def promote(self, objects: Mapping[str, StagedObject]) -> None:
            for key, staged in objects.items():
                self.step()
                super().promote({key: staged})

        def delete(self, keys: Collection[str]) -> None:
            for key in keys:
                if not key.startswith("_tmp/"):
                    self.step()
                super().delete([key])

        def step(self) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

    return another(lake, Dying)


def prepared(  # noqa: PLR0913 - what a commit can have
    lake: Storage,
    base: int,
    puts: Mapping[str, bytes],
    deletes: Iterable[str] = (),
    layer: Layer = SILVER,
    *,
    workers: Container[str] = (),
) -> Transaction:
    """Return a transaction that has staged its objects, some of them by workers."""
    new = Transaction(lake, layer, base)
    for key, content in puts.items():
        if key in workers:
            new.add(key, another(lake).stage(new.prefix, content))
        else:
            new.write(key, content)
    for key in deletes:
        new.delete(key)
    return new


def finish(new: Transaction, **content: Any) -> None:
    """Commit a transaction as a run does, which leaves nothing staged."""
    try:
        new.commit(content)
    finally:
        new.discard()


def die_after(lake: Storage, steps: int, workers: Container[str] = ()) -> Transaction:
    """Begin a commit of NEW without REMOVED, which is interrupted on its way."""
    new = prepared(dying(lake, steps), 1, NEW, [REMOVED], workers=workers)
    with pytest.raises(KeyboardInterrupt):
        finish(new)
    return new


def content(lake: Storage, layer: str = "silver") -> dict[str, bytes]:
    """Return the objects of a layer, but for the records of its commits."""
    return {
        key: lake.read(key) for key in lake.keys(layer) if not key.startswith(f"{layer}/commits/")
    }


def files(lake: Storage) -> dict[str, object]:
    """Return the identity of each object of Silver, and when it was written."""
    return {key: stamp(lake, key) for key in lake.keys("silver")}


def owners(lake: Storage) -> list[tuple[str, int]]:
    """Return the layer and the process of each staged object."""
    writers = (key.removeprefix("_tmp/").split("-") for key in staged_keys(lake))
    return sorted((layer, int(process)) for layer, _, process, *_ in writers)


def matched(lake: Storage) -> set[str]:
    """Return the keys that the globs of other programs match in the layers."""
    layers, kinds = ("bronze/", "silver/", "gold/"), (".parquet", ".jsonl", ".csv")
    return {key for key in lake.keys("") if key.startswith(layers) and key.endswith(kinds)}


STAGED: dict[str, Container[str]] = {"own": (), "all": NEW, "some": list(NEW)[:1]}
"""The objects that workers stage for a commit."""

by_whom = pytest.mark.parametrize("workers", STAGED.values(), ids=STAGED)


@by_whom
def test_a_commit_writes_all_of_its_objects(lake: Storage, workers: Container[str]) -> None:
    finish(prepared(lake, 1, NEW, [REMOVED], workers=workers))
    assert content(lake) == MERGED
    assert not lake.exists(REMOVED)
    if isinstance(lake, Folder):
        assert not lake.path(REMOVED).parent.exists()
    assert staged_keys(lake) == []


def test_nothing_changes_before_the_commit(lake: Storage) -> None:
    before, matching = files(lake), matched(lake)
    new = prepared(lake, 1, NEW, [REMOVED], workers=list(NEW)[:1])
    assert files(lake) == before
    assert matched(lake) == matching == set(OLD)
    assert sorted(staged.key for staged in new.puts.values()) == staged_keys(lake)
    assert set(new.puts) == set(NEW)


@pytest.mark.parametrize("layer", [SILVER, GOLD])
def test_staged_objects_match_no_glob_over_a_layer(storage: Storage, layer: Layer) -> None:
    puts = {f"{layer.name}/t/a.{kind}": b"staged" for kind in ("parquet", "jsonl", "csv")}
    new = prepared(storage, 0, puts, layer=layer)
    assert matched(storage) == set()
    finish(new)
    assert matched(storage) == set(puts)


@pytest.mark.parametrize("steps", range(STEPS))
def test_the_head_is_the_last_to_change(lake: Storage, steps: int) -> None:
    die_after(lake, steps)
    assert lake.read(HEAD) == head(1)
    is_rest_done = {**content(lake), HEAD: MERGED[HEAD]} == MERGED
    assert is_rest_done is (steps == STEPS - 1)


def on_both_stores(count: int, *values: Iterable[object]) -> list[tuple[object, ...]]:
    """Return every combination for a folder, and a number of them for a bucket, which is slow."""
    combined = list(product(*values))
    return [("folder", *each) for each in combined] + [
        ("bucket", *each) for each in sample(combined, count)
    ]


@pytest.mark.parametrize(
    ("storage", "steps", "staged"), on_both_stores(5, range(STEPS), STAGED), indirect=["storage"]
)
def test_a_recorded_commit_is_completed_by_the_next_run(
    lake: Storage, steps: int, staged: str
) -> None:
    die_after(lake, steps, STAGED[staged])
    recover(lake, SILVER)
    assert content(lake) == MERGED
    before = files(lake)
    recover(lake, SILVER)
    assert files(lake) == before


@pytest.mark.parametrize(
    ("storage", "steps", "again"),
    on_both_stores(4, range(STEPS), range(STEPS)),
    indirect=["storage"],
)
def test_a_run_that_completes_a_commit_may_die_too(lake: Storage, steps: int, again: int) -> None:
    die_after(lake, steps, workers=list(NEW)[:1])
    with pytest.raises(KeyboardInterrupt):
        recover(dying(lake, again), SILVER)
    recover(lake, SILVER)
    assert content(lake) == MERGED


def test_the_next_commit_completes_the_one_before(lake: Storage) -> None:
    die_after(lake, 1)
    finish(prepared(lake, 2, {"silver/t/d=4/part-0.parquet": b"4"}))
    assert content(lake) == {
        **NEW,
        "silver/t/d=4/part-0.parquet": b"4",
        HEAD: head(3),
    }


def test_a_commit_without_a_record_leaves_no_trace(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(lake)
    new = prepared(lake, 1, NEW, [REMOVED])
    with monkeypatch.context() as patch:
        patch.setattr(lake, "create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finish(new)
    recover(lake, SILVER)
    assert files(lake) == before


def test_a_record_that_is_written_in_spite_of_an_error_is_completed_by_the_next_run(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = lake.create

    def create_and_fail(key: str, chunks: Iterable[bytes]) -> bool:
        assert create(key, chunks)
        raise CapstoneError("the response was lost.")

    new = prepared(lake, 1, NEW, [REMOVED])
    with monkeypatch.context() as patch:
        patch.setattr(lake, "create", create_and_fail)
        with pytest.raises(CapstoneError, match="the response was lost"):
            finish(new)
    recover(lake, SILVER)
    assert content(lake) == MERGED


@pytest.mark.parametrize("workers", [(), OLD], ids=["own", "workers"])
def test_bytes_that_stay_the_same_are_not_written(lake: Storage, workers: Container[str]) -> None:
    same, other = OLD
    before = files(lake)
    new = prepared(lake, 1, {same: OLD[same], other: b"new 2"}, workers=workers)
    finish(new)
    after = files(lake)
    assert after[same] == before[same]
    assert {key for key in after if after[key] != before.get(key)} == {
        other,
        HEAD,
        "silver/commits/00000002.json",
    }
    (record,) = commit_records(lake, SILVER, 1) or []
    assert list(record["put"]) == [other, HEAD]


@pytest.mark.parametrize("by_worker", [False, True])
def test_a_transaction_reports_whether_an_object_changes(lake: Storage, by_worker: bool) -> None:
    key = next(iter(OLD))
    new = Transaction(lake, SILVER, 1)
    for written, differs in ((b"new", True), (OLD[key], False), (b"newer", True)):
        if by_worker:
            assert new.add(key, another(lake).stage(new.prefix, written)) is differs
        else:
            assert new.write(key, written) is differs
        assert (key in new.puts) is differs
    new.discard()
    assert staged_keys(lake) == []


def test_a_commit_of_nothing_writes_nothing(lake: Storage) -> None:
    before = files(lake)
    finish(prepared(lake, 1, OLD))
    assert files(lake) == before
    assert staged_keys(lake) == []


def test_a_first_commit_of_nothing_writes_the_head(storage: Storage) -> None:
    finish(prepared(storage, 0, {}), source="none")
    assert content(storage) == {HEAD: head(1, source="none")}


def test_another_head_alone_is_a_commit(lake: Storage) -> None:
    finish(prepared(lake, 1, {}), lines=7)
    assert content(lake) == {**OLD, HEAD: head(2, lines=7)}
    assert changed(lake, 1) == [([], [])]


def test_an_object_that_was_edited_by_hand_is_committed_again(lake: Storage) -> None:
    """Though the head is the same: who watches the generation learns of it."""
    write(another(lake), REMOVED, b"edited")
    lake.keys("silver")
    finish(prepared(lake, 1, OLD))
    assert content(lake) == {**OLD, HEAD: head(2)}
    assert changed(lake, 1) == [([REMOVED], [])]


def test_of_a_delete_and_a_put_of_one_object_the_later_wins(lake: Storage) -> None:
    first, second = OLD
    new = prepared(lake, 1, {first: b"new"}, OLD)
    new.write(second, b"new")
    finish(new)
    assert content(lake) == {second: b"new", HEAD: head(2)}


def test_a_missing_object_can_be_deleted(lake: Storage) -> None:
    finish(prepared(lake, 1, {}, ["silver/t/d=7/part-0.parquet", REMOVED]))
    assert set(content(lake)) == {next(iter(OLD)), HEAD}


def test_of_two_commits_from_one_generation_the_second_is_rejected(lake: Storage) -> None:
    one = prepared(lake, 1, NEW, [REMOVED])
    other = prepared(lake, 1, {REMOVED: b"mine", "silver/t/d=5/part-0.parquet": b"mine"})
    finish(one)
    before = files(lake)
    with pytest.raises(CapstoneError, match=r"^Another run changed silver at .*lake .* Run again"):
        finish(other)
    assert files(lake) == before
    assert content(lake) == MERGED
    finish(prepared(lake, 2, {REMOVED: b"mine"}))
    assert lake.read(REMOVED) == b"mine"


def test_the_second_of_two_equal_commits_from_one_generation_is_rejected(lake: Storage) -> None:
    one, other = (prepared(another(lake), 1, NEW, [REMOVED]) for _ in range(2))
    finish(one)
    with pytest.raises(CapstoneError, match="Another run changed silver"):
        finish(other)
    assert content(lake) == MERGED
    assert staged_keys(lake) == []


def test_a_commit_recorded_by_a_dead_run_comes_before_one_from_its_generation(
    lake: Storage,
) -> None:
    mine = prepared(lake, 1, {REMOVED: b"mine"})
    die_after(lake, 0)
    with pytest.raises(CapstoneError, match="Another run changed silver"):
        finish(mine)
    assert content(lake) == MERGED


def test_of_many_commits_at_once_one_is_completed(lake: Storage) -> None:
    writers = 8
    barrier = Barrier(writers)
    commits = [
        prepared(lake, 1, {key: str(writer).encode() for key in OLD}) for writer in range(writers)
    ]

    def is_committed(new: Transaction) -> bool:
        barrier.wait(timeout=SECONDS)
        try:
            finish(new)
        except CapstoneError as error:
            assert "Another run changed" in str(error)
            return False
        return True

    with ThreadPoolExecutor(writers) as pool:
        done = list(pool.map(is_committed, commits))
    assert done.count(True) == 1
    assert {lake.read(key) for key in OLD} == {str(done.index(True)).encode()}


def test_layers_are_committed_apart(lake: Storage) -> None:
    gold = prepared(lake, 0, {"gold/a.csv": b"a"}, layer=GOLD)
    die_after(lake, 1)
    with lake.locked("silver"):
        finish(gold)
        recover(lake, GOLD)
    assert set(content(lake, "gold")) == {"gold/a.csv", "gold/manifest.json"}
    assert lake.read(HEAD) == head(1)


@pytest.mark.usefixtures("impatient")
def test_a_run_that_waits_too_long_for_another_stops(lake: Storage) -> None:
    before = files(lake)
    new = prepared(lake, 1, NEW)
    with (
        lake.locked("silver"),
        pytest.raises(CapstoneError, match=r"Another run has been writing to .*lake for 0\.1 s"),
    ):
        finish(new)
    assert files(lake) == before


def test_a_failing_disk_leaves_the_stage_for_recovery(tmp_path: Path) -> None:
    lake = Folder(tmp_path / "lake")
    finish(prepared(lake, 0, OLD))
    blocked = lake.path("silver/q")
    blocked.write_bytes(b"in the way")
    new = prepared(lake, 1, NEW, [REMOVED])
    with pytest.raises(CapstoneError, match=rf"^{blocked}.*; check the disk and run again\.$"):
        finish(new)
    assert lake.read(new.puts["silver/q/w=3/part-0.jsonl"].key) == b"new 3"
    with pytest.raises(CapstoneError, match="check the disk"):
        recover(lake, SILVER)
    assert lake.read(new.puts[HEAD].key) == head(2)
    blocked.unlink()
    recover(lake, SILVER)
    assert content(lake) == MERGED


@by_whom
@pytest.mark.parametrize("failing", ["silver/q/w=3/part-0.jsonl", HEAD])
def test_a_failing_store_leaves_the_stage_for_recovery(
    bucket: Bucket, proxied: Bucket, faulty: Faulty, failing: str, workers: Container[str]
) -> None:
    finish(prepared(bucket, 0, OLD))
    new = prepared(proxied, 1, NEW, [REMOVED], workers=workers)
    faulty.faults = Faults(
        errors=1,
        error=(403, "AccessDenied"),
        only=lambda request: (
            request.method == "PUT" and "_tmp" not in request.key and request.key.endswith(failing)
        ),
    )
    for use in (lambda: finish(new), lambda: recover(proxied, SILVER)):
        with pytest.raises(CapstoneError, match=rf"^{proxied.address(failing)}: the store denies"):
            use()
    assert bucket.read(HEAD) == head(1)
    recover(bucket, SILVER)
    assert content(bucket) == MERGED


def test_stages_of_dead_processes_are_swept_and_those_of_living_ones_are_not(
    lake: Storage,
) -> None:
    with (
        child(tasks.finish_on_message, lake.root) as living,
        child(tasks.die_with_stage, lake.root) as one,
        child(tasks.die_in_object, lake.root) as other,
    ):
        assert living.receive() == "staged"
        assert [one.wait(), other.wait()] == [1, 1]
        of_silver = sorted(("silver", each.pid) for each in (living, one, other))
        of_object = [("object", other.pid)] if isinstance(lake, Folder) else []
        assert owners(lake) == of_object + of_silver

        recover(lake, GOLD)
        assert owners(lake) == of_silver
        recover(lake, SILVER)
        assert owners(lake) == [("silver", living.pid)]
        assert content(lake) == {**OLD, HEAD: head(1)}

        living.send("go")
        assert living.wait() == 0
    assert lake.read(tasks.KEY) == b"staged"
    assert staged_keys(lake) == []


def test_the_commit_of_a_dead_process_is_completed_before_its_stage_is_swept(lake: Storage) -> None:
    with child(tasks.die_when_recorded, lake.root) as dead:
        assert dead.wait() == 1
    assert content(lake) == {**OLD, HEAD: head(1)}
    assert owners(lake) == [("silver", dead.pid)] * 2  # an object and the head
    recover(lake, SILVER)
    assert lake.read(tasks.KEY) == b"staged"
    assert lake.read(HEAD) == head(2)
    assert staged_keys(lake) == []


def test_a_commit_whose_staged_objects_were_swept_is_not_recorded(lake: Storage) -> None:
    before = files(lake)
    for lost in NEW:
        new = prepared(lake, 1, NEW)
        lake.delete([new.puts[lost].key])
        with pytest.raises(CapstoneError, match=new.puts[lost].key):
            finish(new)
    recover(lake, SILVER)
    assert files(lake) == before


@pytest.mark.parametrize("lost", [*NEW, HEAD])
def test_a_commit_whose_staged_objects_are_swept_while_it_waits_is_not_recorded(
    lake: Storage, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    before = files(lake)
    new = prepared(lake, 1, NEW)
    locked, is_waiting = lake.locked, Event()

    def locked_with_notice(layer: str) -> AbstractContextManager[None]:
        is_waiting.set()
        return locked(layer)

    with ThreadPoolExecutor(1) as pool:
        with lake.locked("silver"):
            monkeypatch.setattr(lake, "locked", locked_with_notice)
            finished = pool.submit(finish, new)
            assert is_waiting.wait(SECONDS)  # it has staged the head
            lake.delete([new.puts[lost].key])
        with pytest.raises(CapstoneError, match="of this run were deleted; run again"):
            finished.result(timeout=SECONDS)
    assert files(lake) == before


def test_a_recorded_commit_without_its_staged_objects_is_an_error_and_changes_nothing(
    lake: Storage,
) -> None:
    die_after(lake, 0)
    lake.delete(lake.keys("_tmp"))
    before = files(lake)
    for _ in range(2):
        with pytest.raises(
            CapstoneError, match=rf"are missing, .* delete {lake.root}/silver and "
        ) as e:
            recover(lake, SILVER)
        assert str(e.value).startswith(lake.address("silver/commits/00000002.json") + ": ")
    assert files(lake) == before


def test_a_record_that_does_not_say_where_its_objects_are_is_an_error(lake: Storage) -> None:
    """As those of earlier versions, which named a folder or an archive."""
    record = {"generation": 2, "head": HEAD, "staged": "_tmp/x", "put": list(NEW), "delete": []}
    write(lake, "silver/commits/00000002.json", format_document(record))
    with pytest.raises(CapstoneError, match=r"00000002\.json: the staged objects .* are missing"):
        recover(lake, SILVER)
    assert content(lake) == {**OLD, HEAD: head(1)}


def test_what_workers_staged_for_a_failed_run_is_discarded(lake: Storage) -> None:
    new = Transaction(lake, SILVER, 1)
    another(lake).stage(new.prefix, b"of a task whose result did not come")
    new.discard()
    assert staged_keys(lake) == []


def test_a_missing_lake_needs_no_recovery(storage: Storage, tmp_path: Path) -> None:
    recover(storage, SILVER)
    assert storage.keys("") == []
    assert not (tmp_path / "lake").exists()


def test_what_a_block_commits_is_in_place_at_its_end(lake: Storage) -> None:
    with transaction(lake, SILVER, 1) as changes:
        for key, new in NEW.items():
            changes.write(key, new)
        changes.delete(REMOVED)
        assert content(lake) == {**OLD, HEAD: head(1)}
        changes.commit({})
        assert content(lake) == MERGED
    assert staged_keys(lake) == []


def test_what_a_block_stages_and_does_not_commit_is_discarded(lake: Storage) -> None:
    before = files(lake)
    with transaction(lake, SILVER, 1) as changes:
        changes.write(next(iter(NEW)), b"new")
        assert len(staged_keys(lake)) == 1
    assert staged_keys(lake) == []
    with pytest.raises(ZeroDivisionError), transaction(lake, SILVER, 1) as changes:
        changes.write(next(iter(NEW)), b"new")
        raise ZeroDivisionError
    assert staged_keys(lake) == []
    assert files(lake) == before


def test_a_block_that_fails_after_its_record_leaves_the_stage_for_recovery(lake: Storage) -> None:
    with pytest.raises(KeyboardInterrupt), transaction(dying(lake, 1), SILVER, 1) as changes:
        for key, new in NEW.items():
            changes.write(key, new)
        changes.delete(REMOVED)
        changes.commit({})
    assert staged_keys(lake) != []
    recover(lake, SILVER)
    assert content(lake) == MERGED


def test_the_head_is_read_with_the_generation_of_its_layer(lake: Storage) -> None:
    finish(prepared(lake, 1, NEW), lines=7)
    assert read_head(lake, SILVER) == ({"lines": 7, "generation": 2}, 2)
    assert read_head(lake, GOLD) == ({}, 0)


def test_without_its_head_a_layer_has_the_generation_of_its_last_commit(lake: Storage) -> None:
    finish(prepared(lake, 1, NEW))
    lake.delete([HEAD])
    assert read_head(lake, SILVER) == ({}, 2)
    recover(lake, SILVER)
    assert read_head(lake, SILVER) == ({}, 2)
    finish(prepared(lake, 2, {REMOVED: b"newer"}), lines=7)
    assert read_head(lake, SILVER) == ({"lines": 7, "generation": 3}, 3)
    assert lake.read(REMOVED) == b"newer"


def test_without_a_head_a_commit_that_is_not_carried_out_yet_is(lake: Storage) -> None:
    die_after(lake, 1)
    lake.delete([HEAD])
    assert read_head(lake, SILVER) == ({}, 1)
    recover(lake, SILVER)
    assert content(lake) == MERGED


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"\xff", b"[]", b"7", b'{"generation": "x"}', b'{"generation": -1}', b"{}"],
)
def test_a_head_that_someone_broke_is_named_with_what_to_do(lake: Storage, broken: bytes) -> None:
    write(lake, HEAD, broken)
    for use in (recover, read_head):
        with pytest.raises(CapstoneError) as error:
            use(lake, SILVER)
        assert str(error.value).startswith(f"{lake.address(HEAD)}: is not ")
        assert f"delete {lake.root}/silver and rebuild it: kedro run --params=full=true" in str(
            error.value
        )


def changed(lake: Storage, after: int) -> list[Any] | None:
    """Return the keys that each commit after a generation wrote, and those that it deleted."""
    commits = commit_records(lake, SILVER, after)
    if commits is None:
        return None
    return [([key for key in each["put"] if key != HEAD], each["delete"]) for each in commits]


def test_the_records_list_the_changes_of_each_commit(lake: Storage) -> None:
    finish(prepared(lake, 1, NEW, [REMOVED]))
    assert changed(lake, 0) == [(list(OLD), []), (list(NEW), [REMOVED])]
    assert changed(lake, 1) == [(list(NEW), [REMOVED])]
    assert changed(lake, 2) == []


def test_the_records_have_a_commit_that_is_not_carried_out_yet(lake: Storage) -> None:
    die_after(lake, 0)
    assert changed(lake, 1) == [(list(NEW), [REMOVED])]


def test_a_lake_without_commits_has_no_records(storage: Storage) -> None:
    assert changed(storage, 0) == []


def test_without_a_record_the_changes_are_unknown(lake: Storage) -> None:
    for generation in (2, 3):
        finish(prepared(lake, generation - 1, {REMOVED: b"%d" % generation}))
    lake.delete(["silver/commits/00000002.json"])
    assert changed(lake, 0) is None
    assert changed(lake, 1) is None
    assert changed(lake, 2) == [([REMOVED], [])]
    lake.delete(["silver/commits/00000003.json"])
    assert changed(lake, 2) is None
    assert changed(lake, 3) == []


@pytest.mark.parametrize("edited", [b"", b"{", b"[]", b"{}", b'{"put": {}}'])
def test_of_an_edited_record_the_changes_are_unknown(lake: Storage, edited: bytes) -> None:
    finish(prepared(lake, 1, NEW, [REMOVED]))
    write(lake, "silver/commits/00000002.json", edited)
    assert changed(lake, 0) is None
    assert changed(lake, 1) is None
    assert changed(lake, 2) == []
    lake.delete([HEAD])
    assert read_head(lake, SILVER) == ({}, 2)


@pytest.mark.parametrize("edited", [b"{", b"[]", b"{}"])
def test_an_edited_record_that_is_to_be_applied_is_named_with_what_to_do(
    lake: Storage, edited: bytes
) -> None:
    die_after(lake, 0)
    write(lake, "silver/commits/00000002.json", edited)
    with pytest.raises(CapstoneError, match=rf"00000002\.json: .* delete {lake.root}/silver and"):
        recover(lake, SILVER)


def test_after_a_layer_is_deleted_its_changes_are_unknown(lake: Storage) -> None:
    assert changed(lake, 2) is None
    lake.delete(lake.keys("silver"))
    assert changed(lake, 1) is None


def test_a_file_that_is_no_record_is_passed_over(lake: Storage) -> None:
    for name in (".DS_Store", "00000001 (copy).json", "x.json"):
        write(lake, f"silver/commits/{name}", b"\x00")
    assert changed(lake, 0) == [(list(OLD), [])]


def test_a_record_is_json_that_names_the_staged_objects(lake: Storage) -> None:
    key = "silver/t/d=ç/x.json"
    finish(prepared(lake, 1, {key: b"x"}, [REMOVED]))
    text = lake.read("silver/commits/00000002.json").decode()
    record = json.loads(text)
    staged = {key: entry.pop(0) for key, entry in record["put"].items()}
    name = rf"_tmp/silver-\d{{8}}T\d{{6}}Z-{os.getpid()}-[0-9a-f]{{8}}-.+~[0-9a-f]{{32}}"
    assert all(re.fullmatch(name, value) for value in staged.values())
    assert record == {
        "generation": 2,
        "head": HEAD,
        "put": {key: [md5(b"x"), 1], HEAD: [md5(head(2)), len(head(2))]},
        "delete": [REMOVED],
    }
    assert "ç" in text
