"""Marts follow their declarations, and add up to Silver."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest

from capstone_metrics.changes import GoldSnapshot
from capstone_metrics.errors import CapstoneError
from capstone_metrics.facts import changed_days
from capstone_metrics.gold_csv import read_csv, to_csv
from capstone_metrics.mart_declarations import marts_in, marts_of
from capstone_metrics.marts import CRIACAO, Basis
from capstone_metrics.pipelines.silver_to_gold.build import build_marts, reconcile
from capstone_metrics.pipelines.silver_to_gold.check import check_gold, enforce_quality
from capstone_metrics.pipelines.silver_to_gold.scope import RebuildScope, find_rebuild_scope
from capstone_metrics.schemas import DAYS, silver_tables
from capstone_metrics.validation.silver import SILVER
from capstone_metrics.wide_sums import NOT_INFORMED
from tests.pipelines.conftest import silver_snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import ibis.expr.types as ir

    from capstone_metrics.changes import GoldUpdate, SilverSnapshot

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
    return ibis.memtable(
        pa.Table.from_pylist(videos, schema=silver_tables(SILVER)["criacao"].to_pyarrow())
    )


def snapshot(
    table: ir.Table,
    *changed: dt.date,
    committed: ir.Table | None = None,
    findings: Sequence[Mapping[str, Any]] = (),
) -> SilverSnapshot:
    """Return the second commit of Silver; the days that it changed are given.

    Args:
        table: the rows.
        changed: the days.
        committed: the rows that were committed, if the table was edited since.
        findings: the findings of its head.
    """
    rows = table if committed is None else committed
    head = {
        "origin": "a",
        "generation": 2,
        "total": {"current": rows.count().to_pyarrow().as_py()},
        "findings": list(findings),
    }
    tables = {
        "criacao": table,
        "provenance": rows.select("rede_social", "video_id", "data_postagem"),
    }
    return silver_snapshot(
        tables,
        head,
        changed=lambda origin, _: {"criacao": set(changed)} if origin == "a" else None,
    )


def scope_of(
    silver: SilverSnapshot,
    gold: GoldSnapshot | None = None,
    marts: dict[str, Any] = MARTS,
    **options: Any,
) -> RebuildScope:
    """Return the rebuild scope of a run on this Silver."""
    options = {"full": False, "first": None, "last": None, **options}
    return find_rebuild_scope(silver, gold or GoldSnapshot(), marts, {}, **options)


def update_of(scope: RebuildScope, marts: dict[str, Any] = MARTS) -> GoldUpdate:
    """Build and reconcile all marts."""
    return reconcile(scope, build_marts(scope))


def committed(update: GoldUpdate) -> GoldSnapshot:
    """Return Gold after an update, as its dataset loads it."""
    marts = marts_in(update.manifest)
    tables = {name: read_csv(file, marts[name].types) for name, file in update.files.items()}
    return GoldSnapshot(update.manifest["generation"], update.manifest, {}, tables)


def gold_of(table: ir.Table, marts: dict[str, Any] = MARTS) -> GoldSnapshot:
    """Return the Gold of this Silver."""
    return committed(update_of(scope_of(snapshot(table), marts=marts), marts))


def days_of(scope: RebuildScope) -> set[dt.date] | None:
    """Return the days that are rebuilt."""
    return scope.facts[CRIACAO].days


def mart_rows(scope: RebuildScope, marts: dict[str, Any] = MARTS) -> list[dict[str, Any]]:
    name = "gold_by_day"
    rows: list[dict[str, Any]] = read_csv(
        build_marts(scope)[name], marts_of(marts)[name].types
    ).to_pylist()
    return rows


def test_a_mart_sums_and_counts_the_videos_of_its_key_in_its_order() -> None:
    table = silver((JAN_31, "b", 1), (JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    assert mart_rows(scope_of(snapshot(table))) == [
        {"data_postagem": JAN_30, "categoria": "a", "total_views": 2, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "a", "total_views": 3, "total_videos": 1},
        {"data_postagem": JAN_31, "categoria": "b", "total_views": 5, "total_videos": 2},
    ]


def test_videos_without_the_key_are_counted_under_a_name_of_their_own() -> None:
    (row,) = mart_rows(scope_of(snapshot(silver((JAN_30, None, 7)))))
    assert (row["categoria"], row["total_views"]) == (NOT_INFORMED, 7)


def test_the_videos_without_a_number_count_under_a_key_of_their_own() -> None:
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": ["duracao_seg"]}}
    table = silver((JAN_30, "a", 3), (JAN_31, "a", 4))
    assert mart_rows(scope_of(snapshot(table), marts=marts), marts) == [
        {"duracao_seg": -1, "total_views": 7, "total_videos": 2}
    ]


def test_measures_that_do_not_add_up_are_those_of_the_rows_and_have_no_total() -> None:
    marts = {
        "gold_by_day": {
            "key": ["categoria"],
            "measures": {
                "peak": {"max": "views"},
                "rate": {"ratio": ["likes", "views"]},
                "share": {"ratio": ["views", "likes"]},
                "likes_now": {"last": "likes"},
            },
        }
    }
    early, late = (dt.datetime(2026, 1, 31, hour, tzinfo=dt.UTC) for hour in (11, 23))
    rows = [
        {"categoria": "a", "views": 3, "likes": 1, "ingestion_ts": early},
        {"categoria": "a", "views": 4, "likes": 1, "ingestion_ts": late},
        {"categoria": "a", "views": 2, "likes": None, "ingestion_ts": late},
        {"categoria": "b", "views": 0, "likes": 0, "ingestion_ts": late},
        {"categoria": "c", "views": 2**63 - 1, "likes": None, "ingestion_ts": early},
        {"categoria": "d", "views": 2**63 - 1, "likes": 8, "ingestion_ts": late},
        {"categoria": "d", "views": 2**63 - 1, "likes": 9, "ingestion_ts": late},
    ]
    schema = silver_tables(SILVER)["criacao"].to_pyarrow()
    videos = [
        {**dict.fromkeys(SILVER), "video_id": str(n), "rede_social": "x", "data_postagem": JAN_31}
        | row
        for n, row in enumerate(rows)
    ]
    silver = snapshot(ibis.memtable(pa.Table.from_pylist(videos, schema=schema)))
    update = update_of(scope_of(silver, marts=marts), marts)
    assert update.files["gold_by_day"].decode() == (
        "categoria,peak,rate,share,likes_now\n"
        "a,4,0.222222,4.500000,1\n"
        "b,0,,,0\n"
        "c,9223372036854775807,,,\n"
        "d,9223372036854775807,0.000000,1085102592571150094.941176,9\n"
    )
    assert update.manifest["marts"]["gold_by_day"]["totals"] == {}


def test_no_videos_make_an_empty_mart() -> None:
    content = build_marts(scope_of(snapshot(silver())))["gold_by_day"]
    assert content == b"data_postagem,categoria,total_views,total_videos\n"


@pytest.mark.parametrize("views", [2**62, 2**63 - 1])
def test_a_sum_is_exact_to_the_last_unit(views: int) -> None:
    scope = scope_of(snapshot(silver((JAN_30, "a", views), (JAN_31, "a", -views + 1))))
    assert [row["total_views"] for row in mart_rows(scope)] == [views, -views + 1]


def test_no_table_is_read_where_no_day_changed() -> None:
    """To read one starts the engine, which takes half a second."""
    bases = [Basis(), Basis("observacao_dia"), Basis("observacao_dia", 7), Basis("video")]
    none: set[dt.date] = set()
    assert changed_days(bases, dict.fromkeys(DAYS, none), {}) == dict.fromkeys(bases, none)


def test_only_the_days_that_changed_are_rebuilt() -> None:
    gold = gold_of(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    changed = snapshot(silver((JAN_30, "a", 999), (JAN_31, "b", 4)), JAN_31)
    assert [
        (row["data_postagem"], row["total_views"]) for row in mart_rows(scope_of(changed, gold))
    ] == [
        (JAN_30, 2),
        (JAN_31, 4),
    ]


@pytest.mark.parametrize("key", [["data_postagem"], ["categoria"]])
def test_a_mart_whose_declaration_changed_is_rebuilt_in_full(key: list[str]) -> None:
    gold = gold_of(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": key}}
    scope = scope_of(snapshot(silver((JAN_30, "a", 9))), gold, marts)
    assert [row["total_views"] for row in mart_rows(scope, marts)] == [9]


def test_a_mart_that_is_not_by_day_is_rebuilt_in_full_once_a_day_changed() -> None:
    marts = {"gold_by_day": {**MARTS["gold_by_day"], "key": ["categoria"]}}
    more = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    gold = gold_of(silver((JAN_30, "a", 2)), marts)
    same = scope_of(snapshot(more), gold, marts)
    assert (days_of(same), [row["total_views"] for row in mart_rows(same, marts)]) == (set(), [2])
    changed = scope_of(snapshot(more, JAN_31), gold, marts)
    assert (days_of(changed), [row["total_views"] for row in mart_rows(changed, marts)]) == (
        None,
        [5],
    )


def test_a_mart_whose_file_was_lost_or_edited_is_rebuilt_in_full() -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    gold = gold_of(table)
    lost = replace(gold, tables={"gold_by_day": None})
    assert days_of(scope_of(snapshot(table), gold)) == set()
    scope = scope_of(snapshot(table), lost)
    assert days_of(scope) is None
    assert update_of(scope).files["gold_by_day"] == to_csv(gold.tables["gold_by_day"])


def test_the_manifest_has_rows_totals_and_digest() -> None:
    scope = scope_of(snapshot(silver((JAN_30, "a", 2), (JAN_31, "a", 3))))
    update = update_of(scope)
    assert (update.manifest["generation"], update.manifest["silver_rows"]) == (1, 2)
    assert update.manifest["marts"]["gold_by_day"] == {
        "from": "criacao",
        "key": ["data_postagem", "categoria"],
        "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "video_id"}},
        "rows": 2,
        "totals": {"total_views": 5, "total_videos": 2},
        "sha256": hashlib.sha256(update.files["gold_by_day"]).hexdigest(),
    }


def test_a_gold_that_stays_the_same_keeps_its_generation() -> None:
    table = silver((JAN_30, "a", 2))
    gold = gold_of(table)
    assert update_of(scope_of(snapshot(table), gold)).manifest == gold.manifest
    changed = update_of(scope_of(snapshot(silver((JAN_30, "a", 3)), JAN_30), gold))
    assert changed.manifest["generation"] == 2
    lost = replace(gold, tables={"gold_by_day": None})
    assert update_of(scope_of(snapshot(table), lost)).manifest["generation"] == 2


def without_last_row(scope: RebuildScope) -> dict[str, bytes]:
    content = build_marts(scope)["gold_by_day"]
    return {"gold_by_day": b"".join(content.splitlines(keepends=True)[:-1])}


def test_a_mart_without_one_of_its_rows_does_not_reconcile() -> None:
    scope = scope_of(snapshot(silver((JAN_30, "a", 2), (JAN_31, "a", 3))))
    with pytest.raises(CapstoneError, match="gold_by_day does not add up to Silver"):
        reconcile(scope, without_last_row(scope))


def test_a_changed_day_without_one_of_its_rows_does_not_reconcile() -> None:
    gold = gold_of(silver((JAN_30, "a", 2), (JAN_31, "a", 3)))
    more = silver((JAN_30, "a", 2), (JAN_31, "a", 3), (JAN_31, "b", 4))
    scope = scope_of(snapshot(more, JAN_31), gold)
    assert update_of(scope).manifest["marts"]["gold_by_day"]["rows"] == 3
    with pytest.raises(CapstoneError, match="does not add up"):
        reconcile(scope, without_last_row(scope))


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ({}, {JAN_31}),
        ({"full": True}, None),
        ({"first": "2026-01-30", "last": "2026-01-30T08"}, {JAN_30, JAN_31}),
    ],
)
def test_the_days_of_silver_that_changed_and_those_of_a_backfill_are_rebuilt(
    options: dict[str, Any], days: set[dt.date] | None
) -> None:
    table = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    assert days_of(scope_of(snapshot(table, JAN_31), gold_of(table), **options)) == days


def test_without_gold_all_days_are_rebuilt() -> None:
    assert days_of(scope_of(snapshot(silver((JAN_30, "a", 2))))) is None


def test_nothing_of_silver_is_read_if_no_day_changed() -> None:
    table = silver((JAN_30, "a", 2))
    unreadable = replace(snapshot(table), tables={})
    scope = scope_of(unreadable, gold_of(table))
    assert days_of(scope) == set()
    assert [row["total_views"] for row in mart_rows(scope)] == [2]


def test_without_silver_there_is_no_gold() -> None:
    with pytest.raises(CapstoneError, match="There is no Silver to build Gold from"):
        scope_of(silver_snapshot())


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
    right = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    with pytest.raises(CapstoneError, match="Silver is not as its last commit left it"):
        scope_of(snapshot(tampered, committed=right))


FOUND = {"rule": "quarantine_pct", "of": "2026-01-31T08", "said": "so many are in quarantine"}
CHANGE = {"change_pct": {"most": 50, "action": "block"}}


def enforced(
    silver: SilverSnapshot,
    gold: GoldSnapshot | None = None,
    quality: Mapping[str, Any] | None = None,
    *,
    allow_findings: bool = False,
    plan: bool = False,
) -> GoldUpdate:
    """Build Gold, check it, and return what is committed."""
    scope = scope_of(silver, gold)
    update = update_of(scope)
    report = check_gold(update, quality)
    passed = enforce_quality(scope, update, report, allow_findings, plan)
    assert passed is update
    return passed


def test_a_blocking_finding_of_gold_blocks_it_unless_that_is_allowed() -> None:
    gold = gold_of(silver((JAN_30, "a", 2)))
    doubled = snapshot(silver((JAN_30, "a", 4)), JAN_30)
    quality = {"gold": CHANGE}
    message = r"gold_by_day\.total_views went from 2 to 4, .* Gold was not changed.*allow_findings"
    with pytest.raises(CapstoneError, match=message):
        enforced(doubled, gold, quality)
    enforced(doubled, gold, quality, allow_findings=True)
    enforced(doubled, gold, quality, plan=True)
    enforced(doubled, gold, {"gold": {"change_pct": {"most": 50, "action": "warn"}}})
    enforced(doubled, gold, {"gold": {"change_pct": {"most": 100, "action": "block"}}})


def test_names_that_differ_by_case_alone_are_found_in_what_gold_will_have() -> None:
    rule = {"names_by_case": {"action": "block"}}
    alike = silver((JAN_30, "a", 2), (JAN_31, "a", 3))
    enforced(snapshot(alike), quality={"gold": rule})
    gold = gold_of(alike)
    later = snapshot(silver((JAN_30, "a", 2), (JAN_31, "A", 3)), JAN_31)  # only this day is built
    with pytest.raises(CapstoneError, match=r"takes for one: 'A' and 'a'; .* Gold was not changed"):
        enforced(later, gold, {"gold": rule})
    enforced(later, gold, {"gold": {"names_by_case": {"action": "warn"}}})


def test_a_finding_of_silver_blocks_gold_until_one_is_committed_of_that_silver() -> None:
    table = silver((JAN_30, "a", 2))
    found = {**FOUND, "action": "block", "generation": 2}
    suspicious = snapshot(table, findings=[found])
    with pytest.raises(CapstoneError, match=r"^so many are in quarantine\. Gold was not changed"):
        enforced(suspicious)
    with pytest.raises(CapstoneError, match="Gold was not changed"):
        enforced(suspicious, committed_of_generation(1, table))
    allowed = enforced(suspicious, allow_findings=True)
    enforced(suspicious, committed(allowed))
    enforced(snapshot(table, findings=[{**found, "action": "warn"}]))
    enforced(snapshot(table))


def test_a_gold_of_another_silver_has_checked_nothing() -> None:
    table = silver((JAN_30, "a", 2))
    other = committed_of_generation(9, table)
    other.manifest["silver_origin"] = "b"
    with pytest.raises(CapstoneError, match="Gold was not changed"):
        enforced(snapshot(table, findings=[{**FOUND, "action": "block", "generation": 1}]), other)


def committed_of_generation(generation: int, table: ir.Table) -> GoldSnapshot:
    """Return the Gold of a generation of Silver."""
    gold = gold_of(table)
    return replace(gold, manifest={**gold.manifest, "silver_generation": generation})


def test_a_sum_past_64_bits_is_left_out_with_its_day_and_other_days_are_exact() -> None:
    largest = 2**63 - 1
    before = gold_of(silver((JAN_30, "a", 3), (JAN_31, "a", 4)))
    rows = silver(
        (JAN_30, "a", largest), (JAN_30, "a", 1), (JAN_30, "b", 2), (JAN_31, "a", largest)
    )
    update = update_of(scope_of(snapshot(rows, JAN_30, JAN_31), before))
    table = committed(update).tables["gold_by_day"]
    assert table is not None
    assert table.to_pylist() == [
        {"data_postagem": JAN_31, "categoria": "a", "total_views": largest, "total_videos": 1}
    ]
    (left_out,) = update.manifest["overflows"]
    assert left_out == {
        "mart": "gold_by_day",
        "basis": ["criacao", None],
        "key": {"data_postagem": "2026-01-30", "categoria": "a"},
        "measure": "total_views",
        "total": largest + 1,
    }
    # it is left out until its day changes
    later = silver((JAN_30, "a", largest), (JAN_30, "a", 1), (JAN_30, "b", 2), (JAN_31, "a", 5))
    update = update_of(scope_of(snapshot(later, JAN_31), committed(update)))
    assert update.manifest["overflows"] == [left_out]
    mended = silver((JAN_30, "a", 1), (JAN_31, "a", 5))
    update = update_of(scope_of(snapshot(mended, JAN_30), committed(update)))
    assert "overflows" not in update.manifest
    assert update.manifest["marts"]["gold_by_day"]["totals"]["total_views"] == 6


def test_totals_of_all_days_may_be_past_64_bits() -> None:
    largest = 2**63 - 1
    update = update_of(scope_of(snapshot(silver((JAN_30, "a", largest), (JAN_31, "a", largest)))))
    assert "overflows" not in update.manifest
    assert update.manifest["marts"]["gold_by_day"]["totals"]["total_views"] == 2 * largest


def test_a_sum_that_falls_below_64_bits_is_left_out_although_the_total_is_within() -> None:
    largest = 2**63 - 1
    falls = [(JAN_30, "a", -largest), (JAN_30, "a", -2)]
    update = update_of(scope_of(snapshot(silver(*falls, (JAN_31, "a", largest)))))
    (left_out,) = update.manifest["overflows"]
    assert (left_out["key"]["data_postagem"], left_out["total"]) == ("2026-01-30", -largest - 2)
    assert update.manifest["marts"]["gold_by_day"]["totals"]["total_views"] == largest
