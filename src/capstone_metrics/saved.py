"""What a save did, for whoever watches the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Saved:
    """What a save did; two are equal by their counts.

    A dataset that saves keeps the latest of these as its attribute `saved`.

    Attributes:
        rows: in what it wrote.
        files: how many it wrote.
        removed: how many files or rows it removed.
        bytes: of the files that it wrote; None where that is not known.
        lines: of each object that it added to Bronze, by its name.
        columns: the type of each column of the table, by its name; empty where there is none.
        address: where it wrote, as others call it; None for what is of no use to them.
    """

    rows: int = 0
    files: int = 0
    removed: int = 0
    bytes: int | None = field(default=None, compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False)
    columns: Mapping[str, str] = field(default_factory=dict, compare=False)
    address: str | None = field(default=None, compare=False)
