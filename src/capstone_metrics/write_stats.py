"""Statistics of a write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping


@dataclass(frozen=True)
class WriteStats:
    """Statistics of one save; two are equal if their counts are.

    A dataset that saves has those of its last save as its attribute `write_stats`.

    Attributes:
        rows: how many were written.
        files: how many were written.
        removed: how many files or rows were removed.
        bytes: the size of the written files; None if unknown.
        lines: the number of lines of each object added to Bronze, by its name.
        columns: the type of each column of the table, by its name; empty if it is not a table.
        address: the URI that was written to, as other tools name it; None if it has none.
        days: the days of the rows that a plan would change, sorted.
    """

    rows: int = 0
    files: int = 0
    removed: int = 0
    bytes: int | None = field(default=None, compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)
    address: str | None = field(default=None, compare=False)
    days: tuple[dt.date, ...] = field(default=(), compare=False)
