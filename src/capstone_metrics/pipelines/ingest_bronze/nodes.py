"""Ingest new objects from every declared source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from capstone_metrics.changes import Bronze
from capstone_metrics.schedule import Calendar, Span
from capstone_metrics.sources import (
    check_networks,
    new_objects,
    warn_of_shared_files,
    with_presets,
)

Objects = dict[str, Callable[[], Iterator[bytes]]]
"""A function for each object, by its name, that yields the bytes of the object in chunks."""


def ingest(
    sources: Mapping[str, Any],
    networks: list[str],
    schedule: Mapping[str, Any],
    now: str,
    first: str | None,
    last: str | None,
    bronze: Bronze,
) -> Objects:
    """Return the objects of all sources that Bronze lacks, each to be read when it is saved.

    Args:
        sources: the declarations of the sources, by name.
        networks: the known values of `rede_social`.
        schedule: the schedule, which says when windows are due.
        now: the instant of the run.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.
        bronze: Bronze as it is before the run.

    Raises:
        CapstoneError: if a source, the schedule, the instant or the backfill is invalid.
    """
    calendar = Calendar.of(schedule, now, Span.of(first, last))
    check_networks(sources, networks)
    existing = frozenset(bronze.names)
    objects = {
        object_name: read_chunks
        for name, declaration in with_presets(sources).items()
        for object_name, read_chunks in new_objects(name, declaration, calendar, existing).items()
    }
    warn_of_shared_files(sources)
    return objects
