"""Problems are sent to a webhook, once; whatever the webhook does, the run does its work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners import alerts
from capstone_metrics.operations.listeners.alerts import VARIABLE, Webhook
from tests.support.lakes import LAKE_PIPELINES, add, clear, line, run_here
from tests.support.runs import leave_one_dead, records
from tests.support.waiting import SECONDS, wait_until
from tests.support.webhook import DRIBBLES, HANGS, Receiver, closed_port, receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.project import Project

TOKEN = "c4nary-9f3b"
PATH = f"/services/{TOKEN}?key={TOKEN}"
ALL_PIPELINES = ["ingest_bronze", *LAKE_PIPELINES]
FAULTS = [500, 302, 307, HANGS, DRIBBLES, "refused", "unknown host", "no URL"]
WITHOUT_END = {HANGS, DRIBBLES, "unknown host"}
"""Those that may never end, so that only a short wait does."""


@pytest.fixture
def hook() -> Iterator[Receiver]:
    """Of the alerts."""
    with receiver() as hook:
        yield hook


@dataclass(frozen=True)
class Watched:
    """A project with an empty lake, of whose runs a receiver is told."""

    project: Project
    hook: Receiver
    turn_to: Callable[[str], None]

    @property
    def lake(self) -> Path:
        return self.project.root / "data"


@pytest.fixture
def watched(empty_project: Project, hook: Receiver, monkeypatch: pytest.MonkeyPatch) -> Watched:
    clear(empty_project.root / "data")
    monkeypatch.setattr(alerts, "TIMEOUT_SECONDS", SECONDS)
    monkeypatch.setenv(VARIABLE, hook.url(PATH))
    return Watched(empty_project, hook, partial(monkeypatch.setenv, VARIABLE))


def fail(watched: Watched) -> dict[str, Any]:
    """A run that fails; its record."""
    add(watched.lake, "2026-01-01T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(watched.project)
    return records(watched.lake)[-1]


def with_token(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if TOKEN.encode() in path.read_bytes()]


def test_a_run_that_fails_is_reported_and_one_that_succeeds_is_not(watched: Watched) -> None:
    add(watched.lake, "2026-01-31T08", line())
    run_here(watched.project)
    assert watched.hook.bodies == []
    record = fail(watched)

    (alert,) = watched.hook.bodies
    message = f"run {record['run']} failed at stop_on_refusals: {record['error']}"
    assert alert["problems"] == [{"check": "last run", "health": "warning", "said": message}]
    assert alert["text"] == f"Capstone Metrics, local: {message}"
    assert (alert["environment"], alert["health"]) == ("local", "warning")
    assert watched.hook.paths == [PATH]
    assert with_token(watched.project.root) == []


def test_a_killed_run_is_reported_by_the_next(watched: Watched) -> None:
    killed = leave_one_dead(watched.project, watched.lake)
    run_here(watched.project)
    run_here(watched.project)

    (alert,) = watched.hook.bodies
    assert alert["problems"][0]["said"] == f"run {killed} killed at merge"


@pytest.mark.slow
def test_a_killed_run_is_reported_by_a_command_too(watched: Watched) -> None:
    killed = leave_one_dead(watched.project, watched.lake)
    watched.project.kedro("runs")
    (alert,) = watched.hook.bodies
    assert alert["problems"][0]["said"] == f"run {killed} killed at merge"

    watched.project.kedro("status", "--alert", check=False)
    messages = [each["said"] for body in watched.hook.bodies[1:] for each in body["problems"]]
    assert [each for each in messages if killed in each] == []


def address(fault: int | str, hook: Receiver) -> str:
    """A URL behind which there is a fault."""
    if isinstance(fault, int):
        hook.status = fault
    return {
        "refused": f"http://127.0.0.1:{closed_port()}{PATH}",
        "unknown host": f"http://{TOKEN}.invalid{PATH}",
        "no URL": f"file:///{TOKEN}",
    }.get(str(fault), hook.url(PATH))


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_receiver_does_is_one_sentence_in_time(
    hook: Receiver, fault: int | str
) -> None:
    seconds = 0.5 if fault in WITHOUT_END else SECONDS
    with pytest.raises(CapstoneError) as caught:
        Webhook(address(fault, hook), seconds).post({"text": "x"})

    wait_until(lambda: len(hook.bodies) >= isinstance(fault, int))
    assert TOKEN not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert len(hook.bodies) == isinstance(fault, int)  # a redirection is not followed
    hook.status = 200
    Webhook(hook.url(PATH), SECONDS).post({"text": "x"})


@pytest.mark.few(1)
@pytest.mark.parametrize("fault", [HANGS, "refused"])
def test_an_undelivered_alert_is_one_warning_and_is_sent_again(
    watched: Watched,
    fault: int | str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched.turn_to(address(fault, watched.hook))
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "TIMEOUT_SECONDS", 0.5)
        record = fail(watched)
    wait_until(lambda: watched.hook.bodies or fault == "refused")
    (warning,) = caplog.messages
    assert warning.startswith(f"{VARIABLE}: the alert was not delivered: ")
    assert TOKEN not in caplog.text
    assert (record["state"], record["at_work"]) == ("failed", ["stop_on_refusals"])

    watched.hook.bodies.clear()
    watched.hook.status = 200
    watched.turn_to(watched.hook.url(PATH))
    watched.project.kedro("status", "--alert", check=False)
    (alert,) = watched.hook.bodies
    assert f"run {record['run']} failed at" in alert["text"]


@pytest.mark.slow
def test_a_late_window_is_reported_once(watched: Watched) -> None:
    def alerts_at(now: str) -> list[str]:
        watched.hook.bodies.clear()
        done = watched.project.kedro(
            "status", "--alert", "--json", f"--now={now}", "--windows=1", check=False
        )
        assert json.loads(done.stdout)["now"].startswith(now)
        assert TOKEN not in done.stdout + done.stderr
        return [each["said"] for body in watched.hook.bodies for each in body["problems"]]

    add(watched.lake, "2026-01-31T08", line())
    run_here(watched.project, ALL_PIPELINES, now="2026-01-31T08:05")
    assert alerts_at("2026-01-31T20:29") == []
    assert alerts_at("2026-01-31T20:31") == [
        "bronze 2026-01-31T20 is missing",
        "silver 2026-01-31T20 is missing",
    ]
    assert alerts_at("2026-01-31T20:32") == []
    assert alerts_at("2026-01-31T22:31") == ["gold 2026-01-31T22 is missing"]

    run_here(watched.project, ALL_PIPELINES, now="2026-01-31T22:40")  # late, and that is news
    assert "bronze 2026-01-31T20 is late" in alerts_at("2026-01-31T22:41")
    assert alerts_at("2026-01-31T22:42") == []
    sent = json.loads((watched.lake / "operations/alerts.json").read_text())["sent"]
    assert [fact for fact in sent if "missing" in fact["said"]] == []
    assert with_token(watched.project.root) == []
    (watched.project.root / "note").write_text(TOKEN)  # a control
    assert with_token(watched.project.root) == [watched.project.root / "note"]


def test_to_alert_needs_a_webhook(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    done = watched.project.kedro("status", "--alert", check=False)
    assert done.stderr == "Error: --alert: set CAPSTONE_ALERT_URL to the URL of a webhook.\n"
