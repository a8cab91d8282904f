from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError
from capstone_metrics.sources.readers import csv as reader
from tests.sources.readers.files import lines, reading_of, rows
from tests.support.selection import examples

PIECES = [
    "a",
    "é",
    "1",
    ",",
    '"',
    '""',
    '"x"',
    '"a\nb"',
    "\n",
    "\r\n",
    "\r",
    "\\",
    "\x01",
    "\0",
    " ",
]
HEADERS = ["h1,h2", "h1", "h1,h2,h3", '"h""1",h2']


def in_chunks(content: bytes, size: int, **options: Any) -> list[str]:
    """Return the lines of a CSV that arrives in chunks of this size, behind its header."""
    header, end, body = content.partition(b"\n")
    chunks = [header + end, *(body[i : i + size] for i in range(0, len(body), size))]
    file = io.BytesIO(content)
    file.read = lambda _=None: chunks.pop(0) if chunks else b""  # type: ignore[method-assign]
    read = reader.records(Path("x"), file, reading_of(format="csv", **options))
    return b"".join(read).decode().splitlines()


def strict(content: str) -> list[str] | None:
    """Return the lines of a CSV by the reader of Python; None if it finds a fault."""
    try:
        table = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    except csv.Error:
        return None
    header, result = table[0], []
    for values in table[1:]:
        row: dict[str, Any] = dict(zip(header, values, strict=False))
        if len(values) > len(header):
            row["_extra"] = values[len(header) :]
        if len(values) < len(header):
            row["_missing"] = header[len(values) :]
        result.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    return result


@settings(max_examples=examples(100, 5_000), deadline=None)
@given(st.sampled_from(HEADERS), st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_any_csv_is_read_as_python_reads_it_in_blocks_of_any_size(header: str, body: str) -> None:
    content = f"{header}\n{body}"
    results = {tuple(in_chunks(content.encode(), size)) for size in (1, 2, 5, 1 << 20)}
    expected = strict(content)
    assert len(results) == 1
    if expected is not None:
        assert results == {tuple(expected)}


@settings(max_examples=examples(50, 1_000), deadline=None)
@given(
    st.lists(st.lists(st.text(max_size=5), min_size=2, max_size=2), max_size=5),
    st.sampled_from([",", ";", "\t", "|", "¦"]),
    st.sampled_from(['"', "'"]),
    st.sampled_from(["", "utf-16", "utf-8"]),
)
def test_what_python_writes_comes_back(
    table: list[list[str]], delimiter: str, quote: str, encoding: str
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quotechar=quote, quoting=csv.QUOTE_ALL).writerows(
        [["a", "b"], *table]
    )
    options = {"delimiter": delimiter, "quote": quote} | (
        {"encoding": encoding} if encoding else {}
    )
    content = text.getvalue().encode(encoding or "utf-8", "surrogatepass")
    read = reader.records(Path("x"), io.BytesIO(content), reading_of(format="csv", **options))
    result = [list(json.loads(line).values()) for line in b"".join(read).split(b"\n") if line]
    assert result == table


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
        pytest.param(b"a,b\n,\n", [{"a": "", "b": ""}], id="blank record"),
        pytest.param(b"a,b\n1\n", [{"a": "1", "_missing": ["b"]}], id="short row"),
        pytest.param(
            b"a,b\n1,2,3,4\n", [{"a": "1", "b": "2", "_extra": ["3", "4"]}], id="long row"
        ),
        pytest.param(b",a\n0,1\n", [{"": "0", "a": "1"}], id="one column without a name"),
        pytest.param(b"a,,\n1,,\n2, ,x\n", [{"a": "1"}, {"a": "2", "_extra": ["x"]}], id="commas"),
        pytest.param("título\nção\n".encode(), [{"título": "ção"}], id="UTF-8"),
        pytest.param(b"a,b\n", [], id="only a header"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"\n\n", [], id="only blank lines"),
    ],
)
def test_a_row_becomes_an_object_of_strings(
    tmp_path: Path, content: bytes, expected: list[dict[str, Any]]
) -> None:
    assert rows(tmp_path, content, format="csv") == expected


def test_a_row_is_written_in_utf_8_with_unescaped_letters(tmp_path: Path) -> None:
    content = "a\nção\n".encode("latin-1")
    assert lines(tmp_path, content, format="csv", encoding="latin-1") == ['{"a":"ção"}'.encode()]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("título;b\nção;1,5\n".encode("latin-1"), {"encoding": "latin-1", "delimiter": ";"}),
        ("título\tb\nção\t1,5\n".encode("utf-16"), {"delimiter": "tab"}),
        ("título;b\nção;1,5\n".encode("utf-16-le"), {"encoding": "utf-16-le", "delimiter": ";"}),
        ("\ufefftítulo;b\nção;1,5\n".encode(), {"encoding": "cp1252", "delimiter": ";"}),
        ("sep=;\r\ntítulo;b\r\nção;1,5\r\n".encode(), {}),
        ("sep=,\ntítulo;b\nção;1,5\n".encode(), {"delimiter": ";"}),
        ("título;b\n'ção';'1,5'\n".encode(), {"quote": "'", "delimiter": ";"}),
    ],
)
def test_the_encoding_delimiter_and_quote_are_declared_or_found(
    tmp_path: Path, content: bytes, options: dict[str, str]
) -> None:
    assert rows(tmp_path, content, format="csv", **options) == [{"título": "ção", "b": "1,5"}]


