from __future__ import annotations

import json
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Barrier, Event
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import commit
from capstone_metrics.lake.commit import Commit, commit_records, open_commit, recover, reset
from capstone_metrics.lake.folder import Folder
from tests.lake import tasks
from tests.lake.conftest import another, stage_remotely, stamp, write
from tests.support.processes import child
from tests.support.s3_proxy import Faults
from tests.support.selection import sample
from tests.support.waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping
    from contextlib import AbstractContextManager

    from capstone_metrics.lake.bucket import Bucket
    from capstone_metrics.lake.storage import StagedObject, Storage
    from tests.support.s3_proxy import Faulty

HEAD = "silver/head.json"
OLD = {"silver/t/d=1/part-0.parquet": b"old 1", "silver/t/d=2/part-0.parquet": b"old 2"}
NEW = {"silver/t/d=1/part-0.parquet": b"new 1", "silver/q/w=3/part-0.jsonl": b"new 3"}
REMOVED = "silver/t/d=2/part-0.parquet"
MERGED = {**NEW, HEAD: b'{"generation": 2}'}
STEPS = 4
"""The steps of the commit of NEW without REMOVED: two moves, a delete, and the head's move."""


@pytest.fixture
def lake(storage: Storage) -> Storage:
    """A lake with one commit."""
    prepared(storage, 1, OLD).finish(HEAD, 1)
    return storage


def dying(lake: Storage, steps: int) -> Storage:
    """Return the lake for a writer that dies after it has written or deleted some objects."""
    left = iter(range(steps))

    class Dying(type(lake)):  # type: ignore[misc]
        def put(self, files: Mapping[str, Path]) -> None:
            for key, file in files.items():
                self.step()
                super().put({key: file})

        def put_staged(self, objects: Mapping[str, StagedObject]) -> None:
            for key, staged in objects.items():
                self.step()
                super().put_staged({key: staged})

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
    generation: int,
    puts: Mapping[str, bytes],
    deletes: Iterable[str] = (),
    head: str = HEAD,
    *,
    workers: Container[str] = (),
) -> Commit:
    """Return a commit that has staged its objects, some of them by workers."""
    new = Commit(lake, head.partition("/")[0])
    for key, content in {**puts, head: b'{"generation": %d}' % generation}.items():
        if key in workers:
            new.put(key, stage_remotely(lake, new.workspace, key, content))
            continue
        with new.stage(key) as path:
            path.write_bytes(content)
        new.put(key)
    for key in deletes:
        new.delete(key)
    return new


def die_after(lake: Storage, steps: int, workers: Container[str] = ()) -> Commit:
    """Begin a commit of NEW without REMOVED, which stops on its way."""
    new = prepared(dying(lake, steps), 2, NEW, [REMOVED], workers=workers)
    with pytest.raises(KeyboardInterrupt):
        new.finish(HEAD, 2)
    return new


def content(lake: Storage, layer: str = "silver") -> dict[str, bytes]:
    """Return the objects of a layer, but for the records of its commits."""
    return {
        key: lake.read(key) for key in lake.keys(layer) if not key.startswith(f"{layer}/commits/")
    }


def files(lake: Storage) -> dict[str, object]:
    """Return the identity of each object of Silver, and when it was written."""
    return {key: stamp(lake, key) for key in lake.keys("silver")}


def staging(lake: Storage) -> list[str]:
    """Return the names of the stages, folders or archives; they have the layer and the process."""
    if isinstance(lake, Folder):
        return sorted(path.name for path in (lake.folder / "_tmp").iterdir() if path.is_dir())
    local_names = [
        path.name.removeprefix("capstone-") for path in Path(tempfile.gettempdir()).iterdir()
    ]
    remote_names = {
        key.split("/")[1] for key in lake.keys("_tmp") if key.startswith("_tmp/silver-")
    }
    return sorted([*local_names, *remote_names])


def owners(lake: Storage) -> list[int]:
    """Return the processes whose stages are left."""
    return sorted(int(name.split("-")[1]) for name in staging(lake))


