"""Whether what is published is as new as the schedule promises."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "CAPSTONE_PUBLICATION_SCHEDULE"
"""JSON: `timezone`, and of the publication its `starts` ("23:00") and the `minutes` that it has."""


@dataclass(frozen=True)
class Schedule:
    """When publications start, and how long each may take."""

    zone: ZoneInfo
    starts: tuple[dt.time, ...]
    minutes: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Schedule | None:
        """The schedule that the environment has, if it has one."""
        text = environment.get(VARIABLE)
        if not text:
            return None
        said = json.loads(text)
        starts = tuple(dt.time.fromisoformat(start) for start in said["starts"])
        return cls(ZoneInfo(said["timezone"]), starts, said["minutes"])

    def last_due(self, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        """The start and the deadline of the latest publication whose deadline has passed."""
        today = now.astimezone(self.zone).date()
        days = (today - dt.timedelta(days=back) for back in range(3))
        starts = (dt.datetime.combine(day, at, self.zone) for day in days for at in self.starts)
        pairs = ((start, start + dt.timedelta(minutes=self.minutes)) for start in starts)
        return max(pair for pair in pairs if pair[1] <= now)


@dataclass(frozen=True)
class Freshness:
    """How fresh a publication is.

    Attributes:
        age: of the publication.
        missed: the deadline by which nobody looked whether there is anything new, if there is one.
        is_quiet: whether somebody did look, and there was nothing.
    """

    age: dt.timedelta
    missed: dt.datetime | None
    is_quiet: bool = False

    @classmethod
    def at(
        cls,
        now: dt.datetime,
        published_at: dt.datetime,
        schedule: Schedule | None,
        unchanged_at: dt.datetime | None = None,
    ) -> Freshness:
        """How fresh it is now.

        A publication counts for a deadline from the scheduled start before it. One of a Gold that
        did not change makes no entry in the ledger, but counts as well.

        Args:
            now: the instant.
            published_at: when the latest entry was made.
            schedule: of publications, if it is known.
            unchanged_at: when a Gold that had not changed was last published.
        """
        age = now - published_at
        if not schedule:
            return cls(age, None)
        start, deadline = schedule.last_due(now)
        if published_at >= start:
            return cls(age, None)
        if unchanged_at and unchanged_at >= start:
            return cls(age, None, is_quiet=True)
        return cls(age, deadline)
