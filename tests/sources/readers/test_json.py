from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError
from tests.sources.readers.files import lines, rows
from tests.support.selection import examples

if TYPE_CHECKING:
    from pathlib import Path

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)
RECORDS = st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), max_size=4)
WRITE = {
    "compact": lambda value: json.dumps(value, separators=(",", ":")),
    "spaced": lambda value: json.dumps(value, ensure_ascii=False),
    "indented": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


@settings(
    max_examples=examples(50, 2_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(RECORDS, st.sampled_from(sorted(WRITE)), st.booleans())
def test_records_come_back_from_every_layout(
    tmp_path: Path, records: list[Any], form: str, is_cut: bool
) -> None:
    write = WRITE[form]
    layouts = {
        "array": (write(records), {}),
        "documents": ("\n".join(map(write, records)), {}),
        "page": (write({"kind": "x", "page": {"items": records}}), {"records": "page.items"}),
        "pages": (
            "\n".join(WRITE["compact"]({"items": [record]}) for record in records),
            {"records": "items[]"},
        ),
        "array of pages": (write([{"items": records}, {"items": []}]), {"records": "items"}),
    }
    for content, options in layouts.values():
        # without its last bracket, each record is still whole
        text = content[:-1] if is_cut and content.endswith("]") else content
        assert (
            rows(tmp_path, text.encode("utf-8", "surrogatepass"), format="json", **options)
            == records
        )


ITEMS = (
    b'{"fetched_at": "2026-04-07 11:00:02.4+00", "n": {"next": 1.0},\n "items": [{"id": 1.0}, {}]}'
)


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (
            ["fetched_at"],
            [
                b'{"fetched_at":"2026-04-07 11:00:02.4+00","id": 1.0}',
                b'{"fetched_at":"2026-04-07 11:00:02.4+00"}',
            ],
        ),
        ({"seen": "n.next"}, [b'{"seen":1.0,"id": 1.0}', b'{"seen":1.0}']),
        (["absent"], [b'{"id": 1.0}', b"{}"]),
    ],
)
def test_what_stands_around_the_records_goes_with_each(
    tmp_path: Path, envelope: Any, expected: list[bytes]
) -> None:
    assert lines(tmp_path, ITEMS, format="json", records="items", envelope=envelope) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            b'[{"a": 1.0, "b" : 12345678901234567890, "c":"\\/ \\u00e7"},\n{"a":1e2}]',
            [b'{"a": 1.0, "b" : 12345678901234567890, "c":"\\/ \\u00e7"}', b'{"a":1e2}'],
            id="tokens and spaces stay",
        ),
        pytest.param(
            b'{\r\n  "a": -0.0,\r\n  "b": "\\/"\r\n}\r\n',
            [b'{"a":-0.0,"b":"\\/"}'],
            id="lines join",
        ),
        pytest.param(b'[{\n"a": NaN}, {"a": 2}]', [b'{ "a": NaN}', b'{"a": 2}'], id="NaN"),
        pytest.param(
            b'{"a":1}\nERROR: [x] y\n{"a":', [b'{"a":1}', b"ERROR: [x] y", b'{"a":'], id="bad lines"
        ),
        pytest.param(b'{"a":\n{"a":1}\n', [b'{"a":', b'{"a":1}'], id="first line cut"),
        pytest.param(b'[{"a":1},\n{"a":"x\ny', [b'{"a":1}', b'"{\\"a\\":\\"x\\ny"'], id="cut text"),
        pytest.param(b'[{"a":"\xff"}]', [b'{"a":"\xff"}'], id="not UTF-8"),
        pytest.param(b'{"a":1},\n{"a":2},\n', [b'{"a":1}', b'{"a":2}'], id="commas after lines"),
        pytest.param(
            b'{"a":\n1}{"b":2}, {"c"\n:3}',
            [b'{"a":1}', b'{"b":2}', b'{"c":3}'],
            id="one after another",
        ),
        pytest.param(b'[{"a":1},\n{"a":2}\n] x', [b'{"a":1}', b'{"a":2}', b"x"], id="rest"),
        pytest.param(
            b'{"a":1,\n{"b":[{"c":\n{"d":1}\n{"e"',
            [b'{"a":1,', b'{"b":[{"c":', b'{"d":1}', b'{"e"'],
            id="cut lines among others",
        ),
        pytest.param(
            b'[{"a":1},\n{"a":NaN},\n{"a":2}\n]\n',
            [b'{"a":1}', b'{"a":NaN},', b'{"a":2}'],
            id="broken array",
        ),
        pytest.param(b"[]", [], id="no record"),
        pytest.param(b"", [], id="empty"),
        pytest.param(b"[null, 1]", [b"null", b"1"], id="no objects"),
        pytest.param(b"[" * 3_000 + b"]" * 3_000, [b"[" * 2_997 + b"]" * 2_997], id="deep"),
    ],
)
def test_values_stay_as_they_are_written(
    tmp_path: Path, content: bytes, expected: list[bytes]
) -> None:
    assert lines(tmp_path, content, format="json") == expected


def test_a_cut_page_loses_no_record_before_the_cut(tmp_path: Path) -> None:
    content = b'{"at":1,"items":[{"a":1}]}\n{"at":2,"items":[{"a":2},{"a":"3'
    assert lines(tmp_path, content, format="json", records="items", envelope=["at"]) == [
        b'{"at":1,"a":1}',
        b'{"at":2,"a":2}',
        b'{"at":2,"a":"3',
    ]


def test_a_page_without_the_list_is_a_record_itself(tmp_path: Path) -> None:
    content = b'{"items":[]}\n{"at":1,"error":"quota"}\n{"items":null}\n'
    options = {"format": "json", "records": "items", "envelope": ["at"]}
    assert lines(tmp_path, content, **options) == [b'{"at":1,"error":"quota"}']


def test_a_file_without_the_list_is_refused_by_its_fields(tmp_path: Path) -> None:
    with pytest.raises(CapstoneError, match=r"export: has no data\.items or rows, .* kind, data;"):
        lines(tmp_path, b'{"kind": 1, "data": {}}', format="json", records=["data.items", "rows"])


def test_the_first_list_that_exists_counts(tmp_path: Path) -> None:
    content = b'{"b": {"x": [{"id": 1}]}, "c": [{"id": 2}]}'
    assert rows(tmp_path, content, format="json", records=["a", "b.x", "c"]) == [{"id": 1}]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str) -> None:
    assert rows(tmp_path, '[{"a": "ção"}]'.encode(encoding), format="json") == [{"a": "ção"}]
