"""What became of each scheduled start of each layer, seen from an instant."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capstone_metrics.schedule import Slot, Timetable

TAGS = {"bronze": "bronze", "silver": "silver", "gold": "gold", "publication": "serving"}
"""The layers of the schedule, in the order of the flow, and what a record calls them."""

LINES = {"bronze": "ingested", "silver": "lines"}
"""How a record counts the lines of a window, where a layer has windows of its own."""

DAYS_BEFORE = dt.timedelta(days=2)
"""How much further back than the oldest slot a record may matter to it."""


class Health(IntEnum):
    """How bad it is: the exit codes that monitors of the Nagios family know."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Outcome:
    """What became of a slot.

    Attributes:
        slot: which one.
        state: `on time`, `late`, `empty` (done in time, with no line), `running`, `failed`,
            `missing`; `due` before its deadline, if nothing has begun; `before` if it was due
            before the first record and done late or not at all, so nobody can tell.
        at: when it was done, or the run began that is at work or that failed; UTC.
        run: the identifier of that run.
        lines: of its window; None where the layer has no windows of its own, or it is not done.
    """

    slot: Slot
    state: str
    at: dt.datetime | None = None
    run: str | None = None
    lines: int | None = None

    def health(self, now: dt.datetime, *, is_newest: bool) -> Health:
        """How bad it is at an instant; a late slot is history once the next one is there."""
        is_over = now >= self.slot.deadline
        if self.state == "missing" or (self.state == "failed" and is_over):
            return Health.CRITICAL
        if self.state == "failed" or (self.state == "running" and is_over):
            return Health.WARNING
        return Health.WARNING if self.state == "late" and is_newest else Health.OK


class Run:
    """What deadlines need of a record.

    Args:
        record: of the run.
        is_simulated: whether the run is to be seen at the instant that it was given as `now`,
            and not at the one at which it took place.
    """

    def __init__(self, record: Mapping[str, Any], *, is_simulated: bool = False) -> None:
        self.record = record
        self.name: str = record["run"]
        real, now = _read(record["begun"]), _read(record["now"] or record["begun"])
        self.shift = now - real if is_simulated else dt.timedelta()
        self.now = now
        self.begun = real + self.shift
        self.windows = _span(record)
        self.updated = _read(record["updated"]) + self.shift

    def state(self, at: dt.datetime) -> str:
        """What its state was at an instant after its beginning."""
        return str(self.record["state"]) if self.updated <= at else "running"

    def plans(self, layer: str) -> bool:
        """Whether nodes of a layer belong to it."""
        return any(node["layer"] == TAGS[layer] for node in self.record["nodes"].values())

    def covers(self, slot: Slot) -> bool:
        """Whether what it did is about a slot, as far as a source or a backfill limits it."""
        if slot.layer in LINES and self.windows is not None and slot.window not in self.windows:
            return False
        return slot.layer != "bronze" or self.now >= slot.due

    def committed(self, layer: str) -> dt.datetime | None:
        """When what it did to a layer came to count."""
        said = self.record["layers"].get(TAGS[layer], {}).get("committed")
        return _read(said) + self.shift if said else None

    def started(self, layer: str) -> dt.datetime:
        """When its first node of a layer began."""
        nodes = self.record["nodes"].values()
        begun = [n["begun"] for n in nodes if n["layer"] == TAGS[layer] and "begun" in n]
        return self.begun + dt.timedelta(seconds=min(begun, default=0))


def outcomes(
    timetable: Timetable, runs: Iterable[Run], now: dt.datetime, first: dt.datetime, count: int
) -> dict[str, list[Outcome]]:
    """What became of the last slots of each layer.

    Args:
        timetable: when layers start.
        runs: in any order; those that began after `now` are left out.
        now: the instant from which it is seen.
        first: when the oldest run began of which there is a record.
        count: how many slots of each layer.
    """
    known = sorted((run for run in runs if run.begun <= now), key=lambda run: run.begun)
    seen = _Seen(timetable, known, now, first)
    return {
        layer: [seen.outcome(slot) for slot in timetable.slots(layer, now, count)]
        for layer in TAGS
        if layer in timetable.hours
    }


