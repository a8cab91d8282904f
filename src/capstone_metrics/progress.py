"""Progress bars of long steps, shown only on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich import get_console
from rich.progress import track

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

T = TypeVar("T")


def progress(items: Collection[T], description: str) -> Iterable[T]:
    """Return the items; while they are iterated, a terminal shows a progress bar."""
    console = get_console()  # that of the logs and of the run's own progress
    if not (console.is_terminal and items):
        return items
    return track(items, description, total=len(items), console=console, transient=True)
