"""The rules of validation: a line of Bronze is a row of Silver, or breaks some of them.

This is the definition. `scanner` accepts most lines, with the same rows and in a twentieth of the
time; it leaves all other lines to these rules.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn, TypeGuard
from zoneinfo import ZoneInfo

from capstone_metrics.validation.fields import DURATION
from capstone_metrics.validation.json_object import Number, parse_object
from capstone_metrics.validation.numerals import INTEGER, NUMBER, read_duration
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.silver import NAMES, NEVER_BLANK, NUMBERS
from capstone_metrics.validation.texts import composed, folded, name_of, text_of
from capstone_metrics.validation.times import ISO, TimeFormat, read_iso, read_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from capstone_metrics.validation.contract import Contract
    from capstone_metrics.validation.fields import Field, Origin
    from capstone_metrics.validation.objects import BronzeObject
    from capstone_metrics.validation.times import Moment

BLANK = " \t\n\r\v\f"
INT64 = 1 << 63
DAY = dt.timedelta(days=1)
MANGLED = re.compile(
    r"#(?:N/[AD]|NAME|NOME|VALUE|VALOR|REF|DIV/0|NULL|NUM|NULO).?"
    r"|[+-]?\d(?:[.,]\d{0,17})?E\+?\d{1,3}|\d{1,17}[.,]\d{0,17}E[+-]?\d{1,3}",
    re.ASCII | re.IGNORECASE,
)
"""An id that a spreadsheet spoilt: an error of its own, or a number that lost its last digits."""

FORMULA = re.compile(r'\A="(.*)"\Z', re.DOTALL)
"""How Excel is told to keep the digits of an id: a formula that gives a text."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of the validation of a line.

    Attributes:
        row: the values of Silver, by column; they count only if no rule is broken.
        broken: the rules that the line broke.
        new_fields: the fields of the line that the contract does not name.
        ignored: the rule by which the line is no observation; None if it may be one.
    """

    row: Mapping[str, Any]
    broken: tuple[str, ...] = ()
    new_fields: tuple[str, ...] = ()
    ignored: str | None = None

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
    values = _record_of(line)
    if isinstance(values, str):
        return Outcome.rejected(values)
    new_fields = tuple(name for name in values if not contract.is_known(name))
    if ignored := contract.selection.rule_of(values):
        return Outcome({}, new_fields=new_fields, ignored=ignored)

    broken = [rule for name, rule in contract.shape_rules.items() if name in values]
    if new_fields and contract.is_frozen:
        broken.append("line.new_field")
    row: dict[str, Any] = dict.fromkeys(contract.columns)
    for name, field in contract.fields.items():
        row[name], rule = read_field(field, values)
        if rule:
            broken.append(f"{name}.{rule}")
    row["ingestion_ts"] = row["ingestion_ts"] or origin.arrival
    if "run_id" in row and row["run_id"] is None:
        row["run_id"] = origin.run_id
    broken += _broken_by_row(row, contract.day, origin, networks)
    _leave_out_other_days(contract, row)
    return Outcome(row, tuple(broken), new_fields)


def _record_of(line: bytes) -> dict[str, Any] | str:
    """Return the values of a line by their composed names, or the rule that it broke as a whole."""
    try:
        pairs = parse_object(line.decode())
    except UnicodeDecodeError:
        return "line.not_utf8"
    if pairs is None:
        return "line.not_json"
    values = {composed(name): value for name, value in pairs}
    return values if len(values) == len(pairs) else "line.repeated_keys"


def _broken_by_row(
    row: Mapping[str, Any], day: str, origin: BronzeObject, networks: Collection[str]
) -> Iterator[str]:
    """Yield the rules that a row broke beyond those of its single fields."""
    if row["rede_social"] is not None and row["rede_social"] not in networks:
        yield "rede_social.unknown"
    if row[day] and row[day] > (row["ingestion_ts"] + DAY).date():
        yield f"{day}.after_observation"
    if row["ingestion_ts"] > origin.arrival + DAY:
        yield "ingestion_ts.after_arrival"


def _leave_out_other_days(contract: Contract, row: dict[str, Any]) -> None:
    """Leave a time empty that must be on the day of another field, and is not."""
    for name, field in contract.fields.items():
        if field.same_day_as and row[name] and row[name].date() != row[field.same_day_as]:
            row[name] = None


class NoValue(Exception):  # noqa: N818 - it is not an error
    """A value means that there is none."""


def read_field(field: Field, values: Mapping[str, Any]) -> tuple[Any, str | None]:
    """Return the value of a field, and the rule that it broke; None for none.

    Args:
        field: the field of Silver.
        values: the values of the line, by the names that its source uses.
    """
    for origin in field.origins:
        if field.constant is not None:
            value: Any = field.constant
        elif len(origin.paths) == 1:
            value = find(values, origin.paths[0])
        else:
            value = _joined([find(values, path) for path in origin.paths])
        try:
            near = _near(origin.near, values) if origin.near else None
            return _checked(field, read_value(field, origin, value, near))
        except NoValue:
            continue
        except MangledIdError:
            return None, "mangled"
        except (ValueError, ArithmeticError):
            return None, "unreadable"
    return None, "missing" if field.is_required else None


class MangledIdError(ValueError):
    """An id was spoilt by a spreadsheet."""


def _checked(field: Field, value: Any) -> tuple[Any, str | None]:
    return value, "negative" if field.is_counter and value < 0 else None


def _joined(parts: list[Any]) -> str | None:
    """Return texts joined by a blank, without blank ones; None if there is none."""
    texts = [part.strip() for part in parts if isinstance(part, str) and part.strip()]
    return " ".join(texts) if texts else None


def read_value(field: Field, origin: Origin, value: Any, near: dt.date | None) -> Any:
    """Return a value of a field as Silver has it.

    Args:
        field: the field of Silver.
        origin: how the value is written.
        value: the value in the record; None if it has none.
        near: the day near which a date without a year is.

    Raises:
        NoValue: if it means that there is none.
        ValueError: if it cannot be read.
    """
    if value is None:
        raise NoValue
    if not origin.is_plain and isinstance(value, str | bool):
        value = _translated(origin, value, is_number=_is_unquoted_number(field))
    if _is_text(value) and not value.strip(BLANK):
        kind = field.kind
        if origin.empty is not None:
            value = Number(origin.empty) if _is_unquoted_number(field) else origin.empty
        elif field.quoted or field.name in NEVER_BLANK or not (origin.is_plain or kind == "string"):
            raise NoValue
    return READERS[field.kind](field, origin, value, near)


def _is_unquoted_number(field: Field) -> bool:
    return field.kind in NUMBERS and not field.quoted


def _translated(origin: Origin, value: Any, *, is_number: bool = False) -> Any:
    """Apply the pattern, the replacements and the words for no value of an origin."""
    text: Any = text_of(value)
    if origin.regex and (_is_text(value) or isinstance(value, Number)):
        match = origin.regex.search(text)
        if match is None:
            raise NoValue
        groups = [group for group in match.groups() if group is not None]
        text = value = groups[0] if groups else match[0]
    word = folded(text)
    if word in origin.missing_words:
        raise NoValue
    if word in origin.replacements:
        read = origin.replacements[word]
        return Number(read) if is_number else read
    return value


def _near(origin: Origin, values: Mapping[str, Any]) -> dt.date | None:
    """Return the day of the moment at an origin; None if there is none that can be read."""
    value = find(values, origin.paths[0])
    try:
        text = _translated(origin, value) if isinstance(value, str) else None
        return _moment(origin, text, None).time.date() if text is not None else None
    except (NoValue, ValueError, OverflowError):
        return None


def _read_text(field: Field, _: Origin, value: Any, __: dt.date | None) -> str:
    if field.name == "video_id":
        return _read_id(value)
    text = _text(value)
    if "\0" in text:
        _unreadable(text)
    if field.name not in NAMES:
        return text
    if not (name := name_of(text)):
        raise NoValue
    return name


def _read_id(value: Any) -> str:
    """Return an id without blanks, or Excel's `="…"`, around it; a whole number is one."""
    text = value if isinstance(value, str) else _unreadable(value)
    text = FORMULA.sub(r"\1", text.strip()).strip()
    if "\0" in text:
        _unreadable(text)
    if not text:
        raise NoValue
    if MANGLED.fullmatch(text) or (isinstance(value, Number) and not INTEGER.fullmatch(text)):
        raise MangledIdError(text)
    return text


