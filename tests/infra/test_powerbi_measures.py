"""The measures of the model equal plain sums, by an engine of DAX that is not Microsoft's."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_powerbi import MODEL
from tests.infra.tmdl import read_folder
from tests.support.project import ROOT

NETWORK, INSTITUTION = "gold_video_views_dia_rede_social", "gold_video_views_dia_faculdade"
NETWORKS, INSTITUTIONS = ("tiktok", "youtube_shorts", "kwai"), ("GRAN", "IMPACTA")
SUMS = {
    "Views": "total_views",
    "Likes": "total_likes",
    "Comments": "total_comentarios",
    "Videos": "total_videos",
}
DAYS = [dt.datetime(2026, 1, 1) + dt.timedelta(days=n) for n in range(60)]  # noqa: DTZ001 - as in Power BI
Value = float | None
Evaluate = Callable[[str, dict[str, list[Any]]], Value]


def videos() -> list[tuple[Any, ...]]:
    """Return some videos of most days; no views at all on one network."""
    draw, rows = random.Random(3), []
    for day, network, institution in itertools.product(DAYS, NETWORKS, INSTITUTIONS):
        for _ in range(1 if day in {DAYS[0], DAYS[-1]} else draw.choice([0, 1, 2])):
            views = 0 if network == "kwai" else draw.randrange(1_000, 90_000)
            rows.append(
                (day, network, institution, views, views // draw.randrange(9, 40), views // 300, 1)
            )
    return rows


VIDEOS = videos()


def mart(column: int) -> list[list[Any]]:
    """Return the sums of videos by day and network (1) or institution (2)."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(SUMS))
    for video in VIDEOS:
        row = sums[video[0], video[column]]
        row[:] = [total + count for total, count in zip(row, video[3:], strict=True)]
    return [[*key, *totals] for key, totals in sorted(sums.items())]


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
        NETWORK: (["data_postagem", "rede_social", *SUMS.values()], mart(1)),
        INSTITUTION: (["data_postagem", "faculdade", *SUMS.values()], mart(2)),
        "Date": (["Date", "Month"], [[day, day.replace(day=1)] for day in DAYS]),
        "Network": (["Network"], [[each] for each in NETWORKS]),
        "Institution": (["Institution"], [[each] for each in INSTITUTIONS]),
    }
    tables = {name: {"columns": each[0], "rows": each[1]} for name, each in contents.items()}

    def evaluate(name: str, chosen: dict[str, list[Any]]) -> Value:
        options = {"date_table": "Date", "date_column": "Date", "relationships": relationships}
        value = evaluate_measure(name, tables, measures, filter_context=chosen, **options)
        return None if value is None else float(value)

    return evaluate


def expected(first: int, last: int, networks: list[str], institutions: list[str]) -> list[Value]:
    """Return each measure from the videos themselves; None where no mart has it."""
    if first < 0 or (networks and institutions):
        return [None] * (len(SUMS) + 1)
    rows = [
        video[3:]
        for video in VIDEOS
        if DAYS[first] <= video[0] <= DAYS[last]
        and (not networks or video[1] in networks)
        and (not institutions or video[2] in institutions)
    ]
    views, likes, comments, count = (sum(column) for column in zip(*rows, strict=True))
    return [views, likes, comments, count, (likes + comments) / views if views else None]


@pytest.mark.parametrize(("first", "last"), [(0, 59), (30, 59), (32, 59), (29, 30), (59, 59)])
def test_measures_equal_the_sums_of_the_videos(evaluate: Evaluate, first: int, last: int) -> None:
    length = last - first + 1
    for networks, institutions in (
        ([], []),
        (["tiktok"], []),
        (["tiktok", "youtube_shorts"], []),
        (["kwai"], []),
        ([], ["GRAN"]),
        (["tiktok"], ["GRAN"]),
    ):
        filters = {"Network.Network": networks, "Institution.Institution": institutions}
        chosen = {"Date.Date": DAYS[first : last + 1]}
        chosen |= {column: values for column, values in filters.items() if values}
        now = expected(first, last, networks, institutions)
        before = expected(first - length, first - 1, networks, institutions)
        for name, value, was in zip([*SUMS, "Engagement"], now, before, strict=True):
            change = None if value is None or not was else value / was - 1
            actual = [evaluate(each, chosen) for each in (name, f"{name} before", f"{name} change")]
            assert actual == [
                None if each is None else pytest.approx(each) for each in (value, was, change)
            ], (name, chosen)


def test_a_month_is_compared_with_as_many_days_before_it(evaluate: Evaluate) -> None:
    february = {"Date.Month": [DAYS[0].replace(month=2)]}

    assert evaluate("Views", february) == expected(31, 58, [], [])[0]
    assert evaluate("Views before", february) == expected(3, 30, [], [])[0]


def test_without_a_filter_a_measure_is_of_all_videos(evaluate: Evaluate) -> None:
    assert evaluate("Views", {}) == sum(video[3] for video in VIDEOS)
    assert evaluate("Views before", {}) is None
