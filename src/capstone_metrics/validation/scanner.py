"""Read blocks of lines quickly: accept most lines as `rules` would, and leave the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from threading import local
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.validation import layout, values
from capstone_metrics.validation.columns import (
    BOOLEAN,
    NUMBER,
    Converter,
    Memory,
    RawColumn,
    Selector,
)
from capstone_metrics.validation.json_object import parse_object
from capstone_metrics.validation.paths import is_nested, steps_of
from capstone_metrics.validation.rules import read_field
from capstone_metrics.validation.silver import NEVER_BLANK, NUMBERS, SILVER
from capstone_metrics.validation.texts import composed
from capstone_metrics.validation.times import FIXED_TOKENS, TimeFormat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from capstone_metrics.validation.blocks import Block
    from capstone_metrics.validation.compiler import Scan
    from capstone_metrics.validation.contract import Contract
    from capstone_metrics.validation.fields import Field
    from capstone_metrics.validation.objects import BronzeObject
    from capstone_metrics.validation.paths import Step

    Numbers = NDArray[np.int32]
    Columns = tuple[list[pa.Array], NDArray[np.bool_], list[tuple[str, NDArray[np.bool_]]]]

CAPACITY, TEXT_CAPACITY = 1 << 13, 1 << 20
"""How many lines a chunk has at most, and how many bytes one of its columns of texts has.

