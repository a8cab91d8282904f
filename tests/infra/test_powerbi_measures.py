"""What the measures of the model say of a Gold, by an engine of DAX that is not Microsoft's."""

from __future__ import annotations

import datetime as dt
import random
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_powerbi import MODEL, POWER_BI
from tests.infra.tmdl import read_folder

NETWORK, INSTITUTION = "gold_video_views_dia_rede_social", "gold_video_views_dia_faculdade"
SUMS = {
    "Views": "total_views",
    "Likes": "total_likes",
    "Comments": "total_comentarios",
    "Videos": "total_videos",
}
FIRST, DAYS = dt.datetime(2026, 1, 1), 60  # noqa: DTZ001 - as Power BI has a date
Value = float | None
Ask = Callable[[str, dict[str, list[Any]]], Value]


def videos() -> list[tuple[Any, ...]]:
    """Some videos of most days; no views at all on one network."""
    draw, made = random.Random(3), []
    for number in range(DAYS):
        for network in ("tiktok", "youtube_shorts", "kwai"):
            for institution in ("GRAN", "IMPACTA"):
                for _ in range(draw.choice([0, 1, 2]) if 0 < number < DAYS - 1 else 1):
                    views = 0 if network == "kwai" else draw.randrange(1_000, 90_000)
                    counts = (views, views // draw.randrange(9, 40), views // 300, 1)
                    made.append((FIRST + dt.timedelta(days=number), network, institution, *counts))
    return made


VIDEOS = videos()


def mart(place: int) -> list[list[Any]]:
    """Their sums by day and network (1) or institution (2)."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * len(SUMS))
    for video in VIDEOS:
        row = sums[video[0], video[place]]
        row[:] = [total + count for total, count in zip(row, video[3:], strict=True)]
    return [[*key, *totals] for key, totals in sorted(sums.items())]


@pytest.fixture(scope="module")
def ask() -> Ask:
    """A measure under a filter: {"Table.Column": values}."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(sys.prefix, "powerbi")))
        from pbix_mcp.dax.engine import evaluate_measure  # noqa: PLC0415

    model = read_folder(POWER_BI / MODEL / "definition")
    measures = {
        name: measure.text.strip()
        for table in model.all("table").values()
        for name, measure in table.all("measure").items()
    }
    ends = [
        [end for side in ("from", "to") for end in each.get(f"{side}Column").split(".")]
        for each in model.all("relationship").values()
    ]
    names = ("FromTable", "FromColumn", "ToTable", "ToColumn")
    relationships = [{**dict(zip(names, each, strict=True)), "IsActive": 1} for each in ends]
    days = [FIRST + dt.timedelta(days=number) for number in range(DAYS)]
    tables = {
        NETWORK: {"columns": ["data_postagem", "rede_social", *SUMS.values()], "rows": mart(1)},
        INSTITUTION: {"columns": ["data_postagem", "faculdade", *SUMS.values()], "rows": mart(2)},
        "Date": {
            "columns": ["Date", "Month"],
            "rows": [[day, day.replace(day=1)] for day in days],
        },
        "Network": {"columns": ["Network"], "rows": [[each] for each in {v[1] for v in VIDEOS}]},
        "Institution": {
            "columns": ["Institution"],
            "rows": [[each] for each in {v[2] for v in VIDEOS}],
        },
    }

    def ask(name: str, chosen: dict[str, list[Any]]) -> Value:
        found = evaluate_measure(
            name,
            tables,
            measures,
            filter_context=chosen,
            date_table="Date",
            date_column="Date",
            relationships=relationships,
        )
        return None if found is None else float(found)

    return ask


def expected(first: int, last: int, networks: list[str], institutions: list[str]) -> list[Value]:
    """Each measure, from the videos themselves; None where no mart can say it."""
    if first < 0 or (networks and institutions):
        return [None] * (len(SUMS) + 1)
    days = {FIRST + dt.timedelta(days=number) for number in range(first, last + 1)}
    rows = [
        video[3:]
        for video in VIDEOS
        if video[0] in days
        and (not networks or video[1] in networks)
        and (not institutions or video[2] in institutions)
    ]
    views, likes, comments, count = (sum(row[place] for row in rows) for place in range(4))
    return [views, likes, comments, count, (likes + comments) / views if views else None]


@pytest.mark.parametrize(("first", "last"), [(0, 59), (30, 59), (32, 59), (29, 30), (59, 59)])
@pytest.mark.parametrize(
    ("networks", "institutions"),
    [
        ([], []),
        (["tiktok"], []),
        (["tiktok", "youtube_shorts"], []),
        (["kwai"], []),
        ([], ["GRAN"]),
        (["tiktok"], ["GRAN"]),
    ],
)
def test_a_measure_says_what_the_videos_do(
    ask: Ask, first: int, last: int, networks: list[str], institutions: list[str]
) -> None:
    days = [FIRST + dt.timedelta(days=number) for number in range(first, last + 1)]
    said = {"Network.Network": networks, "Institution.Institution": institutions}
    chosen = {"Date.Date": days, **{column: values for column, values in said.items() if values}}
    length = last - first + 1

    now = expected(first, last, networks, institutions)
    before = expected(first - length, first - 1, networks, institutions)
    for name, value, was in zip([*SUMS, "Engagement"], now, before, strict=True):
        change = None if value is None or not was else value / was - 1
        found = [ask(measure, chosen) for measure in (name, f"{name} before", f"{name} change")]
        assert found == [
            None if each is None else pytest.approx(each) for each in (value, was, change)
        ]


def test_a_month_is_compared_with_as_many_days_before_it(ask: Ask) -> None:
    february = {"Date.Month": [FIRST.replace(month=2)]}

    assert ask("Views", february) == expected(31, 58, [], [])[0]
    assert ask("Views before", february) == expected(3, 30, [], [])[0]


def test_nothing_chosen_is_everything(ask: Ask) -> None:
    assert ask("Views", {}) == sum(video[3] for video in VIDEOS)
    assert ask("Views before", {}) is None