def matches(lake: Storage) -> set[str]:
    """Return the keys that the globs of other programs match in the layers."""
    layers, kinds = ("bronze/", "silver/", "gold/"), (".parquet", ".jsonl", ".csv")
    return {key for key in lake.keys("") if key.startswith(layers) and key.endswith(kinds)}


STAGED: dict[str, Container[str]] = {"own": (), "all": NEW, "some": list(NEW)[:1]}
"""The objects that workers stage for a commit."""

by_whom = pytest.mark.parametrize("workers", STAGED.values(), ids=STAGED)


@by_whom
def test_a_commit_writes_all_of_its_objects(lake: Storage, workers: Container[str]) -> None:
    prepared(lake, 2, NEW, [REMOVED], workers=workers).finish(HEAD, 2)
    assert content(lake) == MERGED
    assert not lake.exists(REMOVED)
    if isinstance(lake, Folder):
        assert not lake.path(REMOVED).parent.exists()
    assert staging(lake) == []


def test_nothing_changes_before_the_commit(lake: Storage) -> None:
    before, matching = files(lake), matches(lake)
    new = prepared(lake, 2, NEW, [REMOVED], workers=list(NEW)[:1])
    assert files(lake) == before
    assert matches(lake) == matching == set(OLD)
    assert set(new.puts) == {*NEW, HEAD}


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_staged_objects_match_no_glob_over_a_layer(storage: Storage, layer: str) -> None:
    lake = storage
    puts = {f"{layer}/t/a.{kind}": b"staged" for kind in ("parquet", "jsonl", "csv")}
    new = prepared(lake, 1, puts, head=f"{layer}/head.json")
    assert matches(lake) == set()
    new.finish(f"{layer}/head.json", 1)
    assert matches(lake) == set(puts)


@pytest.mark.parametrize("steps", range(STEPS))
def test_the_head_is_the_last_to_change(lake: Storage, steps: int) -> None:
    die_after(lake, steps)
    assert lake.read(HEAD) == b'{"generation": 1}'
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
    recover(lake, "silver", HEAD)
    assert content(lake) == MERGED
    before = files(lake)
    recover(lake, "silver", HEAD)
    assert files(lake) == before


@pytest.mark.parametrize(
    ("storage", "steps", "again"),
    on_both_stores(4, range(STEPS), range(STEPS)),
    indirect=["storage"],
)
def test_a_run_that_completes_a_commit_may_die_too(lake: Storage, steps: int, again: int) -> None:
    die_after(lake, steps, workers=list(NEW)[:1])
    with pytest.raises(KeyboardInterrupt):
        recover(dying(lake, again), "silver", HEAD)
    recover(lake, "silver", HEAD)
    assert content(lake) == MERGED


def test_the_next_commit_completes_the_one_before(lake: Storage) -> None:
    die_after(lake, 1)
    prepared(lake, 3, {"silver/t/d=4/part-0.parquet": b"4"}).finish(HEAD, 3)
    assert content(lake) == {
        **NEW,
        "silver/t/d=4/part-0.parquet": b"4",
        HEAD: b'{"generation": 3}',
    }


