"""Marts follow their declarations, and add up to Silver."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest

from capstone_metrics.changes import GoldBefore
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.silver_to_gold.nodes import (
    NOT_INFORMED,
    Plan,
    aggregate,
    foresee,
    plan,
    reconcile,
)
from capstone_metrics.schemas import SILVER

if TYPE_CHECKING:
    import ibis.expr.types as ir

JAN_30, JAN_31 = dt.date(2026, 1, 30), dt.date(2026, 1, 31)
MARTS = {
    "gold_by_day": {
        "key": ["data_postagem", "categoria"],
        "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "video_id"}},
    }
}


def silver(*rows: tuple[dt.date, str | None, int]) -> ir.Table:
    videos = [
        {
            **dict.fromkeys(SILVER, None),
            "video_id": str(i),
            "data_postagem": day,
            "rede_social": "tiktok",
            "categoria": categoria,
            "views": views,
        }
        for i, (day, categoria, views) in enumerate(rows)
    ]
    return ibis.memtable(pa.Table.from_pylist(videos, schema=SILVER.to_pyarrow()))


def places(table: ir.Table) -> ir.Table:
    return table.select("rede_social", "data_postagem", "video_id")


def written(table: ir.Table) -> pa.Table:
    return table.to_pyarrow().replace_schema_metadata({"sha256": "abc"})


def head(rows: int, generation: int = 1) -> dict[str, Any]:
    return {"origin": "a", "generation": generation, "total": {"current": rows}}


def whole(rows: int) -> Plan:
    return Plan(None, GoldBefore(), head(rows))


def after(table: ir.Table, *days: dt.date, marts: dict[str, Any] = MARTS) -> Plan:
    """The plan of a second run, after these days of a table changed."""
    mart = written(aggregate(table, marts, whole(2), "gold_by_day"))
    manifest = reconcile(table, marts, whole(2), mart)
    return Plan(set(days), GoldBefore(manifest, {"gold_by_day": mart}), head(2, 2))


def test_a_mart_sums_and_counts_the_videos_of_its_key_in_its_order() -> None:
    table = silver((JAN_31, "b", 1), (JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    assert aggregate(table, MARTS, whole(4), "gold_by_day").to_pyarrow().to_pylist() == [
        {"data_postagem": JAN_30, "categoria": "a", "total_views": 2, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "a", "total_views": 3, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "b", "total_views": 5, "total_videos": 2},
    ]


def test_videos_without_the_key_are_counted_under_a_name_of_their_own() -> None:
    mart = aggregate(silver((JAN_30, None, 7)), MARTS, whole(1), "gold_by_day")
    (row,) = mart.to_pyarrow().to_pylist()
    assert (row["categoria"], row["total_views"]) == (NOT_INFORMED, 7)


def test_no_videos_make_an_empty_mart() -> None:
    table = aggregate(silver(), MARTS, whole(0), "gold_by_day").to_pyarrow()
    assert (table.num_rows, table.column_names[:2]) == (0, ["data_postagem", "categoria"])


@pytest.mark.parametrize("views", [2**62, 2**63 - 1])
def test_a_sum_is_exact_to_the_last_unit(views: int) -> None:
    table = silver((JAN_30, "a", views), (JAN_31, "a", -views + 1))
    mart = aggregate(table, MARTS, whole(2), "gold_by_day").to_pyarrow().to_pylist()
    assert [row["total_views"] for row in mart] == [views, -views + 1]


def test_only_the_days_that_changed_are_made_again() -> None:
    plan = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)), JAN_31)
    changed = silver((JAN_30, "a", 999), (JAN_31, "b", 4))
    mart = aggregate(changed, MARTS, plan, "gold_by_day").to_pyarrow().to_pylist()
    assert [(row["data_postagem"], row["total_views"]) for row in mart] == [
        (JAN_30, 2),
        (JAN_31, 4),
    ]


@pytest.mark.parametrize("key", [["data_postagem"], ["categoria"]])
def test_a_mart_whose_declaration_changed_is_made_whole(key: list[str]) -> None:
    plan = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": key}}
    mart = aggregate(silver((JAN_30, "a", 9)), marts, plan, "gold_by_day").to_pyarrow().to_pylist()
    assert [row["total_views"] for row in mart] == [9]


def test_the_manifest_holds_rows_totals_and_digest() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    mart = written(aggregate(table, MARTS, whole(2), "gold_by_day"))
    manifest = reconcile(table, MARTS, whole(2), mart)
    assert (manifest["generation"], manifest["silver_rows"]) == (1, 2)
    assert manifest["marts"]["gold_by_day"] == {
        "key": ["data_postagem", "categoria"],
        "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "video_id"}},
        "rows": 2,
        "totals": {"total_views": 5, "total_videos": 2},
        "sha256": "abc",
    }


def test_a_mart_that_lost_a_row_does_not_reconcile() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    short = written(aggregate(table, MARTS, whole(2), "gold_by_day")).slice(1)
    with pytest.raises(CapstoneError, match="gold_by_day does not add up to Silver"):
        reconcile(table, MARTS, whole(2), short)


def test_a_changed_day_that_lost_a_row_does_not_reconcile() -> None:
    plan = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)), JAN_31)
    changed = silver((JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    mart = written(aggregate(changed, MARTS, plan, "gold_by_day"))
    assert reconcile(changed, MARTS, plan, mart)["marts"]["gold_by_day"]["rows"] == 3
    with pytest.raises(CapstoneError, match="does not add up"):
        reconcile(changed, MARTS, plan, mart.slice(0, 2))


def test_gold_is_planned_by_the_days_that_changed() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    asked = []
    made = {"silver_origin": "a", "silver_generation": 3}
    before = GoldBefore(made, {}, lambda *since: asked.append(since) or {JAN_31})

    def planned(before: GoldBefore, full: bool = False, *span: str) -> set[dt.date] | None:
        first, last = span or (None, None)
        days = foresee(before, full, first, last)
        found = plan(table, places(table), head(2, 5), before, full, first, last).days
        assert days == (None if found is None else sorted(found))
        return found

    assert planned(before) == {JAN_31}
    assert set(asked) == {("a", 3)}
    assert planned(before, True) is None
    assert planned(GoldBefore()) is None
    assert planned(before, False, "2026-01-30", "2026-01-30T08") == {JAN_30, JAN_31}


@pytest.mark.parametrize(
    "tampered",
    [
        silver((JAN_30, "a", 2)),
        silver((JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "x", 9)),
        ibis.union(*[silver((JAN_30, "a", 2), (JAN_31, "a", 3))] * 2),
    ],
    ids=["lost", "gained", "repeated"],
)
def test_gold_is_not_made_from_a_silver_that_was_changed_by_hand(tampered: ir.Table) -> None:
    right = places(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    with pytest.raises(CapstoneError, match="Silver is not as its last commit left it"):
        plan(tampered, right, head(2), GoldBefore(), False, None, None)
