from __future__ import annotations

import datetime as dt

import pandas as pd
import pytest

from capstone_metrics.dashboard.figures import (
    AT_7_DAYS,
    GAINED,
    MIN_BASE,
    POSTED,
    SO_FAR,
    Figure,
    Measure,
    Totals,
)
from capstone_metrics.dashboard.headline import change_phrase, escaped, headline
from capstone_metrics.dashboard.queries import Filter
from capstone_metrics.dashboard.texts import Texts

VIEWS, LIKES, COMMENTS, ENGAGEMENT = GAINED
FIRST = dt.date(2026, 1, 1)


def gained(*days: tuple[int | None, int | None, int | None, int]) -> pd.DataFrame:
    """Return what was gained on days: views, likes, comments, videos observed."""
    names = ["views_ganhas", "likes_ganhos", "comentarios_ganhos", "videos_observados"]
    rows = pd.DataFrame(days, columns=names, dtype=object)
    dates = [FIRST + dt.timedelta(days=number) for number in range(len(rows))]
    return rows.assign(day=pd.Series(dates, dtype=object))


def figure(measure: Measure, current: pd.DataFrame, previous: pd.DataFrame | None) -> Figure:
    return Totals(current, previous, "videos_observados", is_growing=False).figure(measure)


def test_a_measure_is_divided_by_that_of_the_period_before() -> None:
    current, previous = gained((600, 60, 30, 12)), gained((400, 20, 20, 10))

    assert figure(VIEWS, current, previous).factor == 1.5
    assert figure(ENGAGEMENT, current, previous).value == 0.15
    assert figure(ENGAGEMENT, current, previous).factor == pytest.approx(0.15 / 0.1)
    assert figure(VIEWS, current, None).factor is None


def test_a_small_base_is_not_compared_with() -> None:
    current = gained((9_000, 900, 90, 30))

    enough, few = gained((900, 90, 9, MIN_BASE)), gained((900, 90, 90, MIN_BASE - 1))
    assert figure(VIEWS, current, enough).factor == 10
    assert figure(COMMENTS, current, enough).factor is None  # nine comments
    for measure in (VIEWS, LIKES, ENGAGEMENT):
        assert figure(measure, current, few).factor is None
        assert figure(measure, current, few).base == MIN_BASE - 1
    assert figure(ENGAGEMENT, current, gained((0, 90, 9, MIN_BASE))).factor is None
    assert figure(VIEWS, current, gained()).factor is None


def test_the_same_videos_on_several_days_are_no_larger_base() -> None:
    week = gained(*[(100, 10, 10, 4)] * 7)

    assert figure(VIEWS, week, week).base == 4


def test_posts_of_several_days_are_one_base() -> None:
    week = pd.DataFrame({"total_videos": [4] * 7})

    assert Totals(week, week, "total_videos", is_growing=False).figure(POSTED).base == 28


def test_a_sum_is_of_what_is_known_and_exact() -> None:
    large = 2**62
    current = gained((None, None, 1, 3), (large, None, 2, 3), (1, None, 3, 3))

    assert figure(VIEWS, current, None).value == large + 1
    assert figure(LIKES, current, None).value is None
    assert figure(VIEWS, gained((None, 1, 1, 3)), None).value is None
    by_day = VIEWS.by_day(current, Filter(FIRST, FIRST + dt.timedelta(days=4)))
    assert by_day["value"].isna().tolist() == [True, False, False, True, True]


def test_engagement_is_of_what_has_likes() -> None:
    without = (900, None, 90, 3)

    assert figure(ENGAGEMENT, gained((100, 5, 5, 3), without), None).value == 0.1
    assert figure(ENGAGEMENT, gained((100, 10, None, 3)), None).value == 0.1
    assert figure(ENGAGEMENT, gained(without), None).value is None


def test_a_mean_is_of_the_sums() -> None:
    days = pd.DataFrame({"views_7d": [10, 20], "videos_7d": [1, 4]})

    assert AT_7_DAYS.of(days) == 6
    assert AT_7_DAYS.of(days.assign(videos_7d=0)) is None


def test_what_posts_have_so_far_is_not_compared() -> None:
    days = pd.DataFrame(
        {"total_views": [900], "total_likes": [90], "total_comentarios": [9], "total_videos": [90]}
    )

    for measure in SO_FAR:
        assert Totals(days, days, "total_videos", is_growing=False).figure(measure).factor is None


@pytest.mark.parametrize(
    ("value", "phrase"),
    [
        (1_500, ", **50.0%** more than in the period before"),
        (500, ", **50.0%** fewer than in the period before"),
        (1_000, ", as many as in the period before"),
        (1_000.4, ", as many as in the period before"),
        (-1_000, ", **200.0%** fewer than in the period before"),
    ],
)
def test_a_change_is_the_end_of_a_sentence(value: float, phrase: str) -> None:
    assert change_phrase(Texts("en"), Figure(VIEWS, value, 1_000, 50)) == phrase
    assert not change_phrase(Texts("en"), Figure(VIEWS, value, 1_000, MIN_BASE - 1))


@pytest.mark.parametrize(
    ("locale", "sentences"),
    [
        ("en", "In 1 day, views grew by **1**. Videos posted: **1**."),
        ("pt_BR", "Em 1 dia, as visualizações cresceram **1**. Vídeos postados: **1**."),
    ],
)
def test_one_is_no_plural(locale: str, sentences: str) -> None:
    figures = {each.name: Figure(each, 1) for each in (VIEWS, POSTED)}

    assert headline(Texts(locale), figures, None, 1) == sentences


def test_a_name_is_shown_as_it_is() -> None:
    assert escaped("*a*_b [c](d) $e$ #f") == r"\*a\*\_b \[c\]\(d\) \$e\$ \#f"