def test_a_commit_without_a_record_leaves_no_trace(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW, [REMOVED])
    with monkeypatch.context() as patch:
        patch.setattr(lake, "create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            new.finish(HEAD, 2)
    recover(lake, "silver", HEAD)
    assert files(lake) == before


@pytest.mark.parametrize("workers", [(), OLD], ids=["own", "workers"])
def test_bytes_that_stay_the_same_are_not_written(lake: Storage, workers: Container[str]) -> None:
    same, other = OLD
    before = files(lake)
    new = prepared(lake, 2, {same: OLD[same], other: b"new 2"}, workers=workers)
    new.finish(HEAD, 2)
    after = files(lake)
    assert after[same] == before[same]
    assert {key for key in after if after[key] != before.get(key)} == {
        other,
        HEAD,
        "silver/commits/00000002.json",
    }
    (record,) = commit_records(lake, "silver", HEAD, 1) or []
    assert record["put"] == [other]


def test_a_commit_reports_whether_an_object_changes(lake: Storage) -> None:
    key = next(iter(OLD))
    new = Commit(lake, "silver")
    for written, differs in ((b"new", True), (OLD[key], False), (b"newer", True)):
        with new.stage(key) as path:
            path.write_bytes(written)
        assert new.put(key) is differs
        assert (key in new.puts) is differs


def test_a_commit_of_nothing_writes_nothing(lake: Storage) -> None:
    before = files(lake)
    prepared(lake, 1, OLD).finish(HEAD, 2)
    assert files(lake) == before
    assert staging(lake) == []


def test_of_a_delete_and_a_put_of_one_object_the_later_wins(lake: Storage) -> None:
    first, second = OLD
    new = prepared(lake, 2, {first: b"new"}, OLD)
    with new.stage(second) as path:
        path.write_bytes(b"new")
    new.put(second)
    new.finish(HEAD, 2)
    assert content(lake) == {second: b"new", HEAD: b'{"generation": 2}'}


def test_a_missing_object_can_be_deleted(lake: Storage) -> None:
    prepared(lake, 2, {}, ["silver/t/d=7/part-0.parquet", REMOVED]).finish(HEAD, 2)
    assert set(content(lake)) == {next(iter(OLD)), HEAD}


def test_of_two_commits_from_one_generation_the_second_is_rejected(lake: Storage) -> None:
    one = prepared(lake, 2, NEW, [REMOVED])
    other = prepared(lake, 2, {REMOVED: b"mine", "silver/t/d=5/part-0.parquet": b"mine"})
    one.finish(HEAD, 2)
    before = files(lake)
    with pytest.raises(CapstoneError, match=r"^Another run changed silver at .*lake .* Run again"):
        other.finish(HEAD, 2)
    assert files(lake) == before
    assert content(lake) == MERGED
    prepared(lake, 3, {REMOVED: b"mine"}).finish(HEAD, 3)
    assert lake.read(REMOVED) == b"mine"


def test_a_commit_recorded_by_a_dead_run_comes_before_one_from_its_generation(
    lake: Storage,
) -> None:
    mine = prepared(lake, 2, {REMOVED: b"mine"})
    die_after(lake, 0)
    with pytest.raises(CapstoneError, match="Another run changed silver"):
        mine.finish(HEAD, 2)
    assert content(lake) == MERGED


def test_of_many_commits_at_once_one_is_completed(lake: Storage) -> None:
    writers = 8
    barrier = Barrier(writers)
    commits = [
        prepared(lake, 2, {key: str(writer).encode() for key in OLD}) for writer in range(writers)
    ]

    def finish(new: Commit) -> bool:
        barrier.wait(timeout=SECONDS)
        try:
            new.finish(HEAD, 2)
        except CapstoneError as error:
            assert "Another run changed" in str(error)
            return False
        return True

    with ThreadPoolExecutor(writers) as pool:
        done = list(pool.map(finish, commits))
    assert done.count(True) == 1
    assert {lake.read(key) for key in OLD} == {str(done.index(True)).encode()}


def test_layers_are_committed_apart(lake: Storage) -> None:
    gold = prepared(lake, 1, {"gold/a.csv": b"a"}, head="gold/manifest.json")
    die_after(lake, 1)
    with lake.locked("silver"):
        gold.finish("gold/manifest.json", 1)
        recover(lake, "gold", "gold/manifest.json")
    assert set(content(lake, "gold")) == {"gold/a.csv", "gold/manifest.json"}
    assert lake.read(HEAD) == b'{"generation": 1}'


@pytest.mark.usefixtures("impatient")
def test_a_run_that_waits_too_long_for_another_stops(lake: Storage) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW)
    with (
        lake.locked("silver"),
        pytest.raises(CapstoneError, match=r"Another run has been writing to .*lake for 0\.1 s"),
    ):
        new.finish(HEAD, 2)
    assert files(lake) == before


