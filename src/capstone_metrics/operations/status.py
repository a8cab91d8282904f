"""What state the lake is in: its deadlines, what is known of its layers, and how bad it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from capstone_metrics.operations.deadlines import (
    DAYS_BEFORE,
    TAGS,
    Health,
    Outcome,
    Run,
    outcomes,
)

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from capstone_metrics.schedule import Timetable

STYLES = {
    "on time": "green",
    "late": "yellow",
    "running": "cyan",
    "failed": "bold red",
    "missing": "bold red",
}
COLOURS = {Health.OK: "green", Health.WARNING: "yellow", Health.CRITICAL: "bold red"}
CELL, MARGIN = 14, 16
"""How wide a slot is on a terminal, and the rest of the table."""


@dataclass(frozen=True)
class Facts:
    """What the lake and the database say of themselves; None where there is nothing yet.

    Attributes:
        head: of Silver.
        manifest: of Gold.
        newest: the newest window of Bronze.
        published: whether the latest publication was of this Gold, by the database's own ledger;
            None if it was not asked, because it is not running.
        trouble: why the database could not be asked, if it should have answered.
    """

    head: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] | None = None
    newest: str | None = None
    published: bool | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Check:
    """One thing that is known: how bad it is, and in words."""

    name: str
    health: Health
    said: str


@dataclass(frozen=True)
class Status:
    """The state of a lake, seen from an instant (UTC)."""

    now: dt.datetime
    timetable: Timetable
    slots: dict[str, list[Outcome]]
    checks: list[Check]

    @property
    def health(self) -> Health:
        """That of what is worst off. Unknown only if nothing is worse than that."""
        found = [check.health for check in (*self.checks, *self._slot_checks())]
        known = [health for health in found if health is not Health.UNKNOWN]
        worst = max(known, default=Health.OK)
        return worst if worst or len(known) == len(found) else Health.UNKNOWN

    @property
    def summary(self) -> str:
        """What is wrong, in a line."""
        return "; ".join(check.said for check in self.problems) or "every layer is in time"

    @property
    def problems(self) -> list[Check]:
        """What is wrong, the worst first; at the end what is not known."""
        checks = [*self._slot_checks(), *self.checks]
        bad = [check for check in checks if check.health is not Health.OK]
        return sorted(bad, key=lambda check: -(check.health % Health.UNKNOWN))

    def _slot_checks(self) -> Iterator[Check]:
        for layer, of_layer in self.slots.items():
            for outcome in of_layer:
                health = outcome.health(self.now, is_newest=outcome is of_layer[-1])
                if health is not Health.OK:
                    said = f"{layer} {outcome.slot.window} is {outcome.state}"
                    yield Check(f"{layer} {outcome.slot.window}", health, said)

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "health": self.health.name.lower(),
            "summary": self.summary,
            "now": self._local(self.now),
            "layers": {
                layer: [self._slot(outcome, outcome is of_layer[-1]) for outcome in of_layer]
                for layer, of_layer in self.slots.items()
            },
            "checks": {
                check.name: {"health": check.health.name.lower(), "said": check.said}
                for check in self.checks
            },
        }

    def show(self, console: Console) -> None:
        """Print it: the health in a line, a table of the last slots that fit, and the rest."""
        health = Text(self.health.name, COLOURS.get(self.health, "magenta"))
        console.print(Text.assemble(health, ": ", self.summary), soft_wrap=True)
        fitting = max(1, (console.width - MARGIN) // CELL)
        widest = min(fitting, max(map(len, self.slots.values()), default=0))
        table = Table(title="Layers and their last windows", title_justify="left", show_lines=True)
        table.add_column("layer")
        for back in range(widest, 0, -1):
            table.add_column("newest" if back == 1 else f"{back - 1} before", no_wrap=True)
        for layer, of_layer in self.slots.items():
            cells = [self._cell(outcome) for outcome in of_layer[-widest:]]
            table.add_row(layer, *[Text()] * (widest - len(cells)), *cells)
        if self.slots:
            console.print(table)
        for check in self.checks:
            style = "" if check.health is Health.OK else COLOURS.get(check.health, "magenta")
            console.print(Text.assemble((f"{check.name:<12} ", "bold"), (check.said, style)))

    def _cell(self, outcome: Outcome) -> Text:
        window = f"{outcome.slot.window.date:%m-%d} {outcome.slot.window.hour:02}:00"
        at = outcome.at.astimezone(self.timetable.zone) if outcome.at else None
        is_same_day = at is not None and at.date() == outcome.slot.window.date
        done = "" if at is None else f"{at:%H:%M}" if is_same_day else f"{at:%m-%d %H:%M}"
        state = Text(outcome.state, STYLES.get(outcome.state, "dim"))
        return Text("\n").join([Text(window), state, *([Text(done)] if done else [])])

    def _slot(self, outcome: Outcome, is_newest: bool) -> dict[str, Any]:
        return {
            "window": str(outcome.slot.window),
            "state": outcome.state,
            "health": outcome.health(self.now, is_newest=is_newest).name.lower(),
            "due": self._local(outcome.slot.due),
            "deadline": self._local(outcome.slot.deadline),
            "at": self._local(outcome.at) if outcome.at else None,
            "run": outcome.run,
            "lines": outcome.lines,
        }

    def _local(self, instant: dt.datetime) -> str:
        return instant.astimezone(self.timetable.zone).isoformat(timespec="seconds")


def status_of(
    timetable: Timetable, runs: Sequence[Run], facts: Facts, now: dt.datetime, count: int
) -> Status:
    """The state of a lake.

    Args:
        timetable: when layers start.
        runs: those of which there is a record, as far back as `oldest_that_matters`; and the
            oldest of all, before which nobody can tell what was in time.
        facts: what the lake says of itself.
        now: the instant from which it is seen.
        count: how many slots of each layer.
    """
    begun = [run.begun for run in runs if run.begun <= now]
    slots = outcomes(timetable, runs, now, min(begun, default=now), count)
    return Status(now, timetable, slots, list(_checks(slots, runs, facts, now)))


def oldest_that_matters(timetable: Timetable, now: dt.datetime, count: int) -> dt.datetime:
    """How far back records are needed to judge the last slots of each layer."""
    slots = [timetable.slots(layer, now, count)[0] for layer in TAGS if layer in timetable.hours]
    return min(slot.due for slot in slots) - DAYS_BEFORE


def _checks(
    slots: Mapping[str, Sequence[Outcome]], runs: Sequence[Run], facts: Facts, now: dt.datetime
) -> Iterator[Check]:
    begun = sorted((run for run in runs if run.begun <= now), key=lambda run: run.begun)
    yield last_run(begun, now)
    if facts.newest:
        yield _freshness(slots["bronze"], facts.newest, now)
    yield _findings(begun)
    if facts.head:
        yield from _accounts(facts.head)
    if facts.head and facts.manifest:
        yield _gold(facts.head, facts.manifest)
    if facts.manifest:
        yield _publication(facts, runs)


def last_run(begun: Sequence[Run], now: dt.datetime) -> Check:
    """How the last of some runs, in the order of their beginning, stood at an instant."""
    if not begun:
        return Check("last run", Health.UNKNOWN, "no run is recorded")
    last = begun[-1]
    state, at = last.state(now), ", ".join(last.record["at_work"])
    is_bad = state in {"failed", "killed"}
    why = f" at {at}" if at and state != "succeeded" else ""
    why += f": {last.record['error']}" if state == "failed" else ""
    said = f"run {last.name} {'is running' if state == 'running' else state}{why}"
    return Check("last run", Health.WARNING if is_bad else Health.OK, said)


def _findings(begun: Sequence[Run]) -> Check:
    """What is unusual about the last run that did something."""
    for run in reversed(begun):
        said = [found["said"] for found in run.record.get("findings", ())]
        if said:
            return Check("quality", Health.WARNING, "; ".join(said))
        if any(layer["written"] for layer in run.record["layers"].values()):
            break
    return Check("quality", Health.OK, "nothing unusual in what was done last")


def _freshness(slots: Sequence[Outcome], newest: str, now: dt.datetime) -> Check:
    """How old the newest window is; a warning if a later one should be there by now."""
    over = [outcome for outcome in slots if outcome.slot.deadline <= now]
    last = over[-1] if over else None
    is_old = last is not None and last.at is None and newest < str(last.slot.window)
    said = f"the newest window of Bronze is {newest}"
    if last and is_old:
        said += f", and that of {last.slot.window} should be there"
    return Check("freshness", Health.WARNING if is_old else Health.OK, said)


def _accounts(head: Mapping[str, Any]) -> Iterator[Check]:
    total = head["total"]
    holds = total["lines"] == total["current"] + total["superseded"] + total["quarantined"]
    said = (
        "{lines:,} lines in Bronze {sign} {current:,} current in Silver + {superseded:,} superseded"
        " + {quarantined:,} quarantined"
    ).format(sign="=" if holds else "≠", **total)
    wrong = "" if holds else "; 'kedro verify' says where"
    yield Check("identity", Health.OK if holds else Health.CRITICAL, said + wrong)
    rate = 100 * total["quarantined"] / total["lines"] if total["lines"] else 0
    yield Check("quarantine", Health.OK, f"{rate:.2f} % of all lines")


def _gold(head: Mapping[str, Any], manifest: Mapping[str, Any]) -> Check:
    behind = head["generation"] - manifest["silver_generation"]
    if manifest["silver_origin"] != head["origin"]:
        said = "Gold was made from a Silver that was begun anew since"
    else:
        said = f"Gold is {behind:,} commits behind Silver" if behind else "Gold is made from Silver"
    return Check("gold", Health.OK, said)


def _publication(facts: Facts, runs: Sequence[Run]) -> Check:
    if facts.trouble:
        return Check("publication", Health.WARNING, facts.trouble)
    if facts.published is not None:
        said = "is of this Gold" if facts.published else "was of another Gold"
        return Check("publication", Health.OK, f"the latest publication {said}")
    assert facts.manifest is not None
    published = [run.record.get("published_generation") for run in runs]
    is_this = facts.manifest["generation"] in published
    said = f"the records say that this Gold was {'' if is_this else 'not yet '}published"
    return Check("publication", Health.OK, f"the database is not running; {said}")
