"""Logs for machines: every line is JSON and has the run's identifier, and its numbers."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from rich.logging import RichHandler

from capstone_metrics.cli import cli
from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners.logs import VARIABLE, json_logs
from tests.support.lakes import add, clear, line, run_here
from tests.support.runs import leave_one_dead, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project


@pytest.fixture
def lake(empty_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty one, whose runs log JSON; what logged before does so again at the end."""
    clear(empty_project.root / "data")
    root, hook = logging.getLogger(), sys.excepthook
    handlers = list(root.handlers)
    monkeypatch.setenv(VARIABLE, "json")
    yield empty_project.root / "data"
    root.handlers, sys.excepthook, json_logs.run = handlers, hook, None


def lines_of(captured: str) -> list[dict[str, Any]]:
    """Return the lines of a log, each of which has to be JSON."""
    return [json.loads(text) for text in captured.splitlines()]


def test_every_line_is_json_and_has_the_run(
    empty_project: Project, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), line(views="x"))
    (lake / "bronze/criacao/notes.txt").touch()
    run_here(empty_project)
    (record,) = records(lake)
    lines = lines_of(capsys.readouterr().err)

    assert {each["run"] for each in lines} == {record["run"]}
    assert all(each["time"].endswith("+00:00") for each in lines)
    (stray,) = (each for each in lines if each["level"] == "WARNING")
    assert (stray["logger"], stray["message"]) == (
        "capstone_metrics.lake.bronze",
        "bronze/criacao/notes.txt is not a Bronze object; it is ignored.",
    )
    events = [each for each in lines if "event" in each]
    assert events[0]["event"] == "run_begun"
    begun, node_ends = (
        [e for e in events if e["event"] == f"node_{what}"] for what in ("begun", "ended")
    )
    assert {e["node"] for e in begun} == {e["node"] for e in node_ends} == set(record["nodes"])
    saved = {name: counts for each in node_ends for name, counts in each["datasets"].items()}
    kinds = ("rows", "files", "removed", "bytes")
    assert saved == {
        name: {kind: counts[kind] for kind in kinds if kind in counts}
        for name, counts in record["datasets"].items()
    }
    end = events[-1]
    assert (end["event"], end["level"], end["state"]) == ("run_ended", "INFO", "succeeded")
    for name in ("layers", "total", "reasons", "seconds"):
        assert end[name] == record[name]
    assert end["total"] == {
        "lines": 3,
        "current": 2,
        "superseded": 0,
        "quarantined": 1,
        "ignored": 0,
        "withdrawn": 0,
    }


def test_a_failed_run_logs_where_and_why(
    empty_project: Project, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(empty_project)
    (record,) = records(lake)
    end = lines_of(capsys.readouterr().err)[-1]

    assert (end["event"], end["level"]) == ("run_ended", "ERROR")
    assert (end["state"], end["at_work"], end["error"]) == (
        "failed", ["stop_on_refusals"], record["error"]
    )  # fmt: skip


def test_a_killed_run_is_logged_by_the_next(
    empty_project: Project, lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed = leave_one_dead(empty_project, lake)
    capsys.readouterr()
    run_here(empty_project)
    first = lines_of(capsys.readouterr().err)[0]

    assert (first["event"], first["level"]) == ("run_died", "ERROR")
    assert first["message"] == f"Run {killed} was killed at merge."


def test_an_error_that_ends_a_command_is_a_line_too(
    empty_project: Project, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty_project.root)
    bootstrap_project(empty_project.root)
    done = CliRunner().invoke(cli, ["runs", "show", "none"])
    (event,) = lines_of(done.stderr)
    assert (done.exit_code, event["level"]) == (1, "ERROR")
    assert event["message"] == "runs: no run 'none'; 'kedro runs' lists them."
    assert not (lake / "operations").exists()

    monkeypatch.setenv(VARIABLE, "xml")
    done = CliRunner().invoke(cli, ["runs"])
    assert done.stderr == "Error: CAPSTONE_LOG_FORMAT: 'xml' is not rich or json.\n"


def test_an_unexpected_error_is_a_line_with_its_traceback(
    lake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lake
    json_logs.install()
    with pytest.raises(ZeroDivisionError) as caught:
        _ = 1 / 0
    sys.excepthook(caught.type, caught.value, caught.tb)
    (event,) = lines_of(capsys.readouterr().err)

    assert (event["level"], event["message"]) == ("CRITICAL", "An unexpected error.")
    assert event["exc_info"].startswith("Traceback")
    assert event["exc_info"].endswith("ZeroDivisionError: division by zero")


def test_people_get_tables_and_colours(
    empty_project: Project,
    lake: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "rich")
    add(lake, "2026-01-31T08", line())
    run_here(empty_project)
    captured = capsys.readouterr()

    assert captured.err == ""
    assert "1 lines in Bronze = 1 current in Silver" in captured.out
    assert records(lake)[0]["run"] in captured.out
    assert [each for each in logging.getLogger().handlers if isinstance(each, RichHandler)]
