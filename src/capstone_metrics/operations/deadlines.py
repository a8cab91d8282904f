"""The outcome of each scheduled start of each layer, as of an instant."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.schedule import Slot, Timetable

LAYER_TAGS = {"bronze": "bronze", "silver": "silver", "gold": "gold", "publication": "serving"}
"""For each layer of the schedule its name in a run record, in the order of the flow."""

LINE_COUNTS = {"bronze": "ingested", "silver": "lines"}
"""For each layer that has windows, the key of a window's number of lines in a run record."""

LOOKBACK = dt.timedelta(days=2)
"""How long before the oldest slot a run may have begun and still matter to it."""


class Health(IntEnum):
    """Health of a check, by the exit codes of Nagios and compatible monitors."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True)
class Outcome:
    """Outcome of a slot.

    Attributes:
        slot: the scheduled start of a layer.
        state: `on time`, `late`, `empty` (on time, without a line), `running`, `failed`,
            `missing`; `due` before its deadline, if no run has begun; `before` if it was due
            before the first run record and was not on time, so its state is not known.
        at: when the slot was completed, or when the running or failed run began; UTC.
        run: the identifier of that run.
        lines: the number of lines of its window; None if the layer has no windows, or the slot was
            not completed.
    """

    slot: Slot
    state: str
    at: dt.datetime | None = None
    run: str | None = None
    lines: int | None = None

    def health(self, now: dt.datetime, *, is_newest: bool) -> Health:
        """Return the health at an instant; a late slot is a warning only while it is the newest."""
        is_over = now >= self.slot.deadline
        if self.state == "missing" or (self.state == "failed" and is_over):
            return Health.CRITICAL
        if self.state == "failed" or (self.state == "running" and is_over):
            return Health.WARNING
        return Health.WARNING if self.state == "late" and is_newest else Health.OK


class RecordedRun:
    """A recorded run, and its times.

    Args:
        record: the run record.
        is_simulated: whether the run counts as started at the instant of its parameter `now`, and
            not when it really started.
    """

    def __init__(self, record: Mapping[str, Any], *, is_simulated: bool = False) -> None:
        self.record = record
        self.run_id: str = record["run"]
        actual_start = _parse_timestamp(record["begun"])
        self.now = _parse_timestamp(record["now"] or record["begun"])
        self.clock_shift = self.now - actual_start if is_simulated else dt.timedelta()
        self.started_at = actual_start + self.clock_shift
        self.backfill_span = _backfill_span(record)
        self.updated_at = _parse_timestamp(record["updated"]) + self.clock_shift

    def state_at(self, instant: dt.datetime) -> str:
        """Return the state of the run at an instant after its start."""
        return str(self.record["state"]) if self.updated_at <= instant else "running"

    def includes(self, layer: str) -> bool:
        """Return whether the run has nodes of a layer."""
        return any(node["layer"] == LAYER_TAGS[layer] for node in self.record["nodes"].values())

    def covers(self, slot: Slot) -> bool:
        """Return whether the run can complete a slot: a backfill covers its own windows only."""
        if (
            slot.layer in LINE_COUNTS
            and self.backfill_span is not None
            and slot.window not in self.backfill_span
        ):
            return False
        return slot.layer != "bronze" or self.now >= slot.due

    def committed_at(self, layer: str) -> dt.datetime | None:
        """Return when the run committed a layer; None if it did not."""
        timestamp = self.record["layers"].get(LAYER_TAGS[layer], {}).get("committed")
        return _parse_timestamp(timestamp) + self.clock_shift if timestamp else None

    def layer_started_at(self, layer: str) -> dt.datetime:
        """Return when the first node of a layer began."""
        nodes = self.record["nodes"].values()
        offsets = [n["begun"] for n in nodes if n["layer"] == LAYER_TAGS[layer] and "begun" in n]
        return self.started_at + dt.timedelta(seconds=min(offsets, default=0))


def slot_outcomes(
    timetable: Timetable,
    runs: Iterable[RecordedRun],
    now: dt.datetime,
    recorded_since: dt.datetime,
    count: int,
) -> dict[str, list[Outcome]]:
    """Return the outcomes of the last slots of each layer.

    Args:
        timetable: when layers start.
        runs: the runs, in any order; those that began after `now` are ignored.
        now: the instant of the report.
        recorded_since: when the oldest recorded run began.
        count: the number of slots of each layer to return.
    """
    started = sorted((run for run in runs if run.started_at <= now), key=lambda run: run.started_at)
    history = _RunsAsOf(timetable, started, now, recorded_since)
    return {
        layer: [history.outcome(slot) for slot in timetable.slots(layer, now, count)]
        for layer in LAYER_TAGS
        if layer in timetable.hours
    }


class _RunsAsOf:
    """Runs as they were at an instant; caches the completion of each slot."""

    def __init__(
        self,
        timetable: Timetable,
        runs: list[RecordedRun],
        now: dt.datetime,
        recorded_since: dt.datetime,
    ) -> None:
        self.timetable = timetable
        self.runs = runs
        self.now = now
        self.recorded_since = recorded_since
        self._completed: dict[Slot, tuple[dt.datetime, RecordedRun] | None] = {}

    def outcome(self, slot: Slot) -> Outcome:
        completion = self.completion(slot)
        if completion:
            at, run = completion
            lines = self._line_count(slot)
            if at > slot.deadline:
                return self._if_recorded(Outcome(slot, "late", at, run.run_id, lines))
            return Outcome(slot, "empty" if lines == 0 else "on time", at, run.run_id, lines)
        if attempt := self._last_attempt(slot):
            state = "running" if attempt.state_at(self.now) == "running" else "failed"
            return self._if_recorded(Outcome(slot, state, attempt.started_at, attempt.run_id))
        return self._if_recorded(Outcome(slot, "missing" if self.now >= slot.deadline else "due"))

    def _if_recorded(self, outcome: Outcome) -> Outcome:
        """Return the outcome; the state `before` if it was due before the first run record."""
        if outcome.slot.due >= self.recorded_since:
            return outcome
        return Outcome(outcome.slot, "before", outcome.at, outcome.run, outcome.lines)

    def completion(self, slot: Slot) -> tuple[dt.datetime, RecordedRun] | None:
        """Return when a slot was completed, and by which run; None if it was not."""
        if slot not in self._completed:
            self._completed[slot] = self._find_completion(slot)
        return self._completed[slot]

    def _find_completion(self, slot: Slot) -> tuple[dt.datetime, RecordedRun] | None:
        """Return the first commit of the layer by a run that had all of the slot's input."""
        upstream = self._upstream_slot(slot)
        input_ready = self.completion(upstream) if upstream else None
        if upstream and not input_ready:
            return None
        completions = (
            (at, run)
            for run in self.runs
            if (at := run.committed_at(slot.layer))
            and at <= self.now
            and run.covers(slot)
            and (
                not input_ready
                or run is input_ready[1]
                or run.layer_started_at(slot.layer) >= input_ready[0]
            )
        )
        return min(completions, key=lambda pair: pair[0], default=None)

    def _upstream_slot(self, slot: Slot) -> Slot | None:
        """Return the last slot of the previous layer that was due no later than a slot.

        None if there is no previous layer, or if that slot was due before the first run record.
        """
        layers = [layer for layer in LAYER_TAGS if layer in self.timetable.hours]
        index = layers.index(slot.layer)
        upstream = self.timetable.slots(layers[index - 1], slot.due, 1) if index else []
        return upstream[0] if upstream and upstream[0].due >= self.recorded_since else None

    def _last_attempt(self, slot: Slot) -> RecordedRun | None:
        """Return the last run of a slot that is running, failed or was killed."""
        upstream = self._upstream_slot(slot)
        input_ready = self.completion(upstream) if upstream else None
        since = min(slot.due, input_ready[0]) if input_ready else slot.due
        attempts = [
            run
            for run in self.runs
            if run.includes(slot.layer)
            and run.covers(slot)
            and run.state_at(self.now) != "succeeded"
            and (run.state_at(self.now) == "running" or run.updated_at >= since)
        ]
        return attempts[-1] if attempts else None

    def _line_count(self, slot: Slot) -> int | None:
        """Return the lines of a window in all runs so far; None if the layer has no windows."""
        if slot.layer not in LINE_COUNTS:
            return None
        lines = 0
        for run in self.runs:
            at = run.committed_at(slot.layer)
            if at and at <= self.now:
                added = (
                    run.record["windows"].get(str(slot.window), {}).get(LINE_COUNTS[slot.layer], 0)
                )
                is_rebuild = slot.layer == "silver" and run.record["parameters"].get("full")
                lines = added if is_rebuild else lines + added
        return lines


def _backfill_span(record: Mapping[str, Any]) -> Span | tuple[()] | None:
    """Return the windows of a backfill, empty if its bounds are unreadable; None without one."""
    try:
        return Span.of(record["from"], record["to"])
    except CapstoneError:
        return ()


def _parse_timestamp(timestamp: str) -> dt.datetime:
    return dt.datetime.fromisoformat(timestamp)
