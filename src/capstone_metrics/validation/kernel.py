"""The inner loop of the scanner, for numba to compile: reads each line once, and accepts most.

An accepted line is valid by `rules`, with the same values. Nothing here names a broken rule: every
other line is left to `rules`.

A line feed and `PADDING` further bytes follow each block, so a loop that stops at a line feed needs
no check for the end of the block. Arguments are pointers, so that no memory is allocated here.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from capstone_metrics.validation import layout
from capstone_metrics.validation.layout import (
    COLUMN_WIDTH,
    HASH_SIZE,
    NAME_WIDTH,
    SLOT_WIDTH,
    SPAN_WIDTH,
)

UNUSUAL = -1
TEXT, ESCAPED_TEXT, INTEGER, NUMBER, BOOLEAN, NULL, NESTED = range(7)
"""The tokens of JSON values."""

MAX_DEPTH = 60
MAX_DIGITS = 18
"""A whole number of at most so many digits fits into 64 bits."""

MAX_NUMBER_LENGTH, MAX_EXPONENT_DIGITS = 200, 2
"""A number within these is finite."""

MAX_GROUPS = 6
"""A whole number of at most so many groups of three digits fits into 64 bits."""

CENTURY_STARTS = 69
"""A year of two digits from this on is in the 20th century."""

ONES, HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
LINE_FEEDS, QUOTES = np.uint64(0x0A0A0A0A0A0A0A0A), np.uint64(0x2222222222222222)
BACKSLASHES, SPACES = np.uint64(0x5C5C5C5C5C5C5C5C), np.uint64(0x2020202020202020)
DAY_US, HOUR_US, MINUTE_US, SECOND_US = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000

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
def skip_blank(b, q):
    """Return the offset of the next byte that is no white space of JSON, or a line feed."""
    while b[q] == 32 or b[q] == 9 or b[q] == 13:
        q += 1
    return q


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
def is_digit(c):
    """Return whether a byte is a digit."""
    return 48 <= c <= 57


@njit
def number_end(b, q):
    """Return the end of a number and its token."""
    token = INTEGER
    if b[q] == 45:
        q += 1
    if not is_digit(b[q]) or (b[q] == 48 and is_digit(b[q + 1])):
        return UNUSUAL, token
    while is_digit(b[q]):
        q += 1
    if b[q] == 46:
        q, token = q + 1, NUMBER
        if not is_digit(b[q]):
            return UNUSUAL, token
        while is_digit(b[q]):
            q += 1
    if b[q] == 101 or b[q] == 69:
        q, token = q + 1, NUMBER
        if b[q] == 43 or b[q] == 45:
            q += 1
        if not is_digit(b[q]):
            return UNUSUAL, token
        while is_digit(b[q]):
            q += 1
    return q, token


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


@njit
def copy(b, q, end, out, o):
    """Copy bytes, and up to seven more; return the offset behind them."""
    while q < end:
        put_word(out, o, word_at(b, q))
        q, o = q + 8, o + 8
    return o - (q - end)


@njit
def is_space(c):
    """Return whether a byte is white space for Python."""
    return c == 32 or 9 <= c <= 13


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
def part(b, q, spans, at):
    """Return the value of a part of two digits of a format; 0 if the format does not have it."""
    return digits(b, q + spans[at], 2) if spans[at] >= 0 else 0


@njit
def is_same(b, q, texts, start, length):
    """Return whether a text stands here."""
    k = 0
    while k < length and b[q + k] == texts[start + k]:
        k += 1
    return k == length


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
def written_number_end(b, q, end):
    """Return where a number that is written as a text ends; its leading zeros are allowed."""
    if b[q] == 45 and q < end:
        q += 1
    start = q
    while q < end and is_digit(b[q]):
        q += 1
    if q == start:
        return UNUSUAL, INTEGER
    token = INTEGER
    if q < end and b[q] == 46:
        q, token = q + 1, NUMBER
        start = q
        while q < end and is_digit(b[q]):
            q += 1
        if q == start:
            return UNUSUAL, token
    if q < end and (b[q] == 101 or b[q] == 69):
        q, token = q + 1, NUMBER
        if q < end and (b[q] == 43 or b[q] == 45):
            q += 1
        start = q
        while q < end and is_digit(b[q]):
            q += 1
        if q == start:
            return UNUSUAL, token
    return q, token


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


@njit
def read_time(source, start, stop, texts, spans, form):
    """Return what is known of a time, and its microseconds since 1970."""
    if form < 0:
        return iso_time(source, start, stop)
    return formatted_time(source, start, stop, texts, spans, form)


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
    """Return whether an id has no blanks around it, and was not spoilt by a spreadsheet."""
    first, last = source[start], source[stop - 1]
    if first <= 32 or first >= 128 or last <= 32 or last >= 128 or first == 35:
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


@njit
def scan(b, sizes, state, texts, names, hashes, columns, spans, slots, follows, counts, starts,
         numbers, values, known, offsets, built, scratch, others):  # fmt: skip
    """Read lines until the block ends or an array is full.

    Args:
        b: the block.
        sizes: of the block and of the arrays.
        state: of the scan; it goes on at its `POSITION`.
        texts: the names of fields, each with a quote behind it; the choices; the literals.
        names: the spans of the names.
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
                    b, q, turn, sizes, state, texts, names, hashes, slots, follows
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
