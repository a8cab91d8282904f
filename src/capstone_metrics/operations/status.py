"""Status of the lake: its deadlines, the checks of its layers, and its health."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from capstone_metrics.operations.checks import Check, checks_of
from capstone_metrics.operations.deadlines import (
    LAYER_TAGS,
    LOOKBACK,
    Health,
    Outcome,
    RecordedRun,
    slot_outcomes,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from capstone_metrics.operations.checks import LakeFacts
    from capstone_metrics.schedule import Timetable

STATE_STYLES = {
    "on time": "green",
    "late": "yellow",
    "running": "cyan",
    "failed": "bold red",
    "missing": "bold red",
}
HEALTH_STYLES = {Health.OK: "green", Health.WARNING: "yellow", Health.CRITICAL: "bold red"}
LAYER_CHECKS = {
    "bronze": ("freshness", ""),
    "silver": ("quarantine", " in quarantine"),
    "gold": ("gold", ""),
    "publication": ("publication", ""),
}
"""The check whose message stands beside a layer, and what is added to it."""

CELL_WIDTH, MARGIN_WIDTH = 14, 16
"""Columns of a terminal for a slot, and for the rest of the table."""


@dataclass(frozen=True, kw_only=True)
class SlotCheck(Check):
    """Result of the check of a slot of a layer."""

    layer: str
    outcome: Outcome


@dataclass(frozen=True)
class Status:
    """Status of a lake at an instant.

    Attributes:
        now: the instant, in UTC.
        timetable: when layers start.
        slots: the outcomes of the last slots of each layer.
        checks: the results of the other checks.
        last_good: when each layer was last committed, in UTC; None if no run did.
    """

    now: dt.datetime
    timetable: Timetable
    slots: dict[str, list[Outcome]]
    checks: list[Check]
    last_good: dict[str, dt.datetime | None]

    @property
    def health(self) -> Health:
        """Return the worst health of any check; a warning or worse outweighs an unknown one."""
        healths = [check.health for check in (*self.checks, *self._slot_problems())]
        known = [health for health in healths if health is not Health.UNKNOWN]
        worst = max(known, default=Health.OK)
        if worst is Health.OK and Health.UNKNOWN in healths:
            return Health.UNKNOWN
        return worst

    @property
    def summary(self) -> str:
        """Return the problems in one line, or that there are none."""
        return "; ".join(check.message for check in self.problems) or "every layer is on time"

    @property
    def problems(self) -> list[Check]:
        """Return the checks that are not OK, the worst first and the unknown ones last."""
        checks = [*self._slot_problems(), *self.checks]
        problems = [check for check in checks if check.health is not Health.OK]
        return sorted(problems, key=lambda check: (check.health is Health.UNKNOWN, -check.health))

    def _slot_problems(self) -> Iterator[SlotCheck]:
        """Yield a check for each slot whose health is not OK."""
        for layer, layer_slots in self.slots.items():
            for outcome in layer_slots:
                health = outcome.health(self.now, is_newest=outcome is layer_slots[-1])
                if health is not Health.OK:
                    name = f"{layer} {outcome.slot.window}"
                    message = f"{name} is {outcome.state}"
                    command = f"runs show {outcome.run}" if outcome.run else "run"
                    run = outcome.run if outcome.state == "failed" else None
                    yield SlotCheck(
                        name, health, message, command, run, layer=layer, outcome=outcome
                    )

    def to_dict(self) -> dict[str, Any]:
        """Return the status as a dictionary, to be written as JSON."""
        return {
            "health": self.health.name.lower(),
            "summary": self.summary,
            "now": self._local_time(self.now),
            "layers": {
                layer: [
                    self._slot_to_dict(outcome, outcome is layer_slots[-1])
                    for outcome in layer_slots
                ]
                for layer, layer_slots in self.slots.items()
            },
            "checks": {
                check.name: {"health": check.health.name.lower(), "said": check.message}
                for check in self.checks
            },
        }

    def show(self, console: Console, options: str = "") -> None:
        """Print the health, what needs attention, and when each layer was last good.

        Args:
            console: where to print.
            options: the options of the next commands, such as ` --env=s3`.
        """
        attention = list(self._attention())
        text = f"{len(attention)} to attend to" if attention else "nothing is late or missing"
        health = Text(self.health.name, _style(self.health))
        console.print(Text.assemble(health, f": {text} (times of {self.timetable.zone.key})"))
        for check in attention:
            command = f"  → kedro {check.command}{options}" if check.command else ""
            message = (check.message, _style(check.health))
            console.print(Text.assemble("  ", message, (command, "bold")), soft_wrap=True)
        good = {check.name: check.message for check in self.checks if check.health is Health.OK}
        for layer, at in self.last_good.items():
            moment = f"{at.astimezone(self.timetable.zone):%Y-%m-%d %H:%M}" if at else "never"
            check_name, suffix = LAYER_CHECKS[layer]
            detail = f"  {good[check_name]}{suffix}" if check_name in good else ""
            console.print(
                Text.assemble(
                    (f"{layer:<12}", "bold"),
                    f"last good {moment:<16}",
                    detail,
                ),
                soft_wrap=True,
            )

    def _attention(self) -> Iterator[Check]:
        """Yield the problems, the worst first, each fact once.

        The windows of a layer are one fact, and so is the last run with all that failed in it.
        """
        last_run = next((each.run for each in self.checks if each.run), None)
        facts: dict[tuple[str | None, ...], list[Check]] = {}
        for check in self.problems:
            fact: tuple[str | None, ...] = (check.name,)
            if check.run and check.run == last_run:
                fact = (last_run,)
            elif isinstance(check, SlotCheck):
                fact = (check.layer, check.outcome.state)
            facts.setdefault(fact, []).append(check)
        yield from map(_together, facts.values())

    def show_details(self, console: Console) -> None:
        """Print a table of as many last slots as fit, and every check."""
        max_slots = max(1, (console.width - MARGIN_WIDTH) // CELL_WIDTH)
        columns = min(max_slots, max(map(len, self.slots.values()), default=0))
        table = Table(title="Layers and their last windows", title_justify="left", show_lines=True)
        table.add_column("layer")
        for age in range(columns, 0, -1):
            table.add_column("newest" if age == 1 else f"{age - 1} before", no_wrap=True)
        for layer, layer_slots in self.slots.items():
            cells = [self._cell(outcome) for outcome in layer_slots[-columns:]]
            table.add_row(layer, *[Text()] * (columns - len(cells)), *cells)
        if self.slots:
            console.print(table)
        for check in self.checks:
            style = "" if check.health is Health.OK else _style(check.health)
            console.print(Text.assemble((f"{check.name:<12} ", "bold"), (check.message, style)))

    def _cell(self, outcome: Outcome) -> Text:
        """Return the window, the state and the time of a slot, below each other."""
        window = f"{outcome.slot.window.date:%m-%d} {outcome.slot.window.hour:02}:00"
        at = outcome.at.astimezone(self.timetable.zone) if outcome.at else None
        time = ""
        if at:
            is_same_day = at.date() == outcome.slot.window.date
            time = f"{at:%H:%M}" if is_same_day else f"{at:%m-%d %H:%M}"
        state = Text(outcome.state, STATE_STYLES.get(outcome.state, "dim"))
        return Text("\n").join([Text(window), state, *([Text(time)] if time else [])])

    def _slot_to_dict(self, outcome: Outcome, is_newest: bool) -> dict[str, Any]:
        return {
            "window": str(outcome.slot.window),
            "state": outcome.state,
            "health": outcome.health(self.now, is_newest=is_newest).name.lower(),
            "due": self._local_time(outcome.slot.due),
            "deadline": self._local_time(outcome.slot.deadline),
            "at": self._local_time(outcome.at) if outcome.at else None,
            "run": outcome.run,
            "lines": outcome.lines,
        }

    def _local_time(self, instant: dt.datetime) -> str:
        return instant.astimezone(self.timetable.zone).isoformat(timespec="seconds")


def _together(checks: Sequence[Check]) -> Check:
    """Return checks of one fact as one: windows of a layer, or a failed run and its windows."""
    slots = [check for check in checks if isinstance(check, SlotCheck)]
    cause = next((check for check in checks if check not in slots), None)
    if cause:
        names = f"{', '.join(each.name for each in slots)}: " if slots else ""
        return replace(cause, health=checks[0].health, message=f"{names}{cause.message}")
    if len(slots) == 1:
        return slots[0]
    windows = ", ".join(str(each.outcome.slot.window) for each in slots)
    message = f"{slots[0].layer} {windows} are {slots[0].outcome.state}"
    return replace(slots[-1], health=checks[0].health, message=message)


def status_at(
    timetable: Timetable,
    runs: Sequence[RecordedRun],
    facts: LakeFacts,
    now: dt.datetime,
    count: int,
) -> Status:
    """Return the status of a lake at an instant.

    Args:
        timetable: when layers start.
        runs: the recorded runs since `records_needed_since`, and the oldest one of all: slots
            before it have an unknown state.
        facts: the facts about the lake.
        now: the instant of the status.
        count: how many slots of each layer.
    """
    starts = [run.started_at for run in runs if run.started_at <= now]
    recorded_since = min(starts, default=now)
    slots = slot_outcomes(timetable, runs, now, recorded_since, count)
    last_good = {layer: _last_good(layer, runs, now) for layer in slots}
    return Status(now, timetable, slots, list(checks_of(runs, facts, now)), last_good)


def _last_good(layer: str, runs: Sequence[RecordedRun], now: dt.datetime) -> dt.datetime | None:
    """Return when a layer was last committed before an instant; None if no run did."""
    moments = (run.committed_at(layer) for run in runs)
    return max((at for at in moments if at and at <= now), default=None)


def _style(health: Health) -> str:
    return HEALTH_STYLES.get(health, "magenta")


def records_needed_since(timetable: Timetable, now: dt.datetime, count: int) -> dt.datetime:
    """Return the start of the period whose run records the last slots of each layer need."""
    slots = [
        timetable.slots(layer, now, count)[0] for layer in LAYER_TAGS if layer in timetable.hours
    ]
    return min(slot.due for slot in slots) - LOOKBACK
