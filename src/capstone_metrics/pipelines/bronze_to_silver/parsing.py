r"""Parse the JSON text of each field into the values of Silver, and the rules that the text broke.

Validity is decided on the text: a cast only converts what a pattern has accepted. So `1.7`, `true`,
`"12"` and a number past 64 bits are told apart, and every engine gives the same result. A pattern
ends in `\z`, since on some engines `$` also matches before a final line feed.

The columns are computed in stages, so that each is computed once. Those of a field are named after
it: `views.raw`, `views.text` and so on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ibis

from capstone_metrics.pipelines.bronze_to_silver.functions import (
    json_unquoted,
    local_to_utc,
    utc_to_local,
)
from capstone_metrics.schemas import REQUIRED, SILVER
from capstone_metrics.validation.contract import FORMAT_TOKENS, ISO

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from capstone_metrics.validation.contract import Contract, Field

    Columns = dict[str, ir.Value]

COUNTERS = ("views", "likes", "comentarios")
NEVER_BLANK = ("faculdade", "video_id")

INTEGER = r"^-?[0-9]+\z"
NUMBER = r"^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\z"
ISO_DATE = r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
ISO_HOUR = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d"
ISO_TIME = rf"^{ISO_DATE}([T ]{ISO_HOUR}(\.\d{{1,9}})?(Z|[+-](0\d|1[0-4]):?[0-5]\d)?)?\z"
ESCAPED_NUL = r"(^|[^\\])(\\\\)*\\u0000"
SECONDS_LENGTH = 19
"""The length of `2026-01-31T20:05:00`, before any fraction and offset."""


def parse_fields(
    lines: ir.Table, contract: Contract, known: list[str]
) -> tuple[ir.Table, dict[str, str]]:
    """Parse the fields of Silver from their JSON texts.

    Args:
        lines: with a column `tokens`, the JSON texts of the `known` fields; null for absent ones.
        contract: that of the source.
        known: the names of the fields in `tokens`, in order, including `contract.source_fields`.

    Returns:
        The lines with a column for each field of Silver, and for each rule a column that says
        whether the line broke it; and the names of the latter columns, by rule.
    """
    fields = contract.fields
    tokens = {origin: lines.tokens[known.index(origin)] for origin in contract.source_fields}
    lines = lines.mutate(
        **{
            f"{name}.raw": ibis.coalesce(*(tokens[origin] for origin in field.origins))
            if field.origins
            else ibis.literal(json.dumps(field.constant))
            for name, field in fields.items()
        }
    )
    for stage in (_text, _presence, _value, _outcome):
        lines = lines.mutate(
            **{name: c for field in fields.values() for name, c in stage(lines, field).items()}
        )
    rules = [column for column in lines.columns if column.startswith("broken.")]
    return lines, {column.removeprefix("broken."): column for column in rules}


def window_start(lines: ir.Table, zone: str) -> ir.TimestampValue:
    """Return the start of the window of each line, in UTC.

    Args:
        lines: with their `janela`.
        zone: the time zone of windows.
    """
    start: ir.TimestampValue = local_to_utc(
        (lines.janela.replace("T", " ") + ":00:00").cast("timestamp"), zone
    )
    return start


def _text(lines: ir.Table, field: Field) -> Columns:
    """Return the text of a JSON string; null for any other value."""
    raw = lines[f"{field.name}.raw"]
    if SILVER[field.name].is_numeric() and not field.quoted:
        return {}
    return {f"{field.name}.text": ibis.ifelse(raw.startswith('"'), json_unquoted(raw), None)}


def _presence(lines: ir.Table, field: Field) -> Columns:
    """Return whether the field has a value, and for times what follows the seconds."""
    name, raw = field.name, lines[f"{field.name}.raw"]
    present = (raw != "null").fill_null(False)
    if field.quoted or name in NEVER_BLANK:
        present &= (lines[f"{name}.text"].strip() != "").fill_null(True)
    columns: Columns = {f"{name}.present": present}
    if field.is_time and field.format == ISO:
        columns[f"{name}.rest"] = lines[f"{name}.text"].substr(SECONDS_LENGTH)
    return columns


def _value(lines: ir.Table, field: Field) -> Columns:
    """Return the value, and whether the text has the right form."""
    name, kind = field.name, SILVER[field.name]
    if kind.is_numeric():
        number = lines[f"{name}.text"].strip() if field.quoted else lines[f"{name}.raw"]
        pattern = INTEGER if kind.is_integer() else NUMBER
        value, readable = number.try_cast(kind), number.re_search(pattern)
    elif field.is_time:
        text = lines[f"{name}.text"]
        value, readable = _time(field, text, lines), text.re_search(_pattern(field))
    else:
        raw, value = lines[f"{name}.raw"], lines[f"{name}.text"]
        has_nul = ibis.ifelse(raw.contains(r"\u0000"), raw.re_search(ESCAPED_NUL), False)
        readable = ~has_nul
    return {f"{name}.value": value, f"{name}.readable": readable}


def _outcome(lines: ir.Table, field: Field) -> Columns:
    """Return the value, null unless present and readable, and the rules that the field broke."""
    name = field.name
    value, present = lines[f"{name}.value"], lines[f"{name}.present"]
    readable = (lines[f"{name}.readable"] & value.notnull()).fill_null(False)
    if SILVER[name].is_floating():
        readable &= (value.abs() < float("inf")).fill_null(False)
    columns: Columns = {
        name: ibis.ifelse(present & readable, value, None),
        f"broken.{name}.unreadable": present & ~readable,
    }
    if name in REQUIRED:
        columns[f"broken.{name}.missing"] = ~present
    if name in COUNTERS:
        columns[f"broken.{name}.negative"] = present & readable & (value < 0).fill_null(False)
    return columns


def _pattern(field: Field) -> str:
    return ISO_TIME if field.format == ISO else rf"^{field.time_format.pattern.pattern}\z"


def _time(field: Field, text: ir.StringValue, lines: ir.Table) -> ir.Value:
    """Parse a time, in the zone that Silver stores it in: UTC for the observation, else local."""
    zone = field.timezone
    if field.format != ISO:
        moment = local = _parse_formatted(field, text)
        if field.name == "ingestion_ts" and zone != "UTC":
            local = local_to_utc(moment, zone)
        return local.date() if SILVER[field.name].is_date() else local

    rest = lines[f"{field.name}.rest"]
    fraction = ibis.ifelse(rest.startswith("."), rest.re_extract(r"\.\d{1,6}", 0), "")
    moment = (text.left(SECONDS_LENGTH) + fraction).try_cast("timestamp(6)")
    utc = moment - _offset_minutes(rest).as_interval("m")
    if field.name == "ingestion_ts":
        without_offset, with_offset = moment if zone == "UTC" else local_to_utc(moment, zone), utc
    else:
        without_offset, with_offset = moment, utc if zone == "UTC" else utc_to_local(utc, zone)
    value = ibis.ifelse(rest.re_search("[Z+-]"), with_offset, without_offset)
    return value.date() if SILVER[field.name].is_date() else value


def _offset_minutes(rest: ir.StringValue) -> ir.IntegerValue:
    """Return the offset from UTC in minutes: 0 for `Z`, 330 for `+05:30`."""
    offset = r"([+-])(\d\d):?(\d\d)\z"
    hours, minutes = (rest.re_extract(offset, part).try_cast("int64") for part in (2, 3))
    sign = ibis.ifelse(rest.contains("-"), -1, 1)
    return ibis.ifelse(rest.endswith("Z"), 0, sign * (hours * 60 + minutes))


def _parse_formatted(field: Field, text: ir.StringValue) -> ir.TimestampValue:
    """Parse a time in the declared format."""
    offsets = {name: where.start for name, where in field.time_format.parts.items()}

    def part(name: str) -> ir.StringValue:
        width, _ = FORMAT_TOKENS[name]
        return text.substr(offsets[name], width) if name in offsets else ibis.literal("00")

    short_year = part("%y")
    century = ibis.ifelse(short_year >= "69", "19", "20")  # as in strptime of POSIX.1-2001
    year = part("%Y") if "%Y" in offsets else century + short_year
    date = year + "-" + part("%m") + "-" + part("%d")
    clock = part("%H") + ":" + part("%M") + ":" + part("%S")
    return (date + " " + clock).try_cast("timestamp(6)")
