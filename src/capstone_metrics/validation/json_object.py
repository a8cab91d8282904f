"""Parse a line as one JSON object, strictly by RFC 8259, with its numbers as they are written."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_RECURSION = 100
"""A line that may be nested deeper is parsed without recursion."""

MAX_DEPTH = 100
"""Values that are nested deeper are left empty; no declared path leads there."""

BRACKETS = re.compile(r"[\[{]|[\]}]")

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
TOKEN = re.compile(
    r"[ \t\r\n]*(?:(?P<mark>[{}\[\],:])"
    r'|(?P<text>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")'
    r"|(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>true|false|null))"
)
BLANK = " \t\r\n"
WORDS = {"true": True, "false": False, "null": None}
OBJECT: tuple[str, ...] = ("{",)
VALUE: tuple[str, ...] = ("{", "[", "text", "number", "word")
KEY: tuple[str, ...] = ("text",)
FIRST_VALUE, FIRST_KEY = (*VALUE, "]"), (*KEY, "}")
"""The tokens that may come next in a line."""

Pairs = tuple[tuple[str, Any], ...]


class Number(str):
    """A JSON number as it is written: `1.7`, `1e3`, or one of any size."""

    __slots__ = ()


def parse_object(line: str) -> Pairs | None:
    """Return the keys and values of an object; None if the line is not one.

    A nested array is a list, and a nested object a tuple of pairs; those below `MAX_DEPTH` are
    empty.
    """
    try:
        if _may_be_deep(line):
            return _parse_nested(line)
        pairs = DECODER.decode(line)
        if SURROGATE.search(line):  # half a surrogate pair is not text
            json.dumps(pairs, ensure_ascii=False).encode()
    except RecursionError:
        return _parse_nested(line)
    except ValueError:
        return None
    return pairs if isinstance(pairs, tuple) else None


def _may_be_deep(line: str) -> bool:
    """Return whether a line may be nested deeper than recursion allows; brackets of texts count."""
    if line.count("[") + line.count("{") <= MAX_RECURSION:
        return False
    depth = deepest = 0
    for bracket in BRACKETS.findall(line):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > MAX_RECURSION


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(constant)


DECODER = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_int=Number,
    parse_float=Number,
    parse_constant=_reject_constant,
)


def _parse_nested(line: str) -> Pairs | None:
    """Return the keys and values of an object of any depth; those below `MAX_DEPTH` are empty."""
    closers: list[str] = []
    contents: list[list[Any]] = []  # the values, or keys and values, within each open bracket
    keys: list[str] = []  # the last key within each open bracket
    value: Any = None
    position, end, expected = 0, len(line.rstrip(BLANK)), OBJECT
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
        if kind == "text" and expected in {KEY, FIRST_KEY}:
            keys[-1], expected = text, (":",)
            continue
        expected = _expected_after(kind, closers)
        if kind in "{[":
            contents.append([])
            keys.append("")
            continue
        if kind in ":,":
            continue
        if kind in "}]":
            keys.pop()
            value = tuple(contents.pop()) if kind == "}" else contents.pop()
        else:
            value = _value(kind, word, text)
        if 0 < len(contents) <= MAX_DEPTH:
            contents[-1].append((keys[-1], value) if closers[-1] == "}" else value)
    return None if closers or expected else value


def _value(kind: str, word: str, text: str) -> Any:
    """Return the value of a token."""
    if kind == "text":
        return text
    return Number(word) if kind == "number" else WORDS[word]


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
