"""The functions of JSON for Spark, which has none that keeps a value as it was written.

Workers of Spark run them, and get them by value: this module needs nothing but Python. The two
that read a line share what they read.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Number(str):
    """The text of a number."""

    __slots__ = ()


def json_object_valid(line: str | None) -> bool | None:
    """Whether a line is one JSON object, by the grammar of RFC 8259."""
    return None if line is None else _pairs(line) is not None


def json_keys(line: str | None) -> list[str] | None:
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
        pairs = json.loads(
            line,
            object_pairs_hook=tuple,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_refuse,
        )
        if SURROGATE.search(line):
            json.dumps(pairs, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return pairs if isinstance(pairs, tuple) else None


def _text(value: Any) -> str:
    if isinstance(value, Number):
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
    json_keys: "array<string>",
    json_fields: "array<string>",
    json_unescaped: "string",
}
"""Each with the type that it gives."""
