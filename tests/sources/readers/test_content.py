from __future__ import annotations

import gzip
import zipfile
from typing import TYPE_CHECKING

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.errors import CapstoneError
from tests.sources.readers.files import lines_of

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = {"csv": b"a\n1\n", "json": b'[{"a":"1"}]', "jsonl": b'{"a":"1"}\n'}


def archive(path: Path, members: dict[str, bytes]) -> Path:
    """Write a zip with these members."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def contents(tmp_path: Path) -> dict[str, bytes]:
    pq.write_table(pa.table({"a": ["1"]}), tmp_path / "table")
    return CONTENT | {"parquet": (tmp_path / "table").read_bytes()}


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_a_file_is_read_out_of_a_gz_or_a_zip_by_its_content(
    tmp_path: Path, contents: dict[str, bytes], kind: str
) -> None:
    packed = tmp_path / "a.csv"
    packed.write_bytes(gzip.compress(contents[kind]))
    zipped = archive(tmp_path / "b.csv", {"in/x.csv": contents[kind], "__MACOSX/._x.csv": b"\0"})
    nested = archive(tmp_path / "c.csv", {"x.gz": gzip.compress(contents[kind])})
    for path in (packed, zipped, nested):
        assert lines_of(path, format=kind) == [b'{"a":"1"}']


@pytest.mark.parametrize("member", ["Content.csv", "C*.csv", "in/*.csv", "*/Content.csv"])
def test_the_members_of_a_zip_are_chosen_by_a_pattern(tmp_path: Path, member: str) -> None:
    path = archive(tmp_path / "a.zip", {"Overview.csv": b"b\n2\n", "in/Content.csv": b"a\n1\n"})
    assert lines_of(path, format="csv", member=member) == [b'{"a":"1"}']


def test_a_member_is_found_whichever_way_its_accents_are_written(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"Conteu\u0301do.csv": b"a\n1\n", "x.csv": b"a\n2\n"})
    assert lines_of(path, format="csv", member="Conte\u00fado.csv") == [b'{"a":"1"}']


def test_every_member_that_matches_is_read(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.csv": b"a\n1\n", "b.csv": b"a\n2\n"})
    assert lines_of(path, format="csv", member="*.csv") == [b'{"a":"1"}', b'{"a":"2"}']


@pytest.mark.parametrize("member", [{}, {"member": "Table*"}])
def test_a_zip_without_such_a_member_is_named(tmp_path: Path, member: dict[str, str]) -> None:
    path = archive(tmp_path / "a.zip", {"a.csv": b"", "b.csv": b""})
    with pytest.raises(CapstoneError, match=r"a\.zip: .*It has a\.csv, b\.csv; declare"):
        lines_of(path, format="csv", **member)


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_a_broken_archive_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(CONTENT[kind] * 100)[:-9])
    with pytest.raises(CapstoneError, match=r"a\.gz: the archive is incomplete"):
        lines_of(path, format=kind)
    path = archive(tmp_path / "a.zip", {"a.csv": CONTENT[kind] * 100})
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CapstoneError, match=r"a\.zip: the archive is incomplete"):
        lines_of(path, format=kind)


def test_a_zip_with_a_member_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"\u00e9.csv": b"a\n1\n"})
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xe9\xe9"))
    with pytest.raises(CapstoneError, match=r"a\.zip: cannot be unpacked .*; zip its files anew"):
        lines_of(path, format="csv")


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "parquet"])
def test_the_name_of_the_file_is_a_field_of_each_record(
    tmp_path: Path, contents: dict[str, bytes], kind: str
) -> None:
    path = tmp_path / "2026-01.export"
    path.write_bytes(contents[kind])
    assert lines_of(path, format=kind, file_name="arquivo") == [
        b'{"arquivo":"2026-01.export","a":"1"}'
    ]
    path = archive(tmp_path / "x.zip", {"b.csv": contents[kind]})
    assert lines_of(path, format=kind, file_name="arquivo") == [
        b'{"arquivo":"x.zip/b.csv","a":"1"}'
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_the_name_of_the_file_is_no_column_of_it(
    tmp_path: Path, contents: dict[str, bytes], kind: str
) -> None:
    path = tmp_path / "export"
    if kind == "xlsx":
        workbook = openpyxl.Workbook()
        workbook.worksheets[0].append(["a"])
        workbook.save(path)
    else:
        path.write_bytes(contents[kind])
    with pytest.raises(CapstoneError, match=r"export: has a column 'a' already; declare another"):
        lines_of(path, format=kind, file_name="a")


def test_an_object_without_fields_and_a_line_that_is_none_keep_their_form(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"{}\nnot json\n { }\n")
    assert lines_of(path, format="jsonl", file_name="f") == [
        b'{"f":"x"}',
        b"not json",
        b' {"f":"x"}',
    ]
