from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstone_metrics.engines import lines
from capstone_metrics.engines.lines import SCHEMA, compute_stats, read_lines
from capstone_metrics.validation import blocks

NAME = "fonte=faker/janela=2026-01-31T08/criacao.jsonl"

pieces = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b" ", b"\t", b"\x0b", b"\xef\xbb\xbf", b"{}", b"a", "é".encode(),
     "😀".encode(), b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\x00", "\u2028".encode()]
)  # fmt: skip
contents = st.lists(pieces, max_size=12).map(b"".join) | st.binary(max_size=20)


def read(content: bytes) -> list[dict[str, Any]]:
    batches = read_lines([(NAME, lambda: io.BytesIO(content))])
    return [row for batch in batches for row in batch.to_pylist()]


def texts(content: bytes) -> list[tuple[int, str]]:
    return [(row["linha"], row["texto"]) for row in read(content)]


def naive(content: bytes) -> list[tuple[int, str | None, str | None]]:
    """Return the number, text and base64 of each line, the slow way."""
    numbered: list[tuple[int, str | None, str | None]] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        bare = line.rstrip(b"\r")
        if bare.strip():
            try:
                numbered.append((number, bare.decode(), None))
            except UnicodeDecodeError:
                numbered.append((number, None, base64.b64encode(bare).decode()))
    return numbered


def test_a_line_knows_where_it_stands() -> None:
    (batch,) = read_lines([(NAME, lambda: io.BytesIO(b"{}\n"))])
    assert batch.schema == SCHEMA
    assert batch.to_pylist() == [
        {
            "fonte": "faker",
            "janela": "2026-01-31T08",
            "objeto": NAME,
            "linha": 1,
            "texto": "{}",
            "texto_base64": None,
        }
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"a\nb\n", [(1, "a"), (2, "b")], id="LF"),
        pytest.param(b"a\r\nb\r\n", [(1, "a"), (2, "b")], id="CRLF"),
        pytest.param(b"a\nb", [(1, "a"), (2, "b")], id="no newline at the end"),
        pytest.param(b"\n\r\na\n \t\nb\n\n", [(3, "a"), (5, "b")], id="blank lines"),
        pytest.param(b"\xef\xbb\xbfa\nb\n", [(1, "a"), (2, "b")], id="byte order mark"),
        pytest.param(b"\xef\xbb\xbf\na\n", [(2, "a")], id="only a byte order mark"),
        pytest.param(b"a\n\xef\xbb\xbfb\n", [(1, "a"), (2, "\ufeffb")], id="mark further down"),
        pytest.param(b"  {} \n", [(1, "  {} ")], id="spaces"),
        pytest.param(b"a\rb\n", [(1, "a\rb")], id="CR within"),
        pytest.param("é😀\u2028\u0085\n".encode(), [(1, "é😀\u2028\u0085")], id="other separators"),
        pytest.param(b"a\x00b\n", [(1, "a\x00b")], id="NUL"),
    ],
)
def test_lines_are_numbered_and_unchanged(content: bytes, expected: list[tuple[int, str]]) -> None:
    assert texts(content) == expected
    assert compute_stats(io.BytesIO(content))["lines"] == len(expected)


@pytest.mark.parametrize(
    "line", [b"\xff", b'{"a": "\xe7"}', b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf", b" \xff\t"]
)
def test_a_line_that_is_not_utf_8_keeps_its_bytes(line: bytes) -> None:
    before, broken, after = read(b"a\n" + line + b"\r\nb\n")
    assert (before["texto"], after["texto"]) == ("a", "b")
    assert (broken["linha"], broken["texto"]) == (2, None)
    assert base64.b64decode(broken["texto_base64"], validate=True) == line


@settings(deadline=None)
@given(contents)
def test_every_line_is_read_once_by_its_bytes(content: bytes) -> None:
    rows = [(row["linha"], row["texto"], row["texto_base64"]) for row in read(content)]
    assert rows == naive(content)
    assert compute_stats(io.BytesIO(content))["lines"] == len(rows)


@settings(deadline=None)
@given(contents, st.integers(1, 8))
def test_blocks_make_no_difference(content: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        patch.setattr(blocks, "BLOCK_BYTES", size)
        in_blocks = read(content), compute_stats(io.BytesIO(content))
    assert in_blocks == (read(content), compute_stats(io.BytesIO(content)))


def test_a_long_object_comes_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 100)
    content = b"".join(b"%d\n" % number for number in range(1, 101))
    batches = list(read_lines([(NAME, lambda: io.BytesIO(content))]))
    assert len(batches) > 1
    assert [row["texto"] for batch in batches for row in batch.to_pylist()] == [
        str(number) for number in range(1, 101)
    ]
