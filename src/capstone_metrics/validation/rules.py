"""The rules of validation: a line of Bronze is a row of Silver, or breaks some of them.

This is the definition. `scanner` accepts most lines, with the same rows and in a twentieth of the
time; it leaves all other lines to these rules.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard
from zoneinfo import ZoneInfo

from capstone_metrics.validation.contract import ISO
from capstone_metrics.validation.json_object import Number, parse_object
from capstone_metrics.validation.silver import COUNTERS, NEVER_BLANK, REQUIRED, SILVER

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from capstone_metrics.validation.contract import Contract, Field
    from capstone_metrics.validation.objects import BronzeObject

BLANK = " \t\n\r\v\f"
INTEGER = re.compile("-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
ISO_TIME = re.compile(
    r"[12]\d{3}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"([T ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-](0\d|1[0-4]):?[0-5]\d)?)?",
    re.ASCII,
)
INT64 = 1 << 63
DAY = dt.timedelta(days=1)
CENTURY_STARTS = 69
"""Years of two digits from this one on are in the 20th century, as for strptime of POSIX."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of the validation of a line.

    Attributes:
        row: the values of Silver, by column; they count only if no rule is broken.
        broken: the rules that the line broke.
        new_fields: the fields of the line that the contract does not name.
    """

    row: Mapping[str, Any]
    broken: tuple[str, ...] = ()
    new_fields: tuple[str, ...] = ()

    @classmethod
    def rejected(cls, rule: str) -> Outcome:
        """Return the outcome of a line whose fields cannot be read."""
        return cls({}, (rule,))


def validate_line(
    line: bytes, contract: Contract | None, origin: BronzeObject, networks: Collection[str]
) -> Outcome:
    """Validate a line.

    Args:
        line: the bytes of the line.
        contract: the contract of its source; None for a source that is not declared.
        origin: the object that the line is in.
        networks: the known values of `rede_social`.
    """
    if contract is None:
        return Outcome.rejected("source.undeclared")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return Outcome.rejected("line.not_utf8")
    pairs = parse_object(text)
    if pairs is None:
        return Outcome.rejected("line.not_json")
    values = dict(pairs)
    if len(values) < len(pairs):
        return Outcome.rejected("line.repeated_keys")

    broken = [rule for name, rule in contract.shape_rules.items() if name in values]
    known = contract.known_fields.union(contract.shape_rules)
    new_fields = tuple(name for name in values if name not in known)
    if new_fields and contract.is_frozen:
        broken.append("line.new_field")
    row: dict[str, Any] = dict.fromkeys(SILVER)
    for name, field in contract.fields.items():
        row[name], rule = read_field(field, values)
        if rule:
            broken.append(f"{name}.{rule}")
    row["ingestion_ts"] = row["ingestion_ts"] or origin.arrival
    row["run_id"] = origin.run_id if row["run_id"] is None else row["run_id"]
    if row["rede_social"] is not None and row["rede_social"] not in networks:
        broken.append("rede_social.unknown")
    if row["data_postagem"] and row["data_postagem"] > (row["ingestion_ts"] + DAY).date():
        broken.append("data_postagem.after_observation")
    return Outcome(row, tuple(broken), new_fields)


def read_field(field: Field, values: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the value of a field, and the rule that it broke; None for none.

    Args:
        field: the field of Silver.
        values: the values of the line, by the names that its source uses.
    """
    value: Any = field.constant
    if value is None:
        value = next((values[name] for name in field.origins if name in values), None)
    is_never_blank = field.quoted or field.name in NEVER_BLANK
    if value is None or (is_never_blank and _is_text(value) and not value.strip(BLANK)):
        return None, "missing" if field.name in REQUIRED else None
    try:
        value = READERS[SILVER[field.name]](field, value)
    except (ValueError, OverflowError):
        return None, "unreadable"
    return value, "negative" if field.name in COUNTERS and value < 0 else None


def _read_text(_: Field, value: Any) -> str:
    text = _text(value)
    return _unreadable(text) if "\0" in text else text


def _read_integer(field: Field, value: Any) -> int:
    text = _number(field, value)
    integer = int(text) if INTEGER.fullmatch(text) else _unreadable(text)
    return integer if -INT64 <= integer < INT64 else _unreadable(text)


def _read_number(field: Field, value: Any) -> float:
    text = _number(field, value)
    number = float(text) if NUMBER.fullmatch(text) else _unreadable(text)
    return number if abs(number) < float("inf") else _unreadable(text)


def _read_date(field: Field, value: Any) -> dt.date:
    return _read_local_time(field, value).date()


def _read_local_time(field: Field, value: Any) -> dt.datetime:
    """Return a time as the local time in the zone of the field."""
    moment = _moment(field, value)
    if moment.tzinfo:
        moment = moment.astimezone(ZoneInfo(field.timezone)).replace(tzinfo=None)
    return moment


def _read_instant(field: Field, value: Any) -> dt.datetime:
    """Return a time in UTC.

    In an hour that a clock change skips or repeats, the offset before the change applies.
    """
    moment = _moment(field, value)
    if not moment.tzinfo:
        moment = moment.replace(tzinfo=ZoneInfo(field.timezone))
    return moment.astimezone(dt.UTC)


READERS = {
    "string": _read_text,
    "int64": _read_integer,
    "float64": _read_number,
    "date": _read_date,
    "timestamp(6)": _read_local_time,
    "timestamp('UTC', 6)": _read_instant,
}
"""For each type of Silver, the function that reads its values."""


def _moment(field: Field, value: Any) -> dt.datetime:
    """Parse a time; it has a zone only if it is written with an offset."""
    text = _text(value)
    if field.format == ISO:
        return dt.datetime.fromisoformat(text if ISO_TIME.fullmatch(text) else _unreadable(text))
    time_format = field.time_format
    if not time_format.pattern.fullmatch(text):
        _unreadable(text)
    part = {name: int(text[where]) for name, where in time_format.parts.items()}
    year = part.get("%Y") or part["%y"] + (1900 if part["%y"] >= CENTURY_STARTS else 2000)
    hour, minute, second = (part.get(name, 0) for name in ("%H", "%M", "%S"))
    return dt.datetime(year, part["%m"], part["%d"], hour, minute, second)  # noqa: DTZ001 - local


def _is_text(value: Any) -> TypeGuard[str]:
    return type(value) is str  # and not the text of a `Number`


def _text(value: Any) -> str:
    return value if _is_text(value) else _unreadable(value)


def _number(field: Field, value: Any) -> str:
    if field.quoted:
        return _text(value).strip(BLANK)
    return value if type(value) is Number else _unreadable(value)


def _unreadable(value: Any) -> NoReturn:
    raise ValueError(value)
