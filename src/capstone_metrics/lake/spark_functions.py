"""JSON functions for Spark, whose own do not preserve values as they are written.

The workers run them row by row: with Arrow, pandas 3 would turn a null into NaN.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

NUL = r"\u0000"
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<mark>[{}\[\],:])"
    r'|(?P<text>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
    r"|(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null))"
)
INTEGER = re.compile("-?[0-9]+")
BLANK = " \t\r\n"
OBJECT: tuple[str, ...] = ("{",)
VALUE: tuple[str, ...] = ("{", "[", "text", "scalar")
KEY: tuple[str, ...] = ("text",)
FIRST_VALUE, FIRST_KEY = (*VALUE, "]"), (*KEY, "}")
"""The tokens that may come next in a line."""

MAX_RECURSIVE_BRACKETS = 100
"""A line with more brackets is parsed without recursion."""


KINDS = {
    str: "VARCHAR",
    bool: "BOOLEAN",
    type(None): "NULL",
    tuple: "OBJECT",
    list: "ARRAY",
}
"""DuckDB's names of the JSON kinds that are not numbers."""


class Written(str):
    """The text of a value, exactly as it is written."""

    __slots__ = ()


def json_object_valid(line: str | None) -> bool | None:
    """Return whether a line is one JSON object, by the grammar of RFC 8259."""
    return None if line is None else _pairs(line) is not None


def json_names(line: str | None) -> list[str] | None:
    """Return the keys of a valid object, including repeated ones."""
    pairs = _pairs(line)
    return None if pairs is None else [key for key, _ in pairs]


def json_fields(line: str | None, fields: list[str]) -> list[str | None] | None:
    """Return the JSON text of each field of a valid object; null if absent."""
    pairs = _pairs(line)
    if pairs is None:
        return None
    values = dict(pairs)
    return [_text(values[field]) if field in values else None for field in fields]


def json_kinds(line: str | None, fields: list[str]) -> list[str | None] | None:
    """Return the kind of each field of an object, as DuckDB names it; null if absent.

    The result is null for any other line, and for one with a NUL.
    """
    pairs = _pairs(line)
    if pairs is None or line is None or NUL in line:
        return None
    values = dict(pairs)
    return [_kind(values[field]) if field in values else None for field in fields]


def json_unescaped(token: str | None) -> str | None:
    """Return the text of a JSON string."""
    return None if token is None else json.loads(token, strict=False)


@lru_cache(maxsize=1)
def _pairs(line: str | None) -> tuple[tuple[str, Any], ...] | None:
    """Parse the keys and values of an object; return None if the line is not one.

    Objects are tuples of pairs, to distinguish them from arrays, which are lists.
    """
    if line is None:
        return None
    try:
        if line.count("[") + line.count("{") > MAX_RECURSIVE_BRACKETS:
            return _deep_pairs(line)
        pairs = json.loads(
            line,
            object_pairs_hook=tuple,
            parse_int=Written,
            parse_float=Written,
            parse_constant=_reject_constant,
        )
        if SURROGATE.search(line):
            json.dumps(pairs, ensure_ascii=False).encode()
    except ValueError:
        return None
    return pairs if isinstance(pairs, tuple) else None


def _deep_pairs(line: str) -> tuple[tuple[str, Any], ...] | None:
    """Parse the keys and values of an object of any depth; each value as it is written."""
    closers: list[str] = []
    pairs: list[tuple[str, Any]] = []
    key, value_start, position, end, expected = "", 0, 0, len(line.rstrip(BLANK)), OBJECT
    while position < end:
        token = TOKEN.match(line, position)
        if not token or not token.lastgroup:
            return None
        word, position = token[token.lastgroup], token.end()
        kind = word if token.lastgroup == "mark" else token.lastgroup
        if kind not in expected:
            return None
        text = json.loads(word) if kind == "text" else ""
        text.encode()  # raises an error for half a surrogate pair
        if len(closers) == 1 and expected == VALUE:
            value_start = position - len(word)
        if kind == "text" and expected in {KEY, FIRST_KEY}:
            key, expected = (text if len(closers) == 1 else key), (":",)
            continue
        expected = _expected_after(kind, closers)
        if len(closers) == 1 and expected == (",", "}"):
            pairs.append((key, Written(line[value_start:position])))
    return None if closers or expected else tuple(pairs)


def _expected_after(kind: str, closers: list[str]) -> tuple[str, ...]:
    """Return the tokens that may follow a token, and update the closers of open brackets."""
    if kind in "{[":
        closers.append("}" if kind == "{" else "]")
        return FIRST_KEY if kind == "{" else FIRST_VALUE
    if kind in ":,":
        return KEY if kind == "," and closers[-1] == "}" else VALUE
    if kind in "}]":
        closers.pop()
    return (",", closers[-1]) if closers else ()


def _kind(value: Any) -> str:
    if not isinstance(value, Written):
        return KINDS[type(value)]
    if not INTEGER.fullmatch(value):
        return "DOUBLE"
    number = int(value)
    if value.startswith("-"):
        return "BIGINT" if number >= -(1 << 63) else "DOUBLE"
    return "UBIGINT" if number < 1 << 64 else "DOUBLE"


def _text(value: Any) -> str:
    if isinstance(value, Written):
        return str(value)
    if isinstance(value, tuple):
        return "{" + ",".join(f"{_text(key)}:{_text(item)}" for key, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _reject_constant(constant: str) -> None:
    raise ValueError(constant)


FUNCTIONS = {
    json_object_valid: "boolean",
    json_names: "array<string>",
    json_kinds: "array<string>",
    json_fields: "array<string>",
    json_unescaped: "string",
}
"""The return type of each function."""
