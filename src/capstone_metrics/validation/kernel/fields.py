"""Find the declared fields of a line, and whether it is valid."""

from __future__ import annotations

import numpy as np
from numba import njit

from capstone_metrics.validation import layout
from capstone_metrics.validation.kernel.json import (
    ESCAPED_TEXT,
    NESTED,
    NULL,
    TEXT,
    skip_blank,
    text_end,
    unescape,
    value_end,
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
def field_of(b, q, texts, key, length):
    """Return the token, the start and the end of a field of an object; that of null if it has none.

    The token is UNUSUAL if the object is surely not valid, or has an escape in a key.
    """
    q = skip_blank(b, q + 1)
    while b[q] == 34:
        end, token = text_end(b, q + 1)
        if end < 0 or token != TEXT:
            return UNUSUAL, 0, 0
        is_found = end - q - 1 == length and is_same(b, q + 1, texts, key, length)
        q = skip_blank(b, end + 1)
        if b[q] != 58:
            return UNUSUAL, 0, 0
        start = skip_blank(b, q + 1)
        end, token = value_end(b, start)
        if end < 0:
            return UNUSUAL, 0, 0
        if is_found:
            return token, start, end
        q = skip_blank(b, end)
        if b[q] != 44:
            break
        q = skip_blank(b, q + 1)
    return NULL, 0, 0


@njit
def find_element(b, q, turn, parent, texts, names, slots):
    """Return the number of the declared element that the next one of a list is.

    Returns:
        Whether that is known, and the number; -1 if it is not declared.
    """
    index = slots[parent * SLOT_WIDTH + layout.START]
    slots[parent * SLOT_WIDTH + layout.START] = index + 1
    child = np.int64(names[parent * NAME_WIDTH + layout.NAME_FIRST])
    if names[parent * NAME_WIDTH + layout.NAME_HAS] == layout.NUMBERED_ELEMENTS:
        while child >= 0 and names[child * NAME_WIDTH + layout.NAME_LENGTH] != index:
            child = np.int64(names[child * NAME_WIDTH + layout.NAME_NEXT])
        return True, child
    if b[q] != 123:
        return True, np.int64(-1)
    at = child * NAME_WIDTH
    token, start, end = field_of(
        b,
        q,
        texts,
        np.int64(names[at + layout.NAME_KEY_OFFSET]),
        np.int64(names[at + layout.NAME_KEY_LENGTH]),
    )
    if token == UNUSUAL or token == ESCAPED_TEXT:
        return False, np.int64(-1)
    if token == NULL or token == NESTED:
        return True, np.int64(-1)
    if token == TEXT:
        start, end = start + 1, end - 1
    while child >= 0:
        at = child * NAME_WIDTH
        if (
            names[at + layout.NAME_LENGTH] == end - start
            and slots[child * SLOT_WIDTH + layout.LINE] != turn  # of several, the first one
            and is_same(b, start, texts, np.int64(names[at + layout.NAME_OFFSET]), end - start)
        ):
            return True, child
        child = np.int64(names[at + layout.NAME_NEXT])
    return True, child


@njit
def read_fields(b, q, turn, sizes, state, texts, names, hashes, slots, follows, scratch):
    """Read the fields of an object that has at least one, and what is declared in them.

    Returns:
        Whether it is valid and each key of a line is known, the offset behind it or where it is not
        valid, and the number of fields that are not declared.
    """
    new, previous, parent = 0, sizes[layout.NAMES], np.int64(-1)
    inside = np.int64(layout.FIELDS)  # what is read in the parent
    while True:
        if inside == layout.FIELDS:
            if b[q] != 34:
                return False, q, new
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
                if end < 0 or end - q > sizes[layout.TEXT_CAPACITY]:
                    return False, q, new
                if token == TEXT:
                    name = find_name(b, q, end - q, parent, texts, names, hashes)
                else:
                    length = np.int64(unescape(b, q, end, scratch))
                    if length < 0:
                        return False, q, new
                    name = find_name(scratch, 0, length, parent, texts, names, hashes)
                if name < 0 and parent < 0:
                    state[layout.UNKNOWN_KEYS] += 1
                    return False, q, new
                if name >= 0 and token == TEXT:
                    follows[previous] = name
                q = end
            q = skip_blank(b, q + 1)
            if b[q] != 58:
                return False, q, new
            start = skip_blank(b, q + 1)
        else:
            is_known, name = find_element(b, q, turn, parent, texts, names, slots)
            if not is_known:
                return False, q, new
            start = q
        slot, has = name * SLOT_WIDTH, np.int64(0)
        if name >= 0:
            if slots[slot + layout.LINE] == turn:
                return False, start, new
            slots[slot + layout.LINE] = turn
            new += name >= sizes[layout.DECLARED]
            previous = name
            has = np.int64(names[name * NAME_WIDTH + layout.NAME_HAS])
        if has and b[start] == (123 if has == layout.FIELDS else 91):
            slots[slot + layout.TOKEN], slots[slot + layout.START] = NESTED, 0
            q = skip_blank(b, start + 1)
            if b[q] != b[start] + 2:
                parent, inside = name, has
                continue
            end = q + 1
        else:
            end, token = value_end(b, start)
            if end < 0:
                return False, start, new
            if name >= 0:
                slots[slot + layout.TOKEN], slots[slot + layout.START] = token, start
                slots[slot + layout.END] = end
        q = skip_blank(b, end)
        while parent >= 0 and b[q] == (125 if inside == layout.FIELDS else 93):
            parent = np.int64(names[parent * NAME_WIDTH + layout.NAME_PARENT])
            inside = np.int64(layout.FIELDS)
            if parent >= 0:
                inside = np.int64(names[parent * NAME_WIDTH + layout.NAME_HAS])
            q = skip_blank(b, q + 1)
        if b[q] == 125 and parent < 0:
            return True, skip_blank(b, q + 1), new
        if b[q] != 44:
            return False, q, new
        q = skip_blank(b, q + 1)
