"""Kills, full disks and crowds: every file is old or new, and the next run recovers the rest."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import selection
from tests.support.lakes import (
    accounts_balance,
    add,
    clear,
    content,
    expected,
    finished,
    is_readable,
    line,
    restore,
    run_here,
    started,
)
from tests.support.run_lake import NOBODY
from tests.support.selection import long_with_all, sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

CALLS = "openat,write,pwrite64,rename,link,fsync,mkdir,unlink,unlinkat,rmdir"
KILLS = 2
FEWER = 30
"""By how many calls of a kind two equal runs may differ."""
PARTS = 3 if selection.runs_everything else 1
"""In how many tests every kill is, which workers share."""
LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (.ci/run)")


def can(*command: str) -> bool:
    """Return whether a command exists and succeeds."""
    exists = shutil.which(command[0]) is not None
    return exists and subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    not (os.name == "posix" and os.geteuid() == 0 and can("unshare", "--mount", "true")),
    reason="may not mount",
)


@pytest.fixture(scope="module")
def prepared(empty_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one run behind it, and after that a window which moves and rejects."""
    data = empty_project.root / "data"
    clear(data)
    add(data, "2026-01-31T08", line(), line(video_id="v2"), line(video_id="v3", likes=None))
    run_here(empty_project)
    add(data, "2026-01-31T20", line(views=7, **LATER), b"{cut", name="a")
    add(data, "2026-01-31T20", line(video_id="v2", data_postagem="2026-01-29", **LATER), name="b")
    copy = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(data, copy)
    return copy


@pytest.fixture
def lake(empty_project: Project, prepared: Path) -> Path:
    """A copy of it in the folder of the project."""
    data = empty_project.root / "data"
    restore(data, prepared)
    return data


def strace(log: Path, *options: str) -> list[str]:
    return ["strace", "-f", "-y", "-o", str(log), f"-etrace={CALLS}", *options]


@pytest.fixture(scope="module")
def calls(
    empty_project: Project, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, int]]:
    """The calls of the main thread that change a layer: of each its name, and its number."""
    root = empty_project.root
    restore(root / "data", prepared)
    log = tmp_path_factory.mktemp("trace") / "log"
    process = started(empty_project, "--no-heartbeats", trace=strace(log))
    assert finished(process)[0] == 0
    numbers, changes, trace = dict.fromkeys(CALLS.split(","), 0), [], log.read_text()
    records = re.findall(rf'rename\("([^"]+)", "{root}/data/operations', trace)
    for text in trace.splitlines():
        pid, _, call = text.partition(" ")
        name = call.strip().partition("(")[0]
        if pid != str(process.pid) or name not in numbers:
            continue
        numbers[name] += 1
        only_reads = name == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", call)
        is_of_record = any(path in call for path in (*records, f"{root}/data/operations"))
        if f"{root}/data/" in call and not only_reads and not is_of_record:
            changes.append((name, numbers[name]))
    assert len(changes) > 100
    return changes


@needs_strace
@long_with_all
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_killed_at_any_call_is_finished_by_the_next(  # noqa: PLR0913, PLR0917
    empty_project: Project,
    prepared: Path,
    lake: Path,
    calls: list[tuple[str, int]],
    tmp_path: Path,
    part: int,
) -> None:
    for name, number in sample(calls, KILLS)[part::PARTS]:
        kill_at(empty_project, prepared, tmp_path / "log", name, number)
        assert is_readable(lake), (name, number)
        run_here(empty_project)
        assert content(lake) == expected(lake), (name, number)
        assert accounts_balance(lake)
        assert list((lake / "_tmp").glob("*~*")) == []


def kill_at(project: Project, prepared: Path, log: Path, name: str, number: int) -> None:
    """Kill a run at a call of its main thread, or at its last one.

    A run may make a few calls fewer than the one that was traced, as DuckDB's own threads share
    the reading with the main thread.
    """
    for when in range(number, number - FEWER, -1):
        restore(project.root / "data", prepared)
        kill = strace(log, f"-einject={name}:signal=KILL:when={when}")
        code, output = finished(started(project, "--no-heartbeats", trace=kill))
        if code != 0:
            break
    assert code == -signal.SIGKILL, (name, number, output)


