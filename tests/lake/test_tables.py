from __future__ import annotations

import datetime as dt
import json
import random
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from capstone_metrics.changes import PartitionOverwrite
from capstone_metrics.lake.silver import FILES, layouts_of
from capstone_metrics.lake.tables import LakeTable
from capstone_metrics.lake.transaction import SILVER as LAYER
from capstone_metrics.lake.transaction import read_head, transaction
from capstone_metrics.schemas import PROVENANCE
from capstone_metrics.storage.folder import Folder
from capstone_metrics.validation.silver import SILVER
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    Partitions = list[tuple[str, ...]] | None

JANUARY = dt.date(2026, 1, 31)
SAMPLE = {
    "faculdade": "ção 😀 \u202e",
    "rede_social": "tiktok",
    "data_postagem": JANUARY,
    "posted_at": dt.datetime.fromisoformat("2026-01-31T20:05:00.000250"),
    "video_id": "v1",
    "titulo_video": 'a"b,\n\x00c',
    "categoria": "",
    "duracao_seg": 12,
    "views": 2**63 - 1,
    "likes": -(2**63),
    "comentarios": 0,
    "engagement_rate": 0.1 + 0.2,
    "leads_estimados": 7,
    "ctr_estimado": -0.0,
    "run_id": " ",
    "ingestion_ts": dt.datetime(2026, 1, 31, 23, 0, 0, 999_999, tzinfo=dt.UTC),
}
REJECTED = {
    "fonte": "x",
    "janela": "2026-01-31T08",
    "lote": "a",
    "objeto": "fonte=x/janela=2026-01-31T08/a.jsonl",
    "linha": 2**40,
    "regras": ["views.missing", "likes.negative"],
    "quando": "2026-01-31T11:00:00Z",
    "texto": '{"a": "\\u0000 \x00 \u2028 ç"}',
    "texto_base64": None,
}


def table(root: Path, name: str) -> LakeTable:
    return LakeTable(Folder(root), layouts_of()[name], "duckdb")


def silver(root: Path) -> LakeTable:
    return table(root, "criacao")


def quarantine(root: Path) -> LakeTable:
    return table(root, "quarentena")


def video(video_id: str, network: str = "tiktok", day: int = 31, **values: Any) -> dict[str, Any]:
    """A row of Silver that has only a key."""
    key = {"video_id": video_id, "rede_social": network, "data_postagem": dt.date(2026, 1, day)}
    return dict.fromkeys(SILVER) | key | values


def overwrite(
    table: LakeTable, rows: Iterable[dict[str, Any]], partitions: Partitions = None
) -> PartitionOverwrite:
    """Return the overwrite of some partitions, or of the whole table, with rows."""
    arrow = pa.Table.from_pylist(list(rows), schema=table.layout.schema.to_pyarrow())
    return PartitionOverwrite(ibis.memtable(arrow), partitions)


def commit(table: LakeTable, new: PartitionOverwrite) -> WriteStats:
    """Stage an overwrite, and commit it."""
    with transaction(table.storage, LAYER, read_head(table.storage, LAYER)[1]) as changes:
        stats = table.stage(new, changes)
        changes.commit({})
    return stats


def save(table: LakeTable, *rows: dict[str, Any], partitions: Partitions = None) -> WriteStats:
    """Commit rows of some partitions, or of the whole table."""
    return commit(table, overwrite(table, rows, partitions))


def load(table: LakeTable) -> list[dict[str, Any]]:
    arrow = table.read().to_pyarrow()
    assert arrow.schema.equals(table.layout.schema.to_pyarrow())
    rows: list[dict[str, Any]] = arrow.to_pylist()
    return sorted(rows, key=repr)


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file of the lake's tables: its bytes and when it was written."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.glob("silver/*/**/*")
        if path.is_file() and path.parent.name != "commits"
    }


