"""The observations by day: the last of each video and day, and what it gained."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import GoldSnapshot
from capstone_metrics.gold_csv import read_csv
from capstone_metrics.lake.plan import planned_silver
from capstone_metrics.lake.silver import layouts_of
from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.merge import merge
from capstone_metrics.pipelines.silver_to_gold.build import build_marts, reconcile
from capstone_metrics.pipelines.silver_to_gold.scope import find_rebuild_scope
from capstone_metrics.quality import QualityReport
from tests.pipelines.conftest import NETWORKS, line, silver_snapshot, validated
from tests.support import engines, lakes
from tests.support.engines import engine
from tests.support.oracle import rebuild
from tests.support.selection import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.changes import SilverSnapshot
    from tests.support.oracle import Lake

SOURCES: dict[str, Any] = {
    "faker": {"type": "faker"},
    "report": {"type": "faker", "counters": "period"},
    "daily": {"type": "files", "format": "jsonl", "path": "x", "counters": "daily"},
}
MARTS: dict[str, Any] = {
    "gold_growth": {
        "from": "observacao_dia",
        "key": ["data_observacao", "rede_social"],
        "measures": {
            "views_ganhas": {"sum": "views_ganhas"},
            "likes_ganhos": {"sum": "likes_ganhos"},
            "comentarios_ganhos": {"sum": "comentarios_ganhos"},
            "videos_observados": {"count": "video_id"},
        },
    },
    "gold_at_2_days": {
        "from": "observacao_dia",
        "key": ["data_postagem", "rede_social"],
        "measures": {
            "views_2d": {"sum": "views", "at_days": 2},
            "videos_2d": {"count": "video_id", "at_days": 2},
        },
    },
    "gold_video": {
        "from": "video",
        "key": ["rede_social", "video_id"],
        "attributes": [
            "data_postagem",
            "hora_postagem",
            "faculdade",
            "titulo_video",
            "categoria",
        ],
        "measures": {
            "total_views": {"sum": "views"},
            "total_likes": {"sum": "likes"},
            "total_comentarios": {"sum": "comentarios"},
            "views_ganhas_7d": {"sum": "views_ganhas_7d"},
            "views_7d": {"sum": "views_7d"},
        },
    },
}
MARTS |= {
    "gold_canal_dia": {
        "from": "observacao_dia",
        "key": ["data_observacao", "rede_social", "faculdade"],
        "measures": {
            "qtd_inscritos": {"last": "qtd_inscritos"},
            "posts": {"sum": "posts"},
            "views_ganhas": {"sum": "views_ganhas"},
        },
    },
    "gold_rates": {
        "from": "observacao_dia",
        "key": ["data_observacao"],
        "measures": {"likes_rate": {"ratio": ["likes", "views"]}, "peak": {"max": "views"}},
    },
    "gold_rates_at_2_days": {
        "from": "observacao_dia",
        "key": ["data_postagem", "rede_social"],
        "measures": {
            "rate_2d": {"ratio": ["likes", "views"], "at_days": 2},
            "peak_2d": {"max": "views", "at_days": 2},
        },
    },
}
COLUMNS = {"qtd_inscritos": "int64"}
FIRST_DAY = dt.date(2026, 1, 28)
SEEDS = range(examples(3, 40))


def merged(silver: SilverSnapshot, objects: Mapping[str, bytes]) -> SilverSnapshot:
    """Return Silver after a merge of objects."""
    validation = validated(objects, SOURCES, silver, COLUMNS)
    update = account(validation, merge(validation), QualityReport("silver", []))
    snapshot, _ = planned_silver(update, layouts_of(COLUMNS))
    # as read from files, else Spark would plan all merges so far at once
    tables = {
        name: engine().table_of(table.to_pyarrow().to_reader())
        for name, table in snapshot.tables.items()
    }
    return replace(snapshot, tables=tables)


def gold_of(silver: SilverSnapshot, gold: GoldSnapshot) -> GoldSnapshot:
    """Return Gold after the marts were built from Silver."""
    scope = find_rebuild_scope(silver, gold, MARTS, COLUMNS, full=False, first=None, last=None)
    update = reconcile(scope, build_marts(scope))
    tables = {
        name: read_csv(content, scope.marts[name].types) for name, content in update.files.items()
    }
    return GoldSnapshot(update.manifest["generation"], update.manifest, {}, tables)


def rows_by_key(gold: GoldSnapshot, mart: str) -> dict[tuple[Any, ...], list[Any]]:
    """Return the other columns of a mart by its key."""
    table = gold.tables[mart]
    assert table is not None
    width = len(MARTS[mart]["key"])
    rows = [list(row.values()) for row in table.to_pylist()]
    return {tuple(row[:width]): row[width:] for row in rows}


def days(silver: SilverSnapshot) -> dict[tuple[str, str, dt.date], dict[str, Any]]:
    """Return the observations by day, by network, video and day."""
    rows = silver.tables["observacao_dia"].to_pyarrow().to_pylist()
    by_key = {(row["rede_social"], row["video_id"], row["data_observacao"]): row for row in rows}
    assert len(by_key) == len(rows)
    return by_key


def name_of(number: int, fonte: str = "faker") -> str:
    """Return the name of an object that arrived at the end, so no observation is after it."""
    return f"fonte={fonte}/janela=2026-03-01T08/{number:03}.jsonl"


def gains(*observations: tuple[str, int], posted: str = "2026-01-29") -> list[int | None]:
    """Return what each day gained, of one video that is observed at these moments."""
    lines = [
        line(ingestion_ts=moment, views=views, data_postagem=posted)
        for moment, views in observations
    ]
    silver = merged(silver_snapshot(), {name_of(0): b"".join(lines)})
    return [row["views_ganhas"] for _, row in sorted(days(silver).items())]


def test_a_day_gains_what_came_since_the_day_before() -> None:
    """A day begins at midnight in the zone of the schedule, and its last observation counts."""
    assert gains(
        ("2026-01-30T02:59:59Z", 5),  # the 29th, in São Paulo
        ("2026-01-30T11:00:00Z", 8),
        ("2026-01-31T02:00:00Z", 20),  # the 30th
        ("2026-01-31T11:00:00Z", 18),
    ) == [5, 15, -2]


@pytest.mark.parametrize(
    ("posted", "expected"),
    [("2026-01-31", 9), ("2026-01-30", 9), ("2026-01-29", 9), ("2026-01-28", None)],
)
def test_a_first_observation_counts_whole_within_a_day_of_the_posting(
    posted: str, expected: int | None
) -> None:
    assert gains(("2026-01-30T23:00:00Z", 9), posted=posted) == [expected]


def test_a_counter_that_an_observation_lacks_starts_anew() -> None:
    source = {"type": "files", "format": "jsonl", "path": "x", "fields": {**FIELDS}}
    source["fields"]["likes"] = {"field": "likes", "optional": True}
    lines = [
        line(ingestion_ts=f"2026-01-{day}T12:00:00Z", likes=likes, data_postagem="2026-01-29")
        for day, likes in ((29, 1), (30, None), (31, 5))
    ]
    validation = validated({name_of(0, "own"): b"".join(lines)}, {"own": source})
    rows = merge(validation).overwrites["observacao_dia"].rows.to_pyarrow().to_pylist()
    found = {str(row["data_observacao"]): row["likes_ganhos"] for row in rows}
    assert found == {"2026-01-29": 1, "2026-01-30": None, "2026-01-31": None}


FIELDS: dict[str, Any] = {
    name: name
    for name in ("faculdade", "rede_social", "data_postagem", "video_id", "views", "ingestion_ts")
}


def random_objects(random: Random) -> dict[str, bytes]:
    """Return objects with observations of few videos on few days, in any order."""
    objects = {}
    for number in range(random.randint(2, 7)):
        lines = []
        for _ in range(random.randint(1, 8)):
            day = FIRST_DAY + dt.timedelta(random.randrange(12))
            clock = random.choice(("02:00:00", "11:00:00", "23:00:00"))
            posted = FIRST_DAY + dt.timedelta(random.choice((0, 0, 0, 1, 5)))
            lines.append(
                line(
                    video_id=random.choice("abc"),
                    rede_social=random.choice(NETWORKS),
                    ingestion_ts=f"{day}T{clock}Z",
                    data_postagem=str(min(posted, day)),
                    views=random.randrange(100),
                    **random.choice(({}, {"posted_at": f"{min(posted, day)}T09:05:00"})),
                    **random.choice(({}, {"qtd_inscritos": random.randrange(9)})),
                )
            )
        fonte = random.choice(("faker", "faker", "faker", "report"))
        objects[name_of(number, fonte)] = b"".join(lines)
    return objects


def random_increments(random: Random) -> dict[str, bytes]:
    """Return objects with increments of the same videos, some days in several lines or objects."""
    return {
        name_of(number, "daily"): b"".join(
            lakes.line(
                video_id=random.choice("abcd"),
                rede_social=random.choice(NETWORKS),
                data_observacao=str(FIRST_DAY + dt.timedelta(random.randrange(12))),
                views=random.randrange(-5, 50),
                **random.choice(({}, {"ingestion_ts": f"2026-02-1{random.randrange(4)}T12:00Z"})),
            )
            for _ in range(random.randint(1, 12))
        )
        for number in range(random.randint(0, 4))
    }


def assert_is_expected(silver: SilverSnapshot, gold: GoldSnapshot, expected: Lake) -> None:
    """Compare the days and the marts with those of the oracle."""
    assert days(silver) == expected.days
    total = silver.head["total"]
    assert (total["lines"], total["current"]) == (expected.lines, expected.current)
    growth = expected.growth("data_observacao", "rede_social")
    assert rows_by_key(gold, "gold_growth") == growth
    at_age = expected.at_days(2, "data_postagem", "rede_social")
    assert rows_by_key(gold, "gold_at_2_days") == at_age
    assert rows_by_key(gold, "gold_video") == expected.videos()
    assert rows_by_key(gold, "gold_canal_dia") == expected.channels()


@pytest.mark.skipif(engines.chosen == "spark", reason="merges in memory are slow")
def test_a_late_observation_is_of_the_day_that_its_video_was_moved_to() -> None:
    """It says the posting date of its time, which was corrected since."""
    lines = [
        line(data_postagem=posted, ingestion_ts=f"{day}T12:00:00Z", views=views)
        for posted, day, views in (
            ("2026-01-05", "2026-01-10", 10),
            ("2026-01-05", "2026-01-16", 100),
            ("2026-01-06", "2026-01-20", 150),
            ("2026-01-05", "2026-01-12", 40),
        )
    ]
    objects = {name_of(0): b"".join(lines[:3]), name_of(1): lines[3]}
    silver, gold = silver_snapshot(), GoldSnapshot()
    for name, content in objects.items():
        silver = merged(silver, {name: content})
        gold = gold_of(silver, gold)
    expected = rebuild(objects, SOURCES, NETWORKS, declared=tuple(COLUMNS))
    assert_is_expected(silver, gold, expected)


@pytest.mark.skipif(engines.chosen == "spark", reason="merges in memory are slow")
def test_counters_of_a_period_say_nothing_of_a_video_at_an_age() -> None:
    """They may be its latest ones, before and after a later observation comes."""
    posted = {"data_postagem": "2026-01-01", "video_id": "a"}
    counters = (
        ("faker", "2026-01-01", 100),
        ("faker", "2026-01-02", 500),
        ("report", "2026-02-20", 7),
        ("faker", "2026-02-10", 900),
    )
    objects = {
        name_of(number, fonte): line(ingestion_ts=f"{day}T12:00:00Z", views=views, **posted)
        for number, (fonte, day, views) in enumerate(counters)
    }
    silver, gold = silver_snapshot(), GoldSnapshot()
    seen = {}
    for name, content in objects.items():
        silver = merged(silver, {name: content})
        gold = gold_of(silver, gold)
        seen[name] = content
        expected = rebuild(seen, SOURCES, NETWORKS, declared=tuple(COLUMNS))
        assert_is_expected(silver, gold, expected)
    (row,) = rows_by_key(gold, "gold_video").values()
    assert row[-2:] == [400, 500]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rebuild_is_what_the_oracle_expects(seed: int) -> None:
    random = Random(seed)
    objects = random_objects(random) | random_increments(random)
    silver = merged(silver_snapshot(), objects)
    expected = rebuild(objects, SOURCES, NETWORKS, declared=tuple(COLUMNS))
    assert_is_expected(silver, gold_of(silver, GoldSnapshot()), expected)


@pytest.mark.few(1)
@pytest.mark.skipif(
    engines.chosen == "spark", reason="merges in memory are slow; tests/flows has them from files"
)
@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_of_merges_equals_one_rebuild(seed: int) -> None:
    """Also with days that come late, are corrected, or are observed by several objects."""
    random = Random(seed)
    objects = random_objects(random) | random_increments(random)
    expected = rebuild(objects, SOURCES, NETWORKS, declared=tuple(COLUMNS))
    names = list(objects)
    random.shuffle(names)
    silver, gold = silver_snapshot(), GoldSnapshot()
    while names:
        count = random.randint(1, 3)
        silver = merged(silver, {name: objects[name] for name in names[:count]})
        gold = gold_of(silver, gold)
        names = names[count:]
        assert silver.head["objects"] == len(objects) - len(names)
    assert_is_expected(silver, gold, expected)
    rebuilt = merged(silver_snapshot(), objects)
    assert gold.tables == gold_of(rebuilt, GoldSnapshot()).tables
    by_video: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for (network, video, _), row in sorted(days(silver).items()):
        by_video.setdefault((network, video), []).append(row)
    for rows in by_video.values():  # what was first known, and all gains, are the last counter
        at = [number for number, row in enumerate(rows) if row["views"] is not None]
        if not at:
            continue  # nobody observed its counters
        first, last = rows[at[0]], rows[at[-1]]
        if first["views_ganhas"] is None:
            known, since = first["views"], first["data_observacao"] + dt.timedelta(1)
        else:
            known, since = 0, first["data_postagem"] - dt.timedelta(1)
        gained = (
            row["views_ganhas"] or 0
            for row in rows
            if since <= row["data_observacao"] <= last["data_observacao"]
        )
        assert known + sum(gained) == last["views"]