@needs_strace
def test_without_the_commit_a_kill_leaves_a_torn_file(
    empty_project: Project, lake: Path, tmp_path: Path
) -> None:
    head = lake / "silver/head.json"
    kill = ["strace", "-f", "-o", str(tmp_path / "log"), "-etrace=write", f"-P{head}"]
    kill += ["-einject=write:signal=KILL:when=1"]
    code, _ = finished(started(empty_project, "--in-place", trace=kill))
    assert code == -signal.SIGKILL
    assert not is_readable(lake)


slow = partial(pytest.param, marks=pytest.mark.slow)


@needs_strace
@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        ("fsync", "EIO", "input/output error"),
        slow("write", "ENOSPC", "free some space and run again"),
        slow("rename", "EACCES", "grant this user access to it"),
        slow("mkdir", "EROFS", "choose another folder"),
    ],
)
def test_an_error_of_the_disk_is_one_sentence_and_tears_nothing(  # noqa: PLR0913, PLR0917
    empty_project: Project,
    calls: list[tuple[str, int]],
    lake: Path,
    tmp_path: Path,
    call: str,
    error: str,
    sentence: str,
) -> None:
    numbers = [number for name, number in calls if name == call]
    since = "" if call == "write" else "+"  # the sentence itself has to be written
    inject = f"-einject={call}:error={error}:when={numbers[len(numbers) // 2]}{since}"
    trace = strace(tmp_path / "log", inject)
    code, output = finished(started(empty_project, "--no-heartbeats", trace=trace))
    assert code == 1
    assert sentence in output
    assert str(lake) in output
    assert "Traceback" not in output
    assert is_readable(lake)
    run_here(empty_project)
    assert content(lake) == expected(lake)


@pytest.mark.parametrize("runs", [2, slow(8)])
def test_runs_at_once_each_end_well_or_say_busy(
    empty_project: Project, lake: Path, runs: int
) -> None:
    results = [finished(process) for process in [started(empty_project) for _ in range(runs)]]
    assert any(code == 0 for code, _ in results)
    for code, output in results:
        assert code == 0 or "Another run" in output, output
    assert is_readable(lake)
    run_here(empty_project)
    assert content(lake) == expected(lake)
    assert accounts_balance(lake)


@pytest.mark.skipif(
    not (sys.platform == "linux" and os.geteuid() == 0), reason="only root may become another user"
)
def test_a_user_without_the_right_to_silver_gets_one_sentence(
    empty_project: Project, lake: Path
) -> None:
    for path in (lake, *lake.rglob("*")):
        if lake / "silver" not in (path, *path.parents):
            os.chown(path, NOBODY, NOBODY)
    before = silver(lake)
    code, output = finished(started(empty_project, "--as-nobody"))
    assert code == 1
    denied = "permission denied; grant this user access to it and run again"
    assert f"{lake}/silver/commits/00000002.json: {denied}" in output
    assert "Traceback" not in output
    assert silver(lake) == before

    for path in lake.rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    assert finished(started(empty_project, "--as-nobody"))[0] == 0
    assert content(lake) == expected(lake)


def silver(lake: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in lake.glob("silver/**/*") if path.is_file()}


@needs_strace
def test_a_run_needs_no_hard_links(empty_project: Project, lake: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    trace = ["strace", "-f", "-o", str(log), "-etrace=link,linkat"]
    trace += ["-einject=link,linkat:error=EPERM"]
    code, output = finished(started(empty_project, trace=trace))
    assert code == 0, output
    assert "(INJECTED)" in log.read_text()
    assert content(lake) == expected(lake)
    assert accounts_balance(lake)


@needs_strace
def test_a_lake_without_locks_is_refused_and_not_written_to(
    empty_project: Project, lake: Path, tmp_path: Path
) -> None:
    before = silver(lake)
    trace = ["strace", "-f", "-o", str(tmp_path / "log"), "-etrace=flock"]
    trace += ["-einject=flock:error=ENOLCK"]
    code, output = finished(started(empty_project, trace=trace))
    assert code == 1
    assert f"{lake}: its file system has no locks, so two runs could write at once" in output
    assert "Traceback" not in output
    assert silver(lake) == before


@needs_mounts
def test_a_lake_on_a_read_only_mount_gets_one_sentence(empty_project: Project, lake: Path) -> None:
    before = silver(lake)
    with mounted(lake, "--bind", str(lake)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(lake)], check=True)
        code, output = finished(started(empty_project))
        assert code == 1, output
        sentence = "the file system is read-only; choose another folder for the lake"
        assert sentence in " ".join(output.split())
        assert "Traceback" not in output
        assert f"{lake}/" in output
        assert silver(lake) == before
        subprocess.run(["mount", "-o", "remount,bind,rw", str(lake)], check=True)
        run_here(empty_project)
    assert content(lake) == expected(lake)