def test_silver_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    rows = [SAMPLE, video("v2"), video("v3", network="instagram_reels")]
    save(silver(tmp_path), *rows)
    assert load(silver(tmp_path)) == sorted(rows, key=repr)


def test_a_quarantined_line_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    rows = [REJECTED, REJECTED | {"linha": 2, "texto": None, "texto_base64": "/w=="}]
    save(quarantine(tmp_path), *rows)
    assert load(quarantine(tmp_path)) == sorted(rows, key=repr)
    (path,) = tmp_path.glob("silver/quarentena/**/*.jsonl")
    assert [json.loads(line)["linha"] for line in path.read_text().split("\n")[:-1]] == [2, 2**40]


@pytest.mark.parametrize("name", FILES)
def test_a_table_without_rows_has_its_columns(tmp_path: Path, name: str) -> None:
    assert table(tmp_path, name).keys() == []
    assert load(table(tmp_path, name)) == []
    save(table(tmp_path, name))
    assert load(table(tmp_path, name)) == []


def test_a_table_is_as_its_last_commit_left_it(tmp_path: Path) -> None:
    save(silver(tmp_path), video("v1"))
    before = files(tmp_path)
    with transaction(Folder(tmp_path), LAYER, 1) as changes:
        silver(tmp_path).stage(overwrite(silver(tmp_path), [video("v2", day=30)]), changes)
        assert files(tmp_path) == before
        assert load(silver(tmp_path)) == [video("v1")]
        changes.commit({})
    assert load(silver(tmp_path)) == [video("v2", day=30)]


def test_an_index_comes_back_and_is_no_data_to_other_tools(tmp_path: Path) -> None:
    rows = [
        dict.fromkeys(PROVENANCE)
        | {"rede_social": "tiktok", "data_postagem": JANUARY, "video_id": name, "linha": at}
        for at, name in enumerate(["v1", "v2"])
    ]
    index = table(tmp_path, "provenance")
    assert save(index, *rows) == WriteStats(rows=2, files=1)
    assert load(index) == rows
    assert [path.rpartition("/")[2] for path in files(tmp_path)] == ["part-0.index"]


def test_a_partition_is_a_folder_and_no_column_of_its_file(tmp_path: Path) -> None:
    save(silver(tmp_path), video("v2"), video("v1"), video("v3", day=30))
    folder = tmp_path / "silver/criacao/rede_social=tiktok"
    files = [folder / f"data_postagem=2026-01-{day}/part-0.parquet" for day in (30, 31)]
    assert sorted(tmp_path.glob("silver/criacao/**/*.parquet")) == files
    table = pq.ParquetFile(files[1]).read()
    assert table.column_names == [
        name for name in SILVER if name not in {"rede_social", "data_postagem"}
    ]
    assert table["video_id"].to_pylist() == ["v1", "v2"]


def test_other_tools_read_the_layer_by_its_glob(tmp_path: Path) -> None:
    rows = [video("v1", views=1), video("v2", "youtube_shorts", day=30, views=2)]
    save(silver(tmp_path), *rows)
    save(quarantine(tmp_path), REJECTED)
    expected = [
        ("v1", "tiktok", dt.date(2026, 1, 31), 1),
        ("v2", "youtube_shorts", dt.date(2026, 1, 30), 2),
    ]
    sql = f"""SELECT video_id, rede_social, data_postagem, views
              FROM read_parquet('{tmp_path}/silver/criacao/**/*.parquet', hive_partitioning=true)
              ORDER BY video_id"""
    assert duckdb.sql(sql).fetchall() == expected

    partitioning = pa.schema({"rede_social": pa.string(), "data_postagem": pa.date32()})
    arrow = ds.dataset(
        tmp_path / "silver/criacao", partitioning=ds.partitioning(partitioning, flavor="hive")
    ).to_table(columns=["video_id", "rede_social", "data_postagem", "views"])
    assert [tuple(row.values()) for row in arrow.sort_by("video_id").to_pylist()] == expected


