from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest
from kedro.io import DatasetError

from capstone_metrics.changes import FORMAT, PartitionOverwrite, SilverUpdate
from capstone_metrics.lake import SilverDataset, SilverTableDataset
from capstone_metrics.lake.silver import layouts_of, receipt_key
from capstone_metrics.lake.transaction import SILVER, Transaction
from capstone_metrics.storage.folder import Folder
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from capstone_metrics.changes import SilverSnapshot

MORNING = "fonte=x/janela=2026-01-31T08/a.jsonl"
EVENING = "fonte=x/janela=2026-01-31T20/a b=ç.jsonl"
HEAD = {"format": FORMAT, "origin": "o"}
REJECTED = {
    "fonte": "x",
    "janela": "2026-01-31T08",
    "lote": "a",
    "objeto": MORNING,
    "linha": 1,
    "regras": ["views.missing"],
    "texto": "{}",
}


def silver(root: Path, **options: Any) -> SilverDataset:
    return SilverDataset(path=str(root), engine="duckdb", **options)


def video(name: str, day: int = 31, **values: Any) -> dict[str, Any]:
    """Return a row of Silver that has only a key."""
    return {
        "video_id": name,
        "rede_social": "a b",
        "data_postagem": dt.date(2026, 1, day),
        **values,
    }


def overwrite(
    table: str, rows: Iterable[Mapping[str, Any]], partitions: list[tuple[str, ...]] | None = None
) -> PartitionOverwrite:
    """Return the overwrite of some partitions of a table, or of all."""
    schema = layouts_of()[table].schema
    full = [dict.fromkeys(schema) | dict(row) for row in rows]
    return PartitionOverwrite(
        ibis.memtable(pa.Table.from_pylist(full, schema=schema.to_pyarrow())), partitions
    )


def update_of(
    base: SilverSnapshot, *names: str, head: Mapping[str, Any] = HEAD, **tables: PartitionOverwrite
) -> SilverUpdate:
    """Return the update of a Silver by overwrites, with the receipts of some objects."""
    receipts = {name: {"object": name, "é": 2**60} for name in names}
    return SilverUpdate(base, tables, receipts, {**head, "generation": base.generation + 1})


def save(root: Path, *names: str, **tables: PartitionOverwrite) -> SilverDataset:
    """Commit an update as a run does; return the dataset that saved it."""
    dataset = silver(root)
    dataset.save(update_of(dataset.load(), *names, **tables))
    return dataset


