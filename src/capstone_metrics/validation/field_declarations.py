"""Parse the declared fields of a source."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from babel import Locale, UnknownLocaleError

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.schedule import zone_of
from capstone_metrics.validation.fields import DURATION, TABLES, Field, Origin
from capstone_metrics.validation.numerals import NumberFormat
from capstone_metrics.validation.paths import check_path
from capstone_metrics.validation.silver import (
    DAILY,
    NUMBERS,
    REQUIRED_IF_DECLARED,
    SILVER,
    TIMES,
    required_columns,
)
from capstone_metrics.validation.texts import composed
from capstone_metrics.validation.times import ISO, UNITS_PER_SECOND, TimeFormat


def fields_of(
    name: str,
    declaration: Mapping[str, Any],
    timezone: str,
    columns: Mapping[str, str] = SILVER,
) -> dict[str, Field]:
    """Parse the `fields` of a source; without any, its fields have the names of Silver.

    A declared column that is not among them is a field of its name, where a record has it.

    Args:
        name: the name of the source.
        declaration: its declaration.
        timezone: the zone in which times are kept, and in which they are written by default.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: for the first invalid one.
    """
    setting = f"sources.{name}.fields"
    declared = declaration.get("fields") or {column: column for column in columns}
    if not isinstance(declared, Mapping):
        raise ConfigError(f"{setting}: {declared!r} must be {{column of Silver: its field}}.")
    for column in declared:
        if column not in columns:
            raise _unknown_column(setting, column, columns, declaration.get("counters"))
    if declaration.get("counters") != DAILY:
        declared = {**{name: name for name in columns if name not in SILVER}, **declared}
    defaults = declaration.get("defaults", {})
    if not isinstance(defaults, Mapping):
        raise ConfigError(f"sources.{name}.defaults: {defaults!r} must be {{option: value}}.")
    for option in defaults:
        if option not in OPTIONS:
            raise unknown_name(f"sources.{name}.defaults", option, OPTIONS)
    form, counters = declaration.get("format"), declaration.get("counters")
    base = Field(
        "",
        zone=timezone,
        quoted=form == "csv",
        is_of_table=form in TABLES,
        is_daily=counters == DAILY,
    )
    required = required_columns(counters)
    return {
        column: _field(
            f"{setting}.{column}",
            replace(
                base,
                name=column,
                kind=columns[column],
                is_required=column in {*required, *REQUIRED_IF_DECLARED},
            ),
            {k: v for k, v in defaults.items() if k in _options_of(column, columns[column])},
            rule,
        )
        for column, rule in declared.items()
    }


def _unknown_column(
    setting: str, column: object, columns: Mapping[str, str], counters: Any
) -> ConfigError:
    """Return the error of a column that a source cannot declare."""
    if column == "data_observacao":
        return ConfigError(
            f"{setting}: data_observacao is the day of what came on a day; declare counters: daily "
            "beside the fields, or remove it."
        )
    if counters == DAILY and column in SILVER:
        return ConfigError(
            f"{setting}: a source of counters: daily has no {column}; remove it. It has "
            f"{', '.join(columns)}."
        )
    return unknown_name(setting, column, columns, declared_in="columns")


def _field(setting: str, base: Field, defaults: Mapping[str, Any], rule: Any) -> Field:
    """Parse the rule of one field; what it does not set is as in a base, or in the defaults."""
    options = {"field": rule} if isinstance(rule, str | list | tuple) else rule
    places = {"field", "join", "constant"}
    allowed = _options_of(base.name, base.kind)
    if not isinstance(options, Mapping) or len(places & set(options)) != 1:
        raise ConfigError(
            f"{setting}: {rule!r} is not the name of a field, a list of alternatives, "
            "{field: name}, {join: [name, name]} or {constant: value}."
        )
    for option in options:
        if option not in {*places, *allowed, *FIELD_OPTIONS}:
            raise unknown_name(setting, option, [*places, *sorted(allowed), *FIELD_OPTIONS])
    if "constant" in options:
        return _constant(setting, base, options)
    own = {k: v for k, v in options.items() if k not in FIELD_OPTIONS}
    parts = own["field"] if isinstance(own.get("field"), list | tuple) else [own.get("field")]
    if not parts:
        raise ConfigError(f"{setting}: {rule!r} names no field.")
    origins = []
    for part in parts:
        alternative = {**own, "field": part} if "field" in own else own
        if isinstance(part, Mapping):
            rest = {k: v for k, v in own.items() if k != "field"}
            alternative = {**rest, **part}
        origins.append(_origin(setting, base, {**defaults, **alternative}, allowed))
    is_optional = _flag(f"{setting}.optional", options.get("optional"))
    if is_optional and base.is_required and base.name not in REQUIRED_IF_DECLARED:
        raise ConfigError(f"{setting}.optional: {base.name} is required; remove the option.")
    same_day_as = str(options.get("same_day_as", ""))
    if same_day_as and (base.name != "posted_at" or same_day_as != "data_postagem"):
        raise ConfigError(f"{setting}.same_day_as: only posted_at may have it, of data_postagem.")
    return replace(
        base,
        origins=tuple(origins),
        is_required=base.is_required and not is_optional,
        same_day_as=same_day_as,
    )


def _constant(setting: str, base: Field, options: Mapping[str, Any]) -> Field:
    """Parse a constant, which is written as text and has no options but those of a time."""
    timezone, formats = options.get("timezone", base.zone), options.get("format", ISO)
    origin = Origin(timezone=_zone(setting, timezone), formats=_formats(setting, formats))
    if extra := set(options) - {"constant", "timezone", "format"}:
        raise ConfigError(f"{setting}.{extra.pop()}: a constant has no such option; remove it.")
    value = options["constant"]
    kinds = (str, int) if base.kind == "string" else (str, int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or value == "":
        raise ConfigError(
            f"{setting}.constant: {value!r} must be a text or a whole number; write it in quotes."
        )
    return replace(base, constant=str(value), origins=(origin,), quoted=True)


def _origin(
    setting: str, base: Field, options: Mapping[str, Any], allowed: Mapping[str, Any]
) -> Origin:
    for option in options:
        if option not in {"field", "join", *allowed}:
            raise unknown_name(setting, option, ["field", "join", *allowed])
    if ("field" in options) == ("join" in options):
        raise ConfigError(f"{setting}: name the field, or the fields to join.")
    paths = options["join"] if "join" in options else [options["field"]]
    if (
        not isinstance(paths, list | tuple)
        or not paths
        or not all(_is_name(path) for path in paths)
    ):
        raise ConfigError(f"{setting}: {paths!r} is not a list of names of fields.")
    for path in () if base.is_of_table else paths:  # a column of a table is one name
        check_path(setting, str(path))
    parsed = {
        option: allowed[option](f"{setting}.{option}", value)
        for option, value in options.items()
        if option in allowed and option != "near"
    }
    numbers = NumberFormat(**{name: parsed.pop(name) for name in NUMBER_OPTIONS if name in parsed})
    if numbers.thousands == "." and "decimal" not in options:
        numbers = replace(numbers, decimal=",")
    if numbers.thousands and numbers.thousands == numbers.decimal:
        raise ConfigError(
            f"{setting}: thousands and decimal are both {numbers.decimal!r}; they must differ."
        )
    origin = Origin(
        paths=tuple(composed(str(path)) for path in paths),
        pattern=parsed.get("pattern", ""),
        values=parsed.get("values", ()),
        missing=parsed.get("missing", ()),
        empty=parsed.get("empty"),
        numbers=numbers,
        formats=parsed.get("format", (ISO,)),
        languages=parsed.get("language", ("en",)),
        timezone=parsed.get("timezone", base.zone),
        near=_near(setting, base, options["near"]) if "near" in options else None,
    )
    _check_formats(setting, base, origin)
    return origin


def _near(setting: str, base: Field, rule: Any) -> Origin:
    options = {"field": rule} if isinstance(rule, str) else rule
    if not isinstance(options, Mapping):
        raise ConfigError(f"{setting}.near: {rule!r} is not the name of a field, nor a mapping.")
    allowed = {k: v for k, v in _options_of("posted_at", TIMES[0]).items() if k != "near"}
    return _origin(f"{setting}.near", base, options, allowed)


def _check_formats(setting: str, base: Field, origin: Origin) -> None:
    """Raise an error for formats that do not fit the field."""
    kind = base.kind
    for text in origin.formats:
        is_duration = text == DURATION
        if is_duration != (kind not in TIMES) and text != ISO:
            wanted = "duration" if kind not in TIMES else "that of a date or time"
            raise ConfigError(f"{setting}.format: {text!r}; the format of {base.name} is {wanted}.")
        if text in {ISO, DURATION, *UNITS_PER_SECOND}:
            continue
        form = TimeFormat.of(text, f"{setting}.format", origin.languages)
        if not form.has_year and origin.near is None:
            raise ConfigError(
                f"{setting}.format: {text!r} has no year; give it one, or say by near where the "
                "moment is near which the date is."
            )


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and bool(str(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _texts(setting: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(map(_is_text, values)):
        raise ConfigError(f"{setting}: {value!r} is not a text or a list of texts.")
    return tuple(str(each) for each in values)


def _formats(setting: str, value: Any) -> tuple[str, ...]:
    texts = _texts(setting, value)
    if not all(texts):
        raise ConfigError(f"{setting}: {value!r} has an empty format.")
    return texts


def _languages(setting: str, value: Any) -> tuple[str, ...]:
    languages = _texts(setting, value)
    for language in languages:
        try:
            Locale.parse(language)
        except (ValueError, UnknownLocaleError) as error:
            raise ConfigError(
                f"{setting}: {language!r} is not a known language; use a code such as en or pt_BR."
            ) from error
    return languages


def _zone(setting: str, value: Any) -> str:
    return zone_of(setting, value).key


def _pattern(setting: str, value: Any) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError) as error:
        raise ConfigError(
            f"{setting}: {value!r} is not a regular expression ({error}); write one such as "
            r"'/video/(\d+)'."
        ) from error
    return str(value)


def _replacements(setting: str, value: Any) -> tuple[tuple[str, str], ...]:
    is_mapping = isinstance(value, Mapping) and bool(value)
    if not is_mapping or not all(_is_text(each) for pair in value.items() for each in pair):
        raise ConfigError(
            f"{setting}: {value!r} must be {{value of the source: value}}, texts in quotes."
        )
    return tuple((str(key), str(each)) for key, each in value.items())


def _empty(setting: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{setting}: {value!r} is no value, such as 0.")
    return str(value)


def _flag(setting: str, value: Any) -> bool:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{setting}: {value!r} must be true or false.")
    return bool(value)


def _separator(setting: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value.isalnum() or value == "-":
        raise ConfigError(f"{setting}: {value!r} is not one character in quotes, such as '.'.")
    return value


Parser = Callable[[str, Any], Any]
COMMON_OPTIONS: dict[str, Parser] = {
    "pattern": _pattern,
    "values": _replacements,
    "missing": _texts,
    "empty": _empty,
}
TIME_OPTIONS: dict[str, Parser] = {
    "format": _formats,
    "language": _languages,
    "timezone": _zone,
    "near": lambda _, value: value,
}
NUMBER_OPTIONS: dict[str, Parser] = {
    "text": _flag,
    "thousands": _separator,
    "decimal": _separator,
    "compact": _languages,
    "percent": _flag,
}
OPTIONS = {**COMMON_OPTIONS, **TIME_OPTIONS, **NUMBER_OPTIONS}
"""The options by which a value is read, each with the function that parses it."""

FIELD_OPTIONS = ("optional", "same_day_as")
"""The options of a field as a whole."""


def _options_of(column: str, kind: str) -> dict[str, Parser]:
    """Return the options by which the values of a column of Silver are read."""
    if kind in TIMES:
        return {**COMMON_OPTIONS, **TIME_OPTIONS}
    if kind in NUMBERS:
        duration = {"format": _formats} if column == "duracao_seg" else {}
        return {**COMMON_OPTIONS, **NUMBER_OPTIONS, **duration}
    return COMMON_OPTIONS
