from __future__ import annotations

import datetime as dt
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.process import this_process

if TYPE_CHECKING:
    from capstone_metrics.storage.base import Storage

ELSEWHERE = {"host": "another", "pid": 1, "started": 0.0}


@pytest.fixture
def runs(storage: Storage) -> RunsDataset:
    """The records of an empty lake, in a folder and in a bucket."""
    where = {"url": storage.root, "endpoint_url": getattr(storage, "endpoint_url", None)}
    dataset = RunsDataset(path=where, silent_minutes=10)  # type: ignore[arg-type]
    if isinstance(storage, Bucket):
        vars(dataset.storage)["client"] = storage.client
    return dataset


@pytest.fixture
def dead() -> dict[str, Any]:
    """A process of this machine that was killed."""
    process = subprocess.Popen(["sleep", "60"])
    process.kill()
    process.wait()
    return {**this_process(), "pid": process.pid}


def record(run: str, state: str = "running", minutes: float = 0, **more: Any) -> dict[str, Any]:
    updated = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=minutes)
    return {"run": run, "state": state, "updated": updated.isoformat(), **more}


def states(runs: RunsDataset) -> dict[str, str]:
    return {record["run"]: record["state"] for record in runs.load()}


def names(runs: RunsDataset) -> list[str]:
    return [key.removeprefix("operations/runs/") for key in runs.storage.keys("operations")]


def test_an_empty_lake_has_no_records(runs: RunsDataset) -> None:
    assert runs.load() == []
    assert runs.load_oldest() == []
    assert not runs.exists()
    runs.close_dead_runs()
    assert runs.storage.keys("") == []


def test_the_name_of_a_record_shows_that_its_run_is_at_work(runs: RunsDataset) -> None:
    at_work = record("b")
    runs.start(at_work, oldest="")
    assert at_work["process"] == this_process()
    assert names(runs) == ["b.running.json"]
    assert runs.load() == [at_work]
    runs.save({**at_work, "state": "succeeded"})
    assert names(runs) == ["b.json"]
    assert states(runs) == {"b": "succeeded"}


def test_records_are_loaded_from_one_on_and_the_oldest_are_removed(runs: RunsDataset) -> None:
    for run in ("c", "a", "b"):
        runs.save(record(run, "succeeded"))
    assert [each["run"] for each in runs.load()] == ["a", "b", "c"]
    assert [each["run"] for each in runs.load_since("b")] == ["b", "c"]
    assert [each["run"] for each in runs.load_since("", limit=1)] == ["c"]
    assert [each["run"] for each in runs.find_runs("b")] == ["b"]
    assert [each["run"] for each in runs.load_runs(["c", "x"])] == ["c"]
    assert [each["run"] for each in runs.load_oldest()] == ["a"]
    assert runs.load_oldest(before="a") == []
    runs.start(record("d"), oldest="b")
    assert list(states(runs)) == ["b", "c", "d"]


def test_a_run_whose_process_died_is_killed(runs: RunsDataset, dead: dict[str, Any]) -> None:
    runs.save(record("a", process=dead, at_work=["merge"]))
    assert states(runs) == {"a": "killed"}
    assert names(runs) == ["a.running.json"]  # who only looks writes nothing
    runs.close_dead_runs()
    assert names(runs) == ["a.json"]
    (killed,) = runs.load()
    assert (killed["state"], killed["at_work"]) == ("killed", ["merge"])


def test_the_next_run_marks_it(runs: RunsDataset, dead: dict[str, Any]) -> None:
    runs.save(record("a", process=dead))
    runs.start(record("b"), oldest="")
    assert names(runs) == ["a.json", "b.running.json"]


def test_a_number_that_another_process_has_by_now_is_not_the_run(runs: RunsDataset) -> None:
    mine = this_process()
    runs.save(record("a", process=mine))
    runs.save(record("b", process={**mine, "started": mine["started"] - 60}))
    assert states(runs) == {"a": "running", "b": "killed"}


@pytest.mark.parametrize(("minutes", "state"), [(9, "running"), (11, "killed")])
def test_a_run_of_another_machine_is_dead_when_it_is_silent(
    runs: RunsDataset, minutes: float, state: str
) -> None:
    runs.save(record("a", minutes=minutes, process=ELSEWHERE))
    assert states(runs) == {"a": state}


def test_a_living_run_marked_as_dead_overwrites_the_mark(runs: RunsDataset) -> None:
    silent = record("a", minutes=11, process=ELSEWHERE)
    runs.save(silent)
    runs.close_dead_runs()
    assert states(runs) == {"a": "killed"}
    runs.save({**silent, "state": "succeeded"})
    assert states(runs) == {"a": "succeeded"}


def test_one_that_ends_just_before_it_is_marked_keeps_its_end(
    runs: RunsDataset, dead: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.save(record("a", process=dead))
    create = runs.storage.create

    def create_late(key: str, chunks: Any) -> bool:
        runs.storage.overwrite(key, json.dumps(record("a", "failed")).encode())
        return create(key, chunks)

    monkeypatch.setattr(runs.storage, "create", create_late)
    runs.close_dead_runs()
    assert states(runs) == {"a": "failed"}


def test_a_run_that_ends_while_its_record_is_read_is_reported_as_ended(
    runs: RunsDataset, dead: dict[str, Any]
) -> None:
    runs.save(record("a", process=dead))
    (key,) = runs.keys_by_run().values()
    assert [each["state"] for each in runs._read([key])] == ["killed"]
    runs.storage.overwrite("operations/runs/a.json", json.dumps(record("a", "failed")).encode())
    assert [each["state"] for each in runs._read([key])] == ["failed"]
    runs.storage.delete([key])
    assert [each["state"] for each in runs._read([key])] == ["failed"]


def test_a_file_that_is_no_record_is_ignored(
    runs: RunsDataset, caplog: pytest.LogCaptureFixture
) -> None:
    runs.save(record("a", "succeeded"))
    for name in ("b.json", "c.running.json", "notes.txt"):
        runs.storage.overwrite(f"operations/runs/{name}", b"{cut")
    runs.close_dead_runs()
    assert states(runs) == {"a": "succeeded"}
    assert "b.json is not a valid run record" in caplog.text