@needs_mounts
@pytest.mark.parametrize("room", [slow(0), 1 << 15, slow(1 << 16)])
def test_a_full_disk_is_reported_and_tears_nothing(
    empty_project: Project, prepared: Path, room: int
) -> None:
    lake = empty_project.root / "data"
    with mounted(lake, "-t", "tmpfs", "-o", "size=1m", "none"):
        restore(lake, prepared)
        add(lake, "2026-01-31T20", *(line(video_id=f"w{n}", **LATER) for n in range(50)), b"{cut")
        filler = lake / "filler"
        fill(filler, room)
        code, output = finished(started(empty_project))
        assert code == 1, output
        sentence = "no space left on device; free some space and run again"
        assert sentence in " ".join(output.split())
        assert "Traceback" not in output
        assert str(lake) in output
        assert is_readable(lake)
        filler.unlink()
        run_here(empty_project)
        assert content(lake) == expected(lake)
        assert accounts_balance(lake)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Have something mounted on a folder."""
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path, room: int) -> None:
    """Fill a disk up to some bytes."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    os.truncate(path, path.stat().st_size - room)


FEW = 20
MANY = 20_000 if selection.runs_everything else 1_000


@pytest.mark.slow
@needs_strace
def test_many_small_objects_cost_little_more_than_few(
    empty_project: Project, tmp_path: Path
) -> None:
    lake = empty_project.root / "data"
    few, many = (memory_of_a_run(empty_project, objects) for objects in (FEW, MANY))
    assert many < 1.5 * few
    assert content(lake) == expected(lake)

    before = changed_at(lake)
    assert objects_read(empty_project, tmp_path / "log") == set()
    assert changed_at(lake) == before

    one = add(lake, "2026-01-31T20", line(views=MANY, **LATER), name="one")
    assert objects_read(empty_project, tmp_path / "log") == {str(one)}
    assert content(lake) == expected(lake)


def changed_at(lake: Path) -> dict[Path, int]:
    """Return when each file of the lake was written, but for the records of runs."""
    files = (path for path in lake.rglob("*") if path.is_file())
    return {
        path: path.stat().st_mtime_ns for path in files if lake / "operations" not in path.parents
    }


def memory_of_a_run(project: Project, objects: int) -> int:
    """Return the most memory that a run takes for the same lines in so many objects."""
    clear(project.root / "data")
    lines, noon = MANY // objects, datetime(2026, 1, 31, 12)  # noqa: DTZ001 - Z is added to it
    for number in range(objects):
        batch = (
            line(video_id=f"v{n % 5000}", views=n, ingestion_ts=f"{noon + timedelta(seconds=n)}Z")
            for n in range(number * lines, (number + 1) * lines)
        )
        window = f"2026-02-{1 + number % 20:02}T08"
        add(project.root / "data", window, *batch, name=f"{number:05}")
    process = started(project)
    code, output = finished(process)
    assert code == 0, output
    assert process.peak_memory
    return process.peak_memory


def objects_read(project: Project, log: Path) -> set[str]:
    """Return the objects of Bronze that a run opens."""
    trace = ["strace", "-f", "-o", str(log), "-etrace=openat"]
    assert finished(started(project, trace=trace))[0] == 0
    return set(re.findall(rf'"({project.root}/data/bronze/[^"]*\.jsonl)"', log.read_text()))
