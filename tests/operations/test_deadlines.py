from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.operations.deadlines import Health, RecordedRun, slot_outcomes
from capstone_metrics.operations.status import Status
from capstone_metrics.storage.process import this_process
from tests.operations.year import Fate, Year
from tests.support import selection

if TYPE_CHECKING:
    from pathlib import Path

    from capstone_metrics.schedule import Timetable

NEW_YORK = {
    "timezone": "America/New_York",
    "layers": {
        "bronze": {"starts": ["02:00", "20:00"], "minutes": 30},
        "silver": {"starts": ["02:00", "20:00"], "minutes": 30},
        "gold": {"starts": ["01:00"], "minutes": 30},
        "publication": {"starts": ["04:00"], "minutes": 30},
    },
}
SAO_PAULO = {
    "timezone": "America/Sao_Paulo",
    "layers": {
        "bronze": {"starts": ["00:00", "12:00"], "minutes": 30},
        "silver": {"starts": ["00:00", "12:00"], "minutes": 30},
        "gold": {"starts": ["23:00"], "minutes": 30},
        "publication": {"starts": ["06:00"], "minutes": 30},
    },
}
LATE_GOLD = Fate(begun=65, done={"gold": 70})
FATES = {
    ("bronze", "2026-02-10T20"): Fate(done={"bronze": 45, "silver": 50}),
    # 02:00 is skipped on that day: the slot is due at 03:00 EDT, 07:00 UTC
    ("bronze", "2026-03-08T02"): Fate(done={"bronze": 29, "silver": 31}),
    ("bronze", "2026-04-01T20"): None,
    ("bronze", "2026-05-05T20"): Fate(done={}, end="failed"),
    ("bronze", "2026-06-06T02"): Fate(done={"bronze": 3}, end="killed"),
    ("bronze", "2026-07-07T20"): Fate(lines=0),
    ("bronze", "2026-08-08T20"): Fate(done={"bronze": 20, "silver": 25}),
    ("gold", "2026-09-09T01"): None,
    # 01:00 is repeated on that day: the slot is due the first time, 05:00 UTC; 01:10 the
    # second time is 70 minutes later
    ("gold", "2026-11-01T01"): LATE_GOLD,
    ("bronze", "2026-11-01T20"): Fate(done={"bronze": 20, "silver": 31}),
}


@dataclass(frozen=True)
class Lived:
    """The records of some days, read back from the lake, and their schedule."""

    timetable: Timetable
    runs: list[RecordedRun]

    def at(self, timestamp: str, count: int = 2) -> tuple[dict[str, list[str]], Health]:
        """Return the last slots of each layer at an instant, and the health of the worst."""
        now = dt.datetime.fromisoformat(timestamp)
        now = now if now.tzinfo else now.replace(tzinfo=self.timetable.zone)
        first = min(run.started_at for run in self.runs)
        by_layer = slot_outcomes(self.timetable, self.runs, now.astimezone(dt.UTC), first, count)
        states = {
            layer: [f"{outcome.slot.window}: {outcome.state}" for outcome in of_layer]
            for layer, of_layer in by_layer.items()
        }
        return states, Status(now, self.timetable, by_layer, [], {}).health


def dead_process() -> dict[str, Any]:
    process = subprocess.Popen(["true"])
    process.wait()
    return {**this_process(), "pid": process.pid}


def days_from(first: str, count: int) -> list[dt.date]:
    return [dt.date.fromisoformat(first) + dt.timedelta(days=day) for day in range(count)]


def lived(
    folder: Any, schedule: dict[str, Any], days: list[dt.date], fates: dict[Any, Any]
) -> Lived:
    runs = RunsDataset(path=str(folder), silent_minutes=10)
    year = Year(runs, schedule, dead_process())
    year.play(days, fates)
    return Lived(year.timetable, [RecordedRun(record) for record in runs.load()])


