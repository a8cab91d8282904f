"""Read Parquet: each row becomes the object of its values, whose text loses nothing."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections import Counter
from decimal import Decimal
from typing import IO, TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from capstone_metrics.errors import SourceError
from capstone_metrics.sources.readers.content import check_file_name, seekable
from capstone_metrics.sources.readers.objects import content_of, escape, object_lines, object_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

BATCH_ROWS = 1 << 15
MAX_EXACT = 2.0**53
"""The whole numbers up to which a float holds every one."""


def records(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the lines of JSON of a Parquet file, in chunks.

    Raises:
        SourceError: if it cannot be read, or two columns have the same name.
    """
    with seekable(file) as content:
        try:
            parquet = pq.ParquetFile(content)
            names = parquet.schema_arrow.names
            repeated = [name for name, count in Counter(names).items() if count > 1]
            if repeated:
                raise SourceError(
                    f"{path}: two columns have the same name, {repeated[0]!r}; rename one."
                )
            check_file_name(path, reading, names)
            for batch in parquet.iter_batches(BATCH_ROWS):
                if not names:
                    yield b"{}\n" * batch.num_rows
                    continue
                columns = [_to_json(path, name, batch[name]) for name in names]
                yield bytes(content_of(object_lines(names, columns, are_quoted=False))[0])
        except (OSError, pa.ArrowException) as error:
            detail = " ".join(str(error).split())
            raise SourceError(
                f"{path}: cannot be read as Parquet ({detail}); export it again."
            ) from error


def _to_json(path: Path, name: str, values: pa.Array) -> pa.Array:
    """Return the JSON of each value of a column."""
    try:
        return pc.fill_null(_text(values), "null")
    except (pa.ArrowException, ValueError, OverflowError) as error:
        detail = " ".join(str(error).split())
        raise SourceError(
            f"{path}: column {name!r} of type {values.type} cannot be read ({detail}); export it "
            "as text."
        ) from error


def _text(values: pa.Array) -> pa.Array:
    """Return the JSON of each value, null for null."""
    if isinstance(values.type, pa.ExtensionType):
        return _text(values.storage)
    write = next((write for is_type, write in WRITERS if is_type(values.type)), _others)
    return write(values)


def _unquoted(values: pa.Array) -> pa.Array:
    return values.cast(pa.string())


def _categories(values: pa.Array) -> pa.Array:
    return _text(values.dictionary_decode())


def _texts(values: pa.Array) -> pa.Array:
    return _quoted(values.cast(pa.string()))


def _others(values: pa.Array) -> pa.Array:
    texts = [json.dumps(value, ensure_ascii=False, default=str) for value in values.to_pylist()]
    return pa.array(texts, pa.string())


def _quoted(texts: pa.Array) -> pa.Array:
    filled = escape(pc.fill_null(texts, ""))
    quoted = pc.binary_join_element_wise(pa.scalar('"'), filled, pa.scalar('"'), "")
    return pc.if_else(texts.is_valid(), quoted, pa.scalar(None, pa.string()))


def _structs(values: pa.Array) -> pa.Array:
    names = values.type.names
    if not names:
        texts = pa.array(["{}"] * len(values))
    else:
        fields = [pc.fill_null(_text(field), "null") for field in values.flatten()]
        texts = object_texts(names, fields)
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def _lists(values: pa.Array) -> pa.Array:
    """Return the JSON of lists; a list has its elements' JSON between brackets."""
    elements = pc.fill_null(_text(values.flatten()), "null")
    counts = pc.fill_null(pc.list_value_length(values), 0)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int32()), pc.cumulative_sum(counts.cast(pa.int32())).cast(pa.int32())]
    )
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, elements), ",")
    texts = pc.binary_join_element_wise(pa.scalar("["), joined, pa.scalar("]"), "")
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def _floats(values: pa.Array) -> pa.Array:
    """Return the JSON of floats: whole ones as integers, past 2^53 with an exponent."""
    values = values.cast(pa.float32()) if pa.types.is_float16(values.type) else values
    wide = values.cast(pa.float64())
    is_exact = pc.and_(pc.equal(wide, pc.floor(wide)), pc.less_equal(pc.abs(wide), MAX_EXACT))
    is_negative_zero = pc.equal(pc.divide(1.0, wide), -math.inf)
    is_integer = pc.and_not(is_exact, is_negative_zero)
    integers = pc.if_else(is_integer, wide, pa.scalar(None, pa.float64())).cast(pa.int64())
    others = pc.if_else(is_integer, None, values)
    return pc.coalesce(integers.cast(pa.string()), _fractions(others))