def test_a_failing_disk_leaves_the_stage_for_recovery(tmp_path: Path) -> None:
    lake = Folder(tmp_path / "lake")
    prepared(lake, 1, OLD).finish(HEAD, 1)
    blocked = lake.path("silver/q")
    blocked.write_bytes(b"in the way")
    new = prepared(lake, 2, NEW, [REMOVED])
    with pytest.raises(CapstoneError, match=rf"^{blocked}.*; check the disk and run again\.$"):
        new.finish(HEAD, 2)
    assert (new.workspace / "silver/q/w=3/part-0.jsonl").read_bytes() == b"new 3"
    with pytest.raises(CapstoneError, match="check the disk"):
        recover(lake, "silver", HEAD)
    assert (new.workspace / HEAD).is_file()
    blocked.unlink()
    recover(lake, "silver", HEAD)
    assert content(lake) == MERGED


@by_whom
@pytest.mark.parametrize("failing", ["silver/q/w=3/part-0.jsonl", HEAD])
def test_a_failing_store_leaves_the_stage_for_recovery(
    bucket: Bucket, proxied: Bucket, faulty: Faulty, failing: str, workers: Container[str]
) -> None:
    prepared(bucket, 1, OLD).finish(HEAD, 1)
    new = prepared(proxied, 2, NEW, [REMOVED], workers=workers)
    faulty.faults = Faults(
        errors=1,
        error=(403, "AccessDenied"),
        only=lambda request: (
            request.method == "PUT" and "_tmp" not in request.key and request.key.endswith(failing)
        ),
    )
    for use in (lambda: new.finish(HEAD, 2), lambda: recover(proxied, "silver", HEAD)):
        with pytest.raises(CapstoneError, match=rf"^{proxied.address(failing)}: the store denies"):
            use()
    assert bucket.read(HEAD) == b'{"generation": 1}'
    recover(bucket, "silver", HEAD)
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
        assert owners(lake) == sorted([living.pid, one.pid, other.pid, other.pid])

        recover(lake, "gold", "gold/manifest.json")
        assert all(name.startswith("silver-") for name in staging(lake))
        assert len(staging(lake)) == 3
        recover(lake, "silver", HEAD)
        assert owners(lake) == [living.pid]
        assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}

        living.send("go")
        assert living.wait() == 0
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert staging(lake) == []


def test_the_commit_of_a_dead_process_is_completed_before_its_stage_is_swept(lake: Storage) -> None:
    with child(tasks.die_when_recorded, lake.root) as dead:
        assert dead.wait() == 1
    assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}
    assert owners(lake) == [dead.pid] * (1 if isinstance(lake, Folder) else 2)
    recover(lake, "silver", HEAD)
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert lake.read(HEAD) == b'{"generation": 2}'
    assert staging(lake) == []


def test_a_commit_whose_stage_was_swept_is_not_recorded(lake: Storage) -> None:
    before = files(lake)
    for new in (prepared(lake, 2, NEW), prepared(lake, 2, {}, OLD)):
        shutil.rmtree(new.workspace)
        with pytest.raises(CapstoneError, match="no such file"):
            new.finish(HEAD, 2)
    recover(lake, "silver", HEAD)
    assert files(lake) == before


def test_a_commit_whose_stage_is_swept_while_it_waits_is_not_recorded(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW)
    locked, is_waiting = lake.locked, Event()

    def locked_with_notice(layer: str) -> AbstractContextManager[None]:
        is_waiting.set()
        return locked(layer)

    with ThreadPoolExecutor(1) as pool:
        with lake.locked("silver"):
            monkeypatch.setattr(lake, "locked", locked_with_notice)
            finished = pool.submit(new.finish, HEAD, 2)
            assert is_waiting.wait(SECONDS)  # it has synced its stage
            shutil.rmtree(new.workspace)
        with pytest.raises(CapstoneError, match="no such file"):
            finished.result(timeout=SECONDS)
    assert files(lake) == before


