"""The functions of JSON for Spark, which has none that keeps a value as it was written.

Spark's workers run them, row by row: by way of Arrow, pandas 3 would make a NaN of a null.
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
WHOLE = re.compile("-?[0-9]+")
BLANK = " \t\r\n"
OBJECT: tuple[str, ...] = ("{",)
VALUE: tuple[str, ...] = ("{", "[", "text", "scalar")
KEY: tuple[str, ...] = ("text",)
FIRST_VALUE, FIRST_KEY = (*VALUE, "]"), (*KEY, "}")
"""What may come next in a line."""

DEEP = 100
"""Brackets in a line from which on it is not read by a function that calls itself."""


KINDS = {
    str: "VARCHAR",
    bool: "BOOLEAN",
    type(None): "NULL",
    tuple: "OBJECT",
    list: "ARRAY",
}
"""What DuckDB calls the kinds of JSON that are no numbers."""


class Written(str):
    """A value as it is written."""

    __slots__ = ()


def json_object_valid(line: str | None) -> bool | None:
    """Whether a line is one JSON object, by the grammar of RFC 8259."""
    return None if line is None else _pairs(line) is not None


def json_names(line: str | None) -> list[str] | None:
    """The keys of a valid object, as often as they stand in it."""
    pairs = _pairs(line)
    return None if pairs is None else [key for key, _ in pairs]


def json_fields(line: str | None, fields: list[str]) -> list[str | None] | None:
    """The JSON text of each field of a valid object; null where absent."""
    pairs = _pairs(line)
    if pairs is None:
        return None
    found = dict(pairs)
    return [_text(found[field]) if field in found else None for field in fields]


def json_kinds(line: str | None, fields: list[str]) -> list[str | None] | None:
    """The kind of each field of an object, as DuckDB calls it; null where absent.

    Null for any other line, and for one with a NUL.
    """
    pairs = _pairs(line)
    if pairs is None or line is None or NUL in line:
        return None
    found = dict(pairs)
    return [_kind(found[field]) if field in found else None for field in fields]


def json_unescaped(token: str | None) -> str | None:
    """The text that a JSON string stands for."""
    return None if token is None else json.loads(token, strict=False)


@lru_cache(maxsize=1)
def _pairs(line: str | None) -> tuple[tuple[str, Any], ...] | None:
    """The keys and values of an object; None if the line is not one.

    An object is read as a tuple of pairs, so that it is told from a list.
    """
    if line is None:
        return None
    try:
        if line.count("[") + line.count("{") > DEEP:
            return _deep_pairs(line)
        pairs = json.loads(
            line,
            object_pairs_hook=tuple,
            parse_int=Written,
            parse_float=Written,
            parse_constant=_refuse,
        )
        if SURROGATE.search(line):
            json.dumps(pairs, ensure_ascii=False).encode()
    except ValueError:
        return None
    return pairs if isinstance(pairs, tuple) else None


def _deep_pairs(line: str) -> tuple[tuple[str, Any], ...] | None:
    """The same of a line that may be nested to any depth; each value as it is written."""
    closers: list[str] = []
    pairs: list[tuple[str, Any]] = []
    key, began, at, end, wanted = "", 0, 0, len(line.rstrip(BLANK)), OBJECT
    while at < end:
        token = TOKEN.match(line, at)
        if not token or not token.lastgroup:
            return None
        word, at = token[token.lastgroup], token.end()
        kind = word if token.lastgroup == "mark" else token.lastgroup
        if kind not in wanted:
            return None
        text = json.loads(word) if kind == "text" else ""
        text.encode()  # an error if half a surrogate pair is in it
        if len(closers) == 1 and wanted == VALUE:
            began = at - len(word)
        if kind == "text" and wanted in {KEY, FIRST_KEY}:
            key, wanted = (text if len(closers) == 1 else key), (":",)
            continue
        wanted = _wanted_after(kind, closers)
        if len(closers) == 1 and wanted == (",", "}"):
            pairs.append((key, Written(line[began:at])))
    return None if closers or wanted else tuple(pairs)


def _wanted_after(kind: str, closers: list[str]) -> tuple[str, ...]:
    """What may come after a bracket, a sign or a value; the brackets that are open are kept."""
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
    if not WHOLE.fullmatch(value):
        return "DOUBLE"
    whole = int(value)
    if value.startswith("-"):
        return "BIGINT" if whole >= -(1 << 63) else "DOUBLE"
    return "UBIGINT" if whole < 1 << 64 else "DOUBLE"


def _text(value: Any) -> str:
    if isinstance(value, Written):
        return str(value)
    if isinstance(value, tuple):
        return "{" + ",".join(f"{_text(key)}:{_text(held)}" for key, held in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


FUNCTIONS = {
    json_object_valid: "boolean",
    json_names: "array<string>",
    json_kinds: "array<string>",
    json_fields: "array<string>",
    json_unescaped: "string",
}
"""Each with the type that it gives."""
