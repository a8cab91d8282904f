"""The schedule: ingestion windows, backfills, and the deadlines of each layer."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstone_metrics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

YEARS = range(1000, 3000)
"""The years of instants and windows, as of the times in lines."""


@dataclass(frozen=True, order=True)
class Window:
    """One scheduled ingestion (`janela`): a local date and hour, written `2026-01-31T08`."""

    date: dt.date
    hour: int

    def __str__(self) -> str:
        return f"{self.date.isoformat()}T{self.hour:02d}"

    def due_at(self, zone: ZoneInfo) -> dt.datetime:
        """Return the instant at which the window falls due, in UTC."""
        local = dt.datetime.combine(self.date, dt.time(self.hour), zone)
        return local.astimezone(dt.UTC)


@dataclass(frozen=True)
class Span:
    """The windows of a backfill, from the first to the last inclusive."""

    first: Window
    last: Window

    @classmethod
    def of(cls, first: Any, last: Any) -> Span | None:
        """Parse the parameters `from` and `to`, each a day or a window; return None without both.

        Raises:
            ConfigError: if only one is given, one is unreadable, or `to` is before `from`.
        """
        if first is None and last is None:
            return None
        span = cls(_window("from", first, hour=0), _window("to", last, hour=23))
        if span.last < span.first:
            raise ConfigError(f"to: {last} is before from: {first}; swap them.")
        return span

    def __contains__(self, window: Window | str) -> bool:
        return str(self.first) <= str(window) <= str(self.last)

    @property
    def days(self) -> list[dt.date]:
        """The local dates from its first window to its last."""
        count = (self.last.date - self.first.date).days + 1
        return [self.first.date + dt.timedelta(days=day) for day in range(count)]


@dataclass(frozen=True)
class Calendar:
    """The ingestion windows that are due at an instant.

    Attributes:
        zone: the time zone of the hours.
        hours: the hours at which an ingestion starts.
        now: the instant, in UTC.
        span: the windows of a backfill, to which the run is then limited; None without one.
    """

    zone: ZoneInfo
    hours: tuple[int, ...]
    now: dt.datetime
    span: Span | None = None

    @classmethod
    def of(
        cls, schedule: Mapping[str, Any], now: str | dt.datetime, span: Span | None = None
    ) -> Calendar:
        """Parse the declared schedule and the instant of a run.

        Args:
            schedule: `timezone`, and `layers.bronze.starts` as whole hours ("08:00").
            now: ISO 8601; without an offset, local to the zone of the schedule.
            span: the windows of a backfill.

        Raises:
            ConfigError: for an unknown zone, no start, a start that is not a whole hour, or
                an unreadable instant.
        """
        zone = _zone(schedule)
        return cls(zone, hours_of(schedule, "bronze"), _instant(now, zone), span)

    def windows_to_ingest(self, days: int) -> list[Window]:
        """Return the windows to ingest: those of the span, else of the last `days` days."""
        if self.span is None:
            return self.due_windows(days)
        windows = (Window(date, hour) for date in self.span.days for hour in self.hours)
        return [w for w in windows if w in self.span and w.due_at(self.zone) <= self.now]

    def due_windows(self, days: int) -> list[Window]:
        """Return the windows that fell due in the last `days` days, oldest first."""
        today = self.now.astimezone(self.zone).date()
        since = self.now - dt.timedelta(days=days)
        dates = (today - dt.timedelta(days=back) for back in range(days + 1, -1, -1))
        windows = [Window(date, hour) for date in dates for hour in self.hours]
        return [w for w in windows if since < w.due_at(self.zone) <= self.now]

    def arrival_window(self) -> Window | None:
        """Return the latest due window, to which a file that arrives now belongs.

        None if it is outside the span.
        """
        latest = self.due_windows(days=2)[-1]
        return latest if self.span is None or latest in self.span else None


@dataclass(frozen=True)
class Slot:
    """One scheduled start of a layer: its window, due time and deadline, both in UTC."""

    layer: str
    window: Window
    due: dt.datetime
    deadline: dt.datetime


@dataclass(frozen=True)
class Timetable:
    """The scheduled starts of each layer, and how long each may take.

    Attributes:
        zone: the time zone of the hours.
        hours: the hours at which each layer starts, sorted, by its name.
        minutes: how long each layer may take, by its name.
    """

    zone: ZoneInfo
    hours: Mapping[str, tuple[int, ...]]
    minutes: Mapping[str, dt.timedelta]

    @classmethod
    def of(cls, schedule: Mapping[str, Any]) -> Timetable:
        """Parse the declared schedule: `timezone`, and the `starts` and `minutes` of its `layers`.

        Raises:
            ConfigError: if one of them is invalid.
        """
        layers = schedule["layers"]
        hours = {layer: hours_of(schedule, layer) for layer in layers}
        minutes = {name: dt.timedelta(minutes=each["minutes"]) for name, each in layers.items()}
        return cls(_zone(schedule), hours, minutes)

    def slots(self, layer: str, until: dt.datetime, count: int) -> list[Slot]:
        """Return the last `count` starts of a layer that are due at an instant, oldest first."""
        today = until.astimezone(self.zone).date()
        back = count // len(self.hours[layer]) + 2
        days = (today - dt.timedelta(days=day) for day in range(back, -2, -1))
        slots = [self.slot(layer, Window(day, hour)) for day in days for hour in self.hours[layer]]
        return [slot for slot in slots if slot.due <= until][-count:]

    def slot(self, layer: str, window: Window) -> Slot:
        """Return the start of a layer in a window."""
        due = window.due_at(self.zone)
        return Slot(layer, window, due, due + self.minutes[layer])


def zone_of(setting: str, name: Any) -> ZoneInfo:
    """Return the time zone that a setting names.

    Raises:
        ConfigError: if it is unknown.
    """
    try:
        return ZoneInfo(name)
    except (OSError, TypeError, ValueError, ZoneInfoNotFoundError) as error:
        raise ConfigError(
            f"{setting}: {name!r} is not a known time zone; use a name such as America/Sao_Paulo."
        ) from error


def _zone(schedule: Mapping[str, Any]) -> ZoneInfo:
    return zone_of("schedule.timezone", schedule["timezone"])


def hours_of(schedule: Mapping[str, Any], layer: str) -> tuple[int, ...]:
    """Return the hours at which a layer starts, sorted.

    Raises:
        ConfigError: if there is none, or one is not a whole hour.
    """
    setting = f"schedule.layers.{layer}.starts"
    hours = {_hour(setting, start) for start in schedule["layers"][layer]["starts"]}
    if not hours:
        raise ConfigError(f"{setting}: declare at least one hour, such as '08:00'.")
    return tuple(sorted(hours))


def instant_of(schedule: Mapping[str, Any], instant: str | dt.datetime) -> dt.datetime:
    """Convert an instant to UTC; without an offset, it is local to the zone of the schedule.

    Raises:
        ConfigError: if it is unreadable.
    """
    return _instant(instant, _zone(schedule))


def _window(parameter: str, value: Any, hour: int) -> Window:
    """Parse a window, or a day, which stands for its window at `hour`."""
    date, _, hours = str(value).partition("T")
    try:
        window = Window(dt.date.fromisoformat(date), int(hours or hour))
    except ValueError:
        window = None
    if window is None or window.date.year not in YEARS or window.hour not in range(24):
        raise ConfigError(
            f"{parameter}: {value!r} is neither a day nor a window; give from and to, each as "
            "2026-01-31 or 2026-01-31T08."
        )
    return window


def _hour(setting: str, start: str) -> int:
    hour, _, minutes = str(start).partition(":")
    if not (hour.isdecimal() and int(hour) < 24 and minutes in {"", "00"}):  # noqa: PLR2004
        raise ConfigError(f"{setting}: {start!r} is not a whole hour; write it as '08:00'.")
    return int(hour)


def _instant(now: str | dt.datetime, zone: ZoneInfo) -> dt.datetime:
    try:
        instant = now if isinstance(now, dt.datetime) else dt.datetime.fromisoformat(str(now))
    except ValueError:
        instant = None
    if instant is None or instant.year not in YEARS:
        raise ConfigError(f"now: {now!r} is not an instant; write it as 2026-01-31T20:05.")
    return (instant if instant.tzinfo else instant.replace(tzinfo=zone)).astimezone(dt.UTC)
