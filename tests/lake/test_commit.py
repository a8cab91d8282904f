from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import commit
from capstone_metrics.lake.bucket import Bucket
from capstone_metrics.lake.commit import Commit, begin, opened, records, settle
from capstone_metrics.lake.folder import Folder
from tests.lake.conftest import another, share, stamp, write
from tests.s3 import Faults

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping

    from capstone_metrics.lake.storage import Shared, Storage
    from tests.s3 import Faulty

HEAD = "silver/head.json"
OLD = {"silver/t/d=1/part-0.parquet": b"old 1", "silver/t/d=2/part-0.parquet": b"old 2"}
NEW = {"silver/t/d=1/part-0.parquet": b"new 1", "silver/q/w=3/part-0.jsonl": b"new 3"}
GONE = "silver/t/d=2/part-0.parquet"
MERGED = {**NEW, HEAD: b'{"generation": 2}'}
STEPS = 4
"""What the commit of NEW without GONE does: two moves, a delete, and the move of the head."""

STAGE = """
import os, sys
from capstone_metrics.lake import commit
from capstone_metrics.lake.storage import storage_of
lake, key = storage_of(sys.argv[1]), "silver/t/d=9/part-0.parquet"
staged = commit.opened(lake, "silver")
for key, content in ((key, "staged"), ("silver/head.json", '{"generation": 2}')):
    with staged.stage(key) as path:
        path.write_text(content)
    staged.put(key)
"""
DIE = "os._exit(1)"
DIE_WHEN_WRITTEN_DOWN = """
commit._carry_out = lambda *_: os._exit(1)
staged.finish("silver/head.json", 2)
"""
DIE_IN_AN_OBJECT = """
def chunks():
    yield b"half"
    os._exit(1)
lake.create("bronze/a.jsonl", chunks())
"""
COMMIT_WHEN_TOLD = """
print("staged", flush=True)
sys.stdin.readline()
staged.finish("silver/head.json", 2)
"""


@pytest.fixture
def lake(storage: Storage) -> Storage:
    """A lake with one commit."""
    prepared(storage, 1, OLD).finish(HEAD, 1)
    return storage


def dying(lake: Storage, steps: int) -> Storage:
    """The lake, for a writer that dies after a number of objects put into place or deleted."""
    left = iter(range(steps))

    class Dying(type(lake)):  # type: ignore[misc]
        def put(self, files: Mapping[str, Path]) -> None:
            for key, file in files.items():
                self.step()
                super().put({key: file})

        def put_shared(self, objects: Mapping[str, Shared]) -> None:
            for key, shared in objects.items():
                self.step()
                super().put_shared({key: shared})

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
    """A commit that has staged all of it, some of it by workers."""
    new = Commit(lake, head.partition("/")[0])
    for key, content in {**puts, head: b'{"generation": %d}' % generation}.items():
        if key in workers:
            new.put(key, share(lake, new.workspace, key, content))
            continue
        with new.stage(key) as path:
            path.write_bytes(content)
        new.put(key)
    for key in deletes:
        new.delete(key)
    return new


def die_after(lake: Storage, steps: int, workers: Container[str] = ()) -> Commit:
    """A commit of NEW without GONE that stops on its way."""
    new = prepared(dying(lake, steps), 2, NEW, [GONE], workers=workers)
    with pytest.raises(KeyboardInterrupt):
        new.finish(HEAD, 2)
    return new


def content(lake: Storage, layer: str = "silver") -> dict[str, bytes]:
    """The objects of a layer, but for the records of its commits."""
    return {
        key: lake.read(key) for key in lake.keys(layer) if not key.startswith(f"{layer}/commits/")
    }


def files(lake: Storage) -> dict[str, object]:
    """Which file each object of the layer is, and when it was written."""
    return {key: stamp(lake, key) for key in lake.keys("silver")}


def staging(lake: Storage) -> list[str]:
    """What is left of what was staged: folders and archives, which say of which layer and whose."""
    if isinstance(lake, Folder):
        return sorted(path.name for path in (lake.folder / "_tmp").iterdir() if path.is_dir())
    here = [path.name.removeprefix("capstone-") for path in Path(tempfile.gettempdir()).iterdir()]
    there = {key.split("/")[1] for key in lake.keys("_tmp") if key.startswith("_tmp/silver-")}
    return sorted([*here, *there])


def owners(lake: Storage) -> list[int]:
    """The processes that staged what is left."""
    return sorted(int(name.split("-")[1]) for name in staging(lake))


def matches(lake: Storage) -> set[str]:
    """What the globs of other programs find in the layers."""
    layers, kinds = ("bronze/", "silver/", "gold/"), (".parquet", ".jsonl", ".csv")
    return {key for key in lake.keys("") if key.startswith(layers) and key.endswith(kinds)}


