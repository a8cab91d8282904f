"""Which records of a source are no observations: totals, footers, photos among videos."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from capstone_metrics.errors import ConfigError
from capstone_metrics.validation.paths import check_path, find
from capstone_metrics.validation.texts import composed, folded, text_of

ONE_VALUE = "one_value"
"""The name of the condition that a row of a table has one value alone, its first."""

BLANK_RULE = "line.blank"
"""The rule of a row of a table without any value."""


@dataclass(frozen=True)
class Condition:
    """What a field of a record must have: one of some values, or a text that has a pattern.

    Attributes:
        path: of the field.
        values: without case and blanks around them; empty if there is a pattern.
        pattern: a regular expression; empty if there are values.
    """

    path: str
    values: tuple[str, ...] = ()
    pattern: str = ""

    @cached_property
    def _search(self) -> Callable[[str], object]:
        return re.compile(self.pattern).search

    def is_met(self, text: str) -> bool:
        """Return whether the value of the field meets it."""
        if self.pattern:
            return self._search(text) is not None
        return folded(text) in self.values


@dataclass(frozen=True)
class Selection:
    """Which records are ignored.

    Attributes:
        only: a record that has another value in one of these fields is ignored.
        ignore: a record for which all conditions of one of these groups hold is ignored.
        one_value: whether a row of a table that has its first value alone is ignored.
        is_table: whether the records are rows of a table, of which blank ones are ignored.
    """

    only: tuple[Condition, ...] = ()
    ignore: tuple[tuple[Condition, ...], ...] = ()
    one_value: bool = False
    is_table: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether the declaration names no record to ignore."""
        return not (self.only or self.ignore or self.one_value)

    @property
    def only_paths(self) -> list[str]:
        """The fields of which a record has one of some values."""
        return [each.path for each in self.only]

    @property
    def ignore_paths(self) -> list[str]:
        """The fields by which a record is ignored."""
        return [each.path for group in self.ignore for each in group]

    @property
    def paths(self) -> list[str]:
        """The fields that decide."""
        return [*self.only_paths, *self.ignore_paths]

    def rule_of(self, record: Mapping[str, Any]) -> str | None:
        """Return the rule by which a record is ignored; None if it is not."""
        if self.is_table and (rule := self._table_rule(record)):
            return rule
        for group in self.ignore:
            if all(_is_met(each, record) for each in group):
                return f"ignore.{group[0].path}"
        if self.is_table and {"_extra", "_missing"} & record.keys():
            return None  # its values may be those of other columns
        for each in self.only:
            text = text_of(find(record, each.path))
            if text and text.strip() and not each.is_met(text):
                return f"only.{each.path}"
        return None

    def _table_rule(self, record: Mapping[str, Any]) -> str | None:
        values = [value for name, value in record.items() if name not in {"_extra", "_missing"}]
        filled = [index for index, value in enumerate(values) if _is_filled(value)]
        extra = record.get("_extra")
        if not filled and not any(map(_is_filled, extra if isinstance(extra, list) else [extra])):
            return BLANK_RULE
        has_more = len(values) > 1 or "_missing" in record
        return f"ignore.{ONE_VALUE}" if self.one_value and filled == [0] and has_more else None


def _is_met(condition: Condition, record: Mapping[str, Any]) -> bool:
    text = text_of(find(record, condition.path))
    return text is not None and condition.is_met(text)


def _is_filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def selection_of(name: str, declaration: Mapping[str, Any], *, is_table: bool) -> Selection:
    """Parse the `only` and `ignore` of a source.

    Raises:
        ConfigError: if one of them is invalid.
    """
    setting = f"sources.{name}"
    groups, one_value = [], False
    declared = declaration.get("ignore", [])
    for group in declared if isinstance(declared, list | tuple) else [declared]:
        if group == ONE_VALUE:
            if not is_table:
                raise ConfigError(f"{setting}.ignore: {ONE_VALUE} is of csv and xlsx alone.")
            one_value = True
        else:
            groups.append(_conditions(f"{setting}.ignore", group, is_table=is_table))
    only: tuple[Condition, ...] = ()
    if "only" in declaration:
        only = _conditions(f"{setting}.only", declaration["only"], is_table=is_table)
    return Selection(only, tuple(groups), one_value, is_table)


def _conditions(setting: str, value: Any, *, is_table: bool) -> tuple[Condition, ...]:
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(
            f"{setting}: {value!r} must be {{field: value}}, {{field: [value, value]}} or "
            "{field: {pattern: …}}."
        )
    for path in () if is_table else value:
        check_path(setting, str(path))
    return tuple(_condition(setting, composed(str(path)), each) for path, each in value.items())


def _condition(setting: str, path: str, value: Any) -> Condition:
    if isinstance(value, Mapping):
        pattern = value.get("pattern")
        try:
            re.compile(pattern or "(")
        except (re.error, TypeError) as error:
            raise ConfigError(
                f"{setting}.{path}: {value!r} is not {{pattern: a regular expression}}."
            ) from error
        return Condition(path, pattern=str(pattern))
    values = value if isinstance(value, list | tuple) else [value]
    if not values or not all(isinstance(each, str | int | float) for each in values):
        raise ConfigError(f"{setting}.{path}: {value!r} must be a value or a list of values.")
    return Condition(path, tuple(folded(text_of(each) or str(each)) for each in values))
