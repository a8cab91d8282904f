from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capstone_metrics.validation import json_object
from capstone_metrics.validation.json_object import Number, parse_object

text = st.text(st.characters(codec="utf-8"), max_size=6)
token = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", " ", "\t", "\x0b", "\x00", "\ufeff", '"', '"a"', '"b":', "\\",
     "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\x", "-", "+", "0", "1", ".5", "e9", "true", "null",
     "NaN", "nan", "inf", "-Infinity", "//", "/**/", "'", "9" * 30, "1e999", '"nan,}"']
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(text, values, max_size=4)


@st.composite
def nearly_objects(draw: st.DrawFn) -> str:
    """The text of an object, with a piece put in or taken out."""
    line = json.dumps(draw(objects), ensure_ascii=draw(st.booleans()))
    at, end = draw(st.integers(0, len(line))), draw(st.integers(0, 2))
    return line[:at] + draw(token | st.just("")) + line[at + end :]


lines = nearly_objects() | st.lists(token, max_size=6).map("".join)


def by_python(line: str) -> tuple[tuple[str, Any], ...] | None:
    """Return the keys and values of an object."""

    def reject_constant(constant: str) -> None:
        raise ValueError(constant)

    try:
        pairs: tuple[tuple[str, Any], ...] = json.loads(
            line,
            parse_constant=reject_constant,
            parse_int=Number,
            parse_float=Number,
            object_pairs_hook=tuple,
        )
        json.dumps(pairs, ensure_ascii=False).encode()
    except ValueError:
        return None
    return pairs if line.strip().startswith("{") else None


@given(lines)
@example('{"a": "\\"nan,}", "b": [1 ,\t2]}')
@example('{"a": [1, ]}')
@example('{"a":-NAN}')
@example('{"a": "\\ude00\\ud83d"}')
@example('{"a": "\\\\ud800"}')
@example('{"a": 1}\x00')
@example('\ufeff{"a": 1}')
@example('{"a": 01}')
@example('{"a": 1, "a": 2}')
@example("[{}]")
@example('{"a": {"b": [1, {"c": "[[["}], "d": {}}}')
@pytest.mark.parametrize("recursive_brackets", [100, -1])
def test_an_object_is_what_python_reads(recursive_brackets: int, line: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_object, "MAX_RECURSION", recursive_brackets)
        pairs = parse_object(line)
    assert pairs == by_python(line)


@pytest.mark.parametrize("depth", [900, 20_000])
def test_an_object_may_be_as_deep_as_it_likes(depth: int) -> None:
    deep = "[" * depth + '{"b": [1, "]"]}' + "]" * depth
    pairs = dict(parse_object(f'{{"a": {deep}, "c": 7}}') or ())
    assert pairs["c"] == "7"
    value, found = pairs["a"], 0
    while value:
        (value,), found = value, found + 1
    assert found == json_object.MAX_DEPTH - 1  # below that it is empty
    assert parse_object(f'{{"a": {deep[:-1]}, "c": 7}}') is None
