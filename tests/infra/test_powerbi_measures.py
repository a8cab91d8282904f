"""The measures of the model equal plain sums, by an engine of DAX that is not Microsoft's."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_powerbi import MODEL
from tests.infra.tmdl import read_folder
from tests.support.project import ROOT

VIEWS, GROWTH, AT_7_DAYS = (
    f"gold_video_{kind}_dia_canal" for kind in ("views", "crescimento", "views_7d")
)
CHANNELS = "gold_canal_dia"
NETWORKS, INSTITUTIONS = ("tiktok", "youtube_shorts", "kwai"), ("GRAN", "IMPACTA")
CHANNEL = ("rede_social", "faculdade")
SUMS = {
    "Views": "total_views",
    "Likes": "total_likes",
    "Comments": "total_comentarios",
    "Videos": "total_videos",
}
SUMS_AT_7_DAYS = {"Views at 7 days": "views_7d", "Videos at 7 days": "videos_7d"}
DAYS = [dt.datetime(2026, 1, 1) + dt.timedelta(days=n) for n in range(60)]  # noqa: DTZ001 - as in Power BI
FIRST_OBSERVED = 20
"""The day on which videos are observed for the first time: many were posted before."""

Value = float | None
Row = tuple[Any, ...]
"""Day, network, institution and counts."""

Evaluate = Callable[..., Value]


def videos() -> list[Row]:
    """Return some videos of most days; no views at all on one network."""
    draw, rows = random.Random(3), []
    for day, network, institution in itertools.product(DAYS, NETWORKS, INSTITUTIONS):
        for _ in range(1 if day in {DAYS[0], DAYS[-1]} else draw.choice([0, 1, 2])):
            views = 0 if network == "kwai" else draw.randrange(1_000, 90_000)
            rows.append(
                (day, network, institution, views, views // draw.randrange(9, 40), views // 300, 1)
            )
    return rows


def gains() -> list[Row]:
    """Return what each video gained on each of the ten days from its posting, where observed."""
    return [
        (day + dt.timedelta(age), network, institution, views // (2 + age))
        for day, network, institution, views, *_ in VIDEOS
        for age in range(10)
        if DAYS[FIRST_OBSERVED] <= day + dt.timedelta(age) <= DAYS[-1]
    ]


def at_7_days() -> list[Row]:
    """Return the views of each video that was observed at an age of seven days."""
    return [
        (day, network, institution, views // 2, 1)
        for day, network, institution, views, *_ in VIDEOS
        if DAYS[FIRST_OBSERVED] <= day + dt.timedelta(7) <= DAYS[-1]
    ]


def channels() -> list[list[Any]]:
    """Return the followers, new posts and views gained of each channel and day of observation."""
    rows = []
    for day, network, institution, gained in mart(GAINS):
        followers = 1_000 * (1 + NETWORKS.index(network)) + (day - DAYS[0]).days
        posts = sum(video[:3] == (day, network, institution) for video in VIDEOS)
        rows.append([day, network, institution, followers, posts, gained])
    return rows


VIDEOS = videos()
GAINS = gains()
OLD_VIDEOS = at_7_days()


def mart(rows: list[Row]) -> list[list[Any]]:
    """Return the sums of rows by day, network and institution."""
    sums: dict[Row, list[int]] = {}
    for row in rows:
        key, counts = row[:3], row[3:]
        before = sums.get(key, [0] * len(counts))
        sums[key] = [total + count for total, count in zip(before, counts, strict=True)]
    return [[*key, *totals] for key, totals in sorted(sums.items())]


DAILY = channels()


@pytest.fixture(scope="module")
def evaluate() -> Evaluate:
    """A function that evaluates a measure under a filter: {"Table.Column": values}."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(sys.prefix, "powerbi")))
        from pbix_mcp.dax.engine import evaluate_measure  # noqa: PLC0415

    model = read_folder(ROOT / MODEL / "definition")
    measures = {
        name: measure.text.strip()
        for table in model.all("table").values()
        for name, measure in table.all("measure").items()
    }
    relationships = []
    for each in model.all("relationship").values():
        (many, column), (one, key) = (each.get(f"{s}Column").split(".") for s in ("from", "to"))
        names = {"FromTable": many, "FromColumn": column, "ToTable": one, "ToColumn": key}
        relationships.append({**names, "IsActive": 1})
    contents: dict[str, tuple[list[str], list[list[Any]]]] = {
        VIEWS: (["data_postagem", *CHANNEL, *SUMS.values()], mart(VIDEOS)),
        GROWTH: (["data_observacao", *CHANNEL, "views_ganhas"], mart(GAINS)),
        AT_7_DAYS: (["data_postagem", *CHANNEL, *SUMS_AT_7_DAYS.values()], mart(OLD_VIDEOS)),
        CHANNELS: (["data_observacao", *CHANNEL, "qtd_inscritos", "posts", "views_ganhas"], DAILY),
        "Date": (["Date", "Month"], [[day, day.replace(day=1)] for day in DAYS]),
        "Network": (["Network"], [[each] for each in NETWORKS]),
        "Institution": (["Institution"], [[each] for each in INSTITUTIONS]),
    }
    tables = {name: {"columns": each[0], "rows": each[1]} for name, each in contents.items()}

    def evaluate(name: str, chosen: dict[str, list[Any]], **others: Any) -> Value:
        options = {"date_table": "Date", "date_column": "Date", "relationships": relationships}
        read = {**tables, **others}
        value = evaluate_measure(name, read, measures, filter_context=chosen, **options)
        return None if value is None else float(value)

    return evaluate