def worst(found: Mapping[str, Sequence[Outcome]], now: dt.datetime) -> Health:
    """The health of the slot that is worst off."""
    return max(
        (
            outcome.health(now, is_newest=outcome is of_layer[-1])
            for of_layer in found.values()
            for outcome in of_layer
        ),
        default=Health.OK,
    )


class _Seen:
    """The runs as they were at an instant. What was found of a slot is kept."""

    def __init__(
        self, timetable: Timetable, runs: list[Run], now: dt.datetime, first: dt.datetime
    ) -> None:
        self.timetable, self.runs, self.now, self.first = timetable, runs, now, first
        self._made: dict[Slot, tuple[dt.datetime, Run] | None] = {}

    def outcome(self, slot: Slot) -> Outcome:
        made = self.made(slot)
        if made:
            at, run = made
            if at > slot.deadline:
                return self._judged(Outcome(slot, "late", at, run.name, self._lines(slot)))
            lines = self._lines(slot)
            return Outcome(slot, "empty" if lines == 0 else "on time", at, run.name, lines)
        if tried := self._attempt(slot):
            is_running = tried.state(self.now) == "running"
            tried_to = Outcome(slot, "running" if is_running else "failed", tried.begun, tried.name)
            return tried_to if is_running else self._judged(tried_to)
        return self._judged(Outcome(slot, "missing" if self.now >= slot.deadline else "due"))

    def _judged(self, outcome: Outcome) -> Outcome:
        if outcome.slot.due >= self.first or outcome.state == "failed":
            return outcome
        return Outcome(outcome.slot, "before", outcome.at, outcome.run, outcome.lines)

    def made(self, slot: Slot) -> tuple[dt.datetime, Run] | None:
        """When a slot was done, and by which run: the first that had all that it is made from."""
        if slot not in self._made:
            self._made[slot] = self._find(slot)
        return self._made[slot]

    def _find(self, slot: Slot) -> tuple[dt.datetime, Run] | None:
        upstream = self._upstream(slot)
        ready = self.made(upstream) if upstream else None
        if upstream and not ready:
            return None
        done = (
            (at, run)
            for run in self.runs
            if (at := run.committed(slot.layer))
            and at <= self.now
            and run.covers(slot)
            and (not ready or run is ready[1] or run.started(slot.layer) >= ready[0])
        )
        return min(done, key=lambda pair: pair[0], default=None)

    def _upstream(self, slot: Slot) -> Slot | None:
        """The last slot, due by then, of the layer that this one is made from.

        None where there is no such layer; and before the first record, when nobody can tell.
        """
        layers = [layer for layer in TAGS if layer in self.timetable.hours]
        place = layers.index(slot.layer)
        before = self.timetable.slots(layers[place - 1], slot.due, 1) if place else []
        return before[0] if before and before[0].due >= self.first else None

    def _attempt(self, slot: Slot) -> Run | None:
        """The last run that could have done a slot and did not: it is at work, failed or died."""
        upstream = self._upstream(slot)
        ready = self.made(upstream) if upstream else None
        since = min(slot.due, ready[0]) if ready else slot.due
        tried = [
            run
            for run in self.runs
            if run.plans(slot.layer)
            and run.covers(slot)
            and run.state(self.now) != "succeeded"
            and (run.state(self.now) == "running" or run.updated >= since)
        ]
        return tried[-1] if tried else None

    def _lines(self, slot: Slot) -> int | None:
        """The lines of a window in the runs until now; None where a layer has no windows."""
        if slot.layer not in LINES:
            return None
        kind, lines = LINES[slot.layer], 0
        for run in self.runs:
            at = run.committed(slot.layer)
            if at and at <= self.now:
                found = run.record["windows"].get(str(slot.window), {}).get(kind, 0)
                is_anew = slot.layer == "silver" and run.record["parameters"].get("full")
                lines = found if is_anew else lines + found
        return lines


def _span(record: Mapping[str, Any]) -> Span | tuple[()] | None:
    """The windows that a backfill was about; none of them if it was told something unreadable."""
    try:
        return Span.of(record["from"], record["to"])
    except CapstoneError:
        return ()


def _read(said: str) -> dt.datetime:
    return dt.datetime.fromisoformat(said)
