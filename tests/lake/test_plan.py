from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstone_metrics.changes import (
    GoldSnapshot,
    GoldUpdate,
    PartitionOverwrite,
    SilverSnapshot,
    SilverUpdate,
)
from capstone_metrics.gold_csv import read_csv, to_csv
from capstone_metrics.lake.plan import planned_gold, planned_silver
from capstone_metrics.lake.silver import layouts_of
from capstone_metrics.mart_declarations import mart_of
from capstone_metrics.schemas import DAYS, silver_tables
from capstone_metrics.validation.silver import SILVER

Rows = dict[tuple[str, int], int]

places = st.tuples(st.sampled_from("ab"), st.integers(1, 3))
rows = st.dictionaries(places, st.integers(0, 2), max_size=5)


def criacao(views: Rows) -> Any:
    """Return a Silver with a video of each network and day."""
    videos = [
        {
            "rede_social": network,
            "data_postagem": dt.date(2026, 1, day),
            "video_id": "v",
            "views": n,
        }
        for (network, day), n in views.items()
    ]
    full = [dict.fromkeys(SILVER) | video for video in videos]
    return ibis.memtable(
        pa.Table.from_pylist(full, schema=silver_tables(SILVER)["criacao"].to_pyarrow())
    )


def read(table: Any) -> Rows:
    records = table.select("rede_social", "data_postagem", "views").to_pyarrow().to_pylist()
    return {(row["rede_social"], row["data_postagem"].day): row["views"] for row in records}


def planned(before: Rows, new: Rows, named: set[tuple[str, int]] | None) -> tuple[Rows, Any]:
    """Return the rows that a plan leaves, and its statistics."""
    partitions = None
    if named is not None:
        partitions = [(network, f"2026-01-0{day}") for network, day in sorted(named)]
    tables = {"criacao": criacao(before)}
    unchanged: dict[str, set[dt.date]] = {name: set() for name in DAYS}
    base = SilverSnapshot(1, {"origin": "o"}, tables, set, lambda _: {}, lambda *_: unchanged)
    overwrites = {"criacao": PartitionOverwrite(criacao(new), partitions)}
    head = {"origin": "o", "generation": 2}
    snapshot, stats = planned_silver(SilverUpdate(base, overwrites, {}, head), layouts_of())
    days = {"criacao": set(stats["criacao"].days), "observacao_dia": set()}
    assert snapshot.days_changed_since("o", 1) == days
    assert snapshot.days_changed_since("another", 1) is None
    return read(snapshot.tables["criacao"]), stats["criacao"]


@given(rows, rows, st.sets(places), st.booleans())
def test_a_planned_silver_has_the_rows_of_the_overwrite_and_counts_what_differs(
    before: Rows, new: Rows, more: set[tuple[str, int]], is_full: bool
) -> None:
    named = {*new, *more}
    after, stats = planned(before, new, None if is_full else named)
    kept = {} if is_full else {place: n for place, n in before.items() if place not in named}
    assert after == kept | new
    written, removed = after.items() - before.items(), before.items() - after.items()
    assert (stats.rows, stats.removed) == (len(written), len(removed))
    days = sorted({day for (_, day), _ in written | removed})
    assert stats.days == tuple(dt.date(2026, 1, day) for day in days)


def mart(totals: dict[int, int], key: str = "data_postagem") -> bytes:
    values = [dt.date(2026, 1, day) for day in totals]
    column = values if key == "data_postagem" else [str(value) for value in values]
    return to_csv(pa.table({key: column, "total": list(totals.values())}))


def entry(key: str = "data_postagem") -> dict[str, Any]:
    return {"key": [key], "measures": {"total": {"sum": "views"}}}


def rows_in(content: bytes) -> pa.Table:
    return read_csv(content, mart_of("gold_x", entry()).types)


def update_of(base: GoldSnapshot, content: bytes, key: str = "data_postagem") -> GoldUpdate:
    manifest = {"generation": base.generation + 1, "marts": {"gold_x": entry(key)}}
    return GoldUpdate(base, {"gold_x": content}, manifest)


@given(*[st.dictionaries(st.integers(1, 9), st.integers(0, 2), max_size=5)] * 2)
def test_a_planned_gold_counts_what_differs_from_the_files(
    before: dict[int, int], after: dict[int, int]
) -> None:
    base = GoldSnapshot(1, {}, {}, {"gold_x": rows_in(mart(before))})
    snapshot, planned = planned_gold(update_of(base, mart(after)))
    stats = planned["gold_x"]
    assert snapshot.files["gold_x"].read() == mart(after)
    assert snapshot.tables["gold_x"] == rows_in(mart(after))
    assert snapshot.generation == 2
    written, removed = after.items() - before.items(), before.items() - after.items()
    assert (stats.rows, stats.removed) == (len(written), len(removed))
    assert [day.day for day in stats.days] == sorted({day for day, _ in written | removed})


@pytest.mark.parametrize("tables", [{}, {"gold_x": None}])
def test_a_new_mart_and_a_lost_file_are_written_in_full(tables: dict[str, Any]) -> None:
    base = GoldSnapshot(1, {}, {}, tables)
    stats = planned_gold(update_of(base, mart({1: 2, 2: 2})))[1]["gold_x"]
    assert (stats.rows, stats.removed, len(stats.days)) == (2, 0, 2)


def test_a_mart_without_days_changes_on_none() -> None:
    content = mart({1: 2}, key="faculdade")
    stats = planned_gold(update_of(GoldSnapshot(), content, "faculdade"))[1]["gold_x"]
    assert (stats.rows, stats.days) == (1, ())
