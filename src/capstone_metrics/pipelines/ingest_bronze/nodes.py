"""What Bronze lacks, taken from every declared source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar, Span
from capstone_metrics.sources import new_objects

Objects = dict[str, Callable[[], Iterator[bytes]]]


def ingest(
    sources: Mapping[str, Any],
    schedule: Mapping[str, Any],
    now: str,
    first: str | None,
    last: str | None,
    bronze_objects: list[str],
) -> Objects:
    """The new objects of all sources: their names, and what gives their bytes.

    Args:
        sources: the declarations, by name.
        schedule: when windows fall due.
        now: the instant of the run.
        first: the day or window at which a backfill begins; None without one.
        last: the day or window at which it ends.
        bronze_objects: the names of those that Bronze holds.

    Raises:
        CapstoneError: if a source, the schedule or one of the instants does not hold.
    """
    if not isinstance(sources, Mapping):
        raise CapstoneError("sources: declare at least one source, by its type.")
    calendar = Calendar.of(schedule, now, Span.of(first, last))
    present = frozenset(bronze_objects)
    return {
        key: lines
        for name, declaration in sources.items()
        for key, lines in new_objects(name, declaration, calendar, present).items()
    }


def foresee(*arguments: Any) -> tuple[Objects, list[str]]:
    """What `ingest` would add to Bronze, and the names of it, in order."""
    objects = ingest(*arguments)
    return objects, sorted(objects)
