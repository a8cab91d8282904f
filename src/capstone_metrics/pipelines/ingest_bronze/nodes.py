"""Ingest new objects from every declared source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from capstone_metrics.changes import Bronze, Ingestion, SourceState
from capstone_metrics.errors import ConfigError, SourceError
from capstone_metrics.schedule import Calendar, Span
from capstone_metrics.sources import check_networks, new_objects, warn_of_shared_files
from capstone_metrics.sources.absent_fields import with_warnings
from capstone_metrics.sources.objects import NewObjects
from capstone_metrics.sources.presets import with_preset
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.silver import columns_of

log = logging.getLogger(__name__)


def ingest(
    sources: Mapping[str, Any],
    networks: list[str],
    columns: Mapping[str, str],
    schedule: Mapping[str, Any],
    now: str,
    first: str | None,
    last: str | None,
    bronze: Bronze,
) -> Ingestion:
    """Return the objects of all sources that Bronze lacks, each to be read when it is saved.

    A source, or a file of it, that cannot be read is left out, and the state says why.

    Args:
        sources: the declarations of the sources, by name.
        networks: the known values of `rede_social`.
        columns: the types of the declared columns of Silver, by name.
        schedule: the schedule, which says when windows are due.
        now: the instant of the run.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.
        bronze: Bronze as it is before the run.

    Raises:
        ConfigError: if a column, the schedule, the instant or the backfill is invalid.
    """
    calendar = Calendar.of(schedule, now, Span.of(first, last))
    existing = frozenset(bronze.names)
    every_column = columns_of(columns)
    objects: dict[str, Callable[[], Iterator[bytes]]] = {}
    states: dict[str, SourceState] = {}
    for name, declaration in sources.items():
        before = bronze.sources.get(name, SourceState())
        try:
            check_networks(name, declaration, networks)
            declared = with_preset(name, declaration, every_column)
            contents = {**before.removed, **before.files}
            new = new_objects(name, declared, calendar, existing, contents, every_column)
        except (ConfigError, SourceError) as error:
            states[name] = replace(before, refused=[str(error)])
            continue
        objects |= with_warnings(name, declaration, declared, every_column, new)
        states[name] = _state_after(before, new) if new.is_looked_at else before
        _tell_what_is_new(name, bronze.sources, new)
    warn_of_shared_files(sources, every_column)
    return Ingestion(objects, states)


def _state_after(before: SourceState, new: NewObjects) -> SourceState:
    """Return the state of a source after it was looked at."""
    known = {**before.removed, **before.files}
    removed = {path: content for path, content in known.items() if path not in new.contents}
    return SourceState(new.refused, new.contents, removed, new.channels)


def _tell_what_is_new(name: str, known: Mapping[str, SourceState], new: NewObjects) -> None:
    """Log what a source that was declared since the last ingestion brings, or a channel of it."""
    if name not in known:
        if known:  # else this is the first ingestion
            windows = sorted({parse_object_name(each)[1] for each in new.objects})
            which = f", of the windows {windows[0]} to {windows[-1]}" if windows else ""
            brought = f"{len(new.objects):,} object{'s' * (len(new.objects) != 1)}"
            log.info("sources.%s is new: it brings %s%s.", name, brought, which)
        return
    before = known[name].channels
    for channel in new.channels if before else ():
        if channel not in before:
            log.warning(
                "sources.%s: %s is new: it is observed from the next window on. Windows that are "
                "in Bronze stay without it; declared as a source of its own, it brings its past.",
                name,
                channel,
            )
