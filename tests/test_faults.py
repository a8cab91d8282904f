"""Kills, full disks and crowds: the lake is whole at all times, and the next run mends the rest."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.lakes import add, content, expected, identity_holds, line, run_here

if TYPE_CHECKING:
    from tests.conftest import Project

PIPELINES = ["bronze_to_silver", "silver_to_gold"]
CALLS = "openat,write,pwrite64,rename,link,fsync,mkdir,unlink,unlinkat,rmdir"
EVERY_KILL = os.environ.get("KILLS") == "all"
KILLS = 14
LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}

needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace (.ci/run)")


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


def clear(data: Path) -> None:
    for layer in ("bronze", "silver", "gold", "_tmp"):
        shutil.rmtree(data / layer, ignore_errors=True)


def run(shared: Project, *trace: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    script = [sys.executable, str(Path(__file__).parent / "run_lake.py")]
    return subprocess.Popen(
        [*trace, *script, str(shared.root), *PIPELINES, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=120)
    return process.returncode, said


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
    """Every call of the main thread that changes the lake: its name, and its number among them."""
    assert finished(run(shared, *strace(log), options=options))[0] == 0
    lines = log.read_text().splitlines()
    main, seen, found = lines[0].split()[0], dict.fromkeys(CALLS.split(","), 0), []
    for text in lines:
        pid, _, call = text.partition(" ")
        name = call.strip().partition("(")[0]
        if pid != main or name not in seen:
            continue
        seen[name] += 1
        reads = name == "openat" and not re.search("O_WRONLY|O_RDWR|O_CREAT", call)
        if f"{shared.root}/data/" in call and not reads:
            found.append((name, seen[name]))
    return found


def whole(data: Path) -> bool:
    """Whether each file of the lake can be read to its end."""
    try:
        for path in data.glob("silver/**/*.parquet"):
            pq.read_table(path)
        for path in [*data.glob("silver/**/*.json"), *data.glob("gold/**/*.json")]:
            json.loads(path.read_text())
        for path in data.glob("silver/quarentena/**/*.jsonl"):
            [json.loads(text) for text in path.read_text().splitlines()]
        for path in data.glob("gold/*.csv"):
            rows = list(csv.reader(path.open(newline="")))
            assert rows
            assert {len(row) for row in rows} == {6}
    except (pa.ArrowInvalid, ValueError, AssertionError):
        return False
    return True


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
        code, said = finished(run(shared, *strace(tmp_path / "log", kill)))
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
    finished(run(shared, *strace(tmp_path / "log", kill), options=("--in-place",)))
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
    code, output = finished(run(shared, *strace(tmp_path / "log", inject)))
    assert code == 1
    assert said in output
    assert str(lake) in output
    assert "Traceback" not in output
    assert whole(lake)
    run_here(shared)
    assert content(lake) == expected(lake)


@pytest.mark.parametrize("runs", [2, 8])
def test_runs_at_once_each_end_well_or_say_busy(shared: Project, lake: Path, runs: int) -> None:
    results = [finished(process) for process in [run(shared) for _ in range(runs)]]
    assert any(code == 0 for code, _ in results)
    for code, said in results:
        assert code == 0 or "Another run" in said, said
    assert whole(lake)
    run_here(shared)
    assert content(lake) == expected(lake)
    assert identity_holds(lake)
