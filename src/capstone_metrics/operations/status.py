"""Status of the lake: its deadlines, the checks of its layers, and its health."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.table import Table
from rich.text import Text

from capstone_metrics.operations.deadlines import (
    LAYER_TAGS,
    LOOKBACK,
    Health,
    Outcome,
    RecordedRun,
    slot_outcomes,
)
from capstone_metrics.operations.summary import balance, is_balanced

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from rich.console import Console

    from capstone_metrics.changes import GoldSnapshot, SilverSnapshot
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

MAX_DAYS = 3
"""How many days are named of those whose files are lost."""

CELL_WIDTH, MARGIN_WIDTH = 14, 16
"""Columns of a terminal for a slot, and for the rest of the table."""


class Damage(NamedTuple):
    """A file that was edited or deleted, and the command of kedro that makes it again."""

    message: str
    command: str


@dataclass(frozen=True)
class LakeFacts:
    """Facts about the lake and the database; None where there is nothing yet, or none is known.

    Attributes:
        silver_head: the head of Silver.
        gold_manifest: the manifest of Gold.
        newest_window: the newest window of Bronze.
        is_published: whether the latest publication in the database's ledger is of the current
            Gold; None if the database is not running.
        database_error: why the database could not be queried, if it should be running.
        damage: the files of Silver and Gold that are not as they were committed.
        refused: why sources, or parts of them, are not in the lake, by the names of the sources.
        allowed: the sources that Gold may lack.
    """

    silver_head: Mapping[str, Any] | None = None
    gold_manifest: Mapping[str, Any] | None = None
    newest_window: str | None = None
    is_published: bool | None = None
    database_error: str | None = None
    damage: tuple[Damage, ...] = ()
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    allowed: Collection[str] = ()


@dataclass(frozen=True)
class Check:
    """Result of one check: its health, a message, and the command of kedro to go on with.

    The command is empty if the message says what to do; the run is the failed one to blame.
    """

    name: str
    health: Health
    message: str
    command: str = "run"
    run: str | None = None


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
    return Status(now, timetable, slots, list(_checks(runs, facts, now)), last_good)


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


def _checks(runs: Sequence[RecordedRun], facts: LakeFacts, now: dt.datetime) -> Iterator[Check]:
    started = sorted((run for run in runs if run.started_at <= now), key=lambda run: run.started_at)
    yield last_run_check(started, now)
    if facts.newest_window:
        message = f"the newest window of Bronze is {facts.newest_window}"
        yield Check("freshness", Health.OK, message)  # if it is old, slots are missing
    yield _sources_check(facts)
    yield _quality_check(started)
    yield _damage_check(
        facts.damage, is_writing=any(run.state_at(now) == "running" for run in started)
    )
    if facts.silver_head:
        yield from _accounting_checks(facts.silver_head)
    if facts.silver_head and facts.gold_manifest:
        yield _gold_check(facts.silver_head, facts.gold_manifest)
    if facts.gold_manifest:
        yield _publication_check(facts, runs)


def last_run_check(started: Sequence[RecordedRun], now: dt.datetime) -> Check:
    """Check how the last run ended, or that it is running.

    Args:
        started: the runs that started before the instant, in the order of their start.
        now: the instant.
    """
    if not started:
        return Check("last run", Health.UNKNOWN, "no run is recorded")
    last = started[-1]
    state = last.state_at(now)
    nodes_at_work = ", ".join(last.record["at_work"])
    has_failed = state in {"failed", "killed"}
    message = f"run {last.run_id} {'is running' if state == 'running' else state}"
    message += f" at {nodes_at_work}" if nodes_at_work and state != "succeeded" else ""
    message += f": {last.record['error']}" if state == "failed" else ""
    command = "run" if state == "killed" else f"runs show {last.run_id}"
    if has_failed:
        return Check("last run", Health.WARNING, message, command, last.run_id)
    return Check("last run", Health.OK, message, command)


def _quality_check(started: Sequence[RecordedRun]) -> Check:
    """Report the first of the latest findings, and how many more the record of that run has.

    They are of no run before the last one that wrote something.
    """
    for run in reversed(started):
        messages = [finding["said"] for finding in run.record.get("findings", ())]
        if messages:
            command = f"runs show {run.run_id}"
            more = f"; {len(messages) - 1:,} more" if len(messages) > 1 else ""
            return Check("quality", Health.WARNING, f"{messages[0]}{more}", command)
        if any(layer["written"] for layer in run.record["layers"].values()):
            break
    return Check("quality", Health.OK, "nothing unusual in the last run that wrote anything")


def _sources_check(facts: LakeFacts) -> Check:
    """Report what is refused; it is a warning unless Gold may lack the source."""
    reasons = [reason for reasons in facts.refused.values() for reason in reasons]
    if not reasons:
        return Check("sources", Health.OK, "nothing is refused")
    health = Health.OK if set(facts.refused) <= set(facts.allowed) else Health.WARNING
    return Check("sources", health, "refused: " + " ".join(reasons), command="")


def find_damage(silver: SilverSnapshot, gold: GoldSnapshot) -> Iterator[Damage]:
    """Yield the files that are not as they were committed, as far as this shows without a table.

    `kedro verify` reads the tables of Silver, too.
    """
    pending = [name for name, layer in (("Silver", silver), ("Gold", gold)) if layer.is_pending()]
    if pending:  # until it is applied, files differ from their head
        layers = " and of ".join(pending)
        yield Damage(f"a run ended in the middle of a commit of {layers}", "run")
        return
    receipts, objects = silver.merged_objects(), silver.head.get("objects", 0)
    if silver.generation and not silver.head:
        yield Damage("the head of Silver is lost", "run")
    if len(receipts) < objects:
        yield Damage(
            f"{objects - len(receipts):,} receipts of Silver are lost", "run --params=full=true"
        )
    for lost, days in silver.lost_days().items():
        yield Damage(f"silver_{lost} has no file of {_some(days)}", "run --params=full=true")
    if gold.manifest and not silver.generation:
        yield Damage("Silver is lost", "run")
    if gold.generation and not gold.manifest:
        yield Damage("the manifest of Gold is lost", "run --pipelines=silver_to_gold")
    for name, table in gold.tables.items():
        if table is None:
            yield Damage(f"{name} was edited or lost", "run --pipelines=silver_to_gold")


def _some(days: Sequence[str]) -> str:
    """Return the first days, and how many more there are."""
    more = f" and of {len(days) - MAX_DAYS:,} days more" if len(days) > MAX_DAYS else ""
    return ", ".join(days[:MAX_DAYS]) + more


def _damage_check(damage: Sequence[Damage], *, is_writing: bool) -> Check:
    """Return the check of files; while a run puts them into place, they differ from their head."""
    if is_writing:
        return Check("files", Health.OK, "a run is writing")
    if not damage:
        return Check("files", Health.OK, "heads, receipts and marts are as they were committed")
    message = "; ".join(each.message for each in damage)
    return Check("files", Health.CRITICAL, message, damage[0].command)


def _accounting_checks(head: Mapping[str, Any]) -> Iterator[Check]:
    """Check that the lines of Bronze add up, and report the rate of quarantined ones."""
    total = head["total"]
    message, is_right = balance(total), is_balanced(total)
    hint = "" if is_right else "; run 'kedro verify' to see where"
    health = Health.OK if is_right else Health.CRITICAL
    yield Check("identity", health, message + hint, "verify")
    rate = 100 * total["quarantined"] / total["lines"] if total["lines"] else 0
    yield Check("quarantine", Health.OK, f"{rate:.2f} % of all lines")


def _gold_check(head: Mapping[str, Any], manifest: Mapping[str, Any]) -> Check:
    """Report whether Gold is up to date with Silver; if it is late, its slots show that."""
    commits_behind = head["generation"] - manifest["silver_generation"]
    if manifest["silver_origin"] != head["origin"]:
        message = "Gold was built from a Silver that has been rebuilt since"
    elif commits_behind:
        message = f"Gold is {commits_behind:,} commit{'s' * (commits_behind > 1)} behind Silver"
    else:
        message = "Gold is up to date with Silver"
    return Check("gold", Health.OK, message)


def _publication_check(facts: LakeFacts, runs: Sequence[RecordedRun]) -> Check:
    """Report whether Gold is published; a warning only if the database cannot be queried.

    If the publication is late, its slots show that.
    """
    if facts.database_error:
        return Check("publication", Health.WARNING, facts.database_error, "serving check")
    if facts.is_published is not None:
        which = "is of this Gold" if facts.is_published else "was of another Gold"
        return Check("publication", Health.OK, f"the latest publication {which}")
    assert facts.gold_manifest is not None
    published = [run.record.get("published_generation") for run in runs]
    not_yet = "" if facts.gold_manifest["generation"] in published else "not yet "
    message = f"the run records say that this Gold was {not_yet}published"
    return Check("publication", Health.OK, f"the database is not running; {message}")
