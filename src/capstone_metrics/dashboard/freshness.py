"""Whether the latest publication is as recent as the schedule requires."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEDULE_VARIABLE = "CAPSTONE_PUBLICATION_SCHEDULE"
"""The variable with the schedule as JSON: `timezone`, `starts` (such as "23:00") and `minutes`."""


@dataclass(frozen=True)
class Schedule:
    """The schedule of publications.

    Attributes:
        zone: the time zone of the starts.
        starts: the local times at which publications start.
        minutes: how long after its start a publication must have finished.
    """

    zone: ZoneInfo
    starts: tuple[dt.time, ...]
    minutes: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Schedule | None:
        """Read the schedule from the environment; None if it has none."""
        text = environment.get(SCHEDULE_VARIABLE)
        if not text:
            return None
        config = json.loads(text)
        starts = tuple(dt.time.fromisoformat(start) for start in config["starts"])
        return cls(ZoneInfo(config["timezone"]), starts, config["minutes"])

    def last_due(self, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        """Return the start and deadline of the latest publication whose deadline has passed."""
        today = now.astimezone(self.zone).date()
        days = (today - dt.timedelta(days=days_ago) for days_ago in range(3))
        starts = (dt.datetime.combine(day, at, self.zone) for day in days for at in self.starts)
        pairs = ((start, start + dt.timedelta(minutes=self.minutes)) for start in starts)
        return max(pair for pair in pairs if pair[1] <= now)


@dataclass(frozen=True)
class Freshness:
    """How recent the latest publication is.

    Attributes:
        age: the time since the publication.
        missed_deadline: the deadline for which no publication came; None if none was missed.
        is_unchanged: whether a run came in time and found Gold unchanged.
    """

    age: dt.timedelta
    missed_deadline: dt.datetime | None
    is_unchanged: bool = False

    @classmethod
    def at(
        cls,
        now: dt.datetime,
        published_at: dt.datetime,
        schedule: Schedule | None,
        unchanged_at: dt.datetime | None = None,
    ) -> Freshness:
        """Return the freshness at an instant.

        A publication meets a deadline if it came after the scheduled start. One of an unchanged
        Gold is not in the ledger, but counts as well.

        Args:
            now: the instant.
            published_at: the time of the latest entry in the ledger.
            schedule: the schedule of publications, if known.
            unchanged_at: when an unchanged Gold was last published.
        """
        age = now - published_at
        if not schedule:
            return cls(age, None)
        start, deadline = schedule.last_due(now)
        if published_at >= start:
            return cls(age, None)
        if unchanged_at and unchanged_at >= start:
            return cls(age, None, is_unchanged=True)
        return cls(age, deadline)
