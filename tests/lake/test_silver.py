from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import ibis
import pyarrow as pa
import pytest
from kedro.io import DatasetError

from capstone_metrics.changes import Increment, PartitionOverwrite
from capstone_metrics.lake import HeadDataset, IncrementDataset, ReceiptsDataset, TableDataset
from capstone_metrics.lake.commit import Commit
from capstone_metrics.lake.folder import Folder
from capstone_metrics.lake.silver import receipt_key
from capstone_metrics.schemas import VIDEO_INDEX
from capstone_metrics.validation.validator import Validator
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = "bronze/criacao"
MORNING = "fonte=x/janela=2026-01-31T08/a.jsonl"
EVENING = "fonte=x/janela=2026-01-31T20/a b=ç.jsonl"
LOCATED = {"shard": "0", "video_id": "v", "rede_social": "tiktok", "data_postagem": None}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A lake with two objects in Bronze, and nothing else."""
    put_object(tmp_path, MORNING, b"{}\n\n[]\n")
    put_object(tmp_path, EVENING, b"1")
    return tmp_path


def put_object(root: Path, name: str, content: bytes) -> None:
    path = root / PREFIX / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def video_index(root: Path) -> dict[str, Any]:
    """Return the entry of a table of Silver, as in the catalog."""
    return {
        "type": "capstone_metrics.lake.TableDataset",
        "path": str(root),
        "prefix": "silver/locator",
        "engine": "duckdb",
        "format": "index",
        "schema": "silver_video_index",
        "partition_by": ["shard"],
        "sort_by": ["video_id"],
    }


def pending(root: Path, *, full: bool = False) -> Increment:
    tables = {"video_index": video_index(root)}
    return IncrementDataset(
        path=str(root), prefix=PREFIX, engine="duckdb", tables=tables, full=full
    ).load()


def receipts(root: Path) -> ReceiptsDataset:
    return ReceiptsDataset(path=str(root))


def take_in(root: Path, *names: str) -> None:
    """Save the receipts of objects; they are yet to be committed."""
    receipts(root).save({name: {"object": name, "lines": 1} for name in names})


def commit(root: Path, generation: int) -> None:
    """Put what was saved into place, as the head of Silver does."""
    HeadDataset(path=str(root), key="silver/head.json").save({"generation": generation})


def locate(root: Path, shard: str) -> None:
    table = TableDataset(
        **{key: value for key, value in video_index(root).items() if key != "type"}
    )
    rows = pa.Table.from_pylist([LOCATED | {"shard": shard}], schema=VIDEO_INDEX.to_pyarrow())
    table.save(PartitionOverwrite(ibis.memtable(rows)))


def read(increment: Increment) -> tuple[dict[str, Any], list[tuple[str, int, str]]]:
    """The measures of the objects, and the lines, which are all rejected."""
    validated = increment.validate(Validator({}, (), "UTC"))
    rows = validated.rejected.to_pyarrow().to_pylist()
    lines = [(row["objeto"], row["linha"], row["texto"]) for row in rows]
    names = ("lines", "bytes", "sha256")
    objects = {
        name: {count: counts[count] for count in names}
        for name, counts in validated.objects.items()
    }
    return objects, sorted(lines)


def objects(root: Path) -> dict[str, Any]:
    """Return the objects that are pending, by their names."""
    by_name, _ = read(pending(root))
    return by_name


def shards(increment: Increment) -> list[str]:
    arrow = increment.snapshot.tables["video_index"].to_pyarrow()
    assert arrow.schema.equals(VIDEO_INDEX.to_pyarrow())
    return [str(row["shard"]) for row in arrow.to_pylist()]


def test_of_a_new_lake_every_object_is_pending(lake: Path) -> None:
    increment = pending(lake)
    objects, lines = read(increment)
    assert lines == [(MORNING, 1, "{}"), (MORNING, 3, "[]"), (EVENING, 1, "1")]
    assert list(objects) == [MORNING, EVENING]
    assert (increment.snapshot.head, increment.snapshot.generation, shards(increment)) == (
        {},
        0,
        [],
    )


def test_a_pending_object_is_measured_by_its_bytes(lake: Path) -> None:
    assert objects(lake)[MORNING] == {
        "lines": 2,
        "bytes": 7,
        "sha256": hashlib.sha256(b"{}\n\n[]\n").hexdigest(),
    }


def test_an_object_that_silver_took_in_is_not_pending(lake: Path) -> None:
    take_in(lake, MORNING)
    commit(lake, 1)
    measures, lines = read(pending(lake))
    assert (list(measures), lines) == ([EVENING], [(EVENING, 1, "1")])
    take_in(lake, EVENING)
    commit(lake, 2)
    assert read(pending(lake)) == ({}, [])
    put_object(lake, "fonte=x/janela=2026-01-30T08/late.jsonl", b"{}\n")
    assert list(objects(lake)) == ["fonte=x/janela=2026-01-30T08/late.jsonl"]


def test_a_full_build_takes_in_every_object(lake: Path) -> None:
    take_in(lake, MORNING, EVENING)
    commit(lake, 1)
    increment = pending(lake, full=True)
    objects, lines = read(increment)
    assert list(objects) == [MORNING, EVENING]
    assert len(lines) == 3
    assert increment.snapshot.generation == 1


def test_an_object_is_pending_until_its_receipt_is_committed(lake: Path) -> None:
    take_in(lake, MORNING)
    assert list(objects(lake)) == [MORNING, EVENING]
    commit(lake, 1)
    assert list(objects(lake)) == [MORNING, EVENING]  # the load forgot what was staged
    take_in(lake, MORNING)
    commit(lake, 2)
    assert list(objects(lake)) == [EVENING]


def test_an_increment_comes_with_silver_as_it_is(lake: Path) -> None:
    locate(lake, "a")
    commit(lake, 1)
    locate(lake, "b")
    increment = pending(lake)
    assert (increment.snapshot.head, increment.snapshot.generation) == ({"generation": 1}, 1)
    assert shards(increment) == ["a"]


def test_a_commit_of_a_dead_run_is_carried_out_before_anything_is_read(
    lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locate(lake, "a")
    commit(lake, 1)
    locate(lake, "b")
    take_in(lake, MORNING)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "put", lambda *_: 1 / 0)
        with pytest.raises(DatasetError, match="division"):
            commit(lake, 2)
    assert not (lake / "silver/receipts").exists()
    increment = pending(lake)
    assert increment.snapshot.generation == 2
    assert list(read(increment)[0]) == [EVENING]
    assert shards(increment) == ["b"]


def test_a_run_that_commits_in_between_is_noticed(lake: Path) -> None:
    increment = pending(lake)
    another = Commit(Folder(lake), "silver")
    for key in (receipt_key(MORNING), "silver/head.json"):
        with another.stage(key) as path:
            path.write_text('{"generation": 1}')
        another.put(key)
    another.finish("silver/head.json", 1)
    take_in(lake, MORNING, EVENING)
    with pytest.raises(DatasetError, match="Another run changed silver"):
        commit(lake, increment.snapshot.generation + 1)
    assert not (lake / receipt_key(EVENING)).exists()
    assert list(objects(lake)) == [EVENING]


def test_an_empty_lake_has_nothing_pending(tmp_path: Path) -> None:
    increment = pending(tmp_path)
    assert (*read(increment), increment.snapshot.generation) == ({}, [], 0)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_file_is_not_pending(lake: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_object(lake, "notes.jsonl", b"{}\n")
    assert list(objects(lake)) == [MORNING, EVENING]
    assert "bronze/criacao/notes.jsonl is not a Bronze object" in caplog.text


def test_a_head_that_someone_broke_is_named_with_what_to_do(lake: Path) -> None:
    commit(lake, 1)
    (lake / "silver/head.json").write_text("{")
    with pytest.raises(DatasetError, match=r"head\.json: is not valid JSON .* delete .*silver"):
        pending(lake)


def test_an_increment_cannot_be_saved(lake: Path) -> None:
    dataset = IncrementDataset(path=str(lake), prefix=PREFIX, engine="duckdb", tables={})
    with pytest.raises(DatasetError, match="read-only"):
        dataset.save("x")


def test_receipts_come_back_by_the_name_of_their_object(lake: Path) -> None:
    content = {name: {"object": name, "lines": 2**60, "é": [None]} for name in (MORNING, EVENING)}
    dataset = receipts(lake)
    dataset.save(content)
    assert dataset.write_stats == WriteStats(files=2)
    assert receipts(lake).load() == {}
    commit(lake, 1)
    assert receipts(lake).load() == content
    path = lake / "silver/receipts/fonte=x/janela=2026-01-31T20/a b=ç.json"
    assert json.loads(path.read_text()) == content[EVENING]
    assert '"é"' in path.read_text()


def test_receipts_are_added_to_those_before(lake: Path) -> None:
    take_in(lake, MORNING)
    commit(lake, 1)
    before = (lake / receipt_key(MORNING)).stat()
    dataset = receipts(lake)
    dataset.save({name: {"object": name, "lines": 1} for name in (MORNING, EVENING)})
    commit(lake, 2)
    assert dataset.write_stats == WriteStats(files=1)
    assert list(receipts(lake).load()) == [MORNING, EVENING]
    assert (lake / receipt_key(MORNING)).stat().st_mtime_ns == before.st_mtime_ns


def test_a_receipt_that_someone_broke_is_named_with_what_to_do(lake: Path) -> None:
    take_in(lake, MORNING)
    commit(lake, 1)
    (lake / receipt_key(MORNING)).write_bytes(b"{")
    with pytest.raises(DatasetError, match=r"a\.json: is not valid JSON .*params=full=true"):
        receipts(lake).load()


def test_a_file_that_is_no_receipt_is_passed_over(lake: Path) -> None:
    take_in(lake, MORNING)
    commit(lake, 1)
    (lake / "silver/receipts/.DS_Store").write_bytes(b"\x00")
    assert list(receipts(lake).load()) == [MORNING]
    assert list(objects(lake)) == [EVENING]
