"""Read numbers of JSON, and those that are written as texts."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.memory import UNUSUAL, is_digit

MAX_DIGITS = 18
"""A whole number of at most so many digits fits into 64 bits."""

MAX_NUMBER_LENGTH, MAX_EXPONENT_DIGITS = 200, 2
"""A number within these is finite."""

MAX_GROUPS = 6
"""A whole number of at most so many groups of three digits fits into 64 bits."""


@njit
def digits(b, q, count):
    """Return the value of some digits."""
    value = 0
    for k in range(count):
        c = np.int64(b[q + k])
        if not is_digit(c):
            return UNUSUAL
        value = value * 10 + c - 48
    return value


@njit
def is_surely_finite(b, q, end):
    """Return whether a number is so short that it is finite."""
    if end - q > MAX_NUMBER_LENGTH:
        return False
    while q < end and b[q] != 101 and b[q] != 69:
        q += 1
    if q + 1 < end and (b[q + 1] == 43 or b[q + 1] == 45):
        q += 1
    return end - q - 1 <= MAX_EXPONENT_DIGITS


@njit
def read_integer(source, start, stop):
    """Return what is known of a whole number, and its value."""
    negative = np.int64(source[start] == 45)
    if stop - start - negative > MAX_DIGITS:
        return 0, 0
    value = digits(source, start + negative, stop - start - negative)
    return layout.VALID, (-value if negative else value)


@njit
def separator_end(b, q, separator):
    """Return the end of a separator of thousands: a character, or any of `numerals.SPACES`."""
    if b[q] == separator or b[q] == 32:
        return q + 1
    if b[q] == 0xC2 and b[q + 1] == 0xA0:
        return q + 2
    if b[q] == 0xE2 and b[q + 1] == 0x80 and (b[q + 2] == 0x89 or b[q + 2] == 0xAF):
        return q + 3
    return UNUSUAL


@njit
def read_whole_text(source, start, stop, separator):
    """Return whether a text is a whole number that fits, and its value.

    `separator` is what may be between groups of three digits, as may blanks; 0 for nothing.
    """
    negative = np.int64(source[start] == 45)
    q = start + negative
    value = digits(source, q, stop - q) if 0 < stop - q <= MAX_DIGITS else UNUSUAL
    if value < 0:
        length = np.int64(0)
        while length < 3 and is_digit(source[q + length]):
            length += 1
        if not separator or not length or source[q] == 48 or q + length >= stop:
            return False, 0
        value, q, groups = digits(source, q, length), q + length, 1
        while q < stop:
            q, groups = separator_end(source, q, separator), groups + 1
            group = digits(source, q, 3) if 0 <= q <= stop - 3 else UNUSUAL
            if group < 0 or groups > MAX_GROUPS:
                return False, 0
            value, q = value * 1000 + group, q + 3
    return True, (-value if negative else value)