def test_quotes_are_text_where_there_are_none_declared(tmp_path: Path) -> None:
    content = b'a,b\n"x,y"\n'
    assert rows(tmp_path, content, format="csv", quote="none") == [{"a": '"x', "b": 'y"'}]


def test_an_escape_keeps_a_quote_within_a_value(tmp_path: Path) -> None:
    content = rb"a,b" + b"\n" + rb'"Aula \"um\", \\ fim",2' + b"\n"
    assert rows(tmp_path, content, format="csv", escape="\\") == [
        {"a": 'Aula "um", \\ fim', "b": "2"}
    ]


PREAMBLE = (
    b'Report\n"1, 2",,\n\nDate,Views,Likes\n2026-01-31,5,1\n\nOther\nDate,Reach\n2026-01-31,9\n'
)


@pytest.mark.parametrize("header", [["Views"], ["Date", "Likes"], [["Vistas"], ["Views"]], 4])
def test_a_header_is_identified_by_its_names_or_its_line(tmp_path: Path, header: Any) -> None:
    assert rows(tmp_path, PREAMBLE, format="csv", header=header, until="blank") == [
        {"Date": "2026-01-31", "Views": "5", "Likes": "1"}
    ]


def test_a_header_is_found_whichever_way_its_accents_are_written(tmp_path: Path) -> None:
    content = "x\nTi\u0301tulo,b\n1,2\n".encode()
    for name in ("Ti\u0301tulo", "T\u00edtulo"):
        read = rows(tmp_path, content, format="csv", header=[name, "b"])
        assert read == [{"Ti\u0301tulo": "1", "b": "2"}]  # as the file has it


def test_one_of_several_tables_is_read(tmp_path: Path) -> None:
    assert rows(tmp_path, PREAMBLE, format="csv", header=["Reach"]) == [
        {"Date": "2026-01-31", "Reach": "9"}
    ]


@pytest.mark.parametrize("header", [["Views", "Shares"], 3, 40])
def test_a_missing_header_is_named(tmp_path: Path, header: Any) -> None:
    with pytest.raises(CapstoneError, match=r"export: .*it begins with 'Report'; correct the"):
        rows(tmp_path, PREAMBLE, format="csv", header=header)


AROUND = [{"a": "0", "b": "x"}, {"a": "2", "b": "y"}]


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(rb'1,"Aula \"especial\""', id="text after a quote"),
        pytest.param(b'1,"open', id="quote that is not closed"),
        pytest.param(b'"1"2,3', id="text after the first value"),
        pytest.param(b'1,"a "b" c\nsecond line"', id="over two lines"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_row_that_cannot_be_split_is_one_value_and_costs_no_other(row: bytes, size: int) -> None:
    content = b"a,b\n0,x\n" + row + b"\n2,y\n"
    result = [json.loads(line) for line in in_chunks(content, size)]
    assert result == [AROUND[0], row.decode(), AROUND[1]]


def test_each_of_several_rows_that_cannot_be_split_costs_itself(tmp_path: Path) -> None:
    content = b'a,b\n"1"x,2\n"3"x,4\n0,x\n"5"x,6\n'
    assert rows(tmp_path, content, format="csv") == ['"1"x,2', '"3"x,4', AROUND[0], '"5"x,6']


def test_a_cut_last_row_costs_itself_alone(tmp_path: Path) -> None:
    content = b'a,b,c\n1,2,3\n1,"text over\nlines, that was c'
    assert rows(tmp_path, content, format="csv") == [
        {"a": "1", "b": "2", "c": "3"},
        '1,"text over\nlines, that was c',
    ]


def test_a_value_may_be_longer_than_128_kib_and_than_a_block(tmp_path: Path) -> None:
    for size in (1 << 18, 3 << 20):
        text = "aula\n" * (size // 5)
        content = f'a,b\n1,"{text}"\n2,y\n'.encode()
        assert rows(tmp_path, content, format="csv") == [{"a": "1", "b": text}, AROUND[1]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(b"a\n\xe7\n", "can't decode byte 0xe7", id="another encoding"),
        pytest.param(b"a,a\n1,2\n", "two columns have the same name", id="repeated name"),
        pytest.param(b"a,_extra\n1,2\n", "a column is called '_extra'", id="reserved name"),
        pytest.param("a\n1\n".encode("utf-16-le"), "is not UTF-8; declare", id="UTF-16"),
    ],
)
def test_a_csv_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(CapstoneError, match=why) as error:
        rows(tmp_path, content, format="csv")
    assert str(error.value).startswith(f"{tmp_path / 'export'}: ")
