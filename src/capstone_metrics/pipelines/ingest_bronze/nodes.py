"""What Bronze lacks, taken from every declared source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import new_objects


def ingest(
    sources: Mapping[str, Any], schedule: Mapping[str, Any], now: str, bronze_objects: list[str]
) -> dict[str, Callable[[], Iterator[bytes]]]:
    """The new objects of all sources: their names, and what gives their bytes.

    Raises:
        CapstoneError: if a source, the schedule or `now` does not hold.
    """
    if not isinstance(sources, Mapping):
        raise CapstoneError("sources: declare at least one source, by its type.")
    calendar = Calendar.of(schedule, now)
    present = frozenset(bronze_objects)
    return {
        key: lines
        for name, declaration in sources.items()
        for key, lines in new_objects(name, declaration, calendar, present).items()
    }
