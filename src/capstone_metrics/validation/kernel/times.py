"""Read times by ISO 8601, or in a declared format."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.memory import UNUSUAL, is_digit, is_same
from capstone_metrics.validation.kernel.numbers import digits
from capstone_metrics.validation.layout import SPAN_WIDTH

CENTURY_STARTS = 69
"""A year of two digits from this on is in the 20th century."""

DAY_US, HOUR_US, MINUTE_US, SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000


@njit
def part(b, q, spans, at):
    """Return the value of a part of two digits of a format; 0 if the format does not have it."""
    return digits(b, q + spans[at], 2) if spans[at] >= 0 else 0


@njit
def days_of(year, month, day):
    """Return whether there is such a date, and its days since 1970."""
    if not (1000 <= year < 3000 and 1 <= month <= 12 and day >= 1):
        return False, 0
    last = 31
    if month == 2:
        last = 29 if (year & 3 == 0 and (year % 100 != 0 or year % 400 == 0)) else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        last = 30
    if day > last:
        return False, 0
    if month <= 2:
        year, month = year - 1, month + 12
    days = year * 365 + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5
    return True, days + day - 719_469


@njit
def clock_of(hour, minute, second):
    """Return the microseconds of a time of day, UNUSUAL if there is no such time."""
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return UNUSUAL
    return hour * HOUR_US + minute * MINUTE_US + second * SECOND_US


@njit
def iso_time(b, q, end):
    """Return what is known of an ISO time, and its microseconds since 1970."""
    length = end - q
    if length != 10 and length < 19:
        return 0, 0
    if b[q + 4] != 45 or b[q + 7] != 45:
        return 0, 0
    valid, days = days_of(digits(b, q, 4), digits(b, q + 5, 2), digits(b, q + 8, 2))
    if not valid:
        return 0, 0
    if length == 10:
        return layout.VALID, days * DAY_US
    if (b[q + 10] != 84 and b[q + 10] != 32) or b[q + 13] != 58 or b[q + 16] != 58:
        return 0, 0
    clock = clock_of(digits(b, q + 11, 2), digits(b, q + 14, 2), digits(b, q + 17, 2))
    if clock < 0:
        return 0, 0
    moment, q = days * DAY_US + clock, q + 19
    if b[q] == 46 and q < end:
        q, scale = q + 1, SECOND_US
        start = q
        while is_digit(b[q]) and q < end:
            scale //= 10
            moment += (np.int64(b[q]) - 48) * scale
            q += 1
        if not 1 <= q - start <= 9:
            return 0, 0
    known = layout.VALID | layout.HAS_CLOCK
    if q == end:
        return known, moment
    if b[q] == 90 and q + 1 == end:
        return known | layout.HAS_OFFSET, moment
    if b[q] != 43 and b[q] != 45:
        return 0, 0
    colon = 1 if b[q + 3] == 58 else 0
    if q + 5 + colon != end:
        return 0, 0
    hours, minutes = digits(b, q + 1, 2), digits(b, q + 3 + colon, 2)
    if not (0 <= hours <= 14 and 0 <= minutes < 60):
        return 0, 0
    offset = hours * HOUR_US + minutes * MINUTE_US
    return known | layout.HAS_OFFSET, moment + (offset if b[q] == 45 else -offset)


@njit
def formatted_time(b, q, end, texts, spans, at):
    """Return what is known of a time in a declared format, and its microseconds since 1970."""
    if end - q != spans[at + layout.LENGTH]:
        return 0, 0
    for k in range(spans[at + layout.LITERAL_COUNT]):
        literal = spans[at + layout.LITERALS] + k * SPAN_WIDTH
        if not is_same(b, q + spans[literal + 2], texts, spans[literal], spans[literal + 1]):
            return 0, 0
    if spans[at + layout.YEAR] >= 0:
        year = digits(b, q + spans[at + layout.YEAR], 4)
    else:
        year = digits(b, q + spans[at + layout.SHORT_YEAR], 2)
        if year < 0:
            return 0, 0
        year += 1900 if year >= CENTURY_STARTS else 2000
    month, day = part(b, q, spans, at + layout.MONTH), part(b, q, spans, at + layout.DAY)
    valid, days = days_of(year, month, day)
    hour, minute = part(b, q, spans, at + layout.HOUR), part(b, q, spans, at + layout.MINUTE)
    clock = clock_of(hour, minute, part(b, q, spans, at + layout.SECOND))
    if not valid or clock < 0:
        return 0, 0
    known = layout.VALID | (layout.HAS_CLOCK if spans[at + layout.HOUR] >= 0 else 0)
    return known, days * DAY_US + clock


@njit
def read_time(source, start, stop, texts, spans, form):
    """Return what is known of a time, and its microseconds since 1970."""
    if form < 0:
        return iso_time(source, start, stop)
    return formatted_time(source, start, stop, texts, spans, form)
