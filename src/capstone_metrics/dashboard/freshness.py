"""Whether the data and the latest publication are recent."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capstone_metrics.schedule import Timetable

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DATA_AGE = dt.timedelta(days=7)
"""Data that end earlier are out of date; channels that post once a week stay within it."""

SCHEDULE_VARIABLE = "CAPSTONE_PUBLICATION_SCHEDULE"
"""The variable with the schedule as JSON: `timezone`, and `layers` with at most `publication`."""


def timetable_of(environment: Mapping[str, str]) -> Timetable | None:
    """Read the schedule of publications from the environment; None if it has none."""
    text = environment.get(SCHEDULE_VARIABLE)
    return Timetable.of(json.loads(text)) if text else None


@dataclass(frozen=True)
class Freshness:
    """How recent the data and the latest publication are.

    Attributes:
        age: the time since the publication.
        missed_deadline: the latest deadline if nothing was published since its start, else None.
        is_unchanged: whether a run met the schedule, and found Gold unchanged.
        data_age: the time since the last day of the data; None if there are none.
    """

    age: dt.timedelta
    missed_deadline: dt.datetime | None
    is_unchanged: bool
    data_age: dt.timedelta | None

    @property
    def state(self) -> str | None:
        """The state of the figures, a key of the texts; None if there are no data.

        A publication in time does not make old data `fresh`.
        """
        if self.missed_deadline:
            return "stale"
        if self.data_age is None:
            return None
        if self.data_age > MAX_DATA_AGE:
            return "old_data"
        return "no_new_data" if self.is_unchanged else "fresh"

    @classmethod
    def at(
        cls,
        now: dt.datetime,
        published_at: dt.datetime,
        timetable: Timetable | None,
        unchanged_at: dt.datetime | None = None,
        data_end: dt.date | None = None,
    ) -> Freshness:
        """Return the freshness at an instant.

        A deadline is missed until something is published after its start, even if late. Publishing
        an unchanged Gold adds no entry to the ledger, but counts.

        Args:
            now: the instant, in the time zone of the data.
            published_at: the time of the latest entry in the ledger.
            timetable: when publications start, and how long they may take, if known.
            unchanged_at: when an unchanged Gold was last published.
            data_end: the last day of the data, if there are any.
        """
        age = now - published_at
        data_age = now.date() - data_end if data_end else None
        missed_deadline = None
        is_unchanged = False
        if timetable and "publication" in timetable.hours:
            allowed = timetable.minutes["publication"]
            (slot,) = timetable.slots("publication", now - allowed, 1)  # whose deadline has passed
            is_late = published_at < slot.due
            is_unchanged = is_late and unchanged_at is not None and unchanged_at >= slot.due
            missed_deadline = slot.deadline if is_late and not is_unchanged else None
        return cls(age, missed_deadline, is_unchanged, data_age)
