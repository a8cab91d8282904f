"""Read columns whose values are results or written in other ways than the scanner reads by itself.

The scanner gives the text of each value, and the value of whole numbers. Each distinct text is read
once, by the rules themselves.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.validation.json_object import Number
from capstone_metrics.validation.numerals import SPACES
from capstone_metrics.validation.rules import read_field
from capstone_metrics.validation.times import ISO
from capstone_metrics.validation.values import ARROW

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from capstone_metrics.validation.conditions import Condition, Selection
    from capstone_metrics.validation.fields import Field

    Mask = NDArray[np.bool_]
    Numbers = NDArray[np.int64]

TEXT, NUMBER, BOOLEAN = KINDS = range(3)
"""The kinds of values in JSON that are not nested."""

JSON_VALUES: tuple[Callable[[str], Any], ...] = (str, Number, "true".__eq__)
"""What makes a value of its text, by its kind."""

REMEMBERED_BYTES, ENTRY_BYTES = 1 << 24, 128
"""How much memory the distinct values of a column fill at most, and what each takes besides."""


class Memory:
    """The distinct values of a column, each with a number: how many came before it.

    A value is a text, None, or a text with its kind if it is none; of several columns their values.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._bytes = 0
        self._lock = Lock()

    @property
    def is_full(self) -> bool:
        """Whether another one has to take its place."""
        return self._bytes > REMEMBERED_BYTES

    def numbers(self, values: Sequence[Any]) -> Numbers:
        """Return the numbers of values."""
        try:
            return self._find(values)
        except KeyError:
            with self._lock:
                self._add(value for value in values if value not in self._numbers)
            return self._find(values)

    def _find(self, values: Sequence[Any]) -> Numbers:
        return np.fromiter(map(self._numbers.__getitem__, values), np.int64, len(values))

    def _add(self, values: Iterable[Any]) -> None:
        for value in values:
            self._bytes += sys.getsizeof(value) + ENTRY_BYTES
            self.values.append(value)  # before other threads find its number
            self._numbers[value] = len(self.values) - 1


class Results:
    """What a function returns for the values of a memory; it is called once for each.

    Args:
        read: returns a result and a flag.
        kind: the type of the results.
    """

    def __init__(self, read: Callable[[Any], tuple[Any, bool]], kind: pa.DataType) -> None:
        self._read, self._kind = read, kind
        self._kept: tuple[Memory, pa.Array, Mask] = self._none_of(Memory())

    def _none_of(self, memory: Memory) -> tuple[Memory, pa.Array, Mask]:
        return memory, pa.array([], self._kind), np.zeros(0, bool)

    def of(self, memory: Memory, numbers: Numbers) -> tuple[pa.Array, Mask]:
        """Return the results and the flags of the values with these numbers."""
        kept, results, flags = self._kept
        if kept is not memory:
            _, results, flags = self._none_of(memory)
        if new := [self._read(value) for value in memory.values[len(flags) :]]:
            results = pa.concat_arrays([results, pa.array([r for r, _ in new], self._kind)])
            flags = np.concatenate([flags, np.array([flag for _, flag in new], bool)])
            self._kept = memory, results, flags
        return results.take(pa.array(numbers)), flags[numbers]


class WholeNumbers(NamedTuple):
    """Which values the scanner reads as whole numbers.

    Attributes:
        in_texts: whether texts.
        as_numbers: whether numbers of JSON.
        thousands: what may be between groups of three digits of a text, beside blanks; empty for
            nothing.
    """

    in_texts: bool
    as_numbers: bool
    thousands: str

    @classmethod
    def of(cls, field: Field) -> WholeNumbers | None:
        """Return which values of a field are read so; None if it has none."""
        if field.kind != "int64" or len(field.origins) != 1:
            return None
        (origin,) = field.origins
        is_simple = len(origin.paths) == 1 and origin.formats == (ISO,)
        if not is_simple or origin.regex or origin.values or any(map(_has_digit, origin.missing)):
            return None
        thousands = " " if origin.numbers.thousands in SPACES else origin.numbers.thousands
        if not origin.numbers.thousands:
            thousands = ""
        if not thousands.isascii():
            return None
        is_any = not origin.numbers.is_plain
        return cls(is_any or field.quoted, is_any or not field.quoted, thousands)