def _read_integer(field: Field, origin: Origin, value: Any, _: dt.date | None) -> int:
    if origin.formats == (DURATION,):
        integer = read_duration(value.strip() if isinstance(value, str) else _unreadable(value))
    else:
        text = _number(field, origin, value)
        integer = int(text) if INTEGER.fullmatch(text) else _unreadable(text)
    return integer if -INT64 <= integer < INT64 else _unreadable(value)


def _read_number(field: Field, origin: Origin, value: Any, _: dt.date | None) -> float:
    text = _number(field, origin, value)
    if not NUMBER.fullmatch(text):
        _unreadable(text)
    is_in_percent = "%" in str(value) and field.name == "ctr_estimado"
    number = float(Decimal(text) * 100 if is_in_percent else text)
    return number if abs(number) < float("inf") else _unreadable(text)


def _read_date(field: Field, origin: Origin, value: Any, near: dt.date | None) -> dt.date:
    return _local(field, origin, _moment(origin, value, near)).date()


def _read_local_time(field: Field, origin: Origin, value: Any, near: dt.date | None) -> dt.datetime:
    moment = _moment(origin, value, near)
    if not moment.has_clock:
        raise NoValue
    return _local(field, origin, moment)


def _local(field: Field, origin: Origin, moment: Moment) -> dt.datetime:
    """Return a time as the local time in the zone in which it is kept; a date is that date.

    In an hour that a clock change skips or repeats, the offset before the change applies.
    """
    time = moment.time
    if not moment.has_clock:
        return time.replace(tzinfo=None)
    if not time.tzinfo:
        if origin.timezone == field.zone:
            return time
        time = time.replace(tzinfo=ZoneInfo(origin.timezone))
    return time.astimezone(ZoneInfo(field.zone)).replace(tzinfo=None)


