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
class Span:
    """The windows that a backfill is about: from the first to the last, both included."""

    first: Window
    last: Window

    @classmethod
    def of(cls, first: Any, last: Any) -> Span | None:
        """Read the parameters `from` and `to`, each a day or a window; None if there is neither.

        Raises:
            CapstoneError: if one is missing or unreadable, or `to` is before `from`.
        """
        if first is None and last is None:
            return None
        span = cls(_window("from", first, hour=0), _window("to", last, hour=23))
        if span.last < span.first:
            raise CapstoneError(f"to: {last} is before from: {first}; exchange them.")
        return span

    def __contains__(self, window: Window | str) -> bool:
        return str(self.first) <= str(window) <= str(self.last)

    @property
    def days(self) -> list[dt.date]:
        """The days of its windows."""
        count = (self.last.date - self.first.date).days + 1
        return [self.first.date + dt.timedelta(days=day) for day in range(count)]


@dataclass(frozen=True)
class Calendar:
    """The hours of ingestion in their zone, seen from one instant (`now`, UTC).

    With a span, a run is about the windows of that span and no others.
    """

    zone: ZoneInfo
    hours: tuple[int, ...]
    now: dt.datetime
    span: Span | None = None

    @classmethod
    def of(
        cls, schedule: Mapping[str, Any], now: str | dt.datetime, span: Span | None = None
    ) -> Calendar:
        """Read the declared schedule and the instant of a run.

        Args:
            schedule: `timezone`, and `layers.bronze.starts` as whole hours ("08:00").
            now: ISO 8601; without an offset it is local to the schedule's zone.
            span: of a backfill.

        Raises:
            CapstoneError: for an unknown zone, no start or one that is not a whole hour, or
                an unreadable instant.
        """
        zone = zone_of(schedule)
        return cls(zone, hours_of(schedule, "bronze"), _instant(now, zone), span)

    def wanted(self, days: int) -> list[Window]:
        """The windows to bring in: those of the span, else those of the last `days` days."""
        if self.span is None:
            return self.due(days)
        windows = (Window(date, hour) for date in self.span.days for hour in self.hours)
        return [w for w in windows if w in self.span and w.instant(self.zone) <= self.now]

    def due(self, days: int) -> list[Window]:
        """The windows that fell due in the last `days` days, oldest first."""
        today = self.now.astimezone(self.zone).date()
        since = self.now - dt.timedelta(days=days)
        dates = (today - dt.timedelta(days=back) for back in range(days + 1, -1, -1))
        windows = [Window(date, hour) for date in dates for hour in self.hours]
        return [w for w in windows if since < w.instant(self.zone) <= self.now]

    def arrival(self) -> Window | None:
        """The window that what arrives now belongs to, the latest one; None out of the span."""
        latest = self.due(days=2)[-1]
        return latest if self.span is None or latest in self.span else None


@dataclass(frozen=True)
class Slot:
    """One scheduled start of a layer: its window, and when it is due and must be done (UTC)."""

    layer: str
    window: Window
    due: dt.datetime
    deadline: dt.datetime


@dataclass(frozen=True)
class Timetable:
    """When each layer starts, and by when it must have finished.

    Attributes:
        zone: of its hours.
        hours: at which each layer starts, by its name, in order.
        minutes: that it may take.
    """

    zone: ZoneInfo
    hours: Mapping[str, tuple[int, ...]]
    minutes: Mapping[str, dt.timedelta]

    @classmethod
    def of(cls, schedule: Mapping[str, Any]) -> Timetable:
        """Read the declared schedule: `timezone`, and the `starts` and `minutes` of its `layers`.

        Raises:
            CapstoneError: if one of them does not hold.
        """
        layers = schedule["layers"]
        hours = {layer: hours_of(schedule, layer) for layer in layers}
        return cls(zone_of(schedule), hours, {layer: _minutes(schedule, layer) for layer in layers})

    def slots(self, layer: str, until: dt.datetime, count: int) -> list[Slot]:
        """The last starts of a layer that are due at an instant, oldest first."""
        today = until.astimezone(self.zone).date()
        back = count // len(self.hours[layer]) + 2
        days = (today - dt.timedelta(days=day) for day in range(back, -2, -1))
        found = [self.slot(layer, Window(day, hour)) for day in days for hour in self.hours[layer]]
        return [slot for slot in found if slot.due <= until][-count:]

    def slot(self, layer: str, window: Window) -> Slot:
        """A start of a layer."""
        due = window.instant(self.zone)
        return Slot(layer, window, due, due + self.minutes[layer])


def zone_of(schedule: Mapping[str, Any]) -> ZoneInfo:
    """The zone of a schedule.

    Raises:
        CapstoneError: if it is not known.
    """
    try:
        return ZoneInfo(schedule["timezone"])
    except (OSError, TypeError, ValueError, ZoneInfoNotFoundError) as error:
        raise CapstoneError(
            f"schedule.timezone: {schedule['timezone']!r} is not a known time zone; "
            "use a name such as America/Sao_Paulo."
        ) from error


def hours_of(schedule: Mapping[str, Any], layer: str) -> tuple[int, ...]:
    """The hours at which a layer starts, in order.

    Raises:
        CapstoneError: if there is none, or one that is not a whole hour.
    """
    where = f"schedule.layers.{layer}.starts"
    hours = {_hour(where, start) for start in schedule["layers"][layer]["starts"]}
    if not hours:
        raise CapstoneError(f"{where}: declare at least one hour.")
    return tuple(sorted(hours))


def instant_of(schedule: Mapping[str, Any], said: str | dt.datetime) -> dt.datetime:
    """An instant in UTC; one without an offset is local to the zone of the schedule.

    Raises:
        CapstoneError: if it is unreadable.
    """
    return _instant(said, zone_of(schedule))


def _minutes(schedule: Mapping[str, Any], layer: str) -> dt.timedelta:
    said = schedule["layers"][layer].get("minutes")
    if not isinstance(said, int) or said <= 0:
        raise CapstoneError(
            f"schedule.layers.{layer}.minutes: {said!r} is not a whole number of minutes."
        )
    return dt.timedelta(minutes=said)


def _window(name: str, said: Any, hour: int) -> Window:
    """A day, from or to one of its hours, or a window."""
    date, _, hours = str(said).partition("T")
    try:
        window = Window(dt.date.fromisoformat(date), int(hours or hour))
    except ValueError:
        window = None
    if window is None or not 0 <= window.hour < 24:  # noqa: PLR2004 - hours of a day
        raise CapstoneError(
            f"{name}: {said!r} is neither a day nor a window; give from and to, each as "
            "2026-01-31 or 2026-01-31T08."
        )
    return window


def _hour(where: str, start: str) -> int:
    hour, _, minutes = str(start).partition(":")
    if not (hour.isdecimal() and int(hour) < 24 and minutes in {"", "00"}):  # noqa: PLR2004
        raise CapstoneError(f"{where}: {start!r} is not a whole hour; write it as '08:00'.")
    return int(hour)


def _instant(now: str | dt.datetime, zone: ZoneInfo) -> dt.datetime:
    try:
        moment = now if isinstance(now, dt.datetime) else dt.datetime.fromisoformat(str(now))
    except ValueError as error:
        raise CapstoneError(
            f"now: {now!r} is not an instant; write it as 2026-01-31T20:05."
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(dt.UTC)
