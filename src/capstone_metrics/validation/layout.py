"""The layout of the numbers that `scanner` and `kernel` exchange, by their position in an array."""

from __future__ import annotations

PADDING = 64
"""Bytes behind a block that can be read; the first is a line feed."""

TEXT, INTEGER, NUMBER, TIME, RAW = range(5)
"""The kinds of columns. A raw one has each value as the text that stands in the line."""

# a column; ORIGINS, CHOICES and FORMAT are positions in the spans
# THOUSANDS is the character between groups of three digits, or 0
KIND, FLAGS, ORIGINS, ORIGIN_COUNT, CHOICES, CHOICE_COUNT, FORMAT, THOUSANDS = range(8)
COLUMN_WIDTH = 8
REQUIRED, BLANK_IS_MISSING, QUOTED, COUNTER, IS_ID, NEEDS_CLOCK = (1 << bit for bit in range(6))
WHOLE_TEXTS, WHOLE_NUMBERS = 1 << 6, 1 << 7
"""The flags of a column. A raw one may also read texts, or numbers, as whole numbers."""

SPAN_WIDTH = 3
"""A span of the texts: its offset and its length; for a literal, where it stands in a time."""

# a format: the offset of each part or -1, its length, and the position of its literals in the spans
YEAR, SHORT_YEAR, MONTH, DAY, HOUR, MINUTE, SECOND, LENGTH, LITERALS, LITERAL_COUNT = range(10)

# a step of a path: for a name its span in the texts; the next one with the same hash, or of the
# same list; the step before it, or -1; what is read in it, and the first element of a list that is.
# Of an element NAME_LENGTH is the number, or the spans are those of the field and value to tell it.
NAME_OFFSET, NAME_LENGTH, NAME_NEXT, NAME_PARENT, NAME_HAS, NAME_FIRST = range(6)
NAME_KEY_OFFSET, NAME_KEY_LENGTH = 6, 7
NAME_WIDTH = 8
FIELDS, NUMBERED_ELEMENTS, KNOWN_ELEMENTS = 1, 2, 3
"""What is read in a value: fields of an object, elements of a list by number, or by a field."""

HASH_SIZE = 1024

# a field of the current line, and the last line that had it
# of a list, START is the number of its next element
TOKEN, START, END, LINE = range(4)
SLOT_WIDTH = 4

# the sizes of the block and of the arrays
SIZE, NAMES, DECLARED, COLUMNS, CAPACITY, TEXT_CAPACITY = range(6)

# the state of a scan
POSITION, LINES, FILLED_LINES, OTHERS, UNKNOWN_KEYS, IS_DONE = range(6)
STATE_WIDTH = 6

VALID, HAS_OFFSET, HAS_CLOCK, IS_NUMBER, IS_BOOLEAN, IS_WHOLE = (1 << bit for bit in range(6))
"""What is known of a value: that there is one; that its time has an offset, or a time of day; that
it stands as a number or a boolean, and not as a text; that a raw one is read as a whole number.
"""
