from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kedro.io import DatasetError

from capstone_metrics.changes import PartitionOverwrite
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import GoldSnapshotDataset, HeadDataset, MartDataset, TableDataset
from capstone_metrics.lake.commit import generation_of, open_commit
from capstone_metrics.lake.folder import Folder
from capstone_metrics.schemas import SILVER
from capstone_metrics.write_stats import WriteStats
from tests.support.selection import examples

if TYPE_CHECKING:
    from pathlib import Path

KEY = "gold/gold_x.csv"
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.text(
    st.sampled_from("\r\n\"', ;\t0é"), min_size=1, max_size=5
)


def mart(root: Path) -> MartDataset:
    return MartDataset(path=str(root), key=KEY)


def save(root: Path, *rows: tuple[Any, ...]) -> str:
    """Save rows of (data_postagem, faculdade, total_views); the text of the file."""
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    types = (pa.date32(), pa.string(), pa.int64())
    arrays = [pa.array(list(c), kind) for c, kind in zip(columns, types, strict=True)]
    table = pa.table(arrays, ["data_postagem", "faculdade", "total_views"])
    mart(root).save(ibis.memtable(table))
    commit(root)
    return (root / KEY).read_bytes().decode()


def head(root: Path, key: str = "gold/manifest.json") -> HeadDataset:
    return HeadDataset(path=str(root), key=key)


def commit(root: Path, key: str = "gold/manifest.json", **content: Any) -> None:
    """Put what was saved into place, as the head of its layer does."""
    generation = generation_of(Folder(root), key) + 1
    head(root, key).save({"generation": generation, **content})


def load(root: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in mart(root).load().to_pyarrow().to_pylist()]


DAY = dt.date(2026, 1, 31)


def test_a_mart_is_a_csv_file(tmp_path: Path) -> None:
    text = save(tmp_path, (DAY, "GRAN", 2**63 - 1), (DAY, 'São, "Paulo"', 0))
    assert text == (
        "data_postagem,faculdade,total_views\n"
        "2026-01-31,GRAN,9223372036854775807\n"
        '2026-01-31,"São, ""Paulo""",0\n'
    )


def test_a_mart_without_rows_is_a_header(tmp_path: Path) -> None:
    assert save(tmp_path) == "data_postagem,faculdade,total_views\n"
    assert load(tmp_path) == []
    assert mart(tmp_path).load().to_pyarrow().schema.types == [pa.date32(), pa.string(), pa.int64()]


@pytest.mark.parametrize(
    "name",
    ["007", "1e3", "NULL", "NaN", "true", "2026-01-31", " x ", "'", "=HYPERLINK(1)", "é😀\u202e",
     "a\nb", "a\rb", "a\r\nb", '"', ",", "#", "'); DROP TABLE x", "x" * 10_000],
)  # fmt: skip
def test_a_name_of_any_kind_stays_text(tmp_path: Path, name: str) -> None:
    text = save(tmp_path, (DAY, name, 1), (DAY, "other", 2))
    assert load(tmp_path) == [(DAY, name, 1), (DAY, "other", 2)]
    assert [row[1] for row in csv.reader(io.StringIO(text, newline=""))][1:] == [name, "other"]


@settings(max_examples=examples(10, 100), deadline=None)
@given(st.lists(st.tuples(names, st.integers(0, 2**63 - 1)), max_size=5))
def test_a_mart_comes_back_as_it_was_saved(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]
) -> None:
    root = tmp_path_factory.getbasetemp() / "marts"
    text = save(root, *((DAY, *row) for row in rows))
    assert load(root) == [(DAY, *row) for row in rows]
    read = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert read == [["2026-01-31", name, str(total)] for name, total in rows]


def test_a_loaded_mart_has_the_hash_of_its_file(tmp_path: Path) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    digest = hashlib.sha256((tmp_path / KEY).read_bytes()).hexdigest()
    assert mart(tmp_path).load().to_pyarrow().schema.metadata == {b"sha256": digest.encode()}

    (tmp_path / KEY).write_bytes((tmp_path / KEY).read_bytes().replace(b",1\n", b",2\n"))
    assert mart(tmp_path).load().to_pyarrow().schema.metadata != {b"sha256": digest.encode()}
    assert load(tmp_path) == [(DAY, "GRAN", 2)]


def test_a_mart_that_did_not_change_is_left_alone(tmp_path: Path) -> None:
    table = ibis.memtable(pa.table({"faculdade": ["GRAN"], "total_views": [1]}))
    dataset = mart(tmp_path)
    assert not dataset.exists()
    dataset.save(table)
    commit(tmp_path)
    assert (dataset.exists(), dataset.write_stats) == (True, WriteStats(rows=1, files=1))
    before = (tmp_path / KEY).stat()
    dataset.save(table)
    commit(tmp_path)
    assert dataset.write_stats == WriteStats()
    assert (tmp_path / KEY).stat().st_mtime_ns == before.st_mtime_ns


