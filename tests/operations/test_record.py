from __future__ import annotations

import datetime as dt
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import GoldSnapshot, GoldUpdate, SilverSnapshot, SilverUpdate
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.operations import record as module
from capstone_metrics.operations.record import Recorder, RunSpec, config_fingerprint, run_identifier
from capstone_metrics.operations.summary import Summary
from capstone_metrics.quality import Finding, QualityReport
from capstone_metrics.write_stats import WriteStats
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from pathlib import Path

BEGUN = dt.datetime(2026, 1, 31, 23, 5, tzinfo=dt.UTC)
SCHEDULE = {"timezone": "America/Sao_Paulo", "layers": {"bronze": {"starts": ["08:00"]}}}
PARAMETERS = {
    "now": "2026-01-31T20:05",
    "from": None,
    "to": None,
    "schedule": SCHEDULE,
    "operations": {"kept_days": 400},
}
DECLARED = RunSpec(
    environment="local",
    pipelines=["__default__"],
    runtime_params={},
    parameters=PARAMETERS,
    catalog={"silver": {"engine": {"name": "duckdb", "options": {"x": "secret"}}}},
    nodes=[("ingest", "bronze"), ("merge", "silver"), ("check", "silver"), ("enforce", "gold")],
)
CANARY = "canário-9f3b"
DAY = "fonte=x/janela=2026-01-31"
SNAPSHOT = SilverSnapshot(0, {}, {}, set, lambda _: {}, lambda *_: None)
RUN = {"lines": 6, "accepted": 4, "superseded": 0, "quarantined": 2, "ignored": 0, "withdrawn": 0}


@pytest.fixture
def runs(tmp_path: Path) -> RunsDataset:
    """The records of an empty lake."""
    return RunsDataset(path=str(tmp_path / "lake"), silent_minutes=10)


@pytest.fixture
def recorder(runs: RunsDataset) -> Recorder:
    """Of a run that begins at a known time."""
    return Recorder(lambda: runs, clock=lambda: BEGUN)


def record_of(runs: RunsDataset) -> dict[str, Any]:
    (record,) = runs.load()
    return record


def test_a_run_is_recorded_before_its_first_node(runs: RunsDataset, recorder: Recorder) -> None:
    recorder.start(DECLARED)
    record = record_of(runs)

    assert record["run"].startswith("20260131T230500.000Z-")
    assert record["state"] == "running"
    assert record["begun"] == record["updated"] == "2026-01-31T23:05:00.000+00:00"
    assert (record["environment"], record["pipelines"]) == ("local", ["__default__"])
    assert (record["now"], record["from"]) == ("2026-01-31T23:05:00.000+00:00", None)
    assert record["nodes"] == {
        "ingest": {"layer": "bronze"},
        "merge": {"layer": "silver"},
        "check": {"layer": "silver"},
        "enforce": {"layer": "gold"},
    }
    assert {"python", "engine", "kedro", "duckdb", "capstone-metrics"} <= set(record["versions"])


def test_a_node_is_at_work_until_all_its_outputs_are_saved(
    runs: RunsDataset, recorder: Recorder
) -> None:
    recorder.start(DECLARED)
    recorder.node_started("merge", ["silver", "accounts"])
    assert record_of(runs)["at_work"] == ["merge"]
    recorder.node_returned("merge")
    stats, summary = {"silver_criacao": WriteStats(rows=3, bytes=10)}, Summary()
    summary.add("silver", None, stats.values(), seconds=1)
    recorder.dataset_saved("merge", "silver", None, stats, summary)
    assert recorder.record["at_work"] == ["merge"]
    recorder.dataset_saved("merge", "accounts", {}, {}, summary)
    assert recorder.record["at_work"] == []
    recorder.node_started("check", [])
    assert record_of(runs)["at_work"] == ["check"]
    recorder.node_returned("check")
    recorder.end()
    record = record_of(runs)
    assert (record["state"], record["at_work"]) == ("succeeded", [])
    assert record["datasets"] == {
        "silver_criacao": {
            "layer": "silver", "node": "merge", "rows": 3, "files": 0, "removed": 0, "bytes": 10
        }
    }  # fmt: skip