def _read_instant(_: Field, origin: Origin, value: Any, near: dt.date | None) -> dt.datetime:
    """Return a time in UTC."""
    time = _moment(origin, value, near).time
    if not time.tzinfo:
        time = time.replace(tzinfo=ZoneInfo(origin.timezone))
    return time.astimezone(dt.UTC)


READERS = {
    "string": _read_text,
    "int64": _read_integer,
    "float64": _read_number,
    "date": _read_date,
    "timestamp(6)": _read_local_time,
    "timestamp('UTC', 6)": _read_instant,
}
"""For each type of Silver, the function that reads its values."""


def _moment(origin: Origin, value: Any, near: dt.date | None) -> Moment:
    """Parse a time by the first format that fits."""
    for form in origin.time_formats:
        try:
            if isinstance(form, TimeFormat):
                return form.read(_text(value), near)
            if form == ISO:
                return read_iso(_text(value))
            return read_number(value if isinstance(value, str) else _unreadable(value), form)
        except ValueError:
            continue
    return _unreadable(value)


def _is_text(value: Any) -> TypeGuard[str]:
    return type(value) is str  # and not the text of a `Number`


def _text(value: Any) -> str:
    return value if _is_text(value) else _unreadable(value)


def _number(field: Field, origin: Origin, value: Any) -> str:
    """Return the digits of a number."""
    if not origin.numbers.is_plain:
        text = value.strip() if isinstance(value, str) else _unreadable(value)
        return text if isinstance(value, Number) else origin.numbers.normalized(text)
    if isinstance(value, Number):
        return _unreadable(value) if field.quoted else value
    return _text(value).strip(BLANK) if field.quoted else _unreadable(value)


def _unreadable(value: Any) -> NoReturn:
    raise ValueError(value)
