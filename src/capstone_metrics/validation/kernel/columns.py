"""Read the values of the columns of Silver from the fields of a line."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.json import (
    BOOLEAN,
    ESCAPED_TEXT,
    INTEGER,
    NESTED,
    NULL,
    NUMBER,
    TEXT,
    unescape,
    written_number_end,
)
from capstone_metrics.validation.kernel.memory import copy, is_digit, is_same, is_space
from capstone_metrics.validation.kernel.numbers import (
    is_surely_finite,
    read_integer,
    read_whole_text,
)
from capstone_metrics.validation.kernel.times import read_time
from capstone_metrics.validation.layout import COLUMN_WIDTH, SLOT_WIDTH, SPAN_WIDTH


@njit
def is_choice(source, start, stop, texts, spans, choices, count):
    """Return whether a text is one of some choices; any text is one of none."""
    for k in range(count):
        choice = choices + k * SPAN_WIDTH
        if spans[choice + 1] == stop - start and is_same(
            source, start, texts, spans[choice], stop - start
        ):
            return True
    return count == 0


@njit
def is_surely_id(source, start, stop):
    """Return whether an id has nothing around it, and was not spoilt by a spreadsheet."""
    first, last = source[start], source[stop - 1]
    if first <= 32 or first >= 128 or last <= 32 or last >= 128 or first == 35 or first == 61:
        return False
    if is_digit(first) or first == 43 or first == 45:
        has_exponent = False
        for k in range(start, stop):
            c = source[k]
            if c | 32 == 101:
                has_exponent = True
            elif not is_digit(c) and not 43 <= c <= 46:  # + , - .
                return True
        return not has_exponent
    return True


@njit
def read_column(b, turn, row, column, sizes, texts, columns, spans, slots, values, known, offsets,
                built, scratch):  # fmt: skip
    """Read the value of a column of the current line; return whether it is accepted."""
    at, capacity = column * COLUMN_WIDTH, sizes[layout.CAPACITY]
    kind, flags = columns[at + layout.KIND], columns[at + layout.FLAGS]
    cell, ends = column * capacity + row, column * (capacity + 1) + row
    written = np.int64(offsets[ends])
    known[cell], values[cell], offsets[ends + 1] = 0, 0, written
    slot = np.int64(-1)
    for k in range(columns[at + layout.ORIGIN_COUNT]):
        origin = np.int64(spans[columns[at + layout.ORIGINS] + k]) * SLOT_WIDTH
        if slots[origin + layout.LINE] == turn:
            slot = origin
            break
    may_be_missing = not flags & layout.REQUIRED and columns[at + layout.ORIGIN_COUNT] <= 1
    if slot < 0:
        return not flags & layout.REQUIRED
    if slots[slot + layout.TOKEN] == NULL:
        return may_be_missing
    token, source = np.int64(slots[slot + layout.TOKEN]), b
    start, stop = np.int64(slots[slot + layout.START]), np.int64(slots[slot + layout.END])
    is_text = token == TEXT or token == ESCAPED_TEXT
    if is_text:
        start, stop = start + 1, stop - 1
        if token == ESCAPED_TEXT:
            start, stop, source = np.int64(0), np.int64(unescape(b, start, stop, scratch)), scratch
            if stop < 0:
                return False
        if flags & (layout.BLANK_IS_MISSING | layout.QUOTED):
            first, last = start, stop
            while first < last and is_space(source[first]):
                first += 1
            if first == last:
                return may_be_missing
            if flags & layout.QUOTED:
                while is_space(source[last - 1]):
                    last -= 1
                start, stop = first, last
    if kind == layout.RAW:
        if token == NESTED:
            return False
        known[cell] = layout.VALID
        if token == BOOLEAN:
            known[cell] |= layout.IS_BOOLEAN
        elif not is_text:
            known[cell] |= layout.IS_NUMBER
        if is_text and flags & layout.WHOLE_TEXTS:
            is_whole, values[cell] = read_whole_text(
                source, start, stop, columns[at + layout.THOUSANDS]
            )
            known[cell] |= layout.IS_WHOLE if is_whole else 0
        elif token == INTEGER and flags & layout.WHOLE_NUMBERS:
            is_whole, values[cell] = read_integer(source, start, stop)
            known[cell] |= layout.IS_WHOLE if is_whole else 0
        area = column * (sizes[layout.TEXT_CAPACITY] + layout.PADDING)
        offsets[ends + 1] = copy(source, start, stop, built, area + written) - area
        return True
    if kind == layout.TIME:
        if not is_text:
            return False
        known[cell], values[cell] = read_time(
            source, start, stop, texts, spans, np.int64(columns[at + layout.FORMAT])
        )
        if flags & layout.NEEDS_CLOCK and columns[at + layout.ORIGIN_COUNT] > 1:
            return known[cell] & layout.HAS_CLOCK != 0  # else the next origin may have one
        return known[cell] != 0
    if kind == layout.TEXT:
        if not is_text or not is_choice(
            source, start, stop, texts, spans,
            columns[at + layout.CHOICES], columns[at + layout.CHOICE_COUNT],
        ):  # fmt: skip
            return False
        if flags & layout.IS_ID and not is_surely_id(source, start, stop):
            return False
    else:
        if flags & layout.QUOTED:
            if not is_text:
                return False
            end, token = written_number_end(source, start, stop)
            if end != stop:
                return False
        if kind == layout.INTEGER:
            if token != INTEGER:
                return False
            known[cell], values[cell] = read_integer(source, start, stop)
            return known[cell] != 0 and (values[cell] >= 0 or not flags & layout.COUNTER)
        if (token != INTEGER and token != NUMBER) or not is_surely_finite(source, start, stop):
            return False
    known[cell] = layout.VALID
    area = column * (sizes[layout.TEXT_CAPACITY] + layout.PADDING)
    offsets[ends + 1] = copy(source, start, stop, built, area + written) - area
    return True
