"""The names and types of the parameters, and of the settings of an environment."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capstone_metrics.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name, and whether a value is of it."""

    name: str
    includes: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -math.inf < value < math.inf


def _is_date(value: Any) -> bool:
    try:
        dt.date.fromisoformat(str(value))
    except ValueError:
        return False
    return isinstance(value, str | dt.date)


def _is_engine(entry: Mapping[str, Any]) -> bool:
    is_known = str(entry.get("name")) in {"duckdb", "spark"} and set(entry) <= {"name", "options"}
    options = entry.get("options") or {}
    has_values = NAMED.includes(options) and all(
        isinstance(value, str | int | float) for value in options.values()
    )
    return is_known and has_values


ANYTHING = Kind("anything", lambda _: True)
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
INTEGER = Kind("a whole number", _is_integer)
NUMBER = Kind("a number", _is_number)
PERCENTAGE = Kind(
    "a percentage from 0 to 100",
    lambda value: _is_number(value) and 0 <= value <= 100,  # noqa: PLR2004
)
POSITIVE = Kind(
    "a whole number from 1 to 36500",
    lambda value: _is_integer(value) and 1 <= value <= 36_500,  # noqa: PLR2004
)
TEXT = Kind("text", lambda value: isinstance(value, str))
FILLED = Kind(
    "text, not empty and without blanks around it",
    lambda value: isinstance(value, str) and value == value.strip() != "",
)
LIST = Kind("a list", lambda value: isinstance(value, list | tuple))
MAPPING = Kind("a mapping of names to values", lambda value: isinstance(value, Mapping))
NAMED = Kind(
    "a mapping of names, in quotes where YAML would take one for something else, to values",
    lambda value: isinstance(value, Mapping) and all(isinstance(name, str) for name in value),
)
DATE = Kind("a date such as 2026-01-31", _is_date)
INSTANT = Kind("an instant", lambda value: isinstance(value, str | dt.date))
TEXTS = Kind(
    "a list of texts, in quotes where YAML would take one for something else",
    lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value),
)
NETWORKS = Kind(
    f"{TEXTS.name}, each once and without blanks around it",
    lambda value: (
        TEXTS.includes(value) and all(map(FILLED.includes, value)) and len(set(value)) == len(value)
    ),
)
PROMETHEUS_FILE = Kind(
    "the path of a file that ends in .prom",
    lambda value: isinstance(value, str) and value.endswith(".prom"),
)
NAMES = Kind(
    "names separated by blanks, or in a list",
    lambda value: TEXT.includes(value) or TEXTS.includes(value),
)
PORT = Kind("a port from 0 to 65535", lambda value: _is_integer(value) and 0 <= value < 1 << 16)
BASE = Kind("base", lambda value: value == "base")
ENGINE = Kind(
    "duckdb or spark, or a mapping with one of these as name, and as options a mapping of names "
    "to texts or numbers",
    lambda value: _is_engine(dict(value) if isinstance(value, Mapping) else {"name": value}),
)


def optional(kind: Kind) -> Kind:
    """Return a kind of which null is a value, too."""
    return Kind(f"{kind.name}, or null", lambda value: value is None or kind.includes(value))


Schema = Kind | Mapping[str, Any] | list[Any]
"""A kind; a list with the schema of its elements; or a mapping with the schema of each name.

A name that may be missing ends in `?`; `*` stands for every name.
"""

LAYER = {"starts": LIST, "minutes": POSITIVE}
PARAMETERS: Mapping[str, Schema] = {
    "now": INSTANT,
    "from": optional(INSTANT),
    "to": optional(INSTANT),
    "full": BOOLEAN,
    "plan": BOOLEAN,
    "allow_shrink": BOOLEAN,
    "allow_findings": BOOLEAN,
    "allow_refused": NAMES,
    "allow_future": BOOLEAN,
    "networks": NETWORKS,
    "columns": MAPPING,
    "sources": MAPPING,
    "marts": NAMED,
    "quality": optional(MAPPING),
    "definitions": optional(LIST),
    "publication": {"max_shrink_pct": PERCENTAGE, "changes_kept_days": POSITIVE},
    "operations": {
        "kept_days": POSITIVE,
        "prometheus_file?": optional(PROMETHEUS_FILE),
        "listeners?": TEXTS,
    },
    "schedule": {
        "timezone": TEXT,
        "layers": {"bronze": LAYER, "silver?": LAYER, "gold?": LAYER, "publication?": LAYER},
    },
}
"""The parameters. What sources, marts, quality and definitions may have, their parsers check."""


def _is_lake(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return FILLED.includes(value)
    options = {"url": FILLED, "region": optional(TEXT), "endpoint_url": optional(TEXT)}
    is_known = "url" in value and set(value) <= set(options)
    return is_known and all(options[name].includes(each) for name, each in value.items())


LAKE = Kind(
    "a path without blanks around it, or a mapping with such a path or URL as url, and texts as "
    "region and endpoint_url",
    _is_lake,
)
GLOBALS: Mapping[str, Schema] = {
    "lake": LAKE,
    "engine": ENGINE,
    "database": FILLED,
    "postgres": FILLED,
    "port?": optional(PORT),
    "sources?": optional(BASE),
}
"""The settings of an environment."""

KNOWN_GLOBALS = {name.rstrip("?") for name in GLOBALS}


def check(setting: str, value: Any, schema: Schema) -> None:
    """Check that a value has the names and types of a schema.

    Args:
        setting: the name of the value, for messages.
        value: what is declared.
        schema: what may be.

    Raises:
        CapstoneError: for the first name or value that is not as the schema has it.
    """
    if isinstance(schema, Kind):
        if value is None and not schema.includes(value):
            raise ConfigError(f"{setting}: has no value; it must be {schema.name}.")
        if not schema.includes(value):
            # a value of a mapping may be a secret
            shown = (
                f"{{{', '.join(map(str, value))}}}" if isinstance(value, Mapping) else repr(value)
            )
            raise ConfigError(f"{setting}: {shown} must be {schema.name}.")
    elif isinstance(schema, list):
        check(setting, value, LIST)
        for number, each in enumerate(value, 1):
            check(f"{setting}, number {number}", each, schema[0])
    elif "*" in schema:
        check(setting, value, MAPPING)
        for name, each in value.items():
            check(f"{setting}.{name}", each, schema["*"])
    else:
        _check_mapping(setting, value, schema)


def _check_mapping(setting: str, value: Any, schema: Mapping[str, Any]) -> None:
    names = {name.rstrip("?"): kind for name, kind in schema.items()}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{setting}: {value!r} must be a mapping with {', '.join(names)}.")
    for name in value:
        if name not in names:
            raise unknown_name(setting, name, names)
    for name in schema:
        if not name.endswith("?") and name not in value:
            raise ConfigError(f"{setting}: {name} is missing.")
    for name, each in value.items():
        check(f"{setting}.{name}", each, names[name])
