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

from capstone_metrics.lake import DocumentDataset, MartDataset
from capstone_metrics.saved import Saved

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
    return (root / KEY).read_bytes().decode()


def load(root: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in mart(root).load().to_pylist()]


DAY = dt.date(2026, 1, 31)


def test_a_mart_is_plain_csv(tmp_path: Path) -> None:
    text = save(tmp_path, (DAY, "GRAN", 2**63 - 1), (DAY, 'São, "Paulo"', 0))
    assert text == (
        "data_postagem,faculdade,total_views\n"
        "2026-01-31,GRAN,9223372036854775807\n"
        '2026-01-31,"São, ""Paulo""",0\n'
    )


def test_a_mart_without_rows_is_a_header(tmp_path: Path) -> None:
    assert save(tmp_path) == "data_postagem,faculdade,total_views\n"
    assert load(tmp_path) == []
    assert mart(tmp_path).load().schema.types == [pa.date32(), pa.string(), pa.int64()]


@pytest.mark.parametrize(
    "name",
    ["007", "1e3", "NULL", "NaN", "true", "2026-01-31", " x ", "'", "=HYPERLINK(1)", "é😀\u202e",
     "a\nb", "a\rb", "a\r\nb", '"', ",", "#", "'); DROP TABLE x", "x" * 10_000],
)  # fmt: skip
def test_a_name_of_any_kind_stays_text(tmp_path: Path, name: str) -> None:
    text = save(tmp_path, (DAY, name, 1), (DAY, "other", 2))
    assert load(tmp_path) == [(DAY, name, 1), (DAY, "other", 2)]
    assert [row[1] for row in csv.reader(io.StringIO(text, newline=""))][1:] == [name, "other"]


@settings(deadline=None)
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
    assert mart(tmp_path).load().schema.metadata == {b"sha256": digest.encode()}

    (tmp_path / KEY).write_bytes((tmp_path / KEY).read_bytes().replace(b",1\n", b",2\n"))
    assert mart(tmp_path).load().schema.metadata != {b"sha256": digest.encode()}
    assert load(tmp_path) == [(DAY, "GRAN", 2)]


def test_a_mart_that_did_not_change_is_left_alone(tmp_path: Path) -> None:
    table = ibis.memtable(pa.table({"faculdade": ["GRAN"], "total_views": [1]}))
    dataset = mart(tmp_path)
    assert not dataset.exists()
    dataset.save(table)
    assert (dataset.exists(), dataset.saved) == (True, Saved(rows=1, files=1))
    before = (tmp_path / KEY).stat()
    dataset.save(table)
    assert dataset.saved == Saved()
    assert (tmp_path / KEY).stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize(
    "content",
    [b"", b"faculdade,total_views\nGRAN\n", b"faculdade,total_views\nGRAN,1.5\n", b"\xff"],
)
def test_a_mart_that_someone_broke_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    save(tmp_path, (DAY, "GRAN", 1))
    (tmp_path / KEY).write_bytes(content)
    with pytest.raises(DatasetError, match="run 'kedro run --pipelines=silver_to_gold'") as error:
        mart(tmp_path).load()
    assert str(error.value.__cause__).startswith(f"{tmp_path / KEY}: is not the CSV of a mart")


def test_a_mart_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gold_x\.csv: .*; run the pipeline that makes it"):
        mart(tmp_path).load()


def test_a_preview_shows_the_first_rows_as_text(tmp_path: Path) -> None:
    save(tmp_path, *((DAY, f"f{at}", at) for at in range(12)))
    preview = mart(tmp_path).preview(2)
    assert preview == {
        "index": [0, 1],
        "columns": ["data_postagem", "faculdade", "total_views"],
        "data": [["2026-01-31", "f0", "0"], ["2026-01-31", "f1", "1"]],
    }


def document(root: Path) -> DocumentDataset:
    return DocumentDataset(path=str(root), key="silver/accounts.json")


def test_a_document_is_json_that_a_person_can_read(tmp_path: Path) -> None:
    content = {"total": {"lines": 2**60}, "é": ["a", None, 1.5, True]}
    dataset = document(tmp_path)
    dataset.save(content)
    assert dataset.saved == Saved(files=1)
    assert (tmp_path / "silver/accounts.json").read_bytes() == (
        '{\n  "total": {\n    "lines": 1152921504606846976\n  },\n'
        '  "é": [\n    "a",\n    null,\n    1.5,\n    true\n  ]\n}\n'
    ).encode()
    assert document(tmp_path).load() == content
    assert dataset.folder == tmp_path / "silver"
    dataset.save(content)
    assert dataset.saved == Saved()


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff"])
def test_a_document_that_someone_broke_is_named_with_what_to_do(
    tmp_path: Path, content: bytes
) -> None:
    document(tmp_path).save({})
    (tmp_path / "silver/accounts.json").write_bytes(content)
    with pytest.raises(DatasetError, match=r"accounts\.json: is not JSON any more .*; run the"):
        document(tmp_path).load()


def test_a_document_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert not document(tmp_path).exists()
    with pytest.raises(DatasetError, match=r"accounts\.json: .*; run the pipeline that makes it"):
        document(tmp_path).load()
