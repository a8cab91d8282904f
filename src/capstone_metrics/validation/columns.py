"""Read columns whose values are results or written in other ways than the scanner reads by itself.

The scanner gives the text of each value. A converter reads each distinct text once, by the rules
themselves; whole numbers, of which few are equal, are read as arrays where that is the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.validation.json_object import Number
from capstone_metrics.validation.numerals import SPACES
from capstone_metrics.validation.rules import read_field
from capstone_metrics.validation.silver import COUNTERS, SILVER
from capstone_metrics.validation.times import ISO
from capstone_metrics.validation.values import ARROW

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from capstone_metrics.validation.conditions import Selection
    from capstone_metrics.validation.fields import Field

    Mask = NDArray[np.bool_]
    Record = tuple[tuple[str | None, ...], tuple[int, ...]]

TEXT, NUMBER, BOOLEAN = range(3)
"""The kinds of values in JSON that are not nested."""

JSON_VALUES: tuple[Callable[[str], Any], ...] = (str, Number, "true".__eq__)
"""What makes a value of its text, by its kind."""

WHOLE = r"^-?[0-9]{1,18}$"
"""A whole number that surely fits into 64 bits."""

REMEMBERED = 1 << 16
"""How many distinct values of a column are remembered from one chunk to the next."""


@dataclass(frozen=True)
class RawColumn:
    """The values of a field of the source as they stand in its lines.

    Attributes:
        texts: the texts, null where a line has no value.
        kinds: whether each is a text, a number or a boolean.
    """

    texts: pa.Array
    kinds: NDArray[np.uint8]


class Converter:
    """Reads the values of a column of Silver.

    Args:
        field: the field.
        networks: the known values of `rede_social`.
    """

    def __init__(self, field: Field, networks: Collection[str]) -> None:
        self.field = field
        self.networks = frozenset(networks)
        self.paths = list(dict.fromkeys(field.paths))
        self._integers = _integer_pattern(field)
        self._known: dict[Record, tuple[Any, bool]] = {}

    def read(self, raw: Mapping[str, RawColumn], rows: int) -> tuple[pa.Array, Mask]:
        """Return the values, and which lines have to be left to the rules.

        Args:
            raw: the columns of the source by their paths, of those that lines have.
            rows: the number of lines.
        """
        if not any(path in raw for path in self.paths):
            nulls = pa.nulls(rows, ARROW[SILVER[self.field.name]])
            return nulls, np.full(rows, self.field.is_required)
        if self._integers:
            return self._read_integers(raw[self.paths[0]])
        absent = RawColumn(pa.nulls(rows, pa.string()), np.zeros(rows, np.uint8))
        return self._read_distinct([raw.get(path, absent) for path in self.paths])

    def _read_distinct(self, columns: Sequence[RawColumn]) -> tuple[pa.Array, Mask]:
        """Read each distinct combination of the values of some columns once."""
        if len(columns) == 1 and not columns[0].kinds.any():
            encoded = columns[0].texts.dictionary_encode()
            texts = [*encoded.dictionary.to_pylist(), None]
            codes = encoded.indices.fill_null(len(texts) - 1).to_numpy(zero_copy_only=False)
            return self._taken([((text,), (TEXT,)) for text in texts], codes)
        codes = np.zeros(len(columns[0].texts), np.int64)
        for column in columns:
            encoded = column.texts.dictionary_encode()
            numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1
            part = numbers.astype(np.int64) * 3 + column.kinds
            _, codes = np.unique(
                codes * (3 * len(encoded.dictionary) + 3) + part, return_inverse=True
            )
        _, first = np.unique(codes, return_index=True)
        parts = [column.texts.take(pa.array(first)).to_pylist() for column in columns]
        kinds = [column.kinds[first].tolist() for column in columns]
        records = zip(zip(*parts, strict=True), zip(*kinds, strict=True), strict=True)
        return self._taken(list(records), codes)

    def _taken(self, records: list[Record], codes: NDArray[Any]) -> tuple[pa.Array, Mask]:
        """Return the values of lines, and which are left, by the position of each line's record."""
        results = self._values(records)
        kind = ARROW[SILVER[self.field.name]]
        values = pa.array([value for value, _ in results], kind).take(pa.array(codes))
        return values, np.array([is_left for _, is_left in results], bool)[codes]

    def _values(self, records: list[Record]) -> list[tuple[Any, bool]]:
        """Return the value of each record, and whether its line has to be left to the rules."""
        known = self._known
        if len(known) > REMEMBERED:
            known = self._known = {}
        results = list(map(known.get, records))
        for position, record in enumerate(records):
            if results[position] is None:
                results[position] = known[record] = self._value(*record)
        return cast("list[tuple[Any, bool]]", results)

    def _value(self, texts: tuple[str | None, ...], kinds: tuple[int, ...]) -> tuple[Any, bool]:
        """Return a value by the rules, and whether its line has to be left to them.

        Args:
            texts: the text at each path.
            kinds: the kind of each.
        """
        record = {
            path: None if text is None else JSON_VALUES[kind](text)
            for path, text, kind in zip(self.paths, texts, kinds, strict=True)
        }
        value, broken = read_field(self.field, record)
        is_unknown = self.field.name == "rede_social" and value not in self.networks
        is_left = broken is not None or (is_unknown and value is not None)
        return (None if is_left else value), is_left

    def _read_integers(self, column: RawColumn) -> tuple[pa.Array, Mask]:
        """Read digits as an array, and all other values one by one."""
        assert self._integers
        known = column.texts.is_valid().to_numpy(zero_copy_only=False)
        separator = self.field.origins[0].numbers.thousands
        matches = pc.match_substring_regex(column.texts, self._integers).fill_null(False)
        digits = pc.if_else(matches, column.texts, None)
        if separator:
            digits = pc.replace_substring_regex(digits, f"[{re.escape(separator)}{SPACES}]", "")
        values = digits.cast(pa.int64())
        is_read = matches.to_numpy(zero_copy_only=False)
        if separator and (column.kinds == NUMBER).any():  # the point of a number is no separator
            is_whole = pc.match_substring_regex(column.texts, WHOLE).fill_null(False)
            is_read = is_read & ((column.kinds == TEXT) | is_whole.to_numpy(zero_copy_only=False))
        if self.field.origins[0].numbers.is_plain:
            is_read = is_read & (column.kinds == (TEXT if self.field.quoted else NUMBER))
        if self.field.name in COUNTERS:
            is_read = is_read & ~(values.fill_null(0).to_numpy() < 0)
        is_left = ~known if self.field.is_required else np.zeros(len(known), bool)
        others = np.flatnonzero(known & ~is_read)
        if len(others):
            part = RawColumn(column.texts.take(pa.array(others)), column.kinds[others])
            read, left = self._read_distinct([part])
            is_left[others] = left
            values = pc.replace_with_mask(values, pa.array(known & ~is_read), read)
        return values, is_left