OK, WARNING, CRITICAL = Health.OK, Health.WARNING, Health.CRITICAL
TABLE: list[tuple[str, Health, list[str], list[str], list[str], list[str]]] = [
    # at, health, bronze, silver, gold, publication
    (
        "2026-01-01T03:00", OK,
        ["2025-12-31T20: before", "2026-01-01T02: on time"],
        ["2025-12-31T20: before", "2026-01-01T02: on time"],
        ["2025-12-31T01: before", "2026-01-01T01: on time"],
        ["2025-12-30T04: before", "2025-12-31T04: before"],
    ),
    (
        "2026-02-10T20:00:30", OK,
        ["2026-02-10T02: on time", "2026-02-10T20: due"],
        ["2026-02-10T02: on time", "2026-02-10T20: due"],
        ["2026-02-09T01: on time", "2026-02-10T01: on time"],
        ["2026-02-09T04: on time", "2026-02-10T04: on time"],
    ),
    (
        "2026-02-10T20:31", WARNING,  # it runs, and should be over
        ["2026-02-10T02: on time", "2026-02-10T20: running"],
        ["2026-02-10T02: on time", "2026-02-10T20: running"],
        ["2026-02-09T01: on time", "2026-02-10T01: on time"],
        ["2026-02-09T04: on time", "2026-02-10T04: on time"],
    ),
    (
        "2026-02-10T21:00", WARNING,
        ["2026-02-10T02: on time", "2026-02-10T20: late"],
        ["2026-02-10T02: on time", "2026-02-10T20: late"],
        ["2026-02-09T01: on time", "2026-02-10T01: on time"],
        ["2026-02-09T04: on time", "2026-02-10T04: on time"],
    ),
    (
        "2026-02-11T05:00", OK,  # late is history once the next one is there
        ["2026-02-10T20: late", "2026-02-11T02: on time"],
        ["2026-02-10T20: late", "2026-02-11T02: on time"],
        ["2026-02-10T01: on time", "2026-02-11T01: on time"],
        ["2026-02-10T04: on time", "2026-02-11T04: on time"],
    ),
    (
        "2026-03-08T07:00:30+00:00", OK,  # the hour that is skipped
        ["2026-03-07T20: on time", "2026-03-08T02: due"],
        ["2026-03-07T20: on time", "2026-03-08T02: due"],
        ["2026-03-07T01: on time", "2026-03-08T01: on time"],
        ["2026-03-06T04: on time", "2026-03-07T04: on time"],
    ),
    (
        "2026-03-08T04:30", WARNING,
        ["2026-03-07T20: on time", "2026-03-08T02: on time"],
        ["2026-03-07T20: on time", "2026-03-08T02: late"],
        ["2026-03-07T01: on time", "2026-03-08T01: on time"],
        ["2026-03-07T04: on time", "2026-03-08T04: on time"],
    ),
    (
        "2026-04-01T20:30", CRITICAL,
        ["2026-04-01T02: on time", "2026-04-01T20: missing"],
        ["2026-04-01T02: on time", "2026-04-01T20: missing"],
        ["2026-03-31T01: on time", "2026-04-01T01: on time"],
        ["2026-03-31T04: on time", "2026-04-01T04: on time"],
    ),
    (
        "2026-04-02T01:30", CRITICAL,  # what should be in Gold and in the database is not there
        ["2026-04-01T02: on time", "2026-04-01T20: missing"],
        ["2026-04-01T02: on time", "2026-04-01T20: missing"],
        ["2026-04-01T01: on time", "2026-04-02T01: missing"],
        ["2026-03-31T04: on time", "2026-04-01T04: on time"],
    ),
    (
        "2026-04-03T12:00", OK,
        ["2026-04-02T20: on time", "2026-04-03T02: on time"],
        ["2026-04-02T20: on time", "2026-04-03T02: on time"],
        ["2026-04-02T01: late", "2026-04-03T01: on time"],
        ["2026-04-02T04: late", "2026-04-03T04: on time"],
    ),
    (
        "2026-05-05T20:10", WARNING,  # there is time to run again
        ["2026-05-05T02: on time", "2026-05-05T20: failed"],
        ["2026-05-05T02: on time", "2026-05-05T20: failed"],
        ["2026-05-04T01: on time", "2026-05-05T01: on time"],
        ["2026-05-04T04: on time", "2026-05-05T04: on time"],
    ),
    (
        "2026-05-05T20:30", CRITICAL,
        ["2026-05-05T02: on time", "2026-05-05T20: failed"],
        ["2026-05-05T02: on time", "2026-05-05T20: failed"],
        ["2026-05-04T01: on time", "2026-05-05T01: on time"],
        ["2026-05-04T04: on time", "2026-05-05T04: on time"],
    ),
    (
        "2026-06-06T02:20", WARNING,
        ["2026-06-05T20: on time", "2026-06-06T02: on time"],
        ["2026-06-05T20: on time", "2026-06-06T02: failed"],
        ["2026-06-05T01: on time", "2026-06-06T01: on time"],
        ["2026-06-04T04: on time", "2026-06-05T04: on time"],
    ),
    (
        "2026-07-07T22:00", OK,
        ["2026-07-07T02: on time", "2026-07-07T20: empty"],
        ["2026-07-07T02: on time", "2026-07-07T20: empty"],
        ["2026-07-06T01: on time", "2026-07-07T01: on time"],
        ["2026-07-06T04: on time", "2026-07-07T04: on time"],
    ),
    (
        "2026-08-08T20:22", OK,
        ["2026-08-08T02: on time", "2026-08-08T20: on time"],
        ["2026-08-08T02: on time", "2026-08-08T20: running"],
        ["2026-08-07T01: on time", "2026-08-08T01: on time"],
        ["2026-08-07T04: on time", "2026-08-08T04: on time"],
    ),
    (
        "2026-09-09T05:00", CRITICAL,
        ["2026-09-08T20: on time", "2026-09-09T02: on time"],
        ["2026-09-08T20: on time", "2026-09-09T02: on time"],
        ["2026-09-08T01: on time", "2026-09-09T01: missing"],
        ["2026-09-08T04: on time", "2026-09-09T04: missing"],
    ),
    (
        "2026-11-01T05:35+00:00", CRITICAL,  # 01:35 the first time
        ["2026-10-31T02: on time", "2026-10-31T20: on time"],
        ["2026-10-31T02: on time", "2026-10-31T20: on time"],
        ["2026-10-31T01: on time", "2026-11-01T01: missing"],
        ["2026-10-30T04: on time", "2026-10-31T04: on time"],
    ),
    (
        "2026-11-01T06:15+00:00", WARNING,  # 01:15 the second time
        ["2026-10-31T02: on time", "2026-10-31T20: on time"],
        ["2026-10-31T02: on time", "2026-10-31T20: on time"],
        ["2026-10-31T01: on time", "2026-11-01T01: late"],
        ["2026-10-30T04: on time", "2026-10-31T04: on time"],
    ),
    (
        "2026-11-01T20:40", WARNING,
        ["2026-11-01T02: on time", "2026-11-01T20: on time"],
        ["2026-11-01T02: on time", "2026-11-01T20: late"],
        ["2026-10-31T01: on time", "2026-11-01T01: late"],
        ["2026-10-31T04: on time", "2026-11-01T04: on time"],
    ),
]  # fmt: skip


