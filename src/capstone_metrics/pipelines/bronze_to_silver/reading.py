"""From the JSON text of a field to a value of Silver, and the rules that the text broke.

The verdict is taken on the text: a cast never decides, it only converts what a pattern let
through. So `1.7`, `true`, `"12"` and a number past 64 bits are each seen as what they are, and
every engine gives the same verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import ibis

from capstone_metrics.pipelines.bronze_to_silver.declaration import ISO, TOKENS, layout_of
from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_unquoted,
    local_to_utc,
    utc_to_local,
)
from capstone_metrics.schemas import REQUIRED, SILVER

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from capstone_metrics.pipelines.bronze_to_silver.declaration import Field

COUNTERS = ("views", "likes", "comentarios")
NEVER_BLANK = ("faculdade", "video_id")

WHOLE_NUMBER = r"^-?[0-9]+$"
NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
ISO_TIME = (
    r"^[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):?[0-5]\d)?)?$"
)
ESCAPED_NUL = r"(^|[^\\])(\\\\)*\\u0000"
CLOCK = 19
"""The length of `2026-01-31T20:05:00`; a fraction and an offset stand after it."""


@dataclass(frozen=True)
class Reading:
    """A value of Silver, and by the name of each rule whether the line broke it."""

    value: ir.Value
    broken: dict[str, ir.BooleanValue]


def read(field: Field, raw: ir.StringValue) -> Reading:
    """Read one field of Silver from its JSON text, which is null where the line lacks it.

    A field of text, or of a time, is read from a JSON string; a number from a JSON number, or
    from a string where the source writes every value as text.
    """
    is_string = raw.startswith('"')
    text = ibis.ifelse(is_string, json_unquoted(raw), ibis.null(str))
    present = (raw != "null").fill_null(False)
    if field.quoted or field.name in NEVER_BLANK:
        present &= (text.strip() != "").fill_null(True)

    number = text.strip() if field.quoted else raw
    kind = SILVER[field.name]
    if kind.is_integer():
        value, readable = number.try_cast(kind), number.re_search(WHOLE_NUMBER)
    elif kind.is_floating():
        value = number.try_cast(kind)
        readable = number.re_search(NUMBER) & ~value.isinf()
    elif field.is_time:
        value, readable = _time(field, text)
    else:
        has_nul = raw.contains(r"\u0000") & raw.re_search(ESCAPED_NUL)
        value, readable = text, is_string & ~has_nul
    readable = (readable & value.notnull()).fill_null(False)

    broken = {f"{field.name}.unreadable": present & ~readable}
    if field.name in REQUIRED:
        broken[f"{field.name}.missing"] = ~present
    if field.name in COUNTERS:
        broken[f"{field.name}.negative"] = (readable & (value < 0)).fill_null(False)
    return Reading(ibis.ifelse(present & readable, value, ibis.null(value.type())), broken)


def _time(field: Field, text: ir.StringValue) -> tuple[ir.Value, ir.BooleanValue]:
    """A time in the zone that Silver keeps it in: UTC for the observation, else local."""
    if field.format == ISO:
        readable = text.re_search(ISO_TIME)
        moment, minutes = _iso_moment(text)
    else:
        readable, moment = _formatted_moment(field, text)
        minutes = ibis.null("int64")

    utc = moment - minutes.as_interval("m")
    zone = field.timezone
    if field.name == "ingestion_ts":
        local = moment if zone == "UTC" else local_to_utc(moment, zone)
        return ibis.ifelse(minutes.notnull(), utc, local), readable
    there = utc if zone == "UTC" else utc_to_local(utc, zone)
    value = ibis.ifelse(minutes.notnull(), there, moment)
    return (value.date() if SILVER[field.name].is_date() else value), readable


def _iso_moment(text: ir.StringValue) -> tuple[ir.TimestampValue, ir.IntegerValue]:
    """The clock of an ISO 8601 text, and its offset from UTC in minutes; null without one."""
    rest = text.substr(CLOCK)
    fraction = ibis.ifelse(rest.startswith("."), rest.re_extract(r"\.\d{1,6}", 0), "")
    moment = (text.left(CLOCK) + fraction).try_cast("timestamp(6)")
    sign = ibis.ifelse(rest.re_search("-"), -1, 1)
    hours = rest.re_extract(r"[+-](\d\d):?(\d\d)$", 1).try_cast("int64")
    minutes = rest.re_extract(r"[+-](\d\d):?(\d\d)$", 2).try_cast("int64")
    offset = ibis.ifelse(rest.endswith("Z"), 0, sign * (hours * 60 + minutes))
    return moment, cast("ir.IntegerValue", ibis.ifelse(rest == "", ibis.null("int64"), offset))


def _formatted_moment(
    field: Field, text: ir.StringValue
) -> tuple[ir.BooleanValue, ir.TimestampValue]:
    """Whether a text has the declared format, and the time that it says."""
    pattern, places = layout_of("", field)

    def part(name: str) -> ir.StringValue:
        width, _ = TOKENS[name]
        return text.substr(places[name], width) if name in places else ibis.literal("00")

    short = part("%y")
    century = ibis.ifelse(short >= "69", "19", "20")  # as strptime of POSIX.1-2001 does
    year = part("%Y") if "%Y" in places else century + short
    date = year + "-" + part("%m") + "-" + part("%d")
    clock = part("%H") + ":" + part("%M") + ":" + part("%S")
    return text.re_search(pattern), (date + " " + clock).try_cast("timestamp(6)")