def chosen_rows(
    rows: list[Row], first: int, last: int, networks: list[str], institutions: list[str]
) -> list[Row]:
    """Return the counts of the rows of a period, of some networks and institutions or of all."""
    return [
        row[3:]
        for row in rows
        if DAYS[first] <= row[0] <= DAYS[last]
        and (not networks or row[1] in networks)
        and (not institutions or row[2] in institutions)
    ]


def expected(first: int, last: int, networks: list[str], institutions: list[str]) -> list[Value]:
    """Return each measure from the videos themselves; None before the first day."""
    if first < 0:
        return [None] * (len(SUMS) + 1)
    rows = chosen_rows(VIDEOS, first, last, networks, institutions)
    views, likes, comments, count = (sum(column) for column in zip(*rows, strict=True))
    return [views, likes, comments, count, (likes + comments) / views if views else None]


def expected_gain(first: int, last: int, networks: list[str], institutions: list[str]) -> Value:
    """Return the views gained in a period; None where nothing was observed."""
    rows = chosen_rows(GAINS, max(first, 0), last, networks, institutions) if last >= 0 else []
    return sum(views for (views,) in rows) if rows else None


SELECTIONS: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["tiktok"], []),
    (["tiktok", "youtube_shorts"], []),
    (["kwai"], []),
    ([], ["GRAN"]),
    (["tiktok"], ["GRAN"]),
]


def selection(
    first: int, last: int, networks: list[str], institutions: list[str]
) -> dict[str, list[Any]]:
    """Return the filter of a period, and of some networks and institutions or of all."""
    filters = {"Network.Network": networks, "Institution.Institution": institutions}
    chosen: dict[str, list[Any]] = {"Date.Date": DAYS[first : last + 1]}
    return chosen | {column: values for column, values in filters.items() if values}


@pytest.mark.parametrize(("first", "last"), [(0, 59), (30, 59), (32, 59), (29, 30), (59, 59)])
def test_measures_equal_the_sums_of_the_videos(evaluate: Evaluate, first: int, last: int) -> None:
    length = last - first + 1
    for networks, institutions in SELECTIONS:
        chosen = selection(first, last, networks, institutions)
        now = expected(first, last, networks, institutions)
        before = expected(first - length, first - 1, networks, institutions)
        for name, value, was in zip([*SUMS, "Engagement"], now, before, strict=True):
            change = None if value is None or not was else value / was - 1
            actual = [evaluate(each, chosen) for each in (name, f"{name} before", f"{name} change")]
            assert actual == [
                None if each is None else pytest.approx(each) for each in (value, was, change)
            ], (name, chosen)


