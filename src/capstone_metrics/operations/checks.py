"""The checks of a lake: of its last run, its sources, its files, its lines and its layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from capstone_metrics.operations.deadlines import Health
from capstone_metrics.operations.summary import balance, is_balanced

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from capstone_metrics.changes import GoldSnapshot, SilverSnapshot
    from capstone_metrics.operations.deadlines import RecordedRun

MAX_DAYS = 3
"""How many days are named of those whose files are lost."""


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
        refused: the reasons of what is refused, by the name of its source or mart.
        allowed: the names of the sources and marts of which Gold may lack something.
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


def checks_of(runs: Sequence[RecordedRun], facts: LakeFacts, now: dt.datetime) -> Iterator[Check]:
    """Yield the results of all checks but those of slots.

    Args:
        runs: the recorded runs.
        facts: the facts about the lake.
        now: the instant of the status.
    """
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
    """Report what is refused; it is a warning unless Gold may lack it."""
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
