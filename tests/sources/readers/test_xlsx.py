from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

import openpyxl
import pytest
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from capstone_metrics.errors import CapstoneError
from tests.sources.readers.files import rows

if TYPE_CHECKING:
    from pathlib import Path


def workbook(**sheets: list[list[Any]]) -> bytes:
    """Return a workbook with these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, values in sheets.items():
        sheet = book.create_sheet(name)
        for row in values:
            sheet.append(row)
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ção", "ção"),
        ("12.040", "12.040"),
        (None, None),
        (12040, 12040),
        (12040.0, 12040),
        (12.5, 12.5),
        (-3, -3),
        (True, True),
        ("#N/A", "#N/A"),
        (dt.datetime.fromisoformat("2026-06-01T18:03"), "2026-06-01T18:03:00"),
        (dt.datetime.fromisoformat("2026-06-01T00:00"), "2026-06-01T00:00:00"),
        (dt.date(2026, 6, 1), "2026-06-01"),
        (dt.time(0, 0, 32), "00:00:32"),
        (dt.timedelta(hours=30, seconds=1), "30:00:01"),
    ],
)
@pytest.mark.parametrize("epoch", [None, CALENDAR_MAC_1904])
def test_a_cell_is_read_by_its_type_in_both_calendars(
    tmp_path: Path, value: Any, expected: Any, epoch: Any
) -> None:
    book = openpyxl.Workbook()
    if epoch:
        book.epoch = epoch
    book.active.append(["a", "b"])
    book.active.append([value, "x"])
    (row,) = rows(tmp_path, saved(book), format="xlsx")
    assert row == {"a": expected, "b": "x"}
    assert type(row["a"]) is type(expected)


def test_an_id_past_the_digits_of_a_workbook_stays_a_number_with_an_exponent(
    tmp_path: Path,
) -> None:
    content = workbook(x=[["a"], [18070000000001008], [10**15 - 1], [1234567890123450]])
    path = tmp_path / "export"
    path.write_bytes(content)
    assert [str(row["a"]) for row in rows(tmp_path, content, format="xlsx")] == [
        "1.807000000000101e+16",
        "999999999999999",
        "1234567890123450.0",
    ]


TITLED = [["A title"], [], ["a", "b"], [1, 2], [], ["note"], [3, 4, 5], [None, None, 6]]


@pytest.mark.parametrize("header", [["b"], [["x"], ["a", "b"]], 3])
def test_the_header_is_found_below_a_title(tmp_path: Path, header: Any) -> None:
    assert rows(tmp_path, workbook(x=TITLED), format="xlsx", header=header) == [
        {"a": 1, "b": 2},
        {"a": "note", "b": None},
        {"a": 3, "b": 4, "_extra": [5]},
        {"a": None, "b": None, "_extra": [6]},
    ]


def test_a_table_ends_at_a_blank_row_where_that_is_declared(tmp_path: Path) -> None:
    content = workbook(x=TITLED)
    assert rows(tmp_path, content, format="xlsx", header=3, until="blank") == [{"a": 1, "b": 2}]


def test_the_sheet_is_declared_or_the_one_with_the_header(tmp_path: Path) -> None:
    content = workbook(Resumo=[["x"], [0]], Posts=[["a"], [1]])
    assert rows(tmp_path, content, format="xlsx", sheet="Posts") == [{"a": 1}]
    assert rows(tmp_path, content, format="xlsx", header=["a"]) == [{"a": 1}]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "has several sheets; declare sheet: Resumo or Posts"),
        ({"sheet": "posts"}, "has no sheet 'posts'; choose from Resumo, Posts"),
        (
            {"header": ["Views"]},
            "none of its first 200 lines has the columns Views; it begins with 'x'",
        ),
    ],
)
def test_a_sheet_or_header_that_is_not_there_is_named(
    tmp_path: Path, options: dict[str, Any], why: str
) -> None:
    content = workbook(Resumo=[["x"], [0]], Posts=[["a"], [1]])
    with pytest.raises(CapstoneError, match=f"export: {re.escape(why)}"):
        rows(tmp_path, content, format="xlsx", **options)


def test_an_empty_sheet_has_no_records(tmp_path: Path) -> None:
    assert rows(tmp_path, workbook(x=[]), format="xlsx") == []
    assert rows(tmp_path, workbook(x=[["a"]]), format="xlsx") == []


def test_a_wrong_size_in_the_file_hides_no_row(tmp_path: Path) -> None:
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook(x=[["a"], [1], [2]]))) as book,
        zipfile.ZipFile(content, "w") as copy,
    ):
        for name in book.namelist():
            copy.writestr(name, book.read(name).replace(b'ref="A1:A3"', b'ref="A1"'))
    assert rows(tmp_path, content.getvalue(), format="xlsx") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"PK\x03\x04 cut"])
def test_what_is_no_workbook_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CapstoneError, match=r"export: ") as error:
        rows(tmp_path, content, format="xlsx")
    assert "\n" not in str(error.value)


def test_a_workbook_within_a_zip_is_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x.xlsx", workbook(x=[["a"], [1]]))
    assert rows(tmp_path, content.getvalue(), format="xlsx") == [{"a": 1}]
