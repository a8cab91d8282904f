"""Lines of Bronze that are nearly valid, made from a seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

PIECES = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"\0"),
    *(b"-", b"+", b".", b"0", b"1", b"9", b"e", b"E", b"e9", b"e-5", b"1e999", b"9" * 19, b"01"),
    *(b"true", b"false", b"null", b"NaN", b"Infinity", b"nul", b"[]", b"{}", b'[1,{"a":[]}]'),
    *(b"\\u0000", b"\\u00e9", b"\\ud83d\\ude00", b"\\ud800", b"\\udc00", b"\\/", b"\\n", b"\\x"),
    *("é".encode(), "😀".encode(), "\ufeff".encode(), "\u2028".encode(), b"\xff", b"\xc3", b"\x80"),
    *(b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"[" * 70, b"]" * 70),
    *(b'"views":', b'"likes":1,', b'"curtidas":2,', b'"nota":[1],', b'"vi\\u0065ws":3,', b'"":0,'),
    *(b"2026-01-30", b"T20:05:00", b"+05:30", b"Z", b".123456789", b"29", b"31", b"/", b"tiktok"),
)
"""Bytes that are put into a line."""

VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 7, 2**63 - 1, 2**63, -(2**63), 10**30, 0.5, -2.5, 1e-7, 1e300, 0.1 + 0.2),
    *("", " ", "\t", "\0", "a", "12", " 12 ", "-5", "007", "1.5", "1e3", "é", "😀", '"', "\\", "/"),
    *("tiktok", "youtube", "orkut", "2026-01-30", "2026-02-30", "2024-02-29", "2999-12-31"),
    *("2026-01-30T20:05:00", "2026-01-30 20:05:00.5", "2026-01-30T20:05:00Z", "2026-02-09"),
    *("2026-01-30T20:05:00+05:30", "2018-11-04T00:30:00", "2019-02-16T23:30:00", "30/01/26"),
    *(" GRAN ", "Gran\u00a0", "gra\u0303 c\u0327", "grã ç", "\u00a0", "\u212b", "\x1fGran"),
    *("1914-01-01T00:00:00Z", "0999-01-01", "20260131 09:30", "2026-01-31T24:00:00"),
    *([1], {"a": {"b": []}}, [[]], {}),
)
"""Values that are put into fields."""


def near_line(random: Random, fields: dict[str, Any], others: Sequence[str]) -> bytes:
    """Return a line that may differ from a good one.

    Args:
        random: what differs is drawn from it.
        fields: those of a good line.
        others: names of further fields.
    """
    row = dict(fields)
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        row[random.choice((*fields, *others))] = random.choice(VALUES)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        row.pop(random.choice(list(row)), None)
    items = list(row.items())
    if random.random() < 0.3:
        random.shuffle(items)
    separators = random.choice(((",", ":"), (", ", ": "), (" ,\t", " :  ")))
    text = json.dumps(dict(items), ensure_ascii=random.random() < 0.5, separators=separators)
    line = text.encode("utf-8", "surrogatepass")
    for _ in range(random.choice((0, 0, 0, 1, 1, 2, 4))):
        start = random.randrange(len(line) + 1)
        end = start + random.choice((0, 0, 1, 2, 5))
        line = line[:start] + random.choice((*PIECES, b"")) + line[end:]
    if random.random() < 0.02:
        line = line[: random.randrange(len(line) + 1)]
    if random.random() < 0.02:
        line = random.randbytes(random.randrange(40))
    return line.replace(b"\n", b"")
