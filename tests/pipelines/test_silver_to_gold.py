"""Marts follow their declarations, and add up to Silver."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest

from capstone_metrics.changes import GoldSnapshot, MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.silver_to_gold.nodes import (
    NOT_INFORMED,
    RebuildScope,
    aggregate,
    dry_run,
    find_rebuild_scope,
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


def provenance(table: ir.Table) -> ir.Table:
    return table.select("rede_social", "data_postagem", "video_id")


def written(table: ir.Table) -> pa.Table:
    return table.to_pyarrow().replace_schema_metadata({"sha256": "abc"})


def file(table: pa.Table) -> MartFile:
    return MartFile(lambda: b"", lambda: "", lambda: table)


def head(rows: int, generation: int = 1) -> dict[str, Any]:
    return {"origin": "a", "generation": generation, "total": {"current": rows}}


def scope_of(
    table: ir.Table,
    before: GoldSnapshot | None = None,
    marts: dict[str, Any] = MARTS,
    **options: Any,
) -> RebuildScope:
    """Return the rebuild scope of a run on this Silver."""
    options = {"full": False, "first": None, "last": None, **options}
    rows = table.count().to_pyarrow().as_py()
    deferred = (lambda: table), (lambda: provenance(table))
    return find_rebuild_scope(*deferred, head(rows, 2), before or GoldSnapshot(), marts, **options)


def after(table: ir.Table, *days: dt.date, marts: dict[str, Any] = MARTS) -> GoldSnapshot:
    """Gold of this Silver, of which these days changed since."""
    first = scope_of(table, marts=marts)
    mart = written(aggregate(first, marts, "gold_by_day"))
    manifest = reconcile(first, marts, file(mart))
    return GoldSnapshot(manifest, {"gold_by_day": mart}, lambda *_: set(days))


def mart_rows(scope: RebuildScope, marts: dict[str, Any] = MARTS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = aggregate(scope, marts, "gold_by_day").to_pyarrow().to_pylist()
    return rows


def test_a_mart_sums_and_counts_the_videos_of_its_key_in_its_order() -> None:
    table = silver((JAN_31, "b", 1), (JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    assert mart_rows(scope_of(table)) == [
        {"data_postagem": JAN_30, "categoria": "a", "total_views": 2, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "a", "total_views": 3, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "b", "total_views": 5, "total_videos": 2},
    ]


def test_videos_without_the_key_are_counted_under_a_name_of_their_own() -> None:
    (row,) = mart_rows(scope_of(silver((JAN_30, None, 7))))
    assert (row["categoria"], row["total_views"]) == (NOT_INFORMED, 7)


def test_no_videos_make_an_empty_mart() -> None:
    table = aggregate(scope_of(silver()), MARTS, "gold_by_day").to_pyarrow()
    assert (table.num_rows, table.column_names[:2]) == (0, ["data_postagem", "categoria"])


@pytest.mark.parametrize("views", [2**62, 2**63 - 1])
def test_a_sum_is_exact_to_the_last_unit(views: int) -> None:
    table = silver((JAN_30, "a", views), (JAN_31, "a", -views + 1))
    assert [row["total_views"] for row in mart_rows(scope_of(table))] == [views, -views + 1]


def test_only_the_days_that_changed_are_rebuilt() -> None:
    before = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)), JAN_31)
    mart = mart_rows(scope_of(silver((JAN_30, "a", 999), (JAN_31, "b", 4)), before))
    assert [(row["data_postagem"], row["total_views"]) for row in mart] == [
        (JAN_30, 2),
        (JAN_31, 4),
    ]


@pytest.mark.parametrize("key", [["data_postagem"], ["categoria"]])
def test_a_mart_whose_declaration_changed_is_rebuilt_in_full(key: list[str]) -> None:
    before = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": key}}
    mart = mart_rows(scope_of(silver((JAN_30, "a", 9)), before, marts), marts)
    assert [row["total_views"] for row in mart] == [9]


def test_a_mart_that_is_not_by_day_is_rebuilt_in_full_once_a_day_changed() -> None:
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": ["categoria"]}}
    table, more = silver((JAN_30, "a", 2)), silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    same = scope_of(more, after(table, marts=marts), marts)
    assert (same.days, [row["total_views"] for row in mart_rows(same, marts)]) == (set(), [2])
    changed = scope_of(more, after(table, JAN_31, marts=marts), marts)
    assert (changed.days, [row["total_views"] for row in mart_rows(changed, marts)]) == (None, [5])


def test_the_manifest_has_rows_totals_and_digest() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    scope = scope_of(table)
    manifest = reconcile(scope, MARTS, file(written(aggregate(scope, MARTS, "gold_by_day"))))
    assert (manifest["generation"], manifest["silver_rows"]) == (1, 2)
    assert manifest["marts"]["gold_by_day"] == {
        "key": ["data_postagem", "categoria"],
        "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "video_id"}},
        "rows": 2,
        "totals": {"total_views": 5, "total_videos": 2},
        "sha256": "abc",
    }


def test_a_mart_without_one_of_its_rows_does_not_reconcile() -> None:
    scope = scope_of(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    short = written(aggregate(scope, MARTS, "gold_by_day")).slice(1)
    with pytest.raises(CapstoneError, match="gold_by_day does not add up to Silver"):
        reconcile(scope, MARTS, file(short))


def test_a_changed_day_without_one_of_its_rows_does_not_reconcile() -> None:
    before = after(silver((JAN_30, "a", 2), (JAN_31, "a", 3)), JAN_31)
    scope = scope_of(silver((JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4)), before)
    mart = written(aggregate(scope, MARTS, "gold_by_day"))
    assert reconcile(scope, MARTS, file(mart))["marts"]["gold_by_day"]["rows"] == 3
    with pytest.raises(CapstoneError, match="does not add up"):
        reconcile(scope, MARTS, file(mart.slice(0, 2)))


def test_gold_is_planned_by_the_days_that_changed() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    calls: list[tuple[str | None, int]] = []
    known = after(table, JAN_31)
    before = replace(known, days_changed_since=lambda *since: calls.append(since) or {JAN_31})

    def days(before: GoldSnapshot, **options: Any) -> set[dt.date] | None:
        predicted = dry_run(before, **{"full": False, "first": None, "last": None, **options})
        rebuilt = scope_of(table, before, **options).days
        assert predicted == (None if rebuilt is None else sorted(rebuilt))
        return rebuilt

    assert days(before) == {JAN_31}
    assert set(calls) == {("a", 2)}
    assert days(before, full=True) is None
    assert days(GoldSnapshot()) is None
    assert days(before, first="2026-01-30", last="2026-01-30T08") == {JAN_30, JAN_31}


def test_nothing_of_silver_is_read_if_no_day_changed() -> None:
    table = silver((JAN_30, "a", 2))
    unread = find_rebuild_scope(
        *[lambda: 1 / 0] * 2, head(1, 2), after(table), MARTS, False, None, None
    )
    assert unread.days == set()
    assert [row["total_views"] for row in mart_rows(unread)] == [2]


@pytest.mark.parametrize(
    "tampered",
    [
        silver((JAN_30, "a", 2)),
        silver((JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "x", 9)),
        ibis.union(*[silver((JAN_30, "a", 2), (JAN_31, "a", 3))] * 2),
    ],
    ids=["lost", "gained", "repeated"],
)
def test_gold_is_not_built_from_an_edited_silver(tampered: ir.Table) -> None:
    right = provenance(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    with pytest.raises(CapstoneError, match="Silver is not as its last commit left it"):
        find_rebuild_scope(
            lambda: tampered, lambda: right, head(2), GoldSnapshot(), MARTS, False, None, None
        )
