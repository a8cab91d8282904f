"""Records of runs, and runs that a test ends in the middle."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import psutil

from tests.support.lakes import add, finished, line, run_here, started
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.forks import Fork
    from tests.support.project import Project


DAYS = ["2026-01-29", "2026-01-30"]


def records(lake: Path) -> list[dict[str, Any]]:
    """Return the records of runs as another program reads them."""
    return [json.loads(path.read_text()) for path in sorted(lake.glob("operations/runs/*.json"))]


def stopped_while_staging(project: Project, lake: Path) -> Fork:
    """Start a run; return it when it has staged rows of Silver, and stopped."""
    add(lake, "2026-01-31T08", *(line(video_id=day, data_postagem=day) for day in DAYS))
    process = started(project, "--stop-while-staging")
    wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    return process


def killed_while_staging(project: Project, lake: Path) -> list[str]:
    """Kill a run that has begun to stage the rows of Silver; return the nodes it was at."""
    process = stopped_while_staging(project, lake)
    (record,) = records(lake)
    assert record["state"] == "running"
    process.kill()
    assert finished(process)[0] == -signal.SIGKILL
    at_work: list[str] = record["at_work"]
    return at_work


def leave_one_dead(project: Project, lake: Path) -> str:
    """Have the record of a run be as if it had been killed in `merge`; its identifier."""
    run_here(project)
    record = records(lake)[-1]
    dead = subprocess.Popen(["true"])
    dead.wait()
    record |= {"state": "running", "at_work": ["merge"], "ended": None, "seconds": None}
    record["process"]["pid"] = dead.pid
    path = lake / "operations/runs" / f"{record['run']}.json"
    path.rename(path.with_suffix(".running.json")).write_text(json.dumps(record))
    return str(record["run"])
