from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from kedro.io import DatasetError

from capstone_metrics import gold_csv
from capstone_metrics.changes import GoldUpdate
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import GoldDataset, MartDataset
from capstone_metrics.lake.transaction import GOLD, Transaction
from capstone_metrics.mart_declarations import mart_of
from capstone_metrics.storage.folder import Folder
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from pathlib import Path

    from capstone_metrics.changes import GoldSnapshot

NAME = "gold_x"
KEY = "gold/gold_x.csv"
DAY = dt.date(2026, 1, 31)
HEADER = "data_postagem,faculdade,total_views\n"
GRAN = f"{HEADER}2026-01-31,GRAN,1\n".encode()
OTHER = f"{HEADER}2026-01-30,GRAN,2\n2026-01-31,GRAN,1\n".encode()


DECLARATION = {
    "key": ["data_postagem", "faculdade"],
    "measures": {"total_views": {"sum": "views"}},
}


def read_csv(content: bytes) -> pa.Table:
    return gold_csv.read_csv(content, mart_of(NAME, DECLARATION).types)


def gold(root: Path, **options: Any) -> GoldDataset:
    return GoldDataset(path=str(root), **options)


def update_of(base: GoldSnapshot, **files: bytes) -> GoldUpdate:
    """Return the update of a Gold to some marts, each with its file."""
    marts = {
        name: {
            **DECLARATION,
            "rows": content.count(b"\n") - 1,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        for name, content in files.items()
    }
    return GoldUpdate(base, files, {"generation": base.generation + 1, "marts": marts})


def save(root: Path, content: bytes = GRAN, **others: bytes) -> GoldDataset:
    """Save marts as a run does; return the dataset that saved them."""
    dataset = gold(root)
    dataset.save(update_of(dataset.load(), gold_x=content, **others))
    return dataset


def files(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return every file of Gold, and when it was written."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (root / "gold").rglob("*")
        if path.is_file()
    }


def test_without_a_commit_gold_is_empty(tmp_path: Path) -> None:
    snapshot = gold(tmp_path).load()
    assert (snapshot.generation, snapshot.manifest, dict(snapshot.files)) == (0, {}, {})
    assert not gold(tmp_path).exists()
    assert list(tmp_path.iterdir()) == []


def test_gold_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    update = update_of(gold(tmp_path).load(), gold_x=GRAN, gold_y=OTHER)
    gold(tmp_path).save(update)
    assert (tmp_path / KEY).read_bytes() == GRAN
    assert gold(tmp_path).exists()
    snapshot = gold(tmp_path).load()
    assert (snapshot.generation, snapshot.manifest) == (1, update.manifest)
    assert {name: file.read() for name, file in snapshot.files.items()} == update.files
    assert dict(snapshot.tables) == {"gold_x": read_csv(GRAN), "gold_y": read_csv(OTHER)}
    assert gold(tmp_path).addresses(snapshot) == {
        name: str(tmp_path / f"gold/{name}.csv") for name in ("gold_x", "gold_y")
    }
    assert json.loads((tmp_path / "gold/manifest.json").read_text()) == update.manifest


def test_a_save_reports_what_it_wrote_by_mart(tmp_path: Path) -> None:
    assert save(tmp_path, OTHER, gold_y=GRAN).write_stats == {
        "gold_x": WriteStats(rows=2, files=1),
        "gold_y": WriteStats(rows=1, files=1),
    }
    stats = save(tmp_path, GRAN, gold_y=GRAN).write_stats
    assert stats == {"gold_x": WriteStats(rows=1, files=1), "gold_y": WriteStats()}
    assert stats["gold_x"].bytes == len(GRAN)
    assert stats["gold_x"].address == str(tmp_path / KEY)
    assert stats["gold_y"].columns == {
        "data_postagem": "date",
        "faculdade": "string",
        "total_views": "int64",
    }


def test_a_gold_that_stays_the_same_is_left_alone(tmp_path: Path) -> None:
    save(tmp_path)
    before = files(tmp_path)
    snapshot = gold(tmp_path).load()
    same = GoldUpdate(snapshot, {NAME: GRAN}, snapshot.manifest)
    gold(tmp_path).save(same)
    assert files(tmp_path) == before


@pytest.mark.parametrize("edited", [None, GRAN.replace(b",1\n", b",2\n"), b"", b"\xff"])
def test_a_mart_that_was_lost_or_edited_has_no_rows_and_is_written_again(
    tmp_path: Path, edited: bytes | None
) -> None:
    save(tmp_path, gold_y=OTHER)
    (tmp_path / KEY).unlink()
    if edited is not None:
        (tmp_path / KEY).write_bytes(edited)
    snapshot = gold(tmp_path).load()
    assert dict(snapshot.tables) == {"gold_x": None, "gold_y": read_csv(OTHER)}
    again = gold(tmp_path)
    again.save(GoldUpdate(snapshot, {NAME: GRAN, "gold_y": OTHER}, snapshot.manifest))
    assert (tmp_path / KEY).read_bytes() == GRAN
    assert again.write_stats == {"gold_x": WriteStats(rows=1, files=1), "gold_y": WriteStats()}
    assert gold(tmp_path).load().generation == 2  # who watches the generation learns of it


def test_a_gold_that_another_run_committed_in_between_is_left_alone(tmp_path: Path) -> None:
    snapshot = gold(tmp_path).load()
    Transaction(Folder(tmp_path), GOLD, 0).commit({"by": "another"})
    with pytest.raises(DatasetError, match="Another run changed gold"):
        gold(tmp_path).save(update_of(snapshot, gold_x=GRAN))
    assert gold(tmp_path).load().manifest == {"by": "another", "generation": 1}
    assert not (tmp_path / KEY).exists()


def test_a_load_writes_nothing_and_recovery_finishes_the_commit_of_a_dead_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "promote", lambda *_: 1 / 0)
        with pytest.raises(DatasetError, match="division"):
            save(tmp_path, OTHER)
    assert gold(tmp_path).load().generation == 1
    assert (tmp_path / KEY).read_bytes() == GRAN
    gold(tmp_path).recover()
    assert gold(tmp_path).load().generation == 2
    assert (tmp_path / KEY).read_bytes() == OTHER


