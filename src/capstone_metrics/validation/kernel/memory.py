"""Read, compare and copy bytes, eight at a time where that is quicker."""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

UNUSUAL = -1
"""What a function returns, instead of an offset or a value, for what is left to `rules`."""

ONES, HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
LINE_FEEDS = np.uint64(0x0A0A0A0A0A0A0A0A)

BYTES, NUMBERS, WIDE = (types.CPointer(kind) for kind in (types.uint8, types.int32, types.int64))


@intrinsic
def word_at(_, pointer, offset):  # type: ignore[no-untyped-def]
    """Return the eight bytes at an offset."""

    def generate(context, builder, _, arguments):  # type: ignore[no-untyped-def]
        address = builder.gep(arguments[0], [arguments[1]])
        kind = context.get_value_type(types.uint64).as_pointer()
        return builder.load(builder.bitcast(address, kind), align=1)

    return types.uint64(BYTES, types.int64), generate


@intrinsic
def put_word(_, pointer, offset, word):  # type: ignore[no-untyped-def]
    """Write eight bytes at an offset."""

    def generate(context, builder, _, arguments):  # type: ignore[no-untyped-def]
        address = builder.gep(arguments[0], [arguments[1]])
        kind = context.get_value_type(types.uint64).as_pointer()
        builder.store(arguments[2], builder.bitcast(address, kind), align=1)
        return context.get_dummy_value()

    return types.void(BYTES, types.int64, types.uint64), generate


@intrinsic
def trailing_zeros(_, word):  # type: ignore[no-untyped-def]
    """Return the number of zero bits below the lowest one."""

    def generate(context, builder, _, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], context.get_constant(types.boolean, 1))

    return types.int64(types.uint64), generate


@njit
def line_end(b, q):
    """Return the offset of the next line feed."""
    while True:
        word = word_at(b, q) ^ LINE_FEEDS
        stop = (word - ONES) & ~word & HIGHS
        if stop:
            return q + (trailing_zeros(stop) >> 3)
        q += 8


@njit
def is_same(b, q, texts, start, length):
    """Return whether a text stands here."""
    k = 0
    while k < length and b[q + k] == texts[start + k]:
        k += 1
    return k == length


@njit
def copy(b, q, end, out, o):
    """Copy bytes, and up to seven more; return the offset behind them."""
    while q < end:
        put_word(out, o, word_at(b, q))
        q, o = q + 8, o + 8
    return o - (q - end)


@njit
def is_digit(c):
    """Return whether a byte is a digit."""
    return 48 <= c <= 57


@njit
def is_space(c):
    """Return whether a byte is white space for Python."""
    return c == 32 or 9 <= c <= 13