def process(lake: Storage, then: str) -> subprocess.Popen[str]:
    """Another process that stages for the lake's second commit, and then does something."""
    return subprocess.Popen(
        [sys.executable, "-c", STAGE + then, lake.root],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


by_whom = pytest.mark.parametrize("workers", [(), NEW, list(NEW)[:1]], ids=["own", "all", "some"])


@by_whom
def test_a_commit_puts_all_of_it_into_place(lake: Storage, workers: Container[str]) -> None:
    prepared(lake, 2, NEW, [GONE], workers=workers).finish(HEAD, 2)
    assert content(lake) == MERGED
    assert not lake.exists(GONE)
    if isinstance(lake, Folder):
        assert not lake.path(GONE).parent.exists()
    assert staging(lake) == []


def test_nothing_is_in_place_before_the_commit(lake: Storage) -> None:
    before, found = files(lake), matches(lake)
    new = prepared(lake, 2, NEW, [GONE], workers=list(NEW)[:1])
    assert files(lake) == before
    assert matches(lake) == found == set(OLD)
    assert set(new.puts) == {*NEW, HEAD}


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_what_is_staged_matches_no_glob_over_a_layer(storage: Storage, layer: str) -> None:
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


@by_whom
@pytest.mark.parametrize("steps", range(STEPS))
def test_a_commit_that_is_written_down_is_carried_out_by_who_comes_next(
    lake: Storage, steps: int, workers: Container[str]
) -> None:
    die_after(lake, steps, workers)
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED
    before = files(lake)
    settle(lake, "silver", HEAD)
    assert files(lake) == before


@pytest.mark.parametrize("again", range(STEPS))
@pytest.mark.parametrize("steps", range(STEPS))
def test_who_carries_a_commit_out_may_die_too(lake: Storage, steps: int, again: int) -> None:
    die_after(lake, steps, workers=list(NEW)[:1])
    with pytest.raises(KeyboardInterrupt):
        settle(dying(lake, again), "silver", HEAD)
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED


def test_the_next_commit_carries_out_the_one_before(lake: Storage) -> None:
    die_after(lake, 1)
    prepared(lake, 3, {"silver/t/d=4/part-0.parquet": b"4"}).finish(HEAD, 3)
    assert content(lake) == {
        **NEW,
        "silver/t/d=4/part-0.parquet": b"4",
        HEAD: b'{"generation": 3}',
    }


def test_a_commit_that_is_not_written_down_leaves_no_trace(
    lake: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW, [GONE])
    with monkeypatch.context() as patch:
        patch.setattr(lake, "create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            new.finish(HEAD, 2)
    settle(lake, "silver", HEAD)
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
    (record,) = records(lake, "silver", HEAD, 1) or []
    assert record["put"] == [other]


def test_a_commit_says_whether_an_object_changes(lake: Storage) -> None:
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


def test_of_a_delete_and_a_put_of_one_object_the_later_holds(lake: Storage) -> None:
    first, second = OLD
    new = prepared(lake, 2, {first: b"new"}, OLD)
    with new.stage(second) as path:
        path.write_bytes(b"new")
    new.put(second)
    new.finish(HEAD, 2)
    assert content(lake) == {second: b"new", HEAD: b'{"generation": 2}'}


def test_what_is_not_there_can_be_deleted(lake: Storage) -> None:
    prepared(lake, 2, {}, ["silver/t/d=7/part-0.parquet", GONE]).finish(HEAD, 2)
    assert set(content(lake)) == {next(iter(OLD)), HEAD}


def test_of_two_commits_from_one_generation_the_second_is_told(lake: Storage) -> None:
    one = prepared(lake, 2, NEW, [GONE])
    other = prepared(lake, 2, {GONE: b"mine", "silver/t/d=5/part-0.parquet": b"mine"})
    one.finish(HEAD, 2)
    before = files(lake)
    with pytest.raises(CapstoneError, match=r"^Another run changed silver at .*lake .* Run again"):
        other.finish(HEAD, 2)
    assert files(lake) == before
    assert content(lake) == MERGED
    prepared(lake, 3, {GONE: b"mine"}).finish(HEAD, 3)
    assert lake.read(GONE) == b"mine"


def test_a_commit_that_a_dead_run_wrote_down_comes_before_one_from_its_generation(
    lake: Storage,
) -> None:
    mine = prepared(lake, 2, {GONE: b"mine"})
    die_after(lake, 0)
    with pytest.raises(CapstoneError, match="Another run changed silver"):
        mine.finish(HEAD, 2)
    assert content(lake) == MERGED


def test_of_many_commits_at_once_one_is_carried_out(lake: Storage) -> None:
    writers = 8
    together = Barrier(writers)
    commits = [
        prepared(lake, 2, {key: str(writer).encode() for key in OLD}) for writer in range(writers)
    ]

    def finish(new: Commit) -> bool:
        together.wait(timeout=10)
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
        settle(lake, "gold", "gold/manifest.json")
    assert set(content(lake, "gold")) == {"gold/a.csv", "gold/manifest.json"}
    assert lake.read(HEAD) == b'{"generation": 1}'


@pytest.mark.usefixtures("impatient")
def test_a_run_that_waits_too_long_for_another_is_told(lake: Storage) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW)
    with (
        lake.locked("silver"),
        pytest.raises(CapstoneError, match=r"Another run has been writing to .*lake for 0\.1 s"),
    ):
        new.finish(HEAD, 2)
    assert files(lake) == before


def test_a_disk_that_refuses_a_step_keeps_what_was_staged(tmp_path: Path) -> None:
    lake = Folder(tmp_path / "lake")
    prepared(lake, 1, OLD).finish(HEAD, 1)
    blocked = lake.path("silver/q")
    blocked.write_bytes(b"in the way")
    new = prepared(lake, 2, NEW, [GONE])
    with pytest.raises(CapstoneError, match=rf"^{blocked}.*; check the disk and run again\.$"):
        new.finish(HEAD, 2)
    assert (new.workspace / "silver/q/w=3/part-0.jsonl").read_bytes() == b"new 3"
    with pytest.raises(CapstoneError, match="check the disk"):
        settle(lake, "silver", HEAD)
    assert (new.workspace / HEAD).is_file()
    blocked.unlink()
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED


@by_whom
@pytest.mark.parametrize("refused", ["silver/q/w=3/part-0.jsonl", HEAD])
def test_a_store_that_refuses_a_step_keeps_what_was_staged(
    bucket: Bucket, faulty: Faulty, refused: str, workers: Container[str]
) -> None:
    prepared(bucket, 1, OLD).finish(HEAD, 1)
    shaky = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    new = prepared(shaky, 2, NEW, [GONE], workers=workers)
    faulty.faults = Faults(
        errors=1,
        error=(403, "AccessDenied"),
        only=lambda request: (
            request.method == "PUT" and "_tmp" not in request.key and request.key.endswith(refused)
        ),
    )
    for use in (lambda: new.finish(HEAD, 2), lambda: settle(shaky, "silver", HEAD)):
        with pytest.raises(CapstoneError, match=rf"^{shaky.address(refused)}: the store denies"):
            use()
    assert bucket.read(HEAD) == b'{"generation": 1}'
    settle(bucket, "silver", HEAD)
    assert content(bucket) == MERGED


def test_what_dead_processes_staged_is_swept_away_and_what_living_ones_did_is_not(
    lake: Storage,
) -> None:
    living = process(lake, COMMIT_WHEN_TOLD)
    dead = [process(lake, DIE), process(lake, DIE_IN_AN_OBJECT)]
    assert living.stdout
    assert living.stdout.readline() == "staged\n"
    assert [each.wait(timeout=60) for each in dead] == [1, 1]
    assert owners(lake) == sorted([living.pid, dead[0].pid, dead[1].pid, dead[1].pid])

    settle(lake, "gold", "gold/manifest.json")
    assert all(name.startswith("silver-") for name in staging(lake))
    assert len(staging(lake)) == 3
    settle(lake, "silver", HEAD)
    assert owners(lake) == [living.pid]
    assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}

    living.communicate("go\n", timeout=60)
    assert living.returncode == 0
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert staging(lake) == []