def test_a_mart_is_loaded_as_the_run_saved_it_and_stored_as_the_last_commit_left_it(
    tmp_path: Path,
) -> None:
    text = save(tmp_path, (DAY, "GRAN", 1))
    dataset = mart(tmp_path)
    rows = ibis.memtable({"faculdade": ["GRAN"], "total_views": [2]})
    dataset.save(rows)
    assert mart(tmp_path).load().to_pyarrow().to_pylist() == [
        {"faculdade": "GRAN", "total_views": 2}
    ]
    assert (tmp_path / KEY).read_text() == text
    commit(tmp_path)
    assert (tmp_path / KEY).read_text() == "faculdade,total_views\nGRAN,2\n"
    assert mart(tmp_path).load().to_pyarrow().to_pylist() == [
        {"faculdade": "GRAN", "total_views": 2}
    ]


@pytest.mark.parametrize(
    "content",
    [b"", b"faculdade,total_views\nGRAN\n", b"faculdade,total_views\nGRAN,1.5\n", b"\xff"],
)
def test_a_mart_that_someone_broke_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    (tmp_path / KEY).write_bytes(content)
    file = mart(tmp_path).load()  # which reads nothing
    with pytest.raises(CapstoneError, match="run 'kedro run --pipelines=silver_to_gold'") as error:
        file.to_pyarrow()
    assert str(error.value).startswith(f"{tmp_path / KEY}: is not a valid mart CSV")


def test_a_missing_mart_is_named(tmp_path: Path) -> None:
    file = mart(tmp_path).load()
    assert not file.version()
    for read in (file.read, file.to_pyarrow):
        with pytest.raises(
            CapstoneError, match=r"gold_x\.csv: .*; run the pipeline that creates it"
        ):
            read()


def test_a_preview_shows_the_first_rows_as_text(tmp_path: Path) -> None:
    save(tmp_path, *((DAY, f"f{at}", at) for at in range(12)))
    preview = mart(tmp_path).preview(2)
    assert preview == {
        "index": [0, 1],
        "columns": ["data_postagem", "faculdade", "total_views"],
        "data": [["2026-01-31", "f0", "0"], ["2026-01-31", "f1", "1"]],
    }


def test_a_head_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    content = {"generation": 1, "total": {"lines": 2**60}, "é": ["a", None, 1.5, True]}
    dataset = head(tmp_path)
    assert not dataset.exists()
    dataset.save(content)
    assert (dataset.exists(), dataset.write_stats) == (True, WriteStats(files=1))
    assert (tmp_path / "gold/manifest.json").read_bytes() == (
        '{\n  "generation": 1,\n  "total": {\n    "lines": 1152921504606846976\n  },\n'
        '  "é": [\n    "a",\n    null,\n    1.5,\n    true\n  ]\n}\n'
    ).encode()
    assert head(tmp_path).load() == content
    assert dataset.folder == str(tmp_path / "gold")


def test_a_head_that_stays_the_same_commits_nothing(tmp_path: Path) -> None:
    commit(tmp_path, total=1)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "gold").rglob("*"))
    dataset = head(tmp_path)
    dataset.save(dataset.load())
    assert dataset.write_stats == WriteStats()
    assert before == sorted(
        (path, path.stat().st_mtime_ns) for path in (tmp_path / "gold").rglob("*")
    )


def test_a_head_commits_its_own_layer(tmp_path: Path) -> None:
    mart(tmp_path).save(ibis.memtable({"total_views": [1]}))
    commit(tmp_path, "silver/head.json")
    assert not mart(tmp_path).exists()
    commit(tmp_path)
    assert mart(tmp_path).exists()