DAYS_BEFORE = 3
"""How far a row of the table looks back, and a day more."""


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Lived:
    """2026 in New York, where clocks change on 8 March and 1 November.

    It has the days that the table looks at; with `--all`, every day.
    """
    days = days_from("2026-01-01", 365)
    if not selection.runs_everything:
        seen = {dt.date.fromisoformat(row[0][:10]) for row in TABLE}
        nearby = {day - dt.timedelta(days=at) for day in seen for at in range(DAYS_BEFORE + 1)}
        days = [day for day in days if day in nearby]
    return lived(tmp_path_factory.mktemp("year"), NEW_YORK, days, FATES)


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_a_year_matches_a_table_written_by_hand(year: Lived, row: Any) -> None:
    at, health, *layers = row

    expected = dict(zip(("bronze", "silver", "gold", "publication"), layers, strict=True))
    assert year.at(at) == (expected, health)


@pytest.mark.parametrize(
    ("first", "last", "state"),
    [
        (None, None, "on time"),
        ("2018-11-03", "2018-11-04", "on time"),
        ("2018-11-03", "2018-11-03", "before"),
        ("soon", "later", "before"),  # the run failed; whoever looks at it does not
    ],
)
def test_a_backfill_is_about_its_own_windows(
    tmp_path: Path, first: str | None, last: str | None, state: str
) -> None:
    year = lived(tmp_path, SAO_PAULO, days_from("2018-11-04", 1), {})
    records = [{**run.record, "from": first, "to": last} for run in year.runs]
    again = Lived(year.timetable, [RecordedRun(record) for record in records[:1]])

    assert again.at("2018-11-04T02:00")[0]["bronze"][-1] == f"2018-11-04T00: {state}"


@pytest.mark.parametrize("state", ["succeeded", "running", "failed", "killed"])
def test_a_slot_before_the_first_run_is_neither_late_nor_failed(tmp_path: Path, state: str) -> None:
    year = lived(tmp_path, SAO_PAULO, days_from("2019-02-10", 1), {})
    record = {**year.runs[0].record, "state": state}
    if state != "succeeded":
        record["layers"] = {}
    first = Lived(year.timetable, [RecordedRun(record)])

    by_layer, health = first.at("2019-02-10T05:00")
    assert [slots[0] for slots in by_layer.values()] == [
        "2019-02-09T12: before",
        "2019-02-09T12: before",
        "2019-02-08T23: before",
        "2019-02-08T06: before",
    ]
    assert health == OK


def test_a_midnight_that_is_skipped_falls_due_when_the_clock_goes_on(tmp_path: Path) -> None:
    fate = Fate(done={"bronze": 29, "silver": 31})
    year = lived(
        tmp_path, SAO_PAULO, days_from("2018-11-03", 3), {("bronze", "2018-11-04T00"): fate}
    )

    by_layer, health = year.at("2018-11-04T03:30+00:00")  # 01:30, half an hour after midnight
    assert by_layer["bronze"] == ["2018-11-03T12: on time", "2018-11-04T00: on time"]
    assert by_layer["silver"] == ["2018-11-03T12: on time", "2018-11-04T00: running"]
    assert health == WARNING
    by_layer, _ = year.at("2018-11-04T03:40+00:00")
    assert by_layer["silver"] == ["2018-11-03T12: on time", "2018-11-04T00: late"]


def test_a_repeated_hour_falls_due_the_first_time(tmp_path: Path) -> None:
    year = lived(tmp_path, SAO_PAULO, days_from("2019-02-15", 3), {("gold", "2019-02-16T23"): None})

    for at, state in (
        ("2019-02-17T00:59+00:00", "2019-02-15T23: on time"),
        ("2019-02-17T01:10+00:00", "2019-02-16T23: due"),
        ("2019-02-17T01:30+00:00", "2019-02-16T23: missing"),
        ("2019-02-17T02:10+00:00", "2019-02-16T23: missing"),
    ):
        assert year.at(at, count=1)[0]["gold"] == [state]