@pytest.mark.parametrize(
    "value",
    [
        "a b",
        "a/b",
        "../../x",
        "..",
        "",
        "a=b",
        "a%2Fb",
        "ção 😀",
        "a'b\"c",
        "*?[x]{y}",
        "007",
        "1e3",
        "true",
        "2026-01-31",
        "a\nb\\c",
        "a#b&c+d",
    ],
)
def test_a_partition_of_any_name_comes_back(tmp_path: Path, value: str) -> None:
    for each, row in (
        (silver(tmp_path / "lake"), SAMPLE | {"rede_social": value}),
        (quarantine(tmp_path / "lake"), REJECTED | {"lote": value}),
    ):
        save(each, row)
        assert load(each) == [row]
    assert [path.name for path in tmp_path.iterdir()] == ["lake"]
    parts = [name.split("/") for name in files(tmp_path / "lake")]
    assert sorted((part[1], len(part)) for part in parts) == [("criacao", 5), ("quarentena", 6)]


@pytest.mark.parametrize("value", ["a/b", "..", "ção 😀", "a%2Fb", "a=b"])
def test_a_partition_of_any_name_is_changed_by_its_name(tmp_path: Path, value: str) -> None:
    rows = [video("v1", value), video("v2")]
    save(silver(tmp_path), *rows)
    assert save(silver(tmp_path), partitions=[(value, "2026-01-31")]) == WriteStats(removed=1)
    assert load(silver(tmp_path)) == [video("v2")]


@pytest.mark.parametrize("value", ["null", "NULL", "__HIVE_DEFAULT_PARTITION__"])
def test_a_partition_named_as_a_null_comes_back(tmp_path: Path, value: str) -> None:
    save(quarantine(tmp_path), REJECTED | {"lote": value})
    assert load(quarantine(tmp_path)) == [REJECTED | {"lote": value}]


def test_a_quarantined_line_may_be_very_long(tmp_path: Path) -> None:
    row = REJECTED | {"texto": "x" * 35_000_000}
    save(quarantine(tmp_path), row)
    assert load(quarantine(tmp_path)) == [row]


def test_the_order_of_rows_makes_no_difference(tmp_path: Path) -> None:
    rows = [video(f"v{at}", network, day) for at in range(9) for network in "ab" for day in (1, 2)]
    save(silver(tmp_path), *rows)
    before = files(tmp_path)
    random.Random(0).shuffle(rows)
    assert save(silver(tmp_path), *rows) == WriteStats()
    assert files(tmp_path) == before


def test_a_save_writes_only_the_partitions_that_differ(tmp_path: Path) -> None:
    rows = [video("v1", day=1), video("v2", day=2), video("v3", day=3)]
    assert save(silver(tmp_path), *rows) == WriteStats(rows=3, files=3)
    before = files(tmp_path)

    changed = [video("v1", day=1), video("v2", day=2, views=1), video("v4", day=2)]
    assert save(silver(tmp_path), *changed) == WriteStats(rows=2, files=1, removed=1)
    after = files(tmp_path)
    first, second = (
        f"silver/criacao/rede_social=tiktok/data_postagem=2026-01-0{day}/part-0.parquet"
        for day in (1, 2)
    )
    assert sorted(after) == [first, second]
    assert after[first] == before[first]
    assert after[second] != before[second]
    assert load(silver(tmp_path)) == sorted(changed, key=repr)
    assert not (tmp_path / "silver/criacao/rede_social=tiktok/data_postagem=2026-01-03").exists()