def test_a_dead_process_s_commit_is_carried_out_before_its_stage_is_swept(lake: Storage) -> None:
    dead = process(lake, DIE_WHEN_WRITTEN_DOWN)
    assert dead.wait(timeout=60) == 1
    assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}
    assert owners(lake) == [dead.pid] * (1 if isinstance(lake, Folder) else 2)
    settle(lake, "silver", HEAD)
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert lake.read(HEAD) == b'{"generation": 2}'
    assert staging(lake) == []


def test_a_commit_whose_stage_was_swept_is_not_written_down(lake: Storage) -> None:
    before = files(lake)
    for new in (prepared(lake, 2, NEW), prepared(lake, 2, {}, OLD)):
        shutil.rmtree(new.workspace)
        with pytest.raises(CapstoneError, match="no such file"):
            new.finish(HEAD, 2)
    settle(lake, "silver", HEAD)
    assert files(lake) == before


def test_a_commit_whose_stage_is_swept_while_it_waits_is_not_written_down(lake: Storage) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW)
    with ThreadPoolExecutor(1) as pool:
        with lake.locked("silver"):
            finished = pool.submit(new.finish, HEAD, 2)
            sleep(0.3)  # it has synced what it staged, and waits for the lock
            shutil.rmtree(new.workspace)
        with pytest.raises(CapstoneError, match="no such file"):
            finished.result(timeout=10)
    assert files(lake) == before


