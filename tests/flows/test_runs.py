"""Every run leaves a record, however it ends."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from tests.support.lakes import add, finished, line, run_here
from tests.support.runs import killed_while_staging, records, stopped_while_staging

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}


def layers(project: Project) -> dict[str, Any]:
    return dict(project.files())


def test_the_rows_of_a_record_are_those_of_the_lake(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), line(views="x"))
    add(lake, "2026-01-31T20", line(views=7, **LATER), b"{cut", name="a")
    add(lake, "2026-01-31T20", line(video_id="v3", **LATER), name="b")
    run_here(empty_project)
    (record,) = records(lake)

    rejected = [text for path in lake.rglob("*.jsonl") if "quarentena" in str(path)
                for text in path.read_text().splitlines()]  # fmt: skip
    silver = record["layers"]["silver"]
    assert silver["rows_in"] == 6 == silver["accepted"] + silver["quarantined"]
    assert silver["quarantined"] == 2 == len(rejected)
    assert record["total"] == {
        "lines": 6,
        "current": 3,
        "superseded": 1,
        "quarantined": 2,
        "ignored": 0,
        "withdrawn": 0,
    }
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
    silver_rows = record["datasets"]["silver_criacao"]
    assert (silver_rows["rows"], silver_rows["files"]) == (3, len(files))
    assert silver_rows["bytes"] == sum(path.stat().st_size for path in files)
    assert record["gold_generation"] == 1
    assert all("ended" in node for node in record["nodes"].values())


def test_a_run_with_nothing_new_leaves_a_record_and_nothing_else(
    empty_project: Project, lake: Path
) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(empty_project)
    before = layers(empty_project)
    run_here(empty_project)
    assert layers(empty_project) == before
    first, second = records(lake)
    assert first["configuration"] == second["configuration"]
    assert (second["state"], second["windows"]) == ("succeeded", {})
    assert second["layers"]["silver"]["rows_in"] == 0
    assert second["total"] == first["total"]


def test_a_failed_run_records_its_node_and_why(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(empty_project)
    (record,) = records(lake)
    assert (record["state"], record["at_work"]) == ("failed", ["stop_on_refusals"])
    assert record["error"].startswith("fonte=faker/janela=2026-01-31T08/criacao.jsonl has video_id")
    assert "committed" in record["layers"]["silver"]
    assert "committed" not in record["layers"].get("gold", {})


@pytest.mark.slow
def test_commands_that_only_read_leave_no_record(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(empty_project)
    before = records(lake)
    run_here(empty_project, plan=True)
    for command in (["verify"], ["quarantine"], ["catalog", "describe-datasets"]):
        empty_project.kedro(*command)
    assert records(lake) == before


def test_a_run_whose_record_cannot_be_written_does_its_work(
    empty_project: Project, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add(lake, "2026-01-31T08", line())
    (lake / "operations").touch()
    run_here(empty_project)
    assert (lake / "gold/manifest.json").exists()
    (warning,) = [text for text in caplog.messages if "record of this run" in text]
    assert "operations" in warning
    (lake / "operations").unlink()


@pytest.mark.slow
def test_a_run_killed_in_the_middle_is_marked_by_the_next(
    empty_project: Project, lake: Path
) -> None:
    node = killed_while_staging(empty_project, lake)
    assert node == ["account"]
    run_here(empty_project)
    killed, after = records(lake)
    assert (killed["state"], killed["at_work"], killed["ended"]) == ("killed", node, None)
    assert after["state"] == "succeeded"
    assert [path.name for path in (lake / "operations").rglob("*.running.json")] == []
    assert list((lake / "_tmp").glob("*~*")) == []


def test_an_interrupted_run_marks_itself(empty_project: Project, lake: Path) -> None:
    process = stopped_while_staging(empty_project, lake)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code, output = finished(process)
    (record,) = records(lake)

    assert code == -signal.SIGINT, output
    assert (record["state"], record["at_work"]) == ("killed", ["account"])
    assert record["ended"]