def _fractions(values: pa.Array) -> pa.Array:
    """Return the JSON of floats as Python writes them; of those that are not finite as text."""
    words = {"inf": '"Infinity"', "-inf": '"-Infinity"', "nan": '"NaN"'}
    if pa.types.is_float32(values.type):
        texts = [None if v is None else str(v) for v in values.cast(pa.string()).to_pylist()]
    else:
        texts = [None if v is None else repr(v) for v in values.to_pylist()]
    return pa.array([None if t is None else words.get(t, t) for t in texts], pa.string())


def _decimals(values: pa.Array) -> pa.Array:
    """Return the JSON of decimals: whole ones as integers."""
    text = pc.replace_substring_regex(values.cast(pa.string()), r"^(-?\d+)\.0+$", r"\1")
    if pc.any(pc.match_substring_regex(text, r"[eE]")).as_py():
        decimals = [None if t is None else f"{Decimal(t):f}" for t in text.to_pylist()]
        return pc.replace_substring_regex(pa.array(decimals, pa.string()), r"^(-?\d+)\.0+$", r"\1")
    return text


def _binaries(values: pa.Array) -> pa.Array:
    """Return the JSON of bytes: UTF-8 as the text, others as {"base64": text}."""
    try:
        return _quoted(values.cast(pa.binary()).cast(pa.string()))
    except pa.ArrowInvalid:
        return pa.array([_binary(value) for value in values.to_pylist()], pa.string())


def _binary(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return json.dumps(value.decode(), ensure_ascii=False)
    except UnicodeDecodeError:
        return f'{{"base64":"{base64.b64encode(value).decode()}"}}'


def _dates(values: pa.Array) -> pa.Array:
    return _quoted(values.cast(pa.date32()).cast(pa.string()))


def _times(values: pa.Array) -> pa.Array:
    values = values if values.type.unit == "ns" else values.cast(pa.time64("us"))
    return _quoted(_without_zeros(values.cast(pa.string())))


def _timestamps(values: pa.Array) -> pa.Array:
    """Return the JSON of times, as `2026-01-31 20:05:00.000250-03:00` in their zone."""
    zone, unit = values.type.tz, values.type.unit
    naive = pa.timestamp(unit if unit == "ns" else "us")
    if not zone:
        return _quoted(_without_zeros(values.cast(naive).cast(pa.string())))
    local = pc.local_timestamp(values)
    utc = values.cast(pa.timestamp(unit, "UTC")).cast(pa.timestamp(unit))
    seconds = pc.seconds_between(utc, local)
    texts = _without_zeros(local.cast(naive).cast(pa.string()))
    distinct = {second: _offset(second) for second in pc.unique(seconds).to_pylist()}
    offsets = pa.array([distinct[second] for second in seconds.to_pylist()], pa.string())
    return _quoted(pc.binary_join_element_wise(texts, offsets, ""))


def _offset(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    at = dt.datetime(2000, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=seconds)))
    return at.isoformat()[19:]


def _without_zeros(times: pa.Array) -> pa.Array:
    """Return times with six digits of a second, or nine, or none if it is whole."""
    times = pc.replace_substring_regex(times, r"\.0+$", "")
    return pc.replace_substring_regex(times, r"(\.\d{6})000$", r"\1")


def _durations(values: pa.Array) -> pa.Array:
    """Return the JSON of durations, as `1 day, 2:03:04.5`."""
    unit = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[values.type.unit]
    counts = values.cast(pa.int64()).to_pylist()
    texts = [None if n is None else _duration(n * unit) for n in counts]
    return _quoted(pa.array(texts, pa.string()))


def _duration(nanoseconds: int) -> str:
    micros, rest = divmod(nanoseconds, 1000)
    text = str(dt.timedelta(microseconds=micros))
    if not rest:
        return text
    return f"{text if '.' in text else text + '.000000'}{rest:03}"


WRITERS = (
    (pa.types.is_dictionary, _categories),
    (pa.types.is_struct, _structs),
    (pa.types.is_list, _lists),
    (pa.types.is_large_list, _lists),
    (pa.types.is_fixed_size_list, _lists),
    (pa.types.is_boolean, _unquoted),
    (pa.types.is_integer, _unquoted),
    (pa.types.is_null, _unquoted),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_floating, _floats),
    (pa.types.is_binary, _binaries),
    (pa.types.is_large_binary, _binaries),
    (pa.types.is_fixed_size_binary, _binaries),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_date, _dates),
    (pa.types.is_time, _times),
    (pa.types.is_duration, _durations),
    (pa.types.is_string, _texts),
    (pa.types.is_large_string, _texts),
    (pa.types.is_string_view, _texts),
)
"""What writes the values of each kind of type as JSON."""
