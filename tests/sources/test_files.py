from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import new_objects

if TYPE_CHECKING:
    from pathlib import Path

SCHEDULE = {
    "timezone": "America/Sao_Paulo",
    "layers": {"bronze": {"starts": ["08:00", "20:00"]}},
}


def objects_of(
    path: Path | str, present: tuple[str, ...] = (), now: str = "2026-01-31T20:05", **options: str
) -> dict[str, bytes]:
    """Return the objects of a source named `export`: their names and bytes."""
    declaration = {"type": "files", "format": "csv", "path": str(path)} | options
    calendar = Calendar.of(SCHEDULE, now)
    objects = new_objects("export", declaration, calendar, present)
    return {name: b"".join(chunks()) for name, chunks in objects.items()}


def rows(folder: Path, content: bytes, **options: str) -> list[dict[str, Any]]:
    """The rows of an export of this content."""
    path = folder / "export"
    path.write_bytes(content)
    (text,) = objects_of(path, **options).values()
    return [json.loads(line) for line in text.splitlines()]


def parquet(folder: Path, table: pa.Table) -> bytes:
    pq.write_table(table, folder / "table")
    return (folder / "table").read_bytes()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"a,b\n1,2\n", [{"a": "1", "b": "2"}], id="values stay text"),
        pytest.param(b"a,b\r\n1,2\r\n", [{"a": "1", "b": "2"}], id="CRLF"),
        pytest.param(b"\xef\xbb\xbfa,b\n1,2", [{"a": "1", "b": "2"}], id="byte order mark"),
        pytest.param(b"a,b\n1, 2 \n", [{"a": "1", "b": " 2 "}], id="spaces stay"),
        pytest.param(b'a,b\n"x,""y""",\n', [{"a": 'x,"y"', "b": ""}], id="quotes"),
        pytest.param(b'a,b\n"x\r\ny",2\n', [{"a": "x\r\ny", "b": "2"}], id="newline in a value"),
        pytest.param(b"a,b\n\n1,2\n\n", [{"a": "1", "b": "2"}], id="blank lines"),
        pytest.param(b"a,b\n1\n", [{"a": "1"}], id="short row"),
        pytest.param(
            b"a,b\n1,2,3,4\n", [{"a": "1", "b": "2", "_extra": ["3", "4"]}], id="long row"
        ),
        pytest.param("título\nção\n".encode(), [{"título": "ção"}], id="UTF-8"),
        pytest.param(b"a,b\n", [], id="only a header"),
        pytest.param(b"", [], id="empty"),
    ],
)
def test_a_row_of_csv_becomes_an_object_of_strings(
    tmp_path: Path, content: bytes, expected: list[dict[str, Any]]
) -> None:
    assert rows(tmp_path, content) == expected


def test_the_encoding_and_the_delimiter_can_be_declared(tmp_path: Path) -> None:
    content = "título;b\nção;1,5\n".encode("latin-1")
    expected = [{"título": "ção", "b": "1,5"}]
    assert rows(tmp_path, content, encoding="latin-1", delimiter=";") == expected