def rows_of(snapshot: SilverSnapshot, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = snapshot.tables[table].to_pyarrow().to_pylist()
    return sorted(
        ({name: value for name, value in row.items() if value is not None} for row in rows),
        key=repr,
    )


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file of the lake, and when it was written."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def test_without_a_commit_silver_is_empty(tmp_path: Path) -> None:
    snapshot = silver(tmp_path).load()
    assert (snapshot.generation, snapshot.head, snapshot.merged_objects()) == (0, {}, set())
    for name, layout in layouts_of().items():
        table = snapshot.tables[name].to_pyarrow()
        assert (table.num_rows, table.schema) == (0, layout.schema.to_pyarrow())
    assert list(tmp_path.iterdir()) == []


def test_silver_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    index = {"shard": "f", "video_id": "v1", "rede_social": "a b"}
    tables: dict[str, list[dict[str, Any]]] = {
        "criacao": [video("v2", 30), video("v1", views=1)],
        "quarentena": [REJECTED],
        "provenance": [video("v1", objeto=MORNING, linha=7)],
        "video_index": [index],
    }
    save(tmp_path, MORNING, **{name: overwrite(name, rows) for name, rows in tables.items()})
    snapshot = silver(tmp_path).load()
    assert (snapshot.generation, snapshot.head) == (1, {**HEAD, "generation": 1})
    assert {name: rows_of(snapshot, name) for name in tables} == tables
    assert silver(tmp_path).addresses(snapshot) == {
        name: str(tmp_path / name.replace("_", "/", 1))
        for name in ("silver_criacao", "silver_observacao_dia")
    }


def test_receipts_come_back_by_the_name_of_their_object(tmp_path: Path) -> None:
    save(tmp_path, EVENING)
    before = files(tmp_path)[receipt_key(EVENING)]
    save(tmp_path, MORNING)
    (tmp_path / "silver/receipts/.DS_Store").write_bytes(b"\x00")
    snapshot = silver(tmp_path).load()
    assert snapshot.merged_objects() == {MORNING, EVENING}
    assert snapshot.receipts([EVENING]) == {EVENING: {"object": EVENING, "é": 2**60}}
    assert list(snapshot.receipts(snapshot.merged_objects())) == [MORNING, EVENING]
    assert files(tmp_path)[receipt_key(EVENING)] == before
    path = tmp_path / "silver/receipts/fonte=x/janela=2026-01-31T20/a b=ç.json"
    assert '"é"' in path.read_text()


def test_a_receipt_that_someone_broke_is_named_with_what_to_do(tmp_path: Path) -> None:
    save(tmp_path, MORNING)
    (tmp_path / receipt_key(MORNING)).write_bytes(b"{")
    snapshot = silver(tmp_path).load()
    assert snapshot.merged_objects() == {MORNING}
    with pytest.raises(Exception, match=r"a\.json: is not valid JSON .*params=full=true"):
        snapshot.receipts([MORNING])


def test_a_save_reports_what_it_wrote_to_the_tables_that_users_read(tmp_path: Path) -> None:
    stats = save(
        tmp_path,
        criacao=overwrite("criacao", [video("v1"), video("v2", 30)]),
        provenance=overwrite("provenance", [video("v1")]),
    ).write_stats
    assert stats == {
        "silver_criacao": WriteStats(rows=2, files=2),
        "silver_observacao_dia": WriteStats(),
        "silver_quarentena": WriteStats(),
    }
    gone = overwrite("criacao", [], [("a b", "2026-01-30")])
    assert save(tmp_path, criacao=gone).write_stats["silver_criacao"] == WriteStats(removed=1)
    assert rows_of(silver(tmp_path).load(), "criacao") == [video("v1")]


def test_a_rebuild_deletes_the_receipts_of_objects_that_are_gone(tmp_path: Path) -> None:
    whole = overwrite("criacao", [video("v1")])
    save(tmp_path, MORNING, EVENING, criacao=whole)
    part = overwrite("criacao", [video("v1", views=1)], [("a b", "2026-01-31")])
    save(tmp_path, MORNING, criacao=part)
    assert silver(tmp_path).load().merged_objects() == {MORNING, EVENING}
    update = update_of(silver(tmp_path).load(), EVENING, criacao=whole)
    plan = silver(tmp_path, plan=True)
    plan.save(update)
    silver(tmp_path).save(update)
    assert silver(tmp_path).load().merged_objects() == plan.load().merged_objects() == {EVENING}


def test_an_update_without_changes_commits_nothing(tmp_path: Path) -> None:
    save(tmp_path, MORNING, criacao=overwrite("criacao", [video("v1")]))
    before = files(tmp_path)
    snapshot = silver(tmp_path).load()
    silver(tmp_path).save(SilverUpdate(snapshot, {}, {}, snapshot.head))
    assert files(tmp_path) == before


def test_a_failed_save_leaves_silver_as_it_was(tmp_path: Path) -> None:
    save(tmp_path, MORNING, criacao=overwrite("criacao", [video("v1")]))
    before = files(tmp_path)
    new = update_of(silver(tmp_path).load(), EVENING, criacao=overwrite("criacao", [video("v2")]))
    broken = SilverUpdate(new.base, {**new.overwrites, "no table": new}, {}, {})  # type: ignore[dict-item]
    with pytest.raises(DatasetError, match="no table"):
        silver(tmp_path).save(broken)
    assert files(tmp_path) == before


def test_a_run_that_commits_in_between_is_noticed(tmp_path: Path) -> None:
    dataset = silver(tmp_path)
    snapshot = dataset.load()
    another = Transaction(Folder(tmp_path), SILVER, 0)
    another.write(receipt_key(MORNING), b"{}")
    another.commit({})
    another.discard()
    before = files(tmp_path)
    with pytest.raises(DatasetError, match="Another run changed silver"):
        dataset.save(update_of(snapshot, MORNING, EVENING))
    assert files(tmp_path) == before
    assert silver(tmp_path).load().merged_objects() == {MORNING}


def test_a_load_writes_nothing_and_recovery_finishes_the_commit_of_a_dead_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, MORNING)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "promote", lambda *_: 1 / 0)
        with pytest.raises(DatasetError, match="division"):
            save(tmp_path, EVENING)
    before = files(tmp_path)
    assert silver(tmp_path).load().merged_objects() == {MORNING}
    assert files(tmp_path) == before
    silver(tmp_path).recover()
    snapshot = silver(tmp_path).load()
    assert (snapshot.generation, snapshot.merged_objects()) == (2, {MORNING, EVENING})