RECEIPT = {"lines": 3, "accepted": 2, "quarantined": 1, "reasons": {}, "ignored": {}}
Saved = tuple[str, str, Any, dict[str, WriteStats], dict[str, Any]]
SAVED: list[Saved] = [
    (
        "ingest",
        "bronze_criacao",
        {},
        {
            "bronze_criacao": WriteStats(
                rows=5, lines={f"{DAY}T08/a.jsonl": 3, f"{DAY}T20/a.jsonl": 2}
            )
        },
        {"windows": {"2026-01-31T08": {"ingested": 3}, "2026-01-31T20": {"ingested": 2}}},
    ),
    (
        "merge",
        "silver",
        SilverUpdate(
            SNAPSHOT,
            {},
            {f"{DAY}T08/{name}.jsonl": RECEIPT for name in "ab"},
            {},
            {
                "run": RUN,
                "total": {"lines": 6},
                "reasons": {"views.missing": 2},
                "ignored": {"only.type": 1},
                "drift": {},
                "outdated": [],
                "undeclared": [],
            },
        ),
        {"silver_criacao": WriteStats(rows=4), "silver_quarentena": WriteStats(rows=2)},
        {
            "windows": {"2026-01-31T08": {"lines": 6, "accepted": 4, "quarantined": 2}},
            "total": {"lines": 6},
            "reasons": {"views.missing": 2},
            "ignored": {"only.type": 1},
        },
    ),
    (
        "check",
        "silver_findings",
        QualityReport("silver", [Finding("quarantine_pct", "2026-01-31T08", "so many", "warn")]),
        {},
        {
            "findings": [
                {
                    "rule": "quarantine_pct",
                    "of": "2026-01-31T08",
                    "said": "so many",
                    "action": "warn",
                }
            ]
        },
    ),
    (
        "enforce",
        "gold",
        GoldUpdate(GoldSnapshot(), {}, {"generation": 7, "silver_rows": 4}),
        {"gold_x": WriteStats(rows=2)},
        {"gold_generation": 7, "published_generation": None},
    ),
]


@pytest.mark.parametrize("saved", SAVED, ids=[each[1] for each in SAVED])
def test_what_a_node_saved_is_recorded_by_what_it_is(recorder: Recorder, saved: Saved) -> None:
    node, dataset, data, stats, expected = saved
    recorder.start(DECLARED)
    recorder.node_started(node, [dataset])
    summary, layer = Summary(), recorder.record["nodes"][node]["layer"]
    summary.add(layer, data, stats.values(), 1)
    recorder.dataset_saved(node, dataset, data, stats, summary)

    assert {part: recorder.record[part] for part in expected} == expected
    assert list(recorder.record["datasets"]) == list(stats)
    assert ("committed" in recorder.record["layers"][layer]) is bool(stats)
    assert not recorder.has_failed


def test_a_failed_run_records_where_and_why(runs: RunsDataset, recorder: Recorder) -> None:
    recorder.start(DECLARED)
    recorder.node_started("ingest", ["bronze_criacao"])
    error = ValueError(CANARY)
    error.__cause__ = CapstoneError("the file is gone; bring it, and run 'kedro run'.")
    recorder.end(error, environment="escola")
    record = record_of(runs)

    assert (record["state"], record["at_work"]) == ("failed", ["ingest"])
    assert record["error"] == "the file is gone; bring it, and run 'kedro run --env=escola'."


def test_of_an_unexpected_error_only_the_kind_is_recorded(
    runs: RunsDataset, recorder: Recorder
) -> None:
    recorder.start(DECLARED)
    recorder.end(ValueError(CANARY))

    message = "An unexpected builtins.ValueError; the run showed its traceback."
    assert record_of(runs)["error"] == message


