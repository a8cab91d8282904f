"""Scan the lines of a block."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.columns import read_column
from capstone_metrics.validation.kernel.fields import read_fields
from capstone_metrics.validation.kernel.json import skip_blank
from capstone_metrics.validation.kernel.memory import BYTES, NUMBERS, WIDE, is_space, line_end
from capstone_metrics.validation.layout import SLOT_WIDTH


@njit
def scan(b, sizes, state, texts, names, hashes, columns, spans, slots, follows, counts, starts,
         numbers, values, known, offsets, built, scratch, others):  # fmt: skip
    """Read lines until the block ends or an array is full.

    Args:
        b: the block.
        sizes: of the block and of the arrays.
        state: of the scan; it goes on at its `POSITION`.
        texts: the names of fields, each with a quote behind it; the values by which elements are
            known; the choices; the literals.
        names: the steps of paths.
        hashes: the first name of each hash.
        columns: those of Silver that the source has.
        spans: the origins, choices and formats of columns.
        slots: the fields of the current line; at first, zeros.
        follows: for each field the one that followed it last; at the end the first one.
        counts: receives the number of accepted lines with each undeclared field.
        starts: receives where accepted lines start.
        numbers: receives the numbers of accepted lines.
        values: receives times and whole numbers, by column.
        known: receives what is known of each value, by column.
        offsets: receives the ends of texts, by column.
        built: receives the texts, by column.
        scratch: for a text without its escapes.
        others: receives the number and the start of each line that is left to `rules`.

    Returns:
        The number of accepted lines.
    """
    capacity, text_capacity = sizes[layout.CAPACITY], sizes[layout.TEXT_CAPACITY]
    p, line, filled = state[layout.POSITION], state[layout.LINES], state[layout.FILLED_LINES]
    rows, other, used, turn = 0, 0, np.int64(0), 0
    state[layout.UNKNOWN_KEYS] = 0
    while p < sizes[layout.SIZE]:
        if rows == capacity or other == capacity:
            break
        turn += 1
        q = skip_blank(b, p)
        if b[q] == 11 or b[q] == 12:  # white space for Python, though not for JSON
            while b[q] != 10 and is_space(b[q]):
                q += 1
            if b[q] != 10:
                q = line_end(b, q) - 1
        if b[q] == 10:
            p, line = q + 1, line + 1
            continue
        is_accepted, new = False, 0
        if b[q] == 123:
            q = skip_blank(b, q + 1)
            if b[q] == 125:
                is_accepted, q = True, skip_blank(b, q + 1)
            else:
                is_accepted, q, new = read_fields(
                    b, q, turn, sizes, state, texts, names, hashes, slots, follows, scratch
                )
        end = line_end(b, q)
        if end != q or end - p > text_capacity:
            is_accepted = False
        if is_accepted and used + end - p > text_capacity:
            break
        for column in range(sizes[layout.COLUMNS]):
            is_accepted = is_accepted and read_column(
                b, turn, rows, column, sizes, texts, columns, spans, slots, values, known, offsets,
                built, scratch,
            )  # fmt: skip
        if is_accepted:
            starts[rows], numbers[rows] = p, line
            for column in range(sizes[layout.COLUMNS]):
                used = max(used, np.int64(offsets[column * (capacity + 1) + rows + 1]))
            if new:
                for name in range(sizes[layout.DECLARED], sizes[layout.NAMES]):
                    counts[name] += slots[name * SLOT_WIDTH + layout.LINE] == turn
            rows += 1
        else:
            others[other * 2], others[other * 2 + 1] = line, p
            other += 1
        filled += 1
        p, line = end + 1, line + 1
    state[layout.POSITION], state[layout.LINES], state[layout.FILLED_LINES] = p, line, filled
    state[layout.OTHERS], state[layout.IS_DONE] = other, p >= sizes[layout.SIZE]
    return rows


SIGNATURE = types.int64(
    BYTES, WIDE, WIDE, BYTES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, WIDE, NUMBERS,
    NUMBERS, WIDE, BYTES, NUMBERS, BYTES, BYTES, NUMBERS,
)  # fmt: skip
"""The types of the arguments of `scan`."""
