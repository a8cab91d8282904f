"""Find the declared fields of a line, and whether it is valid."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.json import (
    NESTED,
    TEXT,
    nested_end,
    scalar_end,
    skip_blank,
    text_end,
)
from capstone_metrics.validation.kernel.memory import UNUSUAL, is_same, word_at
from capstone_metrics.validation.layout import HASH_SIZE, NAME_WIDTH, SLOT_WIDTH


@njit
def find_name(b, q, length, parent, texts, names, hashes):
    """Return the number of a key in an object, UNUSUAL if it is unknown.

    `parent` is the number of the field that the object is in, or -1.
    """
    first, last = (np.int64(b[q]), np.int64(b[q + length - 1])) if length else (0, 0)
    name = hashes[(length * 31 + first * 7 + last * 3) & (HASH_SIZE - 1)]
    while name >= 0:
        at = name * NAME_WIDTH
        if (
            names[at + layout.NAME_LENGTH] == length
            and names[at + layout.NAME_PARENT] == parent
            and is_same(b, q, texts, names[at + layout.NAME_OFFSET], length)
        ):
            return name
        name = names[at + layout.NAME_NEXT]
    return UNUSUAL


@njit
def is_name(b, q, texts, start, length):
    """Return whether a key and its closing quote stand here; the texts have the quote, too."""
    k = 0
    while k + 8 <= length:
        if word_at(b, q + k) != word_at(texts, start + k):
            return False
        k += 8
    rest = word_at(b, q + k) ^ word_at(texts, start + k)
    return rest << np.uint64(56 - 8 * (length - k)) == 0


@njit
def read_fields(b, q, turn, sizes, state, texts, names, hashes, slots, follows):
    """Read the fields of an object that has at least one, and of the declared ones in it.

    Returns:
        Whether it is valid and each key of a line is known, the offset behind it or where it is not
        valid, and the number of fields that are not declared.
    """
    new, previous, parent = 0, sizes[layout.NAMES], np.int64(-1)
    while b[q] == 34:
        q += 1
        name = np.int64(follows[previous])
        at = name * NAME_WIDTH
        length = np.int64(names[at + layout.NAME_LENGTH])
        if names[at + layout.NAME_PARENT] == parent and is_name(
            b, q, texts, np.int64(names[at + layout.NAME_OFFSET]), length
        ):
            q += length
        else:
            end, token = text_end(b, q)
            if end < 0 or token != TEXT:
                return False, q, new
            name = find_name(b, q, end - q, parent, texts, names, hashes)
            if name < 0 and parent < 0:
                state[layout.UNKNOWN_KEYS] += 1
                return False, q, new
            if name >= 0:
                follows[previous] = name
            q = end
        slot = name * SLOT_WIDTH
        if name >= 0:
            if slots[slot + layout.LINE] == turn:
                return False, q, new
            slots[slot + layout.LINE] = turn
            new += name >= sizes[layout.DECLARED]
            previous = name
        q = skip_blank(b, q + 1)
        if b[q] != 58:
            return False, q, new
        start = skip_blank(b, q + 1)
        if b[start] == 123 and name >= 0 and names[name * NAME_WIDTH + layout.NAME_HAS_FIELDS]:
            slots[slot + layout.TOKEN] = NESTED
            q = skip_blank(b, start + 1)
            if b[q] != 125:
                parent = name
                continue
            end = q + 1
        else:
            if b[start] == 91 or b[start] == 123:
                end, token = nested_end(b, start), NESTED
            else:
                end, token = scalar_end(b, start)
            if end < 0:
                return False, start, new
            if name >= 0:
                slots[slot + layout.TOKEN], slots[slot + layout.START] = token, start
                slots[slot + layout.END] = end
        q = skip_blank(b, end)
        while b[q] == 125 and parent >= 0:
            parent = np.int64(names[parent * NAME_WIDTH + layout.NAME_PARENT])
            q = skip_blank(b, q + 1)
        if b[q] == 125:
            return True, skip_blank(b, q + 1), new
        if b[q] != 44:
            return False, q, new
        q = skip_blank(b, q + 1)
    return False, q, new
