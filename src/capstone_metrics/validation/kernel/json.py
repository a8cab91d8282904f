"""Find where the values of JSON end, and whether they are valid by RFC 8259."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation.kernel.memory import (
    HIGHS,
    ONES,
    UNUSUAL,
    is_digit,
    trailing_zeros,
    word_at,
)

TEXT, ESCAPED_TEXT, INTEGER, NUMBER, BOOLEAN, NULL, NESTED = range(7)
"""The tokens of JSON values."""

MAX_DEPTH = 60
NO_END = 1 << 62
"""An offset that no byte has."""

QUOTES, BACKSLASHES = np.uint64(0x2222222222222222), np.uint64(0x5C5C5C5C5C5C5C5C)
SPACES = np.uint64(0x2020202020202020)


@njit
def skip_blank(b, q):
    """Return the offset of the next byte that is no white space of JSON, or a line feed."""
    while b[q] == 32 or b[q] == 9 or b[q] == 13:
        q += 1
    return q


@njit
def hex_at(b, q):
    """Return the value of four hexadecimal digits."""
    value = 0
    for k in range(4):
        c = np.int64(b[q + k])
        if 48 <= c <= 57:
            value = value * 16 + c - 48
        elif 65 <= c <= 70 or 97 <= c <= 102:
            value = value * 16 + (c & 7) + 9
        else:
            return UNUSUAL
    return value


@njit
def escape_end(b, q):
    """Return the end of an escape, which starts with a backslash."""
    c = b[q + 1]
    if c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114 or c == 116:
        return q + 2
    if c != 117:
        return UNUSUAL
    code = hex_at(b, q + 2)
    if code < 0 or 0xDC00 <= code <= 0xDFFF:
        return UNUSUAL
    if 0xD800 <= code <= 0xDBFF:
        if b[q + 6] != 92 or b[q + 7] != 117 or not 0xDC00 <= hex_at(b, q + 8) <= 0xDFFF:
            return UNUSUAL
        return q + 12
    return q + 6


@njit
def character_end(b, q):
    """Return the end of a character of several bytes in UTF-8."""
    c, second = b[q], b[q + 1]
    if 0xC2 <= c <= 0xDF:
        more = 1
    elif 0xE0 <= c <= 0xEF:
        if (c == 0xE0 and second < 0xA0) or (c == 0xED and second > 0x9F):
            return UNUSUAL
        more = 2
    elif 0xF0 <= c <= 0xF4:
        if (c == 0xF0 and second < 0x90) or (c == 0xF4 and second > 0x8F):
            return UNUSUAL
        more = 3
    else:
        return UNUSUAL
    for k in range(1, more + 1):
        if b[q + k] & 0xC0 != 0x80:
            return UNUSUAL
    return q + more + 1


@njit
def text_end(b, q):
    """Return the offset of the closing quote, and whether the text has an escape."""
    token = TEXT
    while True:
        word = word_at(b, q)
        quote, backslash = word ^ QUOTES, word ^ BACKSLASHES
        stop = ((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash)
        stop = (stop | ((word - SPACES) & ~word) | word) & HIGHS
        if not stop:
            q += 8
            continue
        q += trailing_zeros(stop) >> 3
        c = b[q]
        if c == 34:
            return q, token
        if c == 92:
            q, token = escape_end(b, q), ESCAPED_TEXT
        elif c < 32:
            return UNUSUAL, token
        else:
            q = character_end(b, q)
        if q < 0:
            return UNUSUAL, token


@njit
def digits_end(b, q, end):
    """Return the end of the digits that stand here; `end` if that comes first."""
    while q < end and is_digit(b[q]):
        q += 1
    return q


@njit
def written_number_end(b, q, end):
    """Return the end of a number that may have leading zeros, and its token."""
    if q < end and b[q] == 45:
        q += 1
    start, q, token = q, digits_end(b, q, end), INTEGER
    if q == start:
        return UNUSUAL, token
    if q < end and b[q] == 46:
        start, token = q + 1, NUMBER
        q = digits_end(b, start, end)
        if q == start:
            return UNUSUAL, token
    if q < end and (b[q] == 101 or b[q] == 69):
        start, token = q + 1, NUMBER
        if start < end and (b[start] == 43 or b[start] == 45):
            start += 1
        q = digits_end(b, start, end)
        if q == start:
            return UNUSUAL, token
    return q, token


@njit
def number_end(b, q):
    """Return the end of a number of JSON, and its token."""
    first = q + np.int64(b[q] == 45)
    if b[first] == 48 and is_digit(b[first + 1]):
        return UNUSUAL, INTEGER
    return written_number_end(b, q, np.int64(NO_END))


@njit
def scalar_end(b, q):
    """Return the end of a value that is not nested, and its token."""
    c = b[q]
    if c == 34:
        end, token = text_end(b, q + 1)
        return (end + 1 if end > 0 else UNUSUAL), token
    if c == 45 or is_digit(c):
        return number_end(b, q)
    if c == 110 and b[q + 1] == 117 and b[q + 2] == 108 and b[q + 3] == 108:
        return q + 4, NULL
    if c == 116 and b[q + 1] == 114 and b[q + 2] == 117 and b[q + 3] == 101:
        return q + 4, BOOLEAN
    if c == 102 and b[q + 1] == 97 and b[q + 2] == 108 and b[q + 3] == 115 and b[q + 4] == 101:
        return q + 5, BOOLEAN
    return UNUSUAL, NULL


@njit
def value_start(b, q):
    """Return the start of the value of a key, which starts with a quote."""
    if b[q] != 34:
        return UNUSUAL
    q, _ = text_end(b, q + 1)
    if q < 0:
        return UNUSUAL
    q = skip_blank(b, q + 1)
    if b[q] != 58:
        return UNUSUAL
    return skip_blank(b, q + 1)


@njit
def nested_end(b, q):
    """Return the end of an array or an object."""
    depth, objects = 0, 0  # a bit for each level says whether it is an object
    while True:
        c = b[q]
        if c == 91 or c == 123:
            if depth == MAX_DEPTH:
                return UNUSUAL
            depth, objects = depth + 1, objects << 1 | (c == 123)
            q = skip_blank(b, q + 1)
            if b[q] != c + 2:
                if c == 123:
                    q = value_start(b, q)
                    if q < 0:
                        return UNUSUAL
                continue
        else:
            q, _ = scalar_end(b, q)
            if q < 0:
                return UNUSUAL
            q = skip_blank(b, q)
        while b[q] == (125 if objects & 1 else 93):
            depth, objects = depth - 1, objects >> 1
            if depth == 0:
                return q + 1
            q = skip_blank(b, q + 1)
        if b[q] != 44:
            return UNUSUAL
        q = skip_blank(b, q + 1)
        if objects & 1:
            q = value_start(b, q)
            if q < 0:
                return UNUSUAL


@njit
def value_end(b, q):
    """Return the end of a value, and its token."""
    if b[q] == 91 or b[q] == 123:
        return nested_end(b, q), NESTED
    return scalar_end(b, q)


@njit
def put_character(out, o, code):
    """Write a character in UTF-8; return the offset behind it."""
    if code < 0x80:
        out[o] = code
        return o + 1
    if code < 0x800:
        out[o], out[o + 1] = 0xC0 | code >> 6, 0x80 | code & 63
        return o + 2
    if code < 0x10000:
        out[o], out[o + 1] = 0xE0 | code >> 12, 0x80 | code >> 6 & 63
        out[o + 2] = 0x80 | code & 63
        return o + 3
    out[o], out[o + 1] = 0xF0 | code >> 18, 0x80 | code >> 12 & 63
    out[o + 2], out[o + 3] = 0x80 | code >> 6 & 63, 0x80 | code & 63
    return o + 4


@njit
def unescape(b, q, end, out):
    """Write what a text with valid escapes stands for; return its length, or that it has a NUL."""
    o = 0
    while q < end:
        c = np.int64(b[q])
        if c != 92:
            out[o] = c
            q, o = q + 1, o + 1
            continue
        c = np.int64(b[q + 1])
        q += 2
        if c == 117:
            c = hex_at(b, q)
            q += 4
            if c == 0:
                return UNUSUAL
            if 0xD800 <= c <= 0xDBFF:
                c = 0x10000 + ((c - 0xD800) << 10) + hex_at(b, q + 2) - 0xDC00
                q += 6
            o = put_character(out, o, c)
            continue
        if c == 98:
            c = 8
        elif c == 102:
            c = 12
        elif c == 110:
            c = 10
        elif c == 114:
            c = 13
        elif c == 116:
            c = 9
        out[o] = c
        o += 1
    return o
