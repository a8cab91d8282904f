"""What a save did, for whoever watches the run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Saved:
    """Rows in what a save wrote, and how many files or rows it wrote and removed.

    A dataset that saves keeps the latest of these as its attribute `saved`.
    """

    rows: int = 0
    files: int = 0
    removed: int = 0