def test_the_days_that_changed_are_those_of_the_commits_since(tmp_path: Path) -> None:
    for generation, days in enumerate(([1, 2], [1, 3], [1, 4]), 1):
        name = f"fonte=x/janela=2026-01-31T08/data_postagem=2026-01-25 {generation}.jsonl"
        rows = [video("v", day) for day in days]
        observed = [{"data_observacao": dt.date(2026, 1, 10 * generation), "video_id": "v"}]
        save(
            tmp_path,
            name,
            criacao=overwrite("criacao", rows),
            observacao_dia=overwrite("observacao_dia", observed, [(f"2026-01-{generation}0",)]),
        )
    since = silver(tmp_path).load().days_changed_since
    days_after = {at: since("o", at) or {} for at in range(4)}
    assert {at: {day.day for day in days["criacao"]} for at, days in days_after.items()} == {
        0: {1, 2, 3, 4},
        1: {2, 3, 4},
        2: {3, 4},
        3: set(),
    }
    assert {at: {day.day for day in days["observacao_dia"]} for at, days in days_after.items()} == {
        0: {10, 20, 30},
        1: {20, 30},
        2: {30},
        3: set(),
    }
    assert since("o", 4) is None
    assert since("another Silver", 3) is None
    assert since(None, 0) is None
    (tmp_path / "silver/commits/00000002.json").unlink()
    assert since("o", 0) is None
    assert (since("o", 2) or {})["criacao"] == {dt.date(2026, 1, 3), dt.date(2026, 1, 4)}


def test_the_indexes_of_the_first_format_are_deleted(tmp_path: Path) -> None:
    old = Transaction(Folder(tmp_path), SILVER, 0)
    keys = ("silver/places/rede_social=x/data_postagem=2026-01-31/part-0.index",
            "silver/locator/shard=0/part-0.index")  # fmt: skip
    for key in keys:
        old.write(key, b"old")
    old.commit({"origin": "o"})
    save(tmp_path, MORNING, criacao=overwrite("criacao", [video("v1")]))
    assert not [key for key in files(tmp_path) if key.startswith(("silver/places", "silver/loc"))]
    assert json.loads((tmp_path / "silver/head.json").read_text())["format"] == FORMAT


def test_a_plan_holds_a_save_in_memory_for_the_loads_after_it(tmp_path: Path) -> None:
    save(tmp_path, MORNING, criacao=overwrite("criacao", [video("v1"), video("v2", 30)]))
    before = files(tmp_path)
    changes = {
        "criacao": overwrite("criacao", [video("v1", views=1)], [("a b", "2026-01-31")]),
        "quarentena": overwrite("quarentena", [REJECTED], [("x", "2026-01-31T20", "a b=ç")]),
    }
    plan = silver(tmp_path, plan=True)
    plan.save(update_of(plan.load(), EVENING, **changes))
    assert files(tmp_path) == before
    assert plan.write_stats == {
        "silver_criacao": WriteStats(rows=1, removed=1),
        "silver_observacao_dia": WriteStats(),
        "silver_quarentena": WriteStats(rows=1),
    }
    assert plan.write_stats["silver_criacao"].days == (dt.date(2026, 1, 31),)
    planned = plan.load()
    rows = {table: rows_of(planned, table) for table in changes}
    merged = planned.merged_objects()
    days = [planned.days_changed_since("o", generation) for generation in (0, 1)]

    save(tmp_path, EVENING, **changes)
    stored = silver(tmp_path).load()
    assert (planned.generation, planned.head) == (stored.generation, stored.head)
    assert rows == {table: rows_of(stored, table) for table in changes}
    assert merged == stored.merged_objects()
    assert days == [stored.days_changed_since("o", generation) for generation in (0, 1)]


def test_a_table_is_loaded_to_explore_it(tmp_path: Path) -> None:
    table = SilverTableDataset(path=str(tmp_path), engine="duckdb", table="criacao")
    assert not table.exists()
    save(tmp_path, criacao=overwrite("criacao", [video("v1")]))
    assert table.exists()
    assert table.load().to_pyarrow()["video_id"].to_pylist() == ["v1"]
    with pytest.raises(DatasetError, match="is saved with all of Silver"):
        table.save("x")  # type: ignore[arg-type]