@dataclass(frozen=True)
class RawColumn:
    """The values of a field of the source as they stand in its lines.

    Attributes:
        texts: the texts, null where a line has no value.
        kinds: whether each is a text, a number or a boolean.
        memory: the values that were met so far.
        whole: which values are read as whole numbers; None for none.
        is_whole: which values are.
        integers: these numbers.
    """

    texts: pa.Array
    kinds: NDArray[np.uint8]
    memory: Memory
    whole: WholeNumbers | None
    is_whole: Mask
    integers: Numbers

    @cached_property
    def numbers(self) -> Numbers:
        """The number of each value in the memory."""
        encoded = self.texts.dictionary_encode()
        values: list[Any] = [*encoded.dictionary.to_pylist(), None]
        codes = encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)
        if self.kinds.any():
            codes = codes * len(KINDS) + self.kinds
            is_present = np.zeros(len(values) * len(KINDS), bool)
            is_present[codes] = True
            codes = (np.cumsum(is_present) - 1)[codes]
            pairs = (divmod(code, len(KINDS)) for code in np.flatnonzero(is_present).tolist())
            values = [values[at] if kind == TEXT else (values[at], kind) for at, kind in pairs]
        numbers: Numbers = self.memory.numbers(values)[codes]
        return numbers

    def take(self, which: NDArray[np.intp]) -> RawColumn:
        """Return some of the values, which are not remembered."""
        parts = (self.kinds[which], Memory(), None, self.is_whole[which], self.integers[which])
        return RawColumn(self.texts.take(pa.array(which)), *parts)


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
        self.whole = WholeNumbers.of(field)
        self._kind = ARROW[field.kind]
        self._memory = Memory()
        self._results: dict[tuple[str, ...], Results] = {}

    def read(self, raw: Mapping[str, RawColumn], rows: int) -> tuple[pa.Array, Mask]:
        """Return the values, and which lines have to be left to the rules.

        Args:
            raw: the columns of the source by their paths, of those that lines have.
            rows: the number of lines.
        """
        columns = {path: raw[path] for path in self.paths if path in raw}
        if not columns:
            return pa.nulls(rows, self._kind), np.full(rows, self.field.is_required)
        first = next(iter(columns.values()))
        if self.whole and self.whole == first.whole:
            return self._read_integers(first)
        return self._read_distinct(columns)

    def _read_distinct(self, columns: Mapping[str, RawColumn]) -> tuple[pa.Array, Mask]:
        """Read each distinct combination of the values of some columns once."""
        paths, parts = tuple(columns), list(columns.values())
        if len(parts) == 1:
            memory, numbers = parts[0].memory, parts[0].numbers
        else:
            if self._memory.is_full:
                self._memory = Memory()
            memory = self._memory
            numbers = _combined(parts, memory)
        if paths not in self._results:
            self._results[paths] = Results(lambda value: self._value(paths, value), self._kind)
        return self._results[paths].of(memory, numbers)

    def _value(self, paths: tuple[str, ...], value: Any) -> tuple[Any, bool]:
        """Return a value by the rules, and whether its line has to be left to them.

        Args:
            paths: where it is found.
            value: a value of a memory.
        """
        values = (value,) if len(paths) == 1 else value
        record = {path: _json_value(each) for path, each in zip(paths, values, strict=True)}
        read, broken = read_field(self.field, record)
        is_unknown = self.field.name == "rede_social" and read not in self.networks
        is_left = broken is not None or (is_unknown and read is not None)
        return (None if is_left else read), is_left

    def _read_integers(self, column: RawColumn) -> tuple[pa.Array, Mask]:
        """Read values of which the scanner has read the whole numbers."""
        known = column.texts.is_valid().to_numpy(zero_copy_only=False)
        is_read = column.is_whole
        if self.field.is_counter:
            is_read = is_read & (column.integers >= 0)
        values = pa.array(column.integers, mask=~is_read)
        is_left = ~known if self.field.is_required else np.zeros(len(known), bool)
        is_other = known & ~is_read
        if is_other.any():
            others = column.take(np.flatnonzero(is_other))
            read, is_left[is_other] = self._read_distinct({self.paths[0]: others})
            values = pc.replace_with_mask(values, pa.array(is_other), read)
        return values, is_left


def _json_value(value: Any) -> Any:
    """Return a value of a memory as the rules have it."""
    if isinstance(value, tuple):
        text, kind = value
        return JSON_VALUES[kind](text)
    return value


def _combined(columns: Sequence[RawColumn], memory: Memory) -> Numbers:
    """Return the numbers of the combined values of columns in a memory."""
    codes = np.zeros(len(columns[0].texts), np.int64)
    for column in columns:
        parts = codes * (column.numbers.max(initial=0) + 1) + column.numbers
        _, first, codes = np.unique(parts, return_index=True, return_inverse=True)
    values = (
        [column.memory.values[number] for number in column.numbers[first].tolist()]
        for column in columns
    )
    return memory.numbers(list(zip(*values, strict=True)))[codes]


def _has_digit(text: str) -> bool:
    return any(c.isdigit() for c in text)


class Selector:
    """Finds the lines that are ignored.

    Args:
        selection: which records are no observations.
    """

    def __init__(self, selection: Selection) -> None:
        self._ignore = [
            # a pattern takes longer
            [(each.path, _answers(each)) for each in sorted(group, key=lambda c: bool(c.pattern))]
            for group in selection.ignore
        ]
        self._only = [(each.path, _answers(each, is_other=True)) for each in selection.only]

    def read(self, raw: Mapping[str, RawColumn], rows: int) -> tuple[Mask, list[tuple[str, Mask]]]:
        """Return which lines may be ignored by `ignore`, and for each rule of `only` which are.

        Args:
            raw: the columns of the source by their paths, of those that lines have.
            rows: the number of lines.
        """
        may_be = np.zeros(rows, bool)
        for group in self._ignore:
            if all(path in raw for path, _ in group):
                may_be |= _all(_where(answers, raw[path]) for path, answers in group)
        rules = []
        left = ~may_be
        for path, answers in self._only:
            if path in raw:
                is_ignored = _where(answers, raw[path]) & left
                rules.append((f"only.{path}", is_ignored))
                left = left & ~is_ignored
        return may_be, rules


def _answers(condition: Condition, *, is_other: bool = False) -> Results:
    """Return which values meet a condition, or which have a text that does not."""

    def read(value: Any) -> tuple[None, bool]:
        if value is None:
            return None, False
        text = value[0] if isinstance(value, tuple) else value
        if is_other:
            return None, bool(text.strip()) and not condition.is_met(text)
        return None, condition.is_met(text)

    return Results(read, pa.null())


def _where(answers: Results, column: RawColumn) -> Mask:
    return answers.of(column.memory, column.numbers)[1]


def _all(masks: Iterable[Mask]) -> Mask:
    """Return where all masks are set; further ones are not made once it is nowhere."""
    masks = iter(masks)
    result = next(masks)
    while result.any() and (mask := next(masks, None)) is not None:
        result = result & mask
    return result