def test_a_written_commit_whose_stage_is_gone_changes_nothing_and_says_so(lake: Storage) -> None:
    die_after(lake, 0)
    staged = next(key for key in lake.keys("_tmp") if "/silver-" in key)
    lake.delete(lake.keys("_tmp"))
    before = files(lake)
    for _ in range(2):
        with pytest.raises(
            CapstoneError, match=rf"is gone, .* delete {lake.root}/silver and "
        ) as e:
            settle(lake, "silver", HEAD)
        assert str(e.value).startswith(lake.address("/".join(staged.split("/")[:2])) + ": ")
    assert files(lake) == before


def test_a_lake_that_is_not_there_is_settled(storage: Storage, tmp_path: Path) -> None:
    settle(storage, "silver", HEAD)
    assert storage.keys("") == []
    assert not (tmp_path / "lake").exists()


def test_a_head_that_someone_broke_is_named_with_what_to_do(lake: Storage) -> None:
    for broken in (b"", b"{", b"\xff"):
        write(lake, HEAD, broken)
        with pytest.raises(CapstoneError, match=r": is not JSON any more") as e:
            settle(lake, "silver", HEAD)
        assert str(e.value).startswith(f"{lake.address(HEAD)}: ")
        assert f"delete {lake.root}/silver and build it anew" in str(e.value)


def test_a_run_of_this_process_that_did_not_finish_is_forgotten(lake: Storage) -> None:
    stale = opened(lake, "silver")
    key = next(iter(NEW))
    with stale.stage(key) as path:
        path.write_bytes(b"stale")
    stale.put(key)
    assert opened(lake, "silver") is stale
    assert commit.staged(lake, "silver", key) == stale.workspace / key
    begin(lake, "silver")
    assert commit.staged(lake, "silver", key) is None
    assert not stale.workspace.exists()
    assert opened(lake, "silver") is not stale
    begin(lake, "silver")
    assert staging(lake) == []


def changed(lake: Storage, after: int) -> list[Any] | None:
    """For each commit after a generation what it put, and what it deleted."""
    found = records(lake, "silver", HEAD, after)
    return None if found is None else [(each["put"], each["delete"]) for each in found]


def test_the_records_say_what_each_commit_did(lake: Storage) -> None:
    prepared(lake, 2, NEW, [GONE]).finish(HEAD, 2)
    assert changed(lake, 0) == [(list(OLD), []), (list(NEW), [GONE])]
    assert changed(lake, 1) == [(list(NEW), [GONE])]
    assert changed(lake, 2) == []


def test_the_records_have_a_commit_that_is_not_carried_out_yet(lake: Storage) -> None:
    die_after(lake, 0)
    assert changed(lake, 1) == [(list(NEW), [GONE])]


def test_a_lake_without_commits_has_no_records(storage: Storage) -> None:
    assert changed(storage, 0) == []


def test_where_a_record_is_missing_it_is_not_known_what_changed(lake: Storage) -> None:
    for generation in (2, 3):
        prepared(lake, generation, {GONE: b"%d" % generation}).finish(HEAD, generation)
    lake.delete(["silver/commits/00000002.json"])
    assert changed(lake, 0) is None
    assert changed(lake, 1) is None
    assert changed(lake, 2) == [([GONE], [])]
    lake.delete(["silver/commits/00000003.json"])
    assert changed(lake, 2) is None
    assert changed(lake, 3) == []


def test_where_a_layer_was_begun_anew_it_is_not_known_what_changed(lake: Storage) -> None:
    assert changed(lake, 2) is None
    lake.delete(lake.keys("silver"))
    assert changed(lake, 1) is None


def test_a_file_that_is_no_record_is_passed_over(lake: Storage) -> None:
    for name in (".DS_Store", "00000001 (copy).json", "x.json"):
        write(lake, f"silver/commits/{name}", b"\x00")
    assert changed(lake, 0) == [(list(OLD), [])]


def test_a_record_names_what_was_staged_for_a_person_who_looks(lake: Storage) -> None:
    new = prepared(lake, 2, {"silver/t/d=ç/x.json": b"x"}, [GONE])
    new.finish(HEAD, 2)
    text = lake.read("silver/commits/00000002.json").decode()
    record = json.loads(text)
    here = new.workspace.name if isinstance(lake, Folder) else r"silver-\d+-[0-9a-f]{32}-.+\.zip"
    assert re.fullmatch(f"_tmp/{here}", record.pop("staged"))
    assert record == {
        "generation": 2,
        "head": HEAD,
        "put": ["silver/t/d=ç/x.json"],
        "delete": [GONE],
    }
    assert "ç" in text
