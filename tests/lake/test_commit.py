from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import commit
from capstone_metrics.lake.commit import Commit, begin, locked, opened, records, settle
from capstone_metrics.lake.storage import Folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

HEAD = "silver/head.json"
OLD = {"silver/t/d=1/part-0.parquet": b"old 1", "silver/t/d=2/part-0.parquet": b"old 2"}
NEW = {"silver/t/d=1/part-0.parquet": b"new 1", "silver/q/w=3/part-0.jsonl": b"new 3"}
GONE = "silver/t/d=2/part-0.parquet"
MERGED = {**NEW, HEAD: b'{"generation": 2}'}
STEPS = 4
"""What the commit of NEW without GONE does: two moves, a delete, and the move of the head."""

STAGE = """
import os, sys
from pathlib import Path
from capstone_metrics.lake import commit
from capstone_metrics.lake.storage import Folder
lake, key = Folder(sys.argv[1]), "silver/t/d=9/part-0.parquet"
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
def lake(tmp_path: Path) -> Folder:
    """A lake with one commit."""
    folder = Folder(tmp_path / "lake")
    prepared(folder, 1, OLD).finish(HEAD, 1)
    return folder


class Dying(Folder):
    """A lake whose writer dies after a number of moves and deletes."""

    def __init__(self, lake: Folder, steps: int) -> None:
        super().__init__(lake.root)
        self.steps = steps

    def move(self, staged: Path, key: str) -> None:
        self._step()
        super().move(staged, key)

    def delete(self, key: str) -> None:
        self._step()
        super().delete(key)

    def _step(self) -> None:
        if self.steps == 0:
            raise KeyboardInterrupt
        self.steps -= 1


def prepared(
    lake: Folder,
    generation: int,
    puts: Mapping[str, bytes],
    deletes: Iterable[str] = (),
    head: str = HEAD,
) -> Commit:
    """A commit that has staged all of it."""
    new = Commit(lake, head.partition("/")[0])
    for key, content in {**puts, head: b'{"generation": %d}' % generation}.items():
        with new.stage(key) as path:
            path.write_bytes(content)
        new.put(key)
    for key in deletes:
        new.delete(key)
    return new


def die_after(lake: Folder, steps: int) -> Commit:
    """A commit of NEW without GONE that stops on its way."""
    new = prepared(Dying(lake, steps), 2, NEW, [GONE])
    with pytest.raises(KeyboardInterrupt):
        new.finish(HEAD, 2)
    return new


def content(lake: Folder, layer: str = "silver") -> dict[str, bytes]:
    """The objects of a layer, but for the records of its commits."""
    return {
        key: lake.read(key) for key in lake.keys(layer) if not key.startswith(f"{layer}/commits/")
    }


def files(lake: Folder) -> dict[str, tuple[int, int]]:
    """Which file each object of the layer is, and when it was written."""
    found = {key: lake.path(key).stat() for key in lake.keys("silver")}
    return {key: (stat.st_ino, stat.st_mtime_ns) for key, stat in found.items()}


def staging(lake: Folder) -> list[str]:
    """The folders of what is staged."""
    return sorted(path.name for path in (lake.root / "_tmp").iterdir() if path.is_dir())


def matches(lake: Folder) -> set[str]:
    """What the globs of other programs find in the layers."""
    return {
        path.relative_to(lake.root).as_posix()
        for layer in ("bronze", "silver", "gold")
        for kind in ("parquet", "jsonl", "csv")
        for path in lake.root.glob(f"{layer}/**/*.{kind}")
    }


def process(lake: Folder, then: str) -> subprocess.Popen[str]:
    """Another process that stages for the lake's second commit, and then does something."""
    return subprocess.Popen(
        [sys.executable, "-c", STAGE + then, str(lake.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_commit_puts_all_of_it_into_place(lake: Folder) -> None:
    prepared(lake, 2, NEW, [GONE]).finish(HEAD, 2)
    assert content(lake) == MERGED
    assert not lake.path(GONE).parent.exists()
    assert staging(lake) == []


def test_nothing_is_in_place_before_the_commit(lake: Folder) -> None:
    before, found = files(lake), matches(lake)
    new = prepared(lake, 2, NEW, [GONE])
    assert files(lake) == before
    assert matches(lake) == found == set(OLD)
    assert all(path.is_file() for path in new.puts.values())


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_what_is_staged_matches_no_glob_over_a_layer(tmp_path: Path, layer: str) -> None:
    lake = Folder(tmp_path)
    puts = {f"{layer}/t/a.{kind}": b"staged" for kind in ("parquet", "jsonl", "csv")}
    new = prepared(lake, 1, puts, head=f"{layer}/head.json")
    assert matches(lake) == set()
    new.finish(f"{layer}/head.json", 1)
    assert matches(lake) == set(puts)


@pytest.mark.parametrize("steps", range(STEPS))
def test_the_head_is_the_last_to_change(lake: Folder, steps: int) -> None:
    die_after(lake, steps)
    assert lake.read(HEAD) == b'{"generation": 1}'
    is_rest_done = {**content(lake), HEAD: MERGED[HEAD]} == MERGED
    assert is_rest_done is (steps == STEPS - 1)


@pytest.mark.parametrize("steps", range(STEPS))
def test_a_commit_that_is_written_down_is_carried_out_by_who_comes_next(
    lake: Folder, steps: int
) -> None:
    die_after(lake, steps)
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED
    before = files(lake)
    settle(lake, "silver", HEAD)
    assert files(lake) == before


@pytest.mark.parametrize("again", range(STEPS))
@pytest.mark.parametrize("steps", range(STEPS))
def test_who_carries_a_commit_out_may_die_too(lake: Folder, steps: int, again: int) -> None:
    die_after(lake, steps)
    with pytest.raises(KeyboardInterrupt):
        settle(Dying(lake, again), "silver", HEAD)
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED


def test_the_next_commit_carries_out_the_one_before(lake: Folder) -> None:
    die_after(lake, 1)
    prepared(lake, 3, {"silver/t/d=4/part-0.parquet": b"4"}).finish(HEAD, 3)
    assert content(lake) == {
        **NEW,
        "silver/t/d=4/part-0.parquet": b"4",
        HEAD: b'{"generation": 3}',
    }


def test_a_commit_that_is_not_written_down_leaves_no_trace(
    lake: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW, [GONE])
    with monkeypatch.context() as patch:
        patch.setattr(lake, "create", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            new.finish(HEAD, 2)
    settle(lake, "silver", HEAD)
    assert files(lake) == before


def test_bytes_that_stay_the_same_are_not_written(lake: Folder) -> None:
    same, other = OLD
    before = files(lake)
    new = prepared(lake, 2, {same: OLD[same], other: b"new 2"})
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


def test_a_commit_says_whether_an_object_changes(lake: Folder) -> None:
    key = next(iter(OLD))
    new = Commit(lake, "silver")
    for written, differs in ((b"new", True), (OLD[key], False), (b"newer", True)):
        with new.stage(key) as path:
            path.write_bytes(written)
        assert new.put(key) is differs
        assert (key in new.puts) is differs


def test_a_commit_of_nothing_writes_nothing(lake: Folder) -> None:
    before = files(lake)
    prepared(lake, 1, OLD).finish(HEAD, 2)
    assert files(lake) == before
    assert staging(lake) == []


def test_of_a_delete_and_a_put_of_one_object_the_later_holds(lake: Folder) -> None:
    first, second = OLD
    new = prepared(lake, 2, {first: b"new"}, OLD)
    with new.stage(second) as path:
        path.write_bytes(b"new")
    new.put(second)
    new.finish(HEAD, 2)
    assert content(lake) == {second: b"new", HEAD: b'{"generation": 2}'}


def test_what_is_not_there_can_be_deleted(lake: Folder) -> None:
    prepared(lake, 2, {}, ["silver/t/d=7/part-0.parquet", GONE]).finish(HEAD, 2)
    assert set(content(lake)) == {next(iter(OLD)), HEAD}


def test_of_two_commits_from_one_generation_the_second_is_told(lake: Folder) -> None:
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
    lake: Folder,
) -> None:
    mine = prepared(lake, 2, {GONE: b"mine"})
    die_after(lake, 0)
    with pytest.raises(CapstoneError, match="Another run changed silver"):
        mine.finish(HEAD, 2)
    assert content(lake) == MERGED


def test_of_many_commits_at_once_one_is_carried_out(lake: Folder) -> None:
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


def test_layers_are_committed_apart(lake: Folder) -> None:
    gold = prepared(lake, 1, {"gold/a.csv": b"a"}, head="gold/manifest.json")
    die_after(lake, 1)
    with locked(lake, "silver"):
        gold.finish("gold/manifest.json", 1)
        settle(lake, "gold", "gold/manifest.json")
    assert set(content(lake, "gold")) == {"gold/a.csv", "gold/manifest.json"}
    assert lake.read(HEAD) == b'{"generation": 1}'


def test_a_run_that_waits_too_long_for_another_is_told(
    lake: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit, "SECONDS_TO_WAIT", 0.1)
    before = files(lake)
    new = prepared(lake, 2, NEW)
    with (
        locked(lake, "silver"),
        pytest.raises(CapstoneError, match=r"Another run has been writing to .*lake for 0\.1 s"),
    ):
        new.finish(HEAD, 2)
    assert files(lake) == before


def test_a_disk_that_refuses_a_step_keeps_what_was_staged(lake: Folder) -> None:
    blocked = lake.path("silver/q")
    blocked.write_bytes(b"in the way")
    new = prepared(lake, 2, NEW, [GONE])
    with pytest.raises(CapstoneError, match=rf"^{blocked}.*; check the disk and run again\.$"):
        new.finish(HEAD, 2)
    assert (new.folder / "silver/q/w=3/part-0.jsonl").read_bytes() == b"new 3"
    with pytest.raises(CapstoneError, match="check the disk"):
        settle(lake, "silver", HEAD)
    assert (new.folder / HEAD).is_file()
    blocked.unlink()
    settle(lake, "silver", HEAD)
    assert content(lake) == MERGED


def test_what_dead_processes_staged_is_swept_away_and_what_living_ones_did_is_not(
    lake: Folder,
) -> None:
    living = process(lake, COMMIT_WHEN_TOLD)
    dead = [process(lake, DIE), process(lake, DIE_IN_AN_OBJECT)]
    assert living.stdout
    assert living.stdout.readline() == "staged\n"
    assert [each.wait(timeout=60) for each in dead] == [1, 1]
    owners = [int(name.split("-")[1]) for name in staging(lake)]
    assert sorted(owners) == sorted([living.pid, dead[0].pid, dead[1].pid, dead[1].pid])

    settle(lake, "gold", "gold/manifest.json")
    assert all(name.startswith("silver-") for name in staging(lake))
    assert len(staging(lake)) == 3
    settle(lake, "silver", HEAD)
    assert [int(name.split("-")[1]) for name in staging(lake)] == [living.pid]
    assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}

    living.communicate("go\n", timeout=60)
    assert living.returncode == 0
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert staging(lake) == []


def test_a_dead_process_s_commit_is_carried_out_before_its_stage_is_swept(lake: Folder) -> None:
    assert process(lake, DIE_WHEN_WRITTEN_DOWN).wait(timeout=60) == 1
    assert content(lake) == {**OLD, HEAD: b'{"generation": 1}'}
    assert len(staging(lake)) == 1
    settle(lake, "silver", HEAD)
    assert lake.read("silver/t/d=9/part-0.parquet") == b"staged"
    assert lake.read(HEAD) == b'{"generation": 2}'
    assert staging(lake) == []


def test_a_commit_whose_stage_was_swept_is_not_written_down(lake: Folder) -> None:
    before = files(lake)
    for new in (prepared(lake, 2, NEW), prepared(lake, 2, {}, OLD)):
        shutil.rmtree(new.folder)
        with pytest.raises(CapstoneError, match="no such file"):
            new.finish(HEAD, 2)
    settle(lake, "silver", HEAD)
    assert files(lake) == before


def test_a_commit_whose_stage_is_swept_while_it_waits_is_not_written_down(lake: Folder) -> None:
    before = files(lake)
    new = prepared(lake, 2, NEW)
    with ThreadPoolExecutor(1) as pool:
        with locked(lake, "silver"):
            finished = pool.submit(new.finish, HEAD, 2)
            sleep(0.3)  # it has synced what it staged, and waits for the lock
            shutil.rmtree(new.folder)
        with pytest.raises(CapstoneError, match="no such file"):
            finished.result(timeout=10)
    assert files(lake) == before


def test_a_written_commit_whose_stage_is_gone_changes_nothing_and_says_so(lake: Folder) -> None:
    die_after(lake, 0)
    shutil.rmtree(lake.root / "_tmp")
    before = files(lake)
    for _ in range(2):
        with pytest.raises(CapstoneError, match=rf"is gone, .* delete {lake.root}/silver and "):
            settle(lake, "silver", HEAD)
    assert files(lake) == before


def test_a_lake_that_is_not_there_is_settled(tmp_path: Path) -> None:
    settle(Folder(tmp_path / "lake"), "silver", HEAD)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_someone_broke_is_named_with_what_to_do(lake: Folder) -> None:
    for broken in (b"", b"{", b"\xff"):
        lake.path(HEAD).write_bytes(broken)
        with pytest.raises(CapstoneError, match=rf"^{lake.path(HEAD)}: is not JSON any more") as e:
            settle(lake, "silver", HEAD)
        assert f"delete {lake.root}/silver and build it anew" in str(e.value)


def test_a_run_of_this_process_that_did_not_finish_is_forgotten(lake: Folder) -> None:
    stale = opened(lake, "silver")
    key = next(iter(NEW))
    with stale.stage(key) as path:
        path.write_bytes(b"stale")
    stale.put(key)
    assert opened(lake, "silver") is stale
    assert commit.staged(lake, "silver", key) == stale.folder / key
    begin(lake, "silver")
    assert commit.staged(lake, "silver", key) is None
    assert not stale.folder.exists()
    assert opened(lake, "silver") is not stale
    begin(lake, "silver")
    assert staging(lake) == []


def changed(lake: Folder, after: int) -> list[Any] | None:
    """For each commit after a generation what it put, and what it deleted."""
    found = records(lake, "silver", HEAD, after)
    return None if found is None else [(each["put"], each["delete"]) for each in found]


def test_the_records_say_what_each_commit_did(lake: Folder) -> None:
    prepared(lake, 2, NEW, [GONE]).finish(HEAD, 2)
    assert changed(lake, 0) == [(list(OLD), []), (list(NEW), [GONE])]
    assert changed(lake, 1) == [(list(NEW), [GONE])]
    assert changed(lake, 2) == []


def test_the_records_have_a_commit_that_is_not_carried_out_yet(lake: Folder) -> None:
    die_after(lake, 0)
    assert changed(lake, 1) == [(list(NEW), [GONE])]


def test_a_lake_without_commits_has_no_records(tmp_path: Path) -> None:
    assert changed(Folder(tmp_path), 0) == []


def test_where_a_record_is_missing_it_is_not_known_what_changed(lake: Folder) -> None:
    for generation in (2, 3):
        prepared(lake, generation, {GONE: b"%d" % generation}).finish(HEAD, generation)
    lake.delete("silver/commits/00000002.json")
    assert changed(lake, 0) is None
    assert changed(lake, 1) is None
    assert changed(lake, 2) == [([GONE], [])]
    lake.delete("silver/commits/00000003.json")
    assert changed(lake, 2) is None
    assert changed(lake, 3) == []


def test_where_a_layer_was_begun_anew_it_is_not_known_what_changed(lake: Folder) -> None:
    assert changed(lake, 2) is None
    shutil.rmtree(lake.root / "silver")
    assert changed(lake, 1) is None


def test_a_file_that_is_no_record_is_passed_over(lake: Folder) -> None:
    for name in (".DS_Store", "00000001 (copy).json", "x.json"):
        lake.path(f"silver/commits/{name}").write_bytes(b"\x00")
    assert changed(lake, 0) == [(list(OLD), [])]


def test_a_record_names_what_was_staged_for_a_person_who_looks(lake: Folder) -> None:
    new = prepared(lake, 2, {"silver/t/d=ç/x.json": b"x"}, [GONE])
    new.finish(HEAD, 2)
    text = lake.read("silver/commits/00000002.json").decode()
    assert json.loads(text) == {
        "generation": 2,
        "head": HEAD,
        "staged": f"_tmp/{new.folder.name}",
        "put": ["silver/t/d=ç/x.json"],
        "delete": [GONE],
    }
    assert "ç" in text
