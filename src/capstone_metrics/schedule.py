"""Windows: the scheduled ingestions, in local time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, order=True)
class Window:
    """One scheduled ingestion (`janela`): a local date and hour, written `2026-01-31T08`."""

    date: dt.date
    hour: int

    def __str__(self) -> str:
        return f"{self.date.isoformat()}T{self.hour:02d}"

    def instant(self, zone: ZoneInfo) -> dt.datetime:
        """When the window falls due, in UTC."""
        local = dt.datetime.combine(self.date, dt.time(self.hour), zone)
        return local.astimezone(dt.UTC)


@dataclass(frozen=True)
class Calendar:
    """The hours of ingestion in their zone, seen from one instant (`now`, UTC)."""

    zone: ZoneInfo
    hours: tuple[int, ...]
    now: dt.datetime

    @classmethod
    def of(cls, schedule: Mapping[str, Any], now: str | dt.datetime) -> Calendar:
        """Read the declared schedule and the instant of a run.

        Args:
            schedule: `timezone`, and `layers.bronze.starts` as whole hours ("08:00").
            now: ISO 8601; without an offset it is local to the schedule's zone.

        Raises:
            CapstoneError: for an unknown zone, no start or one that is not a whole hour, or
                an unreadable instant.
        """
        try:
            zone = ZoneInfo(schedule["timezone"])
        except (OSError, TypeError, ValueError, ZoneInfoNotFoundError) as error:
            raise CapstoneError(
                f"schedule.timezone: {schedule['timezone']!r} is not a known time zone; "
                "use a name such as America/Sao_Paulo."
            ) from error
        starts = schedule["layers"]["bronze"]["starts"]
        hours = {_hour(start) for start in starts}
        if not hours:
            raise CapstoneError("schedule.layers.bronze.starts: declare at least one hour.")
        return cls(zone, tuple(sorted(hours)), _instant(now, zone))

    def due(self, days: int) -> list[Window]:
        """The windows that fell due in the last `days` days, oldest first."""
        today = self.now.astimezone(self.zone).date()
        since = self.now - dt.timedelta(days=days)
        dates = (today - dt.timedelta(days=back) for back in range(days + 1, -1, -1))
        windows = [Window(date, hour) for date in dates for hour in self.hours]
        return [w for w in windows if since < w.instant(self.zone) <= self.now]

    def latest(self) -> Window:
        """The window that fell due last: what arrives now belongs to it."""
        return self.due(days=2)[-1]


def _hour(start: str) -> int:
    hour, _, minutes = str(start).partition(":")
    if not (hour.isdecimal() and int(hour) < 24 and minutes in {"", "00"}):  # noqa: PLR2004
        raise CapstoneError(
            f"schedule.layers.bronze.starts: {start!r} is not a whole hour; write it as '08:00'."
        )
    return int(hour)


def _instant(now: str | dt.datetime, zone: ZoneInfo) -> dt.datetime:
    try:
        moment = now if isinstance(now, dt.datetime) else dt.datetime.fromisoformat(str(now))
    except ValueError as error:
        raise CapstoneError(
            f"now: {now!r} is not an instant; write it as 2026-01-31T20:05."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)
