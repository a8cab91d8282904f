from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from capstone_metrics.dashboard.comparison import (
    ENGAGEMENT,
    GROWING_AGE,
    MIN_BASE,
    VIDEOS,
    Comparison,
)

VIEWS = "total_views"
LONG_AGO = dt.timedelta(days=90)


def days(views: int, likes: int, comments: int, videos: int) -> pd.DataFrame:
    """Return the measures of two days, of which the first has everything."""
    names = [VIEWS, "total_likes", "total_comentarios", VIDEOS]
    return pd.DataFrame([(views, likes, comments, videos), (0, 0, 0, 0)], columns=names)


def factor(name: str, current: pd.DataFrame, previous: pd.DataFrame) -> float | None:
    return Comparison.of(name, current, previous, LONG_AGO).factor


def test_a_measure_is_divided_by_that_of_the_period_before() -> None:
    current, previous = days(600, 60, 30, 12), days(400, 20, 20, 10)

    assert factor(VIEWS, current, previous) == 1.5
    assert factor(VIDEOS, current, previous) == 1.2
    assert factor(ENGAGEMENT, current, previous) == pytest.approx(0.15 / 0.1)


def test_a_small_base_is_not_compared_with() -> None:
    current = days(9_000, 900, 90, 30)

    enough, few_videos = days(900, 90, 9, MIN_BASE), days(900, 90, 90, MIN_BASE - 1)
    assert factor(VIEWS, current, enough) == 10
    assert factor(ENGAGEMENT, current, enough)
    assert not factor("total_comentarios", current, enough)  # nine comments
    for name in (VIEWS, VIDEOS, ENGAGEMENT):
        assert factor(name, current, few_videos) is None
    assert factor(ENGAGEMENT, current, days(0, 90, 9, MIN_BASE)) is None
    assert factor(VIEWS, current, current.head(0)) is None


@pytest.mark.parametrize(
    ("age", "views_grow", "videos_grow"),
    [
        (dt.timedelta(), True, True),
        (dt.timedelta(days=1), True, False),
        (GROWING_AGE - dt.timedelta(days=1), True, False),
        (GROWING_AGE, False, False),
    ],
)
def test_figures_grow_for_a_week_and_the_number_of_videos_on_the_last_day(
    age: dt.timedelta, *, views_grow: bool, videos_grow: bool
) -> None:
    period = days(9_000, 900, 90, 30)

    grow = {name: Comparison.of(name, period, period, age).is_growing for name in (VIEWS, VIDEOS)}
    assert grow == {VIEWS: views_grow, VIDEOS: videos_grow}