A line that does not fit is left to the rules.
"""

MAX_COLUMNS = 3 * len(SILVER)
"""The most columns that are read; a source with more fields is left to the rules."""

LEARNING_SHARE, SAMPLE, MAX_NAMES = 8, 64, 512
"""If one line in so many has an unknown field, names are learned from a sample of so many lines, up
to so many names."""

MAX_ELEMENT, NEVER = 2**31 - 1, -2
"""The number that no element of a list has, and that no name has."""

ESCAPED = frozenset(map(chr, range(32))) | {'"', "\\"}
"""The characters that JSON always escapes."""


@dataclass
class BlockScan:
    """The result of scanning a block.

    Attributes:
        columns: for each chunk, the values of the accepted lines, in the order of Silver's columns.
        starts: for each chunk, where the accepted lines start in the block.
        numbers: for each chunk, the numbers of the accepted lines; the block's first line has 0.
        others: the number of each line that is left to the rules, and where it starts.
        left: for each chunk, which of the accepted lines are left to the rules after all.
        ignored: for each chunk, which lines are ignored by which rule.
        new_fields: how many accepted lines have each field that the contract does not name.
        filled_lines: the number of lines that are not blank.
    """

    columns: list[list[pa.Array]] = field(default_factory=list)
    starts: list[Numbers] = field(default_factory=list)
    numbers: list[Numbers] = field(default_factory=list)
    left: list[NDArray[np.bool_]] = field(default_factory=list)
    ignored: list[list[tuple[str, NDArray[np.bool_]]]] = field(default_factory=list)
    others: list[tuple[int, int]] = field(default_factory=list)
    new_fields: Counter[str] = field(default_factory=Counter)
    filled_lines: int = 0


class Plan:
    """The names of fields that the scanner looks for, and the columns that it reads from them.

    Args:
        contract: the contract of the source.
        networks: the known values of `rede_social`.
        seen: the names of fields that lines were found to have. A line with another one is left to
            the rules.
    """

    def __init__(
        self, contract: Contract, networks: Collection[str], seen: Collection[str]
    ) -> None:
        self.contract, self.networks, self.seen = contract, networks, frozenset(seen)
        read = [self._as_seen(f) for f in contract.fields.values() if f.constant is None]
        self.fields = [field for field in read if field.is_plain]
        raw_fields = [field for field in read if not field.is_plain]
        self.converters = [Converter(field, networks) for field in raw_fields]
        self.selector = Selector(contract.selection)
        paths = [path for field in raw_fields for path in field.paths]
        self.raw_paths = [
            path
            for path in dict.fromkeys([*paths, *contract.selection.paths])
            if self._is_seen(path)
        ]
        self.memories = {path: Memory() for path in self.raw_paths}
        self.whole = {c.paths[0]: c.whole for c in reversed(self.converters) if c.whole}
        self._entries: dict[tuple[int, Step], int] = {}
        for path in filter(self._is_seen, contract.source_fields):
            self._entry(path)
        self._add_names(filter(contract.is_known, self.seen))
        self.declared = len(self._entries)
        if not contract.is_frozen:
            self._add_names(self.seen)
        self.names = ["" if parent >= 0 else str(name) for parent, name in self._entries]
        self._texts, self._spans = bytearray(), list[int]()
        self.name_table, self.hashes = self._name_table()
        columns = [
            *(self._column(field) for field in self.fields),
            *(self._raw_column(path) for path in self.raw_paths),
        ]
        self.columns = np.array(columns, np.int32).reshape(-1, layout.COLUMN_WIDTH)
        self.texts = np.frombuffer(bytes(self._texts) + bytes(layout.PADDING), np.uint8)
        self.spans = np.array([*self._spans, 0], np.int32)
        self.follows = self._follows()

    def _as_seen(self, field: Field) -> Field:
        """Return a field with those of its origins that lines have, if any; they differ in nothing.

        An origin that no line has gives no value, so the next one counts.
        """
        origins = tuple(o for o in field.origins if any(map(self._is_seen, o.paths)))
        return replace(field, origins=origins or field.origins[:1])

    def is_flat_path(self, name: str) -> bool:
        """Return whether the name of a field is a whole declared path, which comes first.

        Lines with such a field are left to the rules.
        """
        return name in self.contract.source_fields and len(self._steps(name)) > 1

    def _is_seen(self, path: str) -> bool:
        """Return whether lines have the field in which a path begins."""
        return self._steps(path)[0] in self.seen

    def _steps(self, path: str) -> tuple[Step, ...]:
        """Return the steps of a path from the outermost in; a column of a table is one name."""
        is_name = self.contract.selection.is_table or not is_nested(path)
        return (path,) if is_name else steps_of(path)

    def _entry(self, path: str) -> int:
        """Add a path; return the number of its last name."""
        number = -1
        for part in self._steps(path):
            number = self._entries.setdefault((number, part), len(self._entries))
        return number

    def _add_names(self, names: Iterable[str]) -> None:
        for name in sorted(names):
            self._entries.setdefault((-1, name), len(self._entries))

    def _name_table(self) -> tuple[Numbers, Numbers]:
        table = np.full((len(self._entries) + 1, layout.NAME_WIDTH), -1, np.int32)
        table[:, layout.NAME_HAS] = 0
        table[-1, layout.NAME_PARENT] = NEVER  # no key is taken for what follows no name
        hashes = np.full(layout.HASH_SIZE, -1, np.int32)
        for (parent, step), number in self._entries.items():
            row = table[number]
            row[layout.NAME_PARENT] = parent
            if isinstance(step, str):
                content = step.encode()
                first, last = (content[0], content[-1]) if content else (0, 0)
                slot = (len(content) * 31 + first * 7 + last * 3) % layout.HASH_SIZE
                row[layout.NAME_OFFSET] = self._text(content + b'"')
                row[layout.NAME_LENGTH], row[layout.NAME_NEXT] = len(content), hashes[slot]
                hashes[slot], has = number, layout.FIELDS
            else:
                row[layout.NAME_NEXT] = table[parent, layout.NAME_FIRST]
                table[parent, layout.NAME_FIRST] = number
                has = self._element(row, step)
            if parent >= 0:
                table[parent, layout.NAME_HAS] = has
        return table, hashes

    def _element(self, row: Numbers, step: int | tuple[str, str]) -> int:
        """Fill the row of an element of a list; return by what such elements are known."""
        if isinstance(step, int):
            row[layout.NAME_LENGTH] = min(step, MAX_ELEMENT)
            return layout.NUMBERED_ELEMENTS
        key, value = (part.encode() for part in step)
        row[layout.NAME_OFFSET], row[layout.NAME_LENGTH] = self._text(value), len(value)
        row[layout.NAME_KEY_OFFSET], row[layout.NAME_KEY_LENGTH] = self._text(key), len(key)
        return layout.KNOWN_ELEMENTS

    def _follows(self) -> Numbers:
        """Return the number of the name that is expected after each, and at first.

        One that JSON escapes is never expected, since it does not stand in a line as it is.
        """
        count = len(self._entries)
        expected = [
            count if isinstance(step, str) and ESCAPED & set(step) else number
            for number, (_, step) in enumerate(self._entries)
        ] or [0]
        return np.array([*expected[1:], expected[0], expected[0]], np.int32)

    def _origins(self, paths: Iterable[str]) -> tuple[int, int]:
        """Add the names of paths to the spans; return their position and their number."""
        origins = [self._entry(path) for path in paths if self._is_seen(path)]
        return self._span(origins), len(origins)

    def _raw_column(self, path: str) -> list[int]:
        column = [0] * layout.COLUMN_WIDTH
        column[layout.KIND] = layout.RAW
        if whole := self.whole.get(path):
            column[layout.FLAGS] = (layout.WHOLE_TEXTS if whole.in_texts else 0) | (
                layout.WHOLE_NUMBERS if whole.as_numbers else 0
            )
            column[layout.THOUSANDS] = ord(whole.thousands) if whole.thousands else 0
        column[layout.ORIGINS], column[layout.ORIGIN_COUNT] = self._origins([path])
        return column

    def _column(self, field: Field) -> list[int]:
        column = [0] * layout.COLUMN_WIDTH
        kind = field.kind
        is_number = kind in NUMBERS
        kinds = {"string": layout.TEXT, "int64": layout.INTEGER, "float64": layout.NUMBER}
        column[layout.KIND] = kinds.get(kind, layout.TIME)
        column[layout.FLAGS] = (
            (layout.REQUIRED if field.is_required else 0)
            | (layout.BLANK_IS_MISSING if field.quoted or field.name in NEVER_BLANK else 0)
            | (layout.QUOTED if field.quoted and is_number else 0)
            | (layout.COUNTER if field.is_counter else 0)
            | (layout.IS_ID if field.name == "video_id" else 0)
            | (layout.NEEDS_CLOCK if field.name == "posted_at" else 0)
        )
        column[layout.ORIGINS], column[layout.ORIGIN_COUNT] = self._origins(field.paths)
        choices = list(self.networks) if field.name == "rede_social" else []
        column[layout.CHOICES], column[layout.CHOICE_COUNT] = (
            self._span(part for choice in choices for part in self._literal(choice)),
            len(choices),
        )
        form = field.origin.time_formats[0]
        column[layout.FORMAT] = self._format(form) if isinstance(form, TimeFormat) else -1
        return column

    def _format(self, form: TimeFormat) -> int:
        def in_bytes(offset: int) -> int:
            longer = (len(text.encode()) - len(text) for at, text in form.literals if at < offset)
            return offset + sum(longer)

        literals = [
            part for at, text in form.literals for part in self._literal(text, in_bytes(at))
        ]
        parts = [form.parts.get(token) for token in FIXED_TOKENS]  # as in `layout`
        offsets = [in_bytes(part.start) if part else -1 for part in parts]
        return self._span(
            [*offsets, in_bytes(form.length), self._span(literals), len(form.literals)]
        )

    def _literal(self, text: str, at: int = 0) -> tuple[int, int, int]:
        content = text.encode()
        return self._text(content), len(content), at

    def _text(self, content: bytes) -> int:
        """Add a text; return its offset."""
        self._texts += content
        return len(self._texts) - len(content)

    def _span(self, numbers: Iterable[int]) -> int:
        """Add numbers to the spans; return their position."""
        position, numbers = len(self._spans), list(numbers)
        self._spans += numbers
        return position


class _Workspace(local):
    """The arrays that a scan writes to; each thread has its own for all its scans."""

    def __init__(self) -> None:
        columns = MAX_COLUMNS
        self.starts, self.numbers = np.empty((2, CAPACITY), np.int32)
        self.values = np.empty((columns, CAPACITY), np.int64)
        self.known = np.empty((columns, CAPACITY), np.uint8)
        self.ends = np.zeros((columns, CAPACITY + 1), np.int32)
        self.texts = np.empty((columns, TEXT_CAPACITY + layout.PADDING), np.uint8)
        self.scratch = np.empty(TEXT_CAPACITY + layout.PADDING, np.uint8)
        self.others = np.empty((CAPACITY, 2), np.int32)


WORKSPACE = _Workspace()
"""Its content is overwritten by the next scan of the thread."""


class Scanner:
    """Reads the lines of one source.

    Args:
        scan: the compiled scan of `kernel`.
        contract: the contract of the source.
        networks: the known values of `rede_social`.
        constants: the values of the columns of Silver that no line has.
    """

    def __init__(
        self,
        scan: Scan,
        contract: Contract,
        networks: Collection[str],
        constants: Mapping[str, Any],
    ) -> None:
        self._scan = scan
        self._plan = Plan(contract, networks, ())
        self._constants = constants

    @classmethod
    def of(cls, scan: Scan | None, contract: Contract, networks: Collection[str]) -> Scanner | None:
        """Return the scanner of a source; None if every line has to be left to the rules.

        That is so without the compiled scan, if paths lead to elements of a list in several ways,
        if a row with one value may be accepted, or if a constant breaks a rule.
        """
        is_table = contract.selection.is_table
        is_read = _rejects_footers(contract) if is_table else _has_one_way(contract.source_fields)
        if scan is None or not is_read:
            return None
        constants: dict[str, Any] = {}
        broken: list[str] = []
        for name in contract.columns:
            column = contract.fields.get(name)
            if column is None or column.constant is not None:
                constants[name], rule = read_field(column, {}) if column else (None, None)
                broken += [rule] if rule else []
        network = constants.get("rede_social")
        if broken or not networks or (network and network not in networks):
            return None
        return cls(scan, contract, networks, constants)

    def read(self, block: Block) -> BlockScan:
        """Read the lines of a block."""
        result, state = BlockScan(), np.zeros(layout.STATE_WIDTH, np.int64)
        while not state[layout.IS_DONE]:
            before, plan = state.copy(), self._plan
            counts, rows = self._scan_lines(block, plan, state)
            others = WORKSPACE.others[: state[layout.OTHERS]].tolist()
            is_first = not plan.seen
            is_common = state[layout.UNKNOWN_KEYS] > max(rows, SAMPLE) / LEARNING_SHARE
            if (is_first or is_common) and self._learn(
                plan, (block.line(start) for _, start in others[:SAMPLE])
            ):
                state = before
                continue
            columns, left, ignored = self._columns(plan, block.origin, rows)
            result.columns.append(columns)
            result.left.append(left)
            result.ignored.append(ignored)
            result.starts.append(WORKSPACE.starts[:rows].copy())
            result.numbers.append(WORKSPACE.numbers[:rows].copy())
            result.others += map(tuple, others)
            for number in np.flatnonzero(counts).tolist():
                if not plan.contract.is_known(plan.names[number]):
                    result.new_fields[plan.names[number]] += int(counts[number])
        result.filled_lines = int(state[layout.FILLED_LINES])
        return result

    def _learn(self, plan: Plan, lines: Iterable[bytes]) -> bool:
        """Add names that more than one of some lines has to the plan; return whether there are any.

        So only names that lines have are looked for, and lines are scanned even if most of them
        have a field that the contract does not name. A name on a single line is likely part of what
        is wrong with that line.
        """
        count = Counter(
            name
            for line in lines
            for name, _ in parse_object(line.decode(errors="replace")) or ()
            if name not in plan.seen and name not in plan.contract.shape_rules
            if not plan.is_flat_path(name) and composed(name) == name  # the rules compose it
            if plan.contract.is_known(name) or not plan.contract.is_frozen
        )
        lowest = min(max(count.values(), default=0), 2)
        names = [name for name, lines_with_name in count.items() if lines_with_name >= lowest]
        if not names or len(plan.seen) + len(names) > MAX_NAMES:
            return False
        grown = Plan(plan.contract, plan.networks, {*plan.seen, *names})
        if len(grown.columns) > MAX_COLUMNS:
            return False
        self._plan = grown
        return True

    def _scan_lines(
        self, block: Block, plan: Plan, state: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], int]:
        """Read the next lines into the workspace.

        Returns:
            The number of accepted lines with each name, and of all accepted lines.
        """
        work, names = WORKSPACE, len(plan.names)
        sizes = np.array(
            [block.size, names, plan.declared, len(plan.columns), CAPACITY, TEXT_CAPACITY],
            np.int64,
        )
        counts = np.zeros(names + 1, np.int64)
        slots = np.zeros((names + 1, layout.SLOT_WIDTH), np.int32)
        arrays = (
            block.content, sizes, state, plan.texts, plan.name_table, plan.hashes, plan.columns,
            plan.spans, slots, plan.follows.copy(), counts, work.starts, work.numbers, work.values,
            work.known, work.ends, work.texts, work.scratch, work.others,
        )  # fmt: skip
        return counts, self._scan(*(array.ctypes.data for array in arrays))

    def _columns(self, plan: Plan, origin: BronzeObject, rows: int) -> Columns:
        """Return the columns of Silver from the workspace, and what becomes of some lines.

        Returns:
            The columns; which lines are left to the rules; and for each rule of `only`, which lines
            are ignored by it.
        """
        raw = {
            path: _raw_column(plan, path, number, rows)
            for number, path in enumerate(plan.raw_paths, len(plan.fields))
        }
        left, ignored = np.zeros(rows, bool), list[tuple[str, "NDArray[np.bool_]"]]()
        if not plan.contract.selection.is_empty and plan.contract.selection.paths:
            left, ignored = plan.selector.read(raw, rows)
        arrays = {field.name: _array(field, at, rows) for at, field in enumerate(plan.fields)}
        for converter in plan.converters:
            arrays[converter.field.name], is_left = converter.read(raw, rows)
            left = left | is_left
        for name, value in self._constants.items():
            arrays[name] = pa.repeat(
                pa.scalar(value, values.ARROW[plan.contract.columns[name]]), rows
            )
        for name, default in (("ingestion_ts", origin.arrival), ("run_id", origin.run_id)):
            if name in arrays and arrays[name].null_count:
                arrays[name] = arrays[name].fill_null(pa.scalar(default, arrays[name].type))
        for name, column in plan.contract.fields.items():
            if column.same_day_as:
                is_same = pc.equal(arrays[name].cast(pa.date32()), arrays[column.same_day_as])
                arrays[name] = pc.if_else(is_same.fill_null(False), arrays[name], None)
        return [arrays[name] for name in plan.contract.columns], left, ignored


def _has_one_way(paths: Iterable[str]) -> bool:
    """Return whether all paths that lead into the same value do so in one way.

    That is by names, by the numbers of elements, or by one field of elements.
    """
    ways: dict[tuple[Step, ...], set[Any]] = defaultdict(set)
    for steps in (steps_of(path) for path in paths if is_nested(path)):
        for at, step in enumerate(steps):
            ways[steps[:at]].add(step[0] if isinstance(step, tuple) else type(step))
    return all(len(way) == 1 for way in ways.values())


def _rejects_footers(contract: Contract) -> bool:
    """Return whether a row of a table needs two values to be accepted, so that no footer is."""
    needed = {
        path
        for field in contract.fields.values()
        if field.is_required and field.constant is None
        if all(origin.empty is None for origin in field.origins)
        for path in field.paths
    }
    return len(needed) > 1


def _raw_column(plan: Plan, path: str, number: int, rows: int) -> RawColumn:
    """Return the texts of a field of the source in the workspace."""
    known = WORKSPACE.known[number, :rows]
    texts = values.texts(known, WORKSPACE.ends[number, : rows + 1], WORKSPACE.texts[number])
    is_number, is_boolean = (known & layout.IS_NUMBER) > 0, (known & layout.IS_BOOLEAN) > 0
    if plan.memories[path].is_full:
        plan.memories[path] = Memory()
    return RawColumn(
        texts,
        is_number * np.uint8(NUMBER) + is_boolean * np.uint8(BOOLEAN),
        plan.memories[path],
        plan.whole.get(path),
        (known & layout.IS_WHOLE) > 0,
        WORKSPACE.values[number, :rows].copy(),
    )


def _array(column: Field, number: int, rows: int) -> pa.Array:
    """Return the values of a column in the workspace."""
    known, read = WORKSPACE.known[number, :rows], WORKSPACE.values[number, :rows]
    ends, texts = WORKSPACE.ends[number, : rows + 1], WORKSPACE.texts[number]
    kind = column.kind
    if kind == "string":
        return values.texts(known, ends, texts)
    if kind == "float64":
        return values.numbers(known, ends, texts)
    if kind == "int64":
        return values.integers(known, read)
    return values.times(known, read, column)