def test_without_its_manifest_gold_is_as_before_the_first_commit(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / "gold/manifest.json").unlink()
    snapshot = gold(tmp_path).load()
    assert (snapshot.generation, snapshot.manifest, dict(snapshot.files)) == (1, {}, {})
    save(tmp_path, OTHER)
    assert gold(tmp_path).load().generation == 2
    assert (tmp_path / KEY).read_bytes() == OTHER


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff"])
def test_a_manifest_that_someone_broke_is_named_with_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    save(tmp_path)
    (tmp_path / "gold/manifest.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"manifest\.json: is not valid JSON .*/gold and "):
        gold(tmp_path).load()


def test_a_plan_writes_nothing_and_reports_rows_and_days(tmp_path: Path) -> None:
    save(tmp_path)
    before = files(tmp_path)
    plan = gold(tmp_path, plan=True)
    plan.save(update_of(plan.load(), gold_x=OTHER, gold_y=GRAN))
    assert plan.write_stats == {"gold_x": WriteStats(rows=1), "gold_y": WriteStats(rows=1)}
    assert plan.write_stats["gold_x"].days == (dt.date(2026, 1, 30),)
    assert plan.write_stats["gold_y"].days == (DAY,)
    assert files(tmp_path) == before


def mart(root: Path) -> MartDataset:
    return MartDataset(path=str(root), mart=NAME)


def test_a_mart_is_loaded_by_its_name(tmp_path: Path) -> None:
    assert not mart(tmp_path).exists()
    save(tmp_path)
    assert mart(tmp_path).exists()
    file = mart(tmp_path).load()
    assert (file.read(), file.to_pyarrow()) == (GRAN, read_csv(GRAN))
    assert file.to_pandas()["total_views"].tolist() == [1]
    version = file.version()
    assert version
    save(tmp_path, OTHER)
    assert mart(tmp_path).load().version() != version


@pytest.mark.parametrize(
    "content",
    [b"", b"faculdade,total_views\nGRAN\n", b"faculdade,total_views\nGRAN,1.5\n", b"\xff"],
)
def test_a_mart_that_someone_broke_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    save(tmp_path)
    (tmp_path / KEY).write_bytes(content)
    file = mart(tmp_path).load()  # which reads nothing
    with pytest.raises(CapstoneError, match="run 'kedro run --pipelines=silver_to_gold'") as error:
        file.to_pyarrow()
    assert str(error.value).startswith(f"{tmp_path / KEY}: is not a valid mart CSV")


def test_a_mart_that_gold_has_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gold_x\.csv: .*; run 'kedro run' to build it"):
        mart(tmp_path).load()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    save(tmp_path)
    (tmp_path / KEY).unlink()
    file = mart(tmp_path).load()
    assert not file.version()
    for read in (file.read, file.to_pyarrow):
        with pytest.raises(
            CapstoneError, match=r"gold_x\.csv: .*; run the pipeline that creates it"
        ):
            read()


def test_a_preview_shows_the_first_rows_as_text(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-31,f{at},{at}\n" for at in range(12))
    save(tmp_path, f"{HEADER}{rows}".encode())
    assert mart(tmp_path).preview(2) == {
        "index": [0, 1],
        "columns": ["data_postagem", "faculdade", "total_views"],
        "data": [["2026-01-31", "f0", "0"], ["2026-01-31", "f1", "1"]],
    }
    assert json.loads(str(gold(tmp_path).preview()))["generation"] == 1


def test_a_mart_alone_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="A mart is saved with all of Gold"):
        mart(tmp_path).save(pa.table({}))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
