"""Ingest new objects from every declared source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar, Span
from capstone_metrics.sources import new_objects

Objects = dict[str, Callable[[], Iterator[bytes]]]
"""For each object its name, and a function that yields its bytes in chunks."""


def ingest(
    sources: Mapping[str, Any],
    schedule: Mapping[str, Any],
    now: str,
    first: str | None,
    last: str | None,
    bronze_objects: list[str],
) -> Objects:
    """Return the objects of all sources that Bronze lacks.

    Args:
        sources: the declarations of the sources, by name.
        schedule: the schedule, which says when windows are due.
        now: the instant of the run.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.
        bronze_objects: the names of the objects in Bronze.

    Raises:
        CapstoneError: if a source, the schedule, the instant or the backfill is invalid.
    """
    if not isinstance(sources, Mapping):
        raise CapstoneError("sources: declare at least one source, by its type.")
    calendar = Calendar.of(schedule, now, Span.of(first, last))
    existing = frozenset(bronze_objects)
    return {
        object_name: read_chunks
        for name, declaration in sources.items()
        for object_name, read_chunks in new_objects(name, declaration, calendar, existing).items()
    }


def dry_run(*arguments: Any) -> tuple[Objects, list[str]]:
    """Return the objects that `ingest` would add to Bronze, and their names, sorted.

    The dry run of Silver loads the objects.

    Args:
        arguments: the arguments of `ingest`.
    """
    objects = ingest(*arguments)
    return objects, sorted(objects)