def test_only_the_parameters_of_a_run_are_recorded(runs: RunsDataset, recorder: Recorder) -> None:
    recorder.start(replace(DECLARED, runtime_params={"now": "2026-01-31T20:05", "token": CANARY}))

    assert record_of(runs)["parameters"] == {"now": "2026-01-31T20:05", "token": "(not recorded)"}
    files = [path for path in runs.storage.folder.rglob("*") if path.is_file()]  # type: ignore[attr-defined]
    assert files
    assert not [
        path for path in files if CANARY in path.read_text() or "secret" in path.read_text()
    ]


def test_a_fingerprint_depends_on_declarations_and_not_on_parameters_of_a_run() -> None:
    def other(**changes: Any) -> RunSpec:
        return replace(DECLARED, parameters={**PARAMETERS, **changes})

    assert config_fingerprint(other(now="2026-02-01T08:05", full=True)) == config_fingerprint(
        DECLARED
    )
    assert config_fingerprint(other(networks=["kwai"])) != config_fingerprint(DECLARED)
    assert config_fingerprint(replace(DECLARED, catalog={})) != config_fingerprint(DECLARED)


def test_a_long_node_has_its_record_written_again(
    runs: RunsDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    recorder, before = Recorder(lambda: runs), set(threading.enumerate())
    recorder.start(DECLARED)
    (heartbeat,) = {*threading.enumerate()} - before
    first = record_of(runs)["updated"]
    wait_until(lambda: record_of(runs)["updated"] > first)
    recorder.end()
    last = record_of(runs)
    heartbeat.join(SECONDS)
    assert not heartbeat.is_alive()
    assert record_of(runs) == last


def test_an_interrupted_run_of_this_process_is_killed(
    runs: RunsDataset, recorder: Recorder
) -> None:
    recorder.start(DECLARED)
    recorder.abandon()
    assert record_of(runs)["state"] == "killed"
    recorder.abandon()

    second = Recorder(lambda: runs)
    second.start(DECLARED)
    second.end()
    second.abandon()
    assert [record["state"] for record in runs.load()] == ["killed", "succeeded"]


def test_a_record_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lake").touch()
    recorder = Recorder(lambda: RunsDataset(path=str(tmp_path / "lake"), silent_minutes=10))
    recorder.start(DECLARED)
    recorder.node_started("merge", ["silver"])
    recorder.dataset_saved("merge", "silver", None, {}, Summary())
    recorder.dataset_saved("no such node", "silver", None, {}, Summary())
    recorder.end()

    (warning,) = caplog.messages
    assert warning.startswith("The record of this run could not be fully saved: ")
    assert f"{tmp_path}/lake" in warning
    assert "\n" not in warning


@pytest.mark.parametrize(("error", "written"), [(None, 1), (ValueError(), 0)])
def test_a_store_that_is_down_is_not_waited_for_again(
    tmp_path: Path, runs: RunsDataset, error: Exception | None, written: int
) -> None:
    recorder = Recorder(lambda: runs)
    lake = tmp_path / "lake"
    lake.touch()
    recorder.start(DECLARED)
    lake.unlink()
    recorder.end(error)

    assert len(runs.load()) == written


def test_the_end_is_written_though_a_note_before_it_was_not(
    runs: RunsDataset, recorder: Recorder, tmp_path: Path
) -> None:
    recorder.start(DECLARED)
    lake = tmp_path / "lake"
    lake.rename(tmp_path / "away")
    lake.touch()
    recorder.node_started("merge", [])
    lake.unlink()
    (tmp_path / "away").rename(lake)
    recorder.node_returned("merge")
    recorder.end()

    assert record_of(runs)["state"] == "succeeded"


def test_old_records_are_removed(runs: RunsDataset, recorder: Recorder) -> None:
    for days in (399, 401):
        run = run_identifier(BEGUN - dt.timedelta(days=days), "0000")
        runs.save({"run": run, "state": "succeeded"})
    recorder.start(DECLARED)

    assert [record["run"][:8] for record in runs.load()] == ["20241228", "20260131"]
