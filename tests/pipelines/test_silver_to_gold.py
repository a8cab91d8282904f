"""Marts follow their declarations, and add up to Silver."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.silver_to_gold.nodes import NOT_INFORMED, aggregate, reconcile
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
            "categoria": categoria,
            "views": views,
        }
        for i, (day, categoria, views) in enumerate(rows)
    ]
    return ibis.memtable(pa.Table.from_pylist(videos, schema=SILVER.to_pyarrow()))


def written(table: ir.Table) -> pa.Table:
    return table.to_pyarrow().replace_schema_metadata({"sha256": "abc"})


def test_a_mart_sums_and_counts_the_videos_of_its_key_in_its_order() -> None:
    table = silver((JAN_31, "b", 1), (JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    assert aggregate(table, MARTS, "gold_by_day").to_pyarrow().to_pylist() == [
        {"data_postagem": JAN_30, "categoria": "a", "total_views": 2, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "a", "total_views": 3, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "b", "total_views": 5, "total_videos": 2},
    ]


def test_videos_without_the_key_are_counted_under_a_name_of_their_own() -> None:
    (row,) = aggregate(silver((JAN_30, None, 7)), MARTS, "gold_by_day").to_pyarrow().to_pylist()
    assert (row["categoria"], row["total_views"]) == (NOT_INFORMED, 7)


def test_no_videos_make_an_empty_mart() -> None:
    table = aggregate(silver(), MARTS, "gold_by_day").to_pyarrow()
    assert (table.num_rows, table.column_names[:2]) == (0, ["data_postagem", "categoria"])


def test_the_manifest_holds_rows_totals_and_digest() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    manifest = reconcile(table, MARTS, written(aggregate(table, MARTS, "gold_by_day")))
    assert manifest["silver_rows"] == 2
    assert manifest["marts"]["gold_by_day"] == {
        "key": ["data_postagem", "categoria"],
        "measures": ["total_views", "total_videos"],
        "rows": 2,
        "totals": {"total_views": 5, "total_videos": 2},
        "sha256": "abc",
    }


def test_a_mart_that_lost_a_row_does_not_reconcile() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    short = written(aggregate(table, MARTS, "gold_by_day")).slice(1)
    with pytest.raises(CapstoneError, match="gold_by_day does not add up to Silver"):
        reconcile(table, MARTS, short)


@pytest.mark.parametrize("views", [2**62, 2**63 - 1])
def test_a_sum_is_exact_to_the_last_unit(views: int) -> None:
    table = silver((JAN_30, "a", views), (JAN_31, "a", -views + 1))
    rows: list[dict[str, Any]] = aggregate(table, MARTS, "gold_by_day").to_pyarrow().to_pylist()
    assert [row["total_views"] for row in rows] == [views, -views + 1]
