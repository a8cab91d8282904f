from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.sources.readers import read
from tests.sources.readers.files import reading_of

if TYPE_CHECKING:
    from pathlib import Path


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
    assert b"".join(read(path, reading_of(format="jsonl"))) == content


def test_json_lines_in_utf_16_are_written_in_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes('{"a":"ção"}\n'.encode("utf-16"))
    assert b"".join(read(path, reading_of(format="jsonl"))) == '{"a":"ção"}\n'.encode()


@pytest.mark.parametrize(
    "content", [b'[{"a":1}]', b'\n [\n{"a":1}]', b'{\n  "a": 1\n}', b"{ \r\n}"]
)
def test_an_array_or_a_document_is_no_json_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(content)
    with pytest.raises(CapstoneError, match=r"export\.jsonl: .*declare format: json"):
        list(read(path, reading_of(format="jsonl")))
