"""Kills, full disks and crowds: the lake is whole at all times, and the next run mends the rest."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.lakes import (
    add,
    clear,
    content,
    expected,
    finished,
    identity_holds,
    line,
    run_here,
    started,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

CALLS = "openat,write,pwrite64,rename,link,fsync,mkdir,unlink,unlinkat,rmdir"
EVERY_KILL = os.environ.get("KILLS") == "all"
KILLS = 8
LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (.ci/run)")

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
NOBODY = 65534
# another user, who may read every file as root does, and write none that is not theirs
AS_NOBODY = [
    "setpriv",
    f"--reuid={NOBODY}",
    "--clear-groups",
    "--bounding-set=-all,+dac_read_search",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=+dac_read_search",
]


def can(*command: str) -> bool:
    """Whether a command is there and may be run."""
    is_there = shutil.which(command[0]) is not None
    return is_there and subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def lake(shared: Project) -> Path:
    """A lake with one run behind it, and a window before it that moves and rejects."""
    data = shared.root / "data"
    clear(data)
    add(data, "2026-01-31T08", line(), line(video_id="v2"), line(video_id="v3", likes=None))
    run_here(shared)
    add(data, "2026-01-31T20", line(views=7, **LATER), b"{cut", name="a")
    add(data, "2026-01-31T20", line(video_id="v2", data_postagem="2026-01-29", **LATER), name="b")
    return data


def strace(log: Path, *options: str) -> list[str]:
    return [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-o",
        str(log),
        f"-etrace={CALLS}",
        *options,
    ]


def calls_on_the_lake(shared: Project, log: Path, *options: str) -> list[tuple[str, int]]:
    """Every call of the main thread that changes a layer: its name, and its number among them."""
    assert finished(started(shared, *strace(log), options=options))[0] == 0
    lines = log.read_text().splitlines()
    main, seen, found = lines[0].split()[0], dict.fromkeys(CALLS.split(","), 0), []
    for text in lines:
        pid, _, call = text.partition(" ")
        name = call.strip().partition("(")[0]
        if pid != main or name not in seen:
            continue
        seen[name] += 1
        reads = name == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", call)
        notes = re.search(rf"{shared.root}/data/(_tmp/)?operations", call)
        if f"{shared.root}/data/" in call and not reads and not notes:
            found.append((name, seen[name]))
    return found


@needs_strace
def test_a_run_killed_at_any_call_is_finished_by_the_next(
    shared: Project, lake: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    shutil.copytree(lake, before)
    calls = calls_on_the_lake(shared, tmp_path / "log")
    assert len(calls) > 100
    step = 1 if EVERY_KILL else max(1, len(calls) // KILLS)
    for name, number in calls[step // 2 :: step]:
        clear(lake)
        shutil.copytree(before, lake, dirs_exist_ok=True)
        kill = f"-einject={name}:signal=KILL:when={number}"
        code, said = finished(started(shared, *strace(tmp_path / "log", kill)))
        assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}, (name, number, said)
        assert whole(lake), (name, number)
        run_here(shared)
        assert content(lake) == expected(lake), (name, number)
        assert identity_holds(lake)
        assert [path.name for path in (lake / "_tmp").iterdir() if path.is_dir()] == []


@needs_strace
def test_without_the_commit_a_kill_leaves_a_torn_file(
    shared: Project, lake: Path, tmp_path: Path
) -> None:
    calls = calls_on_the_lake(shared, tmp_path / "log", "--in-place")
    clear(lake)
    add(lake, "2026-01-31T08", line(), line(video_id="v2"))
    name, number = next(call for call in calls if call[0] in {"write", "pwrite64"})
    kill = f"-einject={name}:signal=KILL:when={number}"
    finished(started(shared, *strace(tmp_path / "log", kill), options=("--in-place",)))
    assert not whole(lake)


@needs_strace
@pytest.mark.parametrize(
    "fault",
    [
        ("fsync", "EIO", "input/output error"),
        ("write", "ENOSPC", "free some space and run again"),
        ("rename", "EACCES", "give this user the right to it"),
        ("mkdir", "EROFS", "choose another folder"),
    ],
)
def test_an_error_of_the_disk_is_one_sentence_and_tears_nothing(
    shared: Project, lake: Path, tmp_path: Path, fault: tuple[str, str, str]
) -> None:
    call, error, said = fault
    calls = [number for name, number in calls_on_the_lake(shared, tmp_path / "log") if name == call]
    clear(lake)
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), b"{cut")
    since = "" if call == "write" else "+"  # the sentence itself has to be written
    inject = f"-einject={call}:error={error}:when={calls[len(calls) // 2]}{since}"
    code, output = finished(started(shared, *strace(tmp_path / "log", inject)))
    assert code == 1
    assert said in output
    assert str(lake) in output
    assert "Traceback" not in output
    assert whole(lake)
    run_here(shared)
    assert content(lake) == expected(lake)


@pytest.mark.parametrize("runs", [2, 8])
def test_runs_at_once_each_end_well_or_say_busy(shared: Project, lake: Path, runs: int) -> None:
    results = [finished(process) for process in [started(shared) for _ in range(runs)]]
    assert any(code == 0 for code, _ in results)
    for code, said in results:
        assert code == 0 or "Another run" in said, said
    assert whole(lake)
    run_here(shared)
    assert content(lake) == expected(lake)
    assert identity_holds(lake)


@pytest.mark.skipif(not (IS_ROOT and can(*AS_NOBODY, "true")), reason="needs root and setpriv")
def test_a_user_without_the_right_to_silver_is_told_so(shared: Project, lake: Path) -> None:
    for path in (lake, *lake.rglob("*")):
        if lake / "silver" not in (path, *path.parents):
            os.chown(path, NOBODY, NOBODY)
    before = silver(lake)
    code, said = finished(started(shared, *AS_NOBODY))
    assert code == 1
    denied = "permission denied; give this user the right to it and run again"
    assert f"{lake}/silver/commits/00000002.json: {denied}" in said
    assert "Traceback" not in said
    assert silver(lake) == before
    run_here(shared)
    assert content(lake) == expected(lake)

    add(lake, "2026-02-01T08", line(views=9, ingestion_ts="2026-02-01T11:00:00Z"))
    for path in lake.rglob("*"):
        os.chown(path, NOBODY, NOBODY)
    assert finished(started(shared, *AS_NOBODY))[0] == 0
    assert content(lake) == expected(lake)


def silver(lake: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in lake.glob("silver/**/*") if path.is_file()}


@pytest.mark.skipif(not can("unshare", "--mount", "true"), reason="may not mount")
def test_a_lake_that_is_mounted_read_only_is_told_so(shared: Project, lake: Path) -> None:
    before = silver(lake)
    for options, code, sentence in (
        ("bind,ro", 1, "the file system is read-only; choose another folder for the lake"),
        ("bind", 0, ""),
    ):
        mount = f'mount --bind "$0" "$0" && mount -o remount,{options} "$0" && exec "$@"'
        ended, said = finished(started(shared, "unshare", "--mount", "sh", "-c", mount, str(lake)))
        assert ended == code, said
        assert sentence in " ".join(said.split())
        assert "Traceback" not in said
        if code:
            assert f"{lake}/" in said
            assert silver(lake) == before
    assert content(lake) == expected(lake)


@pytest.mark.skipif(not can("unshare", "--mount", "true"), reason="may not mount")
@pytest.mark.parametrize("room", [0, 1 << 15, 1 << 17])
def test_a_full_disk_is_told_and_tears_nothing(shared: Project, room: int) -> None:
    lake = shared.root / "data"
    with small_disk(lake):
        add(lake, "2026-01-31T08", line(), line(video_id="v2"))
        run_here(shared)
        add(lake, "2026-01-31T20", *(line(video_id=f"w{n}", **LATER) for n in range(50)), b"{cut")
        filler = lake / "filler"
        fill(filler, room)
        code, said = finished(started(shared))
        assert code == 1, said
        assert "no space left on device; free some space and run again" in " ".join(said.split())
        assert "Traceback" not in said
        assert str(lake) in said
        assert whole(lake)
        filler.unlink()
        assert finished(started(shared))[0] == 0
        assert content(lake) == expected(lake)
        assert identity_holds(lake)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], check=True)
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


MANY = 20_000


@needs_strace
def test_many_small_objects_cost_little_more_than_few(
    shared: Project, lake: Path, tmp_path: Path
) -> None:
    few, many = (measured(shared, lake, objects) for objects in (20, MANY))
    assert many < 1.5 * few
    assert content(lake) == expected(lake)

    before = in_layers(lake)
    assert objects_read(shared, lake, tmp_path / "log") == set()
    assert in_layers(lake) == before

    one = add(lake, "2026-01-31T20", line(views=MANY, **LATER), name="one")
    assert objects_read(shared, lake, tmp_path / "log") == {str(one)}
    assert content(lake) == expected(lake)


def in_layers(lake: Path) -> dict[Path, int]:
    """When each file of the lake was written, but for the records of runs."""
    files = (path for path in lake.rglob("*") if path.is_file())
    return {
        path: path.stat().st_mtime_ns for path in files if lake / "operations" not in path.parents
    }


def measured(shared: Project, lake: Path, objects: int) -> int:
    """The most memory that a run took to bring in so many objects, which have the same lines."""
    clear(lake)
    share, noon = MANY // objects, datetime(2026, 1, 31, 12)  # noqa: DTZ001 - Z is put behind it
    for number in range(objects):
        lines = (
            line(video_id=f"v{n % 5000}", views=n, ingestion_ts=f"{noon + timedelta(seconds=n)}Z")
            for n in range(number * share, (number + 1) * share)
        )
        add(lake, f"2026-01-{10 + number % 20}T08", *lines, name=f"{number:05}")
    process = started(shared)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return usage.ru_maxrss


def objects_read(shared: Project, lake: Path, log: Path) -> set[str]:
    """The objects of Bronze that a run opens."""
    trace = ["strace", "-f", "-qq", "-o", str(log), "-etrace=openat"]
    assert finished(started(shared, *trace))[0] == 0
    return set(re.findall(rf'"({lake}/bronze/[^"]*\.jsonl)"', log.read_text()))
