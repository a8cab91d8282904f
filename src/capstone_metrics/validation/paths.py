"""Paths to a value in a record: `statistics.viewCount`, `data[name=views].values[0].value`."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import ConfigError
from capstone_metrics.validation.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]|\[([^=\[\]]+)=([^\[\]]*)\]")

Step = str | int | tuple[str, str]
"""The name of a field, the number of an element, or the field and value by which it is known."""


@cache
def steps_of(path: str) -> tuple[Step, ...]:
    """Parse a path.

    Raises:
        ValueError: if it is none.
    """
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = STEP.match(path, position)
        if match is None:
            raise ValueError(path)
        name, number, field, value = match.groups()
        steps.append(name if name is not None else int(number) if number else (field, value))
        position = match.end()
    if not steps:
        raise ValueError(path)
    return tuple(steps)


def is_nested(path: str) -> bool:
    """Return whether a path may lead into a field."""
    return "." in path or "[" in path


def check_path(setting: str, path: str) -> None:
    """Raise a `CapstoneError` for a path that is neither a name nor well formed."""
    if is_nested(path):
        try:
            is_formed = not path.startswith(".") and bool(steps_of(path))
        except ValueError:
            is_formed = False
        if not is_formed:
            raise ConfigError(
                f"{setting}: {path!r} is not a path such as statistics.viewCount, tags[0] or "
                "insights.data[name=views].values[0].value."
            )


def find(record: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path of a record; None if it has none.

    A field of the record that has the whole path as its name comes first.
    """
    if path in record or not is_nested(path):
        return record.get(path)
    try:
        steps = steps_of(path)
    except ValueError:
        return None
    value: Any = record
    for step in steps:
        value = _step(value, step)
        if value is None:
            return None
    return value


def _step(value: Any, step: Step) -> Any:
    """Return the value one step further; objects are mappings, or pairs in a tuple."""
    if isinstance(step, int):
        return value[step] if isinstance(value, list) and step < len(value) else None
    if isinstance(step, tuple):
        if not isinstance(value, list):
            return None
        return next((each for each in value if text_of(_field(each, step[0])) == step[1]), None)
    return _field(value, step)


def _field(value: Any, name: str) -> Any:
    if isinstance(value, tuple):
        return next((each for key, each in value if key == name), None)
    return value.get(name) if isinstance(value, dict) else None