def test_a_row_of_csv_is_written_in_utf_8_with_unescaped_letters(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes("a\nção\n".encode("latin-1"))
    assert list(objects_of(path, encoding="latin-1").values()) == ['{"a":"ção"}\n'.encode()]


@pytest.mark.parametrize(
    ("content", "options", "why"),
    [
        pytest.param(b"a\n\xe7\n", {}, "can't decode byte 0xe7", id="another encoding"),
        pytest.param(b'a,b\n"1,2\n', {}, "unexpected end of data", id="open quote"),
        pytest.param(b'a,b\n"1"2,3\n', {}, "expected after", id="text after a quote"),
        pytest.param(b"a,a\n1,2\n", {}, "two columns have the same name", id="repeated name"),
        pytest.param(b"a\n1\n", {"encoding": "utf-88"}, "unknown encoding", id="no encoding"),
        pytest.param(b"a\n1\n", {"delimiter": "||"}, "1-character", id="long delimiter"),
    ],
)
def test_a_csv_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes, options: dict[str, str], why: str
) -> None:
    with pytest.raises(CapstoneError, match=why) as error:
        rows(tmp_path, content, **options)
    assert str(error.value).startswith(f"{tmp_path / 'export'}: ")


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1.70, "b" : "\\u00e7"}\n\n{"a":NaN}\r\nnot json\n',
        b"\xef\xbb\xbf{}\n\xff\xfe",
        b"",
        b"x" * ((1 << 20) + 1),
    ],
    ids=["any spelling", "any bytes", "empty", "more than a chunk"],
)
def test_json_lines_stay_as_they_are(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(content)
    assert list(objects_of(path, format="jsonl").values()) == [content]


def test_a_row_of_parquet_becomes_its_object(tmp_path: Path) -> None:
    at = dt.datetime(2026, 1, 31, 20, 5, 0, 250, tzinfo=dt.UTC)
    table = pa.table(
        {
            "text": ["ção", None],
            "views": pa.array([2**63 - 1, None], pa.int64()),
            "rate": [0.1, None],
            "flag": [True, None],
            "date": [dt.date(2026, 1, 31), None],
            "at": pa.array([at, None], pa.timestamp("us", "UTC")),
            "price": [decimal.Decimal("1.50"), None],
            "tags": [["a", "b"], None],
        }
    )
    first, second = rows(tmp_path, parquet(tmp_path, table), format="parquet")
    assert first == {
        "text": "ção",
        "views": 2**63 - 1,
        "rate": 0.1,
        "flag": True,
        "date": "2026-01-31",
        "at": "2026-01-31 20:05:00.000250+00:00",
        "price": "1.50",
        "tags": ["a", "b"],
    }
    assert second == dict.fromkeys(table.column_names)


def test_a_parquet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    complete = parquet(tmp_path, pa.table({"a": list(range(1_000))}))
    spoilt = complete[:4] + bytes(byte ^ 0xFF for byte in complete[4:100]) + complete[100:]
    for content in (b"a,b\n1,2\n", complete[:-1], spoilt):
        with pytest.raises(CapstoneError, match="cannot be read as Parquet") as error:
            rows(tmp_path, content, format="parquet")
        assert str(error.value).startswith(f"{tmp_path / 'export'}: ")
        assert "\n" not in str(error.value)


def test_an_object_is_named_after_its_content_and_the_window_of_its_arrival(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_bytes(b"a\n1\n")
    digest = hashlib.sha256(b"a\n1\n").hexdigest()
    assert list(objects_of(path, now="2026-01-31T19:59")) == [
        f"fonte=export/janela=2026-01-31T08/{digest}.jsonl"
    ]


def test_an_export_comes_in_once_under_any_name_and_in_any_window(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    present = tuple(objects_of(tmp_path / "*.csv"))
    (tmp_path / "a.csv").rename(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_bytes(b"a\n1\n")
    assert not objects_of(tmp_path / "*.csv", present, now="2026-03-01T20:05")


def test_an_export_that_changed_comes_in_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    present = tuple(objects_of(path))
    path.write_bytes(b"a\n1\n2\n")
    assert list(objects_of(path, present).values()) == [b'{"a":"1"}\n{"a":"2"}\n']


def test_objects_of_another_source_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"a\n1\n")
    (name,) = objects_of(path)
    assert objects_of(path, (name.replace("fonte=export/", "fonte=export_2/"),))
    assert not objects_of(path, (name,))


def test_a_glob_finds_the_files_of_folders_and_not_the_folders(tmp_path: Path) -> None:
    (tmp_path / "2026/01").mkdir(parents=True)
    (tmp_path / "2026/01/a.csv").write_bytes(b"a\n1\n")
    (tmp_path / "2026/b.csv").write_bytes(b"a\n2\n")
    assert len(objects_of(tmp_path / "**")) == 2


@pytest.mark.parametrize("path", ["nothing*.csv", "nothing/a.csv", "."])
def test_a_path_without_a_file_is_rejected(tmp_path: Path, path: str) -> None:
    with pytest.raises(CapstoneError, match=r"sources\.export\.path: no file at .*; put the"):
        objects_of(tmp_path / path)


def test_a_declaration_without_a_path_is_rejected() -> None:
    declaration = {"type": "files", "format": "csv"}
    with pytest.raises(CapstoneError, match=r"sources\.export\.path: no file"):
        new_objects("export", declaration, Calendar.of(SCHEDULE, "2026-01-31T20:05"), ())


@pytest.mark.parametrize("kind", ["xlsx", "CSV", ""])
def test_an_unknown_format_is_rejected(tmp_path: Path, kind: str) -> None:
    with pytest.raises(CapstoneError, match=r"format: '.*' is not one of csv, jsonl, parquet"):
        objects_of(tmp_path, format=kind)


def test_a_deleted_export_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for kind in ("csv", "jsonl", "parquet"):
        path.write_bytes(b"a\n1\n")
        declaration = {"type": "files", "format": kind, "path": str(path)}
        calendar = Calendar.of(SCHEDULE, "2026-01-31T20:05")
        (chunks,) = new_objects("export", declaration, calendar, ()).values()
        path.unlink()
        with pytest.raises(CapstoneError, match=r"(?i)a\.csv: .*no such file"):
            list(chunks())
