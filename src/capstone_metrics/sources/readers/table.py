"""What CSV and workbooks have in common: a header, and rows that have the width of it or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import SourceError
from capstone_metrics.sources.readers.content import shown
from capstone_metrics.validation.texts import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

EXTRA_VALUES = "_extra"
"""The field with the values of a row that stand under no name."""

MISSING_VALUES = "_missing"
"""The field with the names under which a row that is too short has no value."""

HEADER_ROWS = 200
"""The rows among which the names of a header are looked for."""


@dataclass(frozen=True)
class Header:
    """The names of the columns, in their order.

    Attributes:
        names: as the file has them; a column may have none.
        unnamed: the positions of the columns whose values are left out where they are blank.
    """

    names: tuple[str, ...]
    unnamed: frozenset[int] = field(default_factory=frozenset)

    @classmethod
    def of(cls, path: Path, names: Sequence[str], *, keep_one_unnamed: bool) -> Header:
        """Return a header.

        Args:
            path: of the file, which an error names.
            names: of its columns.
            keep_one_unnamed: whether a single column without a name is a field of its own.

        Raises:
            CapstoneError: if two columns have the same name, or one has a reserved name.
        """
        unnamed = frozenset(index for index, name in enumerate(names) if not name.strip())
        repeated = [name for name, count in Counter(names).items() if count > 1 and name.strip()]
        if repeated:
            raise SourceError(
                f"{path}: two columns have the same name in its header, {repeated[0]!r}; rename "
                "one."
            )
        if reserved := {EXTRA_VALUES, MISSING_VALUES} & set(names):
            raise SourceError(
                f"{path}: a column is called {reserved.pop()!r}, a name that this project gives to "
                "values without a column; rename it."
            )
        is_allowed = keep_one_unnamed and len(unnamed) == 1
        return cls(tuple(names), frozenset() if is_allowed else unnamed)

    def to_object(self, values: Sequence[Any]) -> dict[str, Any]:
        """Return a row as the object of its values, told apart if it has too many or too few."""
        row = {
            name: value
            for index, (name, value) in enumerate(zip(self.names, values, strict=False))
            if index not in self.unnamed
        }
        width = len(self.names)
        extra = [
            values[i] for i in sorted(self.unnamed) if i < len(values) and is_present(values[i])
        ]
        if extra or len(values) > width:
            row[EXTRA_VALUES] = [*extra, *values[width:]]
        if len(values) < width:
            row[MISSING_VALUES] = list(self.names[len(values) :])
        return row


def is_present(value: Any) -> bool:
    """Return whether a cell has a value that is more than blanks."""
    return value is not None and bool(str(value).strip())


def find_header(
    rows: Iterable[tuple[int, Sequence[Any]]], expected: int | tuple[tuple[str, ...], ...]
) -> tuple[int, Sequence[Any]] | None:
    """Return the place and the values of the row that has the names of the columns, if any has.

    Args:
        rows: the rows of a table from its top, each with the number of its line.
        expected: the number of a line, or sets of names; the first row with a value without any.
    """
    for position, (line, values) in enumerate(rows):
        if isinstance(expected, int):
            if line >= expected:
                is_header = line == expected and any(map(is_present, values))
                return (position, values) if is_header else None
        elif expected:
            names = {name_of(str(value)) for value in values}
            if any(names.issuperset(map(name_of, names_of_set)) for names_of_set in expected):
                return position, values
        elif any(map(is_present, values)):
            return position, values
    return None


def no_header(path: Path, reading: Reading, first: Sequence[Any] | None) -> SourceError:
    """Return the error of a file in which the declared header is not found."""
    if isinstance(reading.header, int):
        missing = f"line {reading.header} has no header"
    else:
        sets = " or of ".join(", ".join(names) for names in reading.header)
        missing = f"none of its first {HEADER_ROWS} lines has the columns {sets}"
    begins = f"it begins with {shown(first)!r}" if first else "it is empty"
    options = "header or sheet" if reading.format == "xlsx" else "header, delimiter or encoding"
    return SourceError(f"{path}: {missing}; {begins}; correct the declared {options}.")
