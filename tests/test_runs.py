"""Every run leaves a record, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from tests.lakes import add, clear, finished, line, run_here, started

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}


@pytest.fixture
def lake(shared: Project) -> Path:
    """An empty lake in the shared project."""
    clear(shared.root / "data")
    return shared.root / "data"


def records(lake: Path) -> list[dict[str, Any]]:
    """As another program reads them."""
    return [json.loads(path.read_text()) for path in sorted(lake.glob("operations/runs/*.json"))]


def layers(project: Project) -> dict[str, Any]:
    return dict(project.files())


def test_the_rows_of_a_record_are_those_of_the_lake(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), line(views="x"))
    add(lake, "2026-01-31T20", line(views=7, **LATER), b"{cut", name="a")
    add(lake, "2026-01-31T20", line(video_id="v3", **LATER), name="b")
    run_here(shared)
    (record,) = records(lake)

    rejected = [text for path in lake.rglob("*.jsonl") if "quarentena" in str(path)
                for text in path.read_text().splitlines()]  # fmt: skip
    silver = record["layers"]["silver"]
    assert silver["rows_in"] == 6 == silver["accepted"] + silver["quarantined"]
    assert silver["quarantined"] == 2 == len(rejected)
    assert record["total"] == {"lines": 6, "current": 3, "superseded": 1, "quarantined": 2}
    assert record["total"] == json.loads((lake / "silver/head.json").read_text())["total"]
    assert record["windows"] == {
        "2026-01-31T08": {"lines": 3, "accepted": 2, "quarantined": 1},
        "2026-01-31T20": {"lines": 3, "accepted": 2, "quarantined": 1},
    }
    assert record["layers"]["gold"]["rows_in"] == 3
    for path in (lake / "gold").glob("*.csv"):
        written = record["datasets"][path.stem]
        assert written["rows"] == len(path.read_text().splitlines()) - 1
        assert written["bytes"] == path.stat().st_size
    files = list((lake / "silver/criacao").rglob("*.parquet"))
    kept = record["datasets"]["silver_criacao@new"]
    assert (kept["rows"], kept["files"]) == (3, len(files))
    assert kept["bytes"] == sum(path.stat().st_size for path in files)
    assert record["gold_generation"] == 1
    assert all("ended" in node for node in record["nodes"].values())


def test_a_run_with_nothing_new_leaves_a_record_and_nothing_else(
    shared: Project, lake: Path
) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(shared)
    before = layers(shared)
    run_here(shared)
    assert layers(shared) == before
    first, second = records(lake)
    assert first["configuration"] == second["configuration"]
    assert (second["state"], second["windows"]) == ("succeeded", {})
    assert second["layers"]["silver"]["rows_in"] == 0
    assert second["total"] == first["total"]


def test_a_run_that_fails_says_at_which_node_and_why(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(shared)
    (record,) = records(lake)
    assert (record["state"], record["at_work"]) == ("failed", ["refuse_drift"])
    assert record["error"].startswith("fonte=faker/janela=2026-01-31T08/criacao.jsonl has video_id")
    assert "committed" in record["layers"]["silver"]
    assert "committed" not in record["layers"].get("gold", {})


def test_who_only_looks_leaves_no_record(shared: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(shared)
    before = records(lake)
    run_here(shared, ["plan"], plan=True)
    for command in (["verify"], ["quarantine"], ["catalog", "describe-datasets"]):
        shared.kedro(*command)
    assert records(lake) == before


def test_a_run_whose_record_cannot_be_written_does_its_work(
    shared: Project, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(lake, "2026-01-31T08", line())
    (lake / "operations").touch()
    run_here(shared)
    assert (lake / "gold/manifest.json").exists()
    (warning,) = [said for said in caplog.messages if "record of this run" in said]
    assert "operations" in warning
    (lake / "operations").unlink()


def test_a_run_killed_in_the_middle_is_found_by_the_next(shared: Project, lake: Path) -> None:
    node = killed_in_merge(shared, lake)
    assert node == ["merge"]
    run_here(shared)
    killed, after = records(lake)
    assert (killed["state"], killed["at_work"], killed["ended"]) == ("killed", node, None)
    assert after["state"] == "succeeded"
    assert [path.name for path in (lake / "operations").rglob("*.running.json")] == []
    assert [path.name for path in (lake / "_tmp").glob("operations-*")] == []


def test_a_run_that_is_interrupted_says_so_itself(shared: Project, lake: Path) -> None:
    process = stopped_in_merge(shared, lake)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code, said = finished(process)
    (record,) = records(lake)

    assert code == -signal.SIGINT, said
    assert (record["state"], record["at_work"]) == ("killed", ["merge"])
    assert record["ended"]


def killed_in_merge(project: Project, lake: Path) -> list[str]:
    """Kill a run that has begun to stage the rows of Silver, as `merge` does; its last words."""
    process = stopped_in_merge(project, lake)
    (record,) = records(lake)
    assert record["state"] == "running"
    process.kill()
    assert finished(process)[0] == -signal.SIGKILL
    at_work: list[str] = record["at_work"]
    return at_work


def stopped_in_merge(project: Project, lake: Path) -> subprocess.Popen[str]:
    """A run that was stopped there, by SIGSTOP."""
    days = [f"2026-01-{day:02}" for day in range(1, 31)]
    posts = (line(video_id=f"{d}-{n}", data_postagem=d) for n in range(1000) for d in days)
    add(lake, "2026-01-31T08", *posts)
    process = started(project)
    staged = (lake / "_tmp").glob
    deadline = time.monotonic() + 60
    while not list(staged("silver-*/silver/criacao/*/*")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGSTOP)
    return process


def leave_one_dead(project: Project, lake: Path) -> str:
    """Have the record of a run be as if it had been killed in `merge`; its identifier."""
    run_here(project)
    record = records(lake)[-1]
    ended = subprocess.Popen(["true"])
    ended.wait()
    record |= {"state": "running", "at_work": ["merge"], "ended": None, "seconds": None}
    record["process"]["pid"] = ended.pid
    kept = lake / "operations/runs" / f"{record['run']}.json"
    kept.rename(kept.with_suffix(".running.json")).write_text(json.dumps(record))
    return str(record["run"])
