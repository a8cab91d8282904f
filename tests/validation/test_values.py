from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from capstone_metrics.validation.values import EPOCH, MICROSECOND, offsets
from tests.support.selection import sample


def changes_of(zone: ZoneInfo) -> list[dt.datetime]:
    """The local midnights of the days on which a zone changes its clocks, from 1985 to 2035."""
    days = [dt.datetime(1985, 1, 1, tzinfo=zone) + dt.timedelta(day) for day in range(365 * 51)]
    return [
        day.replace(tzinfo=None)
        for day, after in itertools.pairwise(days)
        if day.utcoffset() != after.utcoffset()
    ]


def moved(moments: list[dt.datetime], zone: str, *, is_local: bool) -> list[dt.datetime]:
    """Convert between local times and UTC."""
    numbers = np.array([(moment - EPOCH) // MICROSECOND for moment in moments], np.int64)
    shift = offsets(numbers, zone, is_local=is_local) * (-1 if is_local else 1)
    return [EPOCH + number * MICROSECOND for number in (numbers + shift).tolist()]


@pytest.mark.parametrize(
    "name",
    [
        "America/Sao_Paulo",
        "America/New_York",
        "Europe/Lisbon",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kolkata",
    ],
)
def test_local_and_utc_times_are_those_of_python(name: str) -> None:
    zone = ZoneInfo(name)
    quarter, odd = dt.timedelta(minutes=15), dt.timedelta(seconds=59, microseconds=1)
    long_ago = dt.datetime(1914, 1, 1, 3, 6, 28)  # noqa: DTZ001 - an offset in seconds
    around = [*sample(changes_of(zone), 16), dt.datetime(2026, 1, 31), long_ago]  # noqa: DTZ001
    moments = [day + at * quarter + odd for day in around for at in range(-100, 200)]
    utc = [m.replace(tzinfo=zone).astimezone(dt.UTC).replace(tzinfo=None) for m in moments]
    local = [m.replace(tzinfo=dt.UTC).astimezone(zone).replace(tzinfo=None) for m in moments]
    assert moved(moments, name, is_local=True) == utc
    assert moved(moments, name, is_local=False) == local


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        pytest.param("2018-11-04T00:30", "2018-11-04T03:30", id="skipped"),
        pytest.param("2019-02-16T23:30", "2019-02-17T01:30", id="repeated"),
        pytest.param("2019-02-17T00:00", "2019-02-17T03:00", id="after it"),
    ],
)
def test_a_skipped_or_repeated_hour_counts_as_before_it(local: str, utc: str) -> None:
    moment = dt.datetime.fromisoformat(local)
    expected = dt.datetime.fromisoformat(utc)
    assert moved([moment], "America/Sao_Paulo", is_local=True) == [expected]