def test_a_recorded_commit_without_its_stage_is_an_error_and_changes_nothing(lake: Storage) -> None:
    die_after(lake, 0)
    staged = next(key for key in lake.keys("_tmp") if "/silver-" in key)
    lake.delete(lake.keys("_tmp"))
    before = files(lake)
    for _ in range(2):
        with pytest.raises(
            CapstoneError, match=rf"are missing, .* delete {lake.root}/silver and "
        ) as e:
            recover(lake, "silver", HEAD)
        assert str(e.value).startswith(lake.address("/".join(staged.split("/")[:2])) + ": ")
    assert files(lake) == before


def test_a_missing_lake_needs_no_recovery(storage: Storage, tmp_path: Path) -> None:
    recover(storage, "silver", HEAD)
    assert storage.keys("") == []
    assert not (tmp_path / "lake").exists()


def test_a_head_that_someone_broke_is_named_with_what_to_do(lake: Storage) -> None:
    for broken in (b"", b"{", b"\xff"):
        write(lake, HEAD, broken)
        with pytest.raises(CapstoneError, match=r": is not valid JSON") as e:
            recover(lake, "silver", HEAD)
        assert str(e.value).startswith(f"{lake.address(HEAD)}: ")
        assert f"delete {lake.root}/silver and rebuild it" in str(e.value)


def test_a_run_of_this_process_that_did_not_finish_is_forgotten(lake: Storage) -> None:
    stale = open_commit(lake, "silver")
    key = next(iter(NEW))
    with stale.stage(key) as path:
        path.write_bytes(b"stale")
    stale.put(key)
    assert open_commit(lake, "silver") is stale
    assert commit.staged_path(lake, "silver", key) == stale.workspace / key
    reset(lake, "silver")
    assert commit.staged_path(lake, "silver", key) is None
    assert not stale.workspace.exists()
    assert open_commit(lake, "silver") is not stale
    reset(lake, "silver")
    assert staging(lake) == []


def changed(lake: Storage, after: int) -> list[Any] | None:
    """Return the keys that each commit after a generation wrote, and those that it deleted."""
    commits = commit_records(lake, "silver", HEAD, after)
    return None if commits is None else [(each["put"], each["delete"]) for each in commits]


def test_the_records_list_the_changes_of_each_commit(lake: Storage) -> None:
    prepared(lake, 2, NEW, [REMOVED]).finish(HEAD, 2)
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
        prepared(lake, generation, {REMOVED: b"%d" % generation}).finish(HEAD, generation)
    lake.delete(["silver/commits/00000002.json"])
    assert changed(lake, 0) is None
    assert changed(lake, 1) is None
    assert changed(lake, 2) == [([REMOVED], [])]
    lake.delete(["silver/commits/00000003.json"])
    assert changed(lake, 2) is None
    assert changed(lake, 3) == []


def test_after_a_layer_is_deleted_its_changes_are_unknown(lake: Storage) -> None:
    assert changed(lake, 2) is None
    lake.delete(lake.keys("silver"))
    assert changed(lake, 1) is None


def test_a_file_that_is_no_record_is_passed_over(lake: Storage) -> None:
    for name in (".DS_Store", "00000001 (copy).json", "x.json"):
        write(lake, f"silver/commits/{name}", b"\x00")
    assert changed(lake, 0) == [(list(OLD), [])]


def test_a_record_is_json_that_names_the_stage(lake: Storage) -> None:
    new = prepared(lake, 2, {"silver/t/d=ç/x.json": b"x"}, [REMOVED])
    new.finish(HEAD, 2)
    text = lake.read("silver/commits/00000002.json").decode()
    record = json.loads(text)
    stage = new.workspace.name if isinstance(lake, Folder) else r"silver-\d+-[0-9a-f]{32}-.+\.zip"
    assert re.fullmatch(f"_tmp/{stage}", record.pop("staged"))
    assert record == {
        "generation": 2,
        "head": HEAD,
        "put": ["silver/t/d=ç/x.json"],
        "delete": [REMOVED],
    }
    assert "ç" in text