def _integer_pattern(field: Field) -> str | None:
    """Return the pattern of the numbers that can be read as an array; None if there are none."""
    if SILVER[field.name] != "int64" or len(field.origins) != 1:
        return None
    (origin,) = field.origins
    is_simple = len(origin.paths) == 1 and origin.formats == (ISO,)
    if not is_simple or origin.regex or origin.values or any(map(_has_digit, origin.missing)):
        return None
    if not origin.numbers.thousands:
        return WHOLE
    separator = f"[{re.escape(origin.numbers.thousands)}{SPACES}]"
    return rf"^-?(?:[1-9][0-9]{{0,2}}(?:{separator}[0-9]{{3}}){{1,4}}|[0-9]{{1,18}})$"


def _has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


def ignored_lines(
    selection: Selection, raw: Mapping[str, RawColumn], rows: int
) -> tuple[Mask, list[tuple[str, Mask]]]:
    """Return which lines may be ignored by `ignore`, and for each rule of `only` which lines are.

    Args:
        selection: which records are no observations.
        raw: the columns of the source by their paths, of those that lines have.
        rows: the number of lines.
    """
    may_be = np.zeros(rows, bool)
    for group in selection.ignore:
        if all(condition.path in raw for condition in group):
            may_be |= _where(group[0].is_met, raw[group[0].path])
    rules = []
    left = ~may_be
    for condition in (each for each in selection.only if each.path in raw):

        def is_other(text: str, is_met: Callable[[str], bool] = condition.is_met) -> bool:
            return bool(text.strip()) and not is_met(text)

        is_ignored = _where(is_other, raw[condition.path]) & left
        rules.append((f"only.{condition.path}", is_ignored))
        left = left & ~is_ignored
    return may_be, rules


def _where(is_met: Callable[[str], bool], column: RawColumn) -> Mask:
    """Return which lines meet a condition, which is tried once for each distinct text."""
    encoded = column.texts.dictionary_encode()
    results = [is_met(text) for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(results)).to_numpy(zero_copy_only=False)
    mask: Mask = np.array([*results, False], bool)[codes]
    return mask