@pytest.mark.parametrize(
    ("first", "last"), [(46, 59), (40, 58), (40, 59), (21, 22), (22, 22), (0, 59), (5, 12)]
)
def test_gains_are_compared_only_with_days_after_the_first_observation(
    evaluate: Evaluate, first: int, last: int
) -> None:
    length = last - first + 1
    for networks, institutions in SELECTIONS:
        chosen = selection(first, last, networks, institutions)
        now = expected_gain(first, last, networks, institutions)
        before = None
        if first - length > FIRST_OBSERVED:
            before = expected_gain(first - length, first - 1, networks, institutions)
        change = None if now is None or not before else now / before - 1
        names = ("Views gained", "Views gained before", "Views gained change")
        actual = [evaluate(name, chosen) for name in names]
        assert actual == [
            None if each is None else pytest.approx(each) for each in (now, before, change)
        ], chosen


@pytest.mark.parametrize(("first", "last"), [(0, 59), (10, 20), (50, 55), (53, 59), (0, 5)])
def test_videos_are_averaged_at_an_equal_age(evaluate: Evaluate, first: int, last: int) -> None:
    for networks, institutions in SELECTIONS:
        rows = chosen_rows(OLD_VIDEOS, first, last, networks, institutions)
        views, count = (sum(row[n] for row in rows) if rows else None for n in (0, 1))
        average = views / count if views is not None and count else None
        names = (*SUMS_AT_7_DAYS, "Average views at 7 days")
        chosen = selection(first, last, networks, institutions)
        assert [evaluate(name, chosen) for name in names] == [views, count, average], chosen


@pytest.mark.parametrize(("first", "last"), [(0, 59), (20, 30), (50, 55), (0, 5)])
def test_followers_are_those_of_the_last_day(evaluate: Evaluate, first: int, last: int) -> None:
    for networks, institutions in SELECTIONS:
        channels = [tuple(row) for row in DAILY]
        rows = chosen_rows(channels, first, last, networks, institutions)
        days = [row[0] for row in DAILY if tuple(row[3:]) in rows and row[0] <= DAYS[last]]
        followers = gained = posts = None
        if rows:
            end = DAYS.index(max(days))
            at_end = chosen_rows(channels, end, end, networks, institutions)
            followers = sum(row[0] for row in at_end)
            posts, gained = (sum(row[n] for row in rows) for n in (1, 2))
        per_follower = None if gained is None or not followers else gained / followers
        chosen = selection(first, last, networks, institutions)
        names = ("Followers", "Posts", "Views gained per follower")
        assert [evaluate(name, chosen) for name in names] == [
            None if each is None else pytest.approx(each)
            for each in (followers, posts, per_follower)
        ], chosen


def test_a_month_is_compared_with_as_many_days_before_it(evaluate: Evaluate) -> None:
    february = {"Date.Month": [DAYS[0].replace(month=2)]}

    assert evaluate("Views", february) == expected(31, 58, [], [])[0]
    assert evaluate("Views before", february) == expected(3, 30, [], [])[0]


def test_engagement_is_of_the_videos_whose_likes_are_known(evaluate: Evaluate) -> None:
    rows = [
        [DAYS[0], "tiktok", "GRAN", 100, 10, 5, 1],
        [DAYS[0], "kwai", "GRAN", 300, None, None, 1],
    ]
    table = {"columns": ["data_postagem", *CHANNEL, *SUMS.values()], "rows": rows}
    assert evaluate("Engagement", {}, **{VIEWS: table}) == pytest.approx(0.15)


def test_without_a_filter_a_measure_is_of_all_videos(evaluate: Evaluate) -> None:
    assert evaluate("Views", {}) == sum(video[3] for video in VIDEOS)
    assert evaluate("Views before", {}) is None
