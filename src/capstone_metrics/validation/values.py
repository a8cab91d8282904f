"""Convert what the scanner read into Arrow arrays, by one function for each kind of column.

The arrays are copies, since the next scan overwrites what they are made from.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.layout import HAS_CLOCK, HAS_OFFSET, VALID

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from capstone_metrics.validation.fields import Field

    Integers = NDArray[np.int64]
    Known = NDArray[np.uint8]

ARROW = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "date": pa.date32(),
    "timestamp(6)": pa.timestamp("us"),
    "timestamp('UTC', 6)": pa.timestamp("us", "UTC"),
    "array<string>": pa.list_(pa.string()),
}
"""The types of Silver and of its quarantine in Arrow."""

QUARTER_US, DAY_US = 900_000_000, 86_400_000_000
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - also for local times
MICROSECOND = dt.timedelta(microseconds=1)


def texts(known: Known, ends: NDArray[np.int32], content: NDArray[np.uint8]) -> pa.Array:
    """Return an array of texts.

    Args:
        known: what is known of each text, as in `layout`.
        ends: a zero, and then the end of each text in the content.
        content: all texts, one after another.
    """
    buffers = [
        _validity(known),
        pa.py_buffer(ends.copy()),
        pa.py_buffer(content[: ends[-1]].copy()),
    ]
    return pa.Array.from_buffers(pa.string(), len(known), buffers)


def numbers(known: Known, ends: NDArray[np.int32], content: NDArray[np.uint8]) -> pa.Array:
    """Return an array of the numbers that are written as these texts."""
    return texts(known, ends, content).cast(pa.float64())


def integers(known: Known, values: Integers) -> pa.Array:
    """Return an array of whole numbers."""
    return _array(pa.int64(), known, values)


def times(known: Known, values: Integers, field: Field) -> pa.Array:
    """Return an array of dates or times, as the column of Silver has them.

    Args:
        known: what is known of each time, as in `layout`.
        values: microseconds since 1970: in UTC if the time has an offset, else as it is written.
        field: the field of the times.
    """
    kind = ARROW[field.kind]
    has_offset, has_clock = (known & HAS_OFFSET) > 0, (known & HAS_CLOCK) > 0
    zone = field.origin.timezone
    if kind == ARROW["timestamp('UTC', 6)"]:
        values = _shifted(values, ((known & VALID) > 0) & ~has_offset, zone, is_local=True)
        return _array(kind, known, values)
    if zone != field.zone:
        values = _shifted(values, has_clock & ~has_offset, zone, is_local=True)
        has_offset = has_clock
    values = _shifted(values, has_offset, field.zone, is_local=False)
    if kind == pa.date32():
        return _array(kind, known, (values // DAY_US).astype(np.int32))
    return _array(kind, has_clock.astype(np.uint8), values)  # a date has no time


def _shifted(values: Integers, which: NDArray[Any], zone: str, *, is_local: bool) -> Integers:
    """Return moments, of which some are taken to UTC, or from UTC to local times."""
    moved = np.flatnonzero(which) if zone != "UTC" else ()
    if len(moved):
        values = values.copy()
        offset = offsets(values[moved], zone, is_local=is_local)
        values[moved] += -offset if is_local else offset
    return values


def offsets(moments: Integers, zone: str, *, is_local: bool) -> Integers:
    """Return the offset from UTC at each of some moments, in microseconds.

    The offset is looked up once for each quarter of an hour, and in a quarter in which it changes
    for each moment.

    Args:
        moments: microseconds since 1970.
        zone: the time zone.
        is_local: whether the moments are local times and not in UTC. In an hour that a clock change
            skips or repeats, the offset before the change applies.
    """
    quarters, positions = np.unique(moments // QUARTER_US, return_inverse=True)
    firsts, lasts = (
        [_offset(quarter * QUARTER_US + shift, zone, is_local) for quarter in quarters.tolist()]
        for shift in (0, QUARTER_US - 1)
    )
    result = np.array(firsts, np.int64)[positions]
    for position in np.flatnonzero(result != np.array(lasts, np.int64)[positions]).tolist():
        result[position] = _offset(int(moments[position]), zone, is_local)
    return result


@lru_cache(maxsize=1 << 16)
def _offset(moment: int, zone: str, is_local: bool) -> int:
    time = EPOCH + moment * MICROSECOND
    local = (
        time.replace(tzinfo=ZoneInfo(zone))
        if is_local
        else time.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(zone))
    )
    offset: Any = local.utcoffset()
    return int(offset / MICROSECOND)


def _array(kind: pa.DataType, known: Known, values: NDArray[Any]) -> pa.Array:
    buffers = [_validity(known), pa.py_buffer(values.copy())]
    return pa.Array.from_buffers(kind, len(known), buffers)


def _validity(known: Known) -> pa.Buffer | None:
    is_valid = known & VALID
    return None if is_valid.all() else pa.py_buffer(np.packbits(is_valid, bitorder="little"))