def test_a_change_touches_only_the_partitions_that_it_names(tmp_path: Path) -> None:
    unchanged = [video("v1", day=1), video("v2", "instagram_reels", day=2)]
    save(silver(tmp_path), *unchanged, video("v3", day=2), video("v4", day=3))
    before = files(tmp_path)

    new = [video("v3", day=2, views=1), video("v5", day=4)]
    named: list[tuple[str, ...]] = [("tiktok", f"2026-01-0{day}") for day in (2, 3, 4, 5)]
    assert save(silver(tmp_path), *new, partitions=named) == WriteStats(rows=2, files=2, removed=1)
    assert load(silver(tmp_path)) == sorted([*unchanged, *new], key=repr)
    after = files(tmp_path)
    assert {name for name in after if after[name] == before.get(name)} == {
        "silver/criacao/rede_social=tiktok/data_postagem=2026-01-01/part-0.parquet",
        "silver/criacao/rede_social=instagram_reels/data_postagem=2026-01-02/part-0.parquet",
    }


def test_a_change_of_no_partitions_does_not_evaluate_its_rows(tmp_path: Path) -> None:
    save(silver(tmp_path), video("v1"))
    before = files(tmp_path)
    rows = silver(tmp_path).read()
    (path,) = (tmp_path / "silver/criacao").rglob("*.parquet")
    path.rename(tmp_path / "away")
    assert commit(silver(tmp_path), PartitionOverwrite(rows, [])) == WriteStats()
    (tmp_path / "away").rename(path)
    assert files(tmp_path) == before


def test_a_table_that_has_no_rows_any_more_leaves_no_file(tmp_path: Path) -> None:
    save(silver(tmp_path), video("v1"), video("v2", "instagram_reels"))
    assert save(silver(tmp_path)) == WriteStats(removed=2)
    assert files(tmp_path) == {}
    assert not (tmp_path / "silver/criacao").exists()


def test_a_table_can_be_saved_over_itself(tmp_path: Path) -> None:
    save(silver(tmp_path), SAMPLE, video("v2", day=30))
    before = files(tmp_path)
    rows = silver(tmp_path).read()
    assert commit(silver(tmp_path), PartitionOverwrite(rows)) == WriteStats()
    assert files(tmp_path) == before


def test_a_partition_can_be_rewritten_from_its_own_rows(tmp_path: Path) -> None:
    save(silver(tmp_path), video("v1", views=1), video("v2", views=2), video("v3", day=30))
    rows = silver(tmp_path).read()
    rewritten = rows.filter(rows.video_id == "v2").mutate(likes=rows.views + 1)
    commit(silver(tmp_path), PartitionOverwrite(rewritten, [("tiktok", "2026-01-31")]))
    assert load(silver(tmp_path)) == sorted(
        [video("v2", views=2, likes=3), video("v3", day=30)], key=repr
    )


@pytest.mark.parametrize(
    "unknown",
    [
        ".DS_Store",
        "part-0.parquet",
        "rede_social=tiktok/part-0.parquet",
        "rede_social=tiktok/data_postagem=2026-01-31/part-1.parquet",
        "rede_social=tiktok/data_postagem=2026-01-31/part-0.parquet.crc",
        "rede_social=tiktok/data_postagem=2026-01-31/hour=1/part-0.parquet",
        "data_postagem=2026-01-31/rede_social=tiktok/part-0.parquet",
    ],
)
def test_a_file_that_is_no_part_is_reported_and_neither_read_nor_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    criacao = silver(tmp_path)
    save(criacao, video("v1"))
    path = tmp_path / "silver/criacao" / unknown
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"video_id": ["strange"]}), path)
    before = path.read_bytes()
    assert load(criacao) == [video("v1")]
    save(criacao)
    assert load(criacao) == []
    assert path.read_bytes() == before
    warning = f"silver/criacao/{unknown} is not a file of the table; it is ignored."
    assert {record.getMessage() for record in caplog.records} == {warning}


def test_the_two_tables_of_silver_do_not_see_each_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(silver(tmp_path), video("v1"))
    save(quarantine(tmp_path), REJECTED)
    save(silver(tmp_path))
    assert load(quarantine(tmp_path)) == [REJECTED]
    assert not caplog.records