def test_a_head_of_a_generation_that_another_run_committed_is_rejected(tmp_path: Path) -> None:
    commit(tmp_path, by="another")
    mart(tmp_path).save(ibis.memtable({"total_views": [1]}))
    with pytest.raises(DatasetError, match="Another run changed gold"):
        head(tmp_path).save({"generation": 1, "by": "me"})
    assert head(tmp_path).load() == {"generation": 1, "by": "another"}
    assert not mart(tmp_path).exists()


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff"])
def test_a_head_that_someone_broke_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    commit(tmp_path)
    (tmp_path / "gold/manifest.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"manifest\.json: is not valid JSON .*; rebuild the"):
        head(tmp_path).load()
    with pytest.raises(DatasetError, match=r"manifest\.json: is not valid JSON .*/gold and "):
        before(tmp_path).load()


def test_a_missing_head_is_named(tmp_path: Path) -> None:
    assert not head(tmp_path).exists()
    with pytest.raises(DatasetError, match=r"manifest\.json: .*; run the pipeline that creates it"):
        head(tmp_path).load()


def before(root: Path) -> GoldSnapshotDataset:
    return GoldSnapshotDataset(path=str(root))


def entries_of(root: Path, *names: str) -> dict[str, Any]:
    """Return the entries of marts in a manifest, with the hashes of their files."""
    digests = {name: hashlib.sha256((root / f"gold/{name}.csv").read_bytes()) for name in names}
    return {name: {"sha256": digest.hexdigest()} for name, digest in digests.items()}


def test_without_gold_the_snapshot_is_empty(tmp_path: Path) -> None:
    gold = before(tmp_path).load()
    assert (gold.manifest, gold.tables) == ({}, {})


def test_the_snapshot_has_the_marts_of_the_manifest(tmp_path: Path) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    (tmp_path / "gold/gold_other.csv").write_text("total_views\n1\n")
    commit(tmp_path, marts=entries_of(tmp_path, "gold_x"))
    gold = before(tmp_path).load()
    assert gold.manifest == {"generation": 2, "marts": entries_of(tmp_path, "gold_x")}
    assert list(gold.tables) == ["gold_x"]
    assert [tuple(row.values()) for row in gold.tables["gold_x"].to_pylist()] == [(DAY, "GRAN", 1)]


def test_the_snapshot_lacks_edited_and_missing_marts(tmp_path: Path) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    commit(tmp_path, marts=entries_of(tmp_path, "gold_x"))
    assert list(before(tmp_path).load().tables) == ["gold_x"]
    (tmp_path / KEY).write_bytes((tmp_path / KEY).read_bytes().replace(b",1\n", b",2\n"))
    assert before(tmp_path).load().tables == {}
    (tmp_path / KEY).unlink()
    assert before(tmp_path).load().tables == {}


def test_a_load_of_the_snapshot_finishes_the_commit_of_a_dead_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    mart(tmp_path).save(ibis.memtable({"total_views": [7]}))
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put", lambda *_: 1 / 0)
        with pytest.raises(DatasetError, match="division"):
            commit(tmp_path, marts={})
    assert load(tmp_path) == [(DAY, "GRAN", 1)]
    assert before(tmp_path).load().manifest["generation"] == 2
    assert load(tmp_path) == [(7,)]


def test_a_load_of_the_snapshot_discards_an_unfinished_run(tmp_path: Path) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    commit(tmp_path, marts={})
    mart(tmp_path).save(ibis.memtable({"total_views": [7]}))
    commit(tmp_path, "silver/head.json")
    assert load(tmp_path) == [(7,)]
    before(tmp_path).load()
    assert load(tmp_path) == [(DAY, "GRAN", 1)]
    commit(tmp_path, marts={})
    assert load(tmp_path) == [(DAY, "GRAN", 1)]


def silver_commit(root: Path, *days: int) -> None:
    """A commit of Silver with one video on each of some days of January, and no other."""
    table = TableDataset(
        path=str(root),
        prefix="silver/criacao",
        engine="duckdb",
        format="parquet",
        schema="silver_criacao",
        partition_by=["rede_social", "data_postagem"],
        sort_by=["video_id"],
    )
    rows = [
        dict.fromkeys(SILVER) | {"rede_social": "a b", "data_postagem": dt.date(2026, 1, day)}
        for day in days
    ]
    table.save(
        PartitionOverwrite(ibis.memtable(pa.Table.from_pylist(rows, schema=SILVER.to_pyarrow())))
    )
    receipt = open_commit(table.storage, "silver")
    key = "silver/receipts/data_postagem=2026-01-25/x.json"
    with receipt.stage(key) as path:
        path.write_text(str(days))
    receipt.put(key)
    commit(root, "silver/head.json")


def test_the_days_that_changed_are_those_of_the_commits_since(tmp_path: Path) -> None:
    for days in ([1, 2], [1, 3], [1, 4]):
        silver_commit(tmp_path, *days)
    since = before(tmp_path).load().days_changed_since
    days_after = {at: {day.day for day in since(None, at) or ()} for at in range(4)}
    assert days_after == {0: {1, 2, 3, 4}, 1: {2, 3, 4}, 2: {3, 4}, 3: set()}
    assert since(None, 4) is None
    assert since("another Silver", 3) is None
    (tmp_path / "silver/commits/00000002.json").unlink()
    assert since(None, 0) is None
    assert since(None, 2) == {dt.date(2026, 1, 3), dt.date(2026, 1, 4)}


def test_the_snapshot_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="read-only"):
        before(tmp_path).save("x")
    assert list(tmp_path.iterdir()) == []
