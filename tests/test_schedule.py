from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar, Span, Window

SAO_PAULO = ZoneInfo("America/Sao_Paulo")


def schedule(*starts: Any, timezone: Any = "America/Sao_Paulo") -> dict[str, Any]:
    return {"timezone": timezone, "layers": {"bronze": {"starts": list(starts)}}}


def calendar(now: str, *starts: str) -> Calendar:
    return Calendar.of(schedule(*(starts or ("08:00", "20:00"))), now)


def due(now: str, days: int, *starts: str) -> list[str]:
    return [str(window) for window in calendar(now, *starts).due_windows(days)]


def test_a_window_is_written_with_its_local_date_and_hour() -> None:
    assert str(Window(dt.date(2026, 1, 31), 8)) == "2026-01-31T08"


def test_windows_are_in_the_order_of_time_as_text_too() -> None:
    early, late = Window(dt.date(2026, 1, 31), 8), Window(dt.date(2026, 1, 31), 20)
    assert early < late < Window(dt.date(2026, 2, 1), 8)
    assert str(early) < str(late)


@pytest.mark.parametrize(
    ("date", "hour", "utc"),
    [
        pytest.param("2026-01-31", 8, "2026-01-31T11:00", id="standard"),
        pytest.param("2018-12-25", 8, "2018-12-25T10:00", id="summer"),
        pytest.param("2018-11-04", 0, "2018-11-04T03:00", id="skipped"),
        pytest.param("2018-11-04", 1, "2018-11-04T03:00", id="after the skipped hour"),
        pytest.param("2019-02-16", 23, "2019-02-17T01:00", id="repeated: the first"),
        pytest.param("2019-02-17", 0, "2019-02-17T03:00", id="after the repeated hour"),
    ],
)
def test_a_window_falls_due_at_its_local_hour(date: str, hour: int, utc: str) -> None:
    instant = Window(dt.date.fromisoformat(date), hour).due_at(SAO_PAULO)
    assert instant == dt.datetime.fromisoformat(f"{utc}+00:00")
    assert instant.utcoffset() == dt.timedelta(0)


@pytest.mark.parametrize(
    ("now", "last"),
    [
        ("2026-01-31T20:00", "2026-01-31T20"),
        ("2026-01-31T19:59:59", "2026-01-31T08"),
        ("2026-01-31T07:59", "2026-01-30T20"),
        ("2026-01-31T23:00:00Z", "2026-01-31T20"),
        ("2026-01-31T22:59:59Z", "2026-01-31T08"),
        ("2026-02-01T02:00:00+03:00", "2026-01-31T20"),
    ],
)
def test_what_arrives_now_belongs_to_the_window_that_fell_due_last(now: str, last: str) -> None:
    assert str(calendar(now).arrival_window()) == last
    assert due(now, 1)[-1] == last


def test_the_windows_of_the_last_days_come_oldest_first() -> None:
    assert due("2026-01-31T20:05", 2) == [
        "2026-01-30T08",
        "2026-01-30T20",
        "2026-01-31T08",
        "2026-01-31T20",
    ]


def test_a_window_is_due_in_one_of_two_adjoining_spans_of_days() -> None:
    yesterday, today = due("2026-01-30T20:00", 1), due("2026-01-31T20:00", 1)
    assert yesterday + today == due("2026-01-31T20:00", 2)


def test_hours_are_sorted_and_unique() -> None:
    assert calendar("2026-01-31T20:05", "20:00", "08:00", "8").hours == (8, 20)


@pytest.mark.parametrize(
    ("now", "starts", "windows"),
    [
        ("2018-11-05T00:00", ["00:00", "12:00"], ["2018-11-04T00", "2018-11-04T12"]),
        ("2019-02-17T12:00", ["23:00", "12:00"], ["2019-02-16T23", "2019-02-17T12"]),
    ],
)
def test_days_of_23_and_25_hours_have_each_window_once(
    now: str, starts: list[str], windows: list[str]
) -> None:
    assert [window for window in due(now, 2, *starts) if window in windows] == windows
    instants = [window.due_at(SAO_PAULO) for window in calendar(now, *starts).due_windows(3)]
    assert instants == sorted(set(instants))


@pytest.mark.parametrize(
    ("now", "last"),
    [
        pytest.param("2019-02-17T00:59:59Z", "2019-02-15T23", id="22:59"),
        pytest.param("2019-02-17T01:30Z", "2019-02-16T23", id="23:30, the first time"),
        pytest.param("2019-02-17T02:30Z", "2019-02-16T23", id="23:30, the second time"),
    ],
)
def test_a_window_in_an_hour_that_is_repeated_falls_due_the_first_time(now: str, last: str) -> None:
    assert str(calendar(now, "23:00").arrival_window()) == last


def test_a_clock_set_back_takes_windows_away_and_adds_none() -> None:
    before, after = due("2026-01-31T20:05", 3), due("2026-01-30T20:05", 3)
    assert set(before) - set(after) == {"2026-01-31T08", "2026-01-31T20"}
    assert all(window <= "2026-01-30T20" for window in after)


def test_an_instant_may_come_as_a_datetime() -> None:
    now = dt.datetime(2026, 1, 31, 23, 5, tzinfo=dt.UTC)
    assert Calendar.of(schedule("08:00"), now) == calendar("2026-01-31T20:05", "08:00")


@pytest.mark.parametrize("start", ["08:30", "24:00", "-1", "8h", "", "08:00:00", None, 1200])
def test_a_start_that_is_no_full_hour_is_an_error(start: Any) -> None:
    with pytest.raises(CapstoneError, match=r"bronze\.starts: .* is not a whole hour; write it"):
        Calendar.of(schedule("08:00", start), "2026-01-31T20:05")


def test_a_schedule_without_a_start_is_an_error() -> None:
    with pytest.raises(CapstoneError, match="at least one hour"):
        Calendar.of(schedule(), "2026-01-31T20:05")


@pytest.mark.parametrize("timezone", ["Brasilia", "America", "", "../etc/passwd", None, -3])
def test_an_unknown_zone_is_an_error(timezone: Any) -> None:
    with pytest.raises(CapstoneError, match=r"schedule\.timezone: .* is not a known time zone"):
        Calendar.of(schedule("08:00", timezone=timezone), "2026-01-31T20:05")


@pytest.mark.parametrize(
    "now",
    [
        *("soon", "", "2026-13-01T08:00", "31/01/2026"),
        *("9999-12-31T23:59", "9999-12-31T23:59-03:00", "0001-01-01T00:00+03:00", "0999-12-31"),
    ],
)
def test_an_unreadable_instant_is_an_error(now: str) -> None:
    with pytest.raises(CapstoneError, match=r"now: .* is not an instant; write it as"):
        Calendar.of(schedule("08:00"), now)


@pytest.mark.parametrize("end", ["9999-12-31", "0001-01-01T08", "2026-01-31T24", "soon"])
def test_an_unreadable_end_of_a_span_is_an_error(end: str) -> None:
    with pytest.raises(CapstoneError, match=r"to: .* is neither a day nor a window"):
        Span.of("1000-01-01", end)
