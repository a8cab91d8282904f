from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from capstone_metrics.dashboard.freshness import SCHEDULE_VARIABLE, Freshness, timetable_of

if TYPE_CHECKING:
    from capstone_metrics.schedule import Timetable

ZONE = ZoneInfo("America/Sao_Paulo")


def timetable(**layers: dict[str, Any]) -> Timetable | None:
    schedule = {"timezone": "America/Sao_Paulo", "layers": layers}
    return timetable_of({SCHEDULE_VARIABLE: json.dumps(schedule)})


SCHEDULE = timetable(publication={"starts": ["11:00", "23:00"], "minutes": 30})


def local(day: int, hour: int, minute: int = 0) -> dt.datetime:
    return dt.datetime(2026, 1, day, hour, minute, tzinfo=ZONE).astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("now", "published_at", "missed_deadline"),
    [
        (local(31, 23, 45), local(31, 23, 5), None),
        (local(31, 23, 45), local(31, 23, 0), None),
        (local(31, 23, 45), local(31, 22, 59), local(31, 23, 30)),
        (local(31, 23, 29), local(31, 11, 10), None),  # the deadline is still to come
        (local(31, 23, 30), local(31, 11, 10), local(31, 23, 30)),
        (local(31, 1), local(30, 23, 1), None),
        (local(31, 1), local(29, 23, 1), local(30, 23, 30)),
    ],
)
def test_a_publication_counts_from_the_start_before_the_deadline(
    now: dt.datetime, published_at: dt.datetime, missed_deadline: dt.datetime | None
) -> None:
    freshness = Freshness.at(now, published_at, SCHEDULE)

    assert (freshness.age, freshness.missed_deadline) == (now - published_at, missed_deadline)


@pytest.mark.parametrize(
    ("starts", "minutes", "missed_deadline"),
    [
        (["8:00"], 30, local(31, 8, 30)),
        ([8, "20"], 30, local(31, 8, 30)),
        (["08:00"], 6000, local(31, 12)),  # of four days before
    ],
)
def test_every_schedule_that_a_run_accepts_has_a_last_deadline(
    starts: list[Any], minutes: int, missed_deadline: dt.datetime
) -> None:
    schedule = timetable(publication={"starts": starts, "minutes": minutes})

    freshness = Freshness.at(local(31, 12), local(1, 1), schedule)

    assert freshness.missed_deadline == missed_deadline


@pytest.mark.parametrize("schedule", [timetable_of({}), timetable()])
def test_without_a_schedule_a_publication_has_an_age_and_no_deadline(
    schedule: Timetable | None,
) -> None:
    assert Freshness.at(local(31, 1), local(1, 1), schedule).missed_deadline is None


@pytest.mark.parametrize(
    ("unchanged_at", "is_unchanged"),
    [(local(31, 23, 10), True), (local(31, 22, 59), False), (None, False)],
)
def test_a_run_that_changed_nothing_counts_as_well(
    unchanged_at: dt.datetime | None, is_unchanged: bool
) -> None:
    now, published_at = local(31, 23, 45), local(20, 23, 5)

    freshness = Freshness.at(now, published_at, SCHEDULE, unchanged_at)

    assert freshness.is_unchanged == is_unchanged
    assert freshness.missed_deadline == (None if is_unchanged else local(31, 23, 30))


@pytest.mark.parametrize(
    ("data_end", "published_at", "unchanged_at", "state"),
    [
        (dt.date(2026, 1, 31), local(31, 23, 5), None, "fresh"),
        (dt.date(2026, 1, 24), local(31, 23, 5), None, "fresh"),
        (dt.date(2026, 1, 23), local(31, 23, 5), None, "old_data"),
        (dt.date(2025, 3, 31), local(31, 23, 5), None, "old_data"),
        (dt.date(2026, 2, 1), local(31, 23, 5), None, "fresh"),  # posted in another time zone
        (dt.date(2026, 1, 24), local(20, 23, 5), local(31, 23, 5), "no_new_data"),
        (dt.date(2026, 1, 23), local(20, 23, 5), local(31, 23, 5), "old_data"),
        (dt.date(2026, 1, 31), local(20, 23, 5), None, "stale"),
        (dt.date(2026, 1, 2), local(20, 23, 5), None, "stale"),
        (None, local(31, 23, 5), None, None),
    ],
)
def test_a_publication_in_time_does_not_make_old_data_fresh(
    data_end: dt.date | None,
    published_at: dt.datetime,
    unchanged_at: dt.datetime | None,
    state: str | None,
) -> None:
    now = local(31, 23, 45).astimezone(ZONE)

    assert Freshness.at(now, published_at, SCHEDULE, unchanged_at, data_end).state == state


def test_without_a_schedule_the_data_have_a_state() -> None:
    now = local(31, 23, 45).astimezone(ZONE)

    states = [
        Freshness.at(now, local(1, 1), None, data_end=day).state
        for day in (dt.date(2026, 1, 30), dt.date(2026, 1, 3))
    ]
    assert states == ["fresh", "old_data"]


def test_a_publication_in_time_is_not_an_unchanged_one() -> None:
    freshness = Freshness.at(local(31, 23, 45), local(31, 23, 5), SCHEDULE, local(31, 23, 20))

    assert not freshness.is_unchanged
    assert not freshness.missed_deadline
