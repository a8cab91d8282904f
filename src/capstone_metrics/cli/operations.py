"""Commands that report past runs and the status of the lake."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option
from kedro.io import DatasetError
from rich.console import Console

from capstone_metrics.cli.common import echo_json, environment_name, load_catalog
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import (
    CapstoneError,
    environment_option,
    name_environment,
    user_message,
)
from capstone_metrics.operations.checks import LakeFacts, find_damage
from capstone_metrics.operations.deadlines import Health, RecordedRun
from capstone_metrics.operations.history import show_run, show_runs
from capstone_metrics.operations.listeners import listeners_of
from capstone_metrics.operations.listeners.alerts import VARIABLE, alerter_of
from capstone_metrics.operations.listeners.listener import Listeners
from capstone_metrics.operations.record import run_identifier
from capstone_metrics.operations.status import records_needed_since, status_at
from capstone_metrics.refusals import allowed_names, refusals_of
from capstone_metrics.schedule import Timetable, instant_of
from capstone_metrics.validation.objects import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.operations.status import Status

log = logging.getLogger(__name__)


class _MonitorCommand(click.Command):
    """A command for a monitor: the exit code of an error is that of an unknown status."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with _unknown_status():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with _unknown_status():
            return super().invoke(ctx)


@contextlib.contextmanager
def _unknown_status() -> Iterator[None]:
    try:
        yield
    except click.ClickException as error:
        error.exit_code = Health.UNKNOWN  # type: ignore[misc]
        raise


@click.command(cls=_MonitorCommand)
@env_option
@click.option(
    "--now", help="Show the status at another instant; a run counts as of its own parameter now."
)
@click.option(
    "--windows",
    default=4,
    type=click.IntRange(1, 10_000),
    help="How many windows of each layer to show.",
)
@click.option("--all", "details", is_flag=True, help="Show every window and every check, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@click.option("--alert", is_flag=True, help="Send new problems to the webhook.")
@show_user_errors()
def status(  # noqa: PLR0913, PLR0917 - the options of the command
    env: str | None, now: str | None, windows: int, details: bool, as_json: bool, alert: bool
) -> None:
    """Report what is late, missing or failed, what to do, and when each layer was last good.

    The exit code is for a monitor: 0 for OK, 1 for a warning, 2 for a critical problem, 3 if the
    status is unknown, or cannot be read.
    """
    catalog = load_catalog(env)
    schedule = catalog.load("params:schedule")
    timetable = Timetable.of(schedule)
    instant = instant_of(schedule, now or dt.datetime.now(dt.UTC))
    _close_dead_runs(catalog)
    dataset = catalog["runs"]
    if now:
        records = dataset.load()  # identifiers have the real time, so any run may count
    else:
        since = run_identifier(records_needed_since(timetable, instant, windows))
        records = [*dataset.load_oldest(before=since), *dataset.load_since(since)]
    runs = [RecordedRun(record, is_simulated=bool(now)) for record in records]
    current = status_at(timetable, runs, _lake_facts(catalog), instant, windows)
    checks = [
        replace(each, message=name_environment(each.message, env or "")) for each in current.checks
    ]
    current = replace(current, checks=checks)
    if as_json:
        echo_json(current.to_dict())
    else:
        current.show(Console(), environment_option(env))
        if details:
            current.show_details(Console())
    if alert:
        _send_alert(env, current, catalog)
    raise SystemExit(current.health)


@click.group(invoke_without_command=True)
@env_option
@click.option(
    "--last", default=20, type=click.IntRange(min=1), help="How many runs to show (default: 20)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.pass_context
@show_user_errors()
def runs(ctx: click.Context, env: str | None, last: int, as_json: bool) -> None:
    """List the latest runs, newest first."""
    if ctx.invoked_subcommand:
        return
    catalog = load_catalog(env)
    _close_dead_runs(catalog)
    records = catalog["runs"].load_since("", limit=last)[::-1]  # every identifier sorts after ""
    if as_json:
        echo_json(records)
    elif records:
        show_runs(Console(), records, Timetable.of(catalog.load("params:schedule")).zone)
    else:
        click.echo("No run is recorded.")


@runs.command()
@env_option
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@show_user_errors()
def show(env: str | None, run: str, as_json: bool) -> None:
    """Show the details of one run. RUN is its identifier, or a unique part of it."""
    catalog = load_catalog(env)
    _close_dead_runs(catalog)
    records = catalog["runs"].find_runs(run)
    if len(records) != 1:
        count = f"{len(records)} runs match {run!r}" if records else f"no run {run!r}"
        raise CapstoneError(f"runs: {count}; 'kedro runs' lists them.")
    if as_json:
        echo_json(records[0])
    else:
        show_run(Console(), records[0], Timetable.of(catalog.load("params:schedule")).zone)


def _send_alert(env: str | None, status: Status, catalog: Any) -> None:
    """Send the problems that are new to the webhook; if that fails, log a warning.

    Raises:
        CapstoneError: if no webhook is set.
    """
    alerter = alerter_of(lambda: catalog["alerts"])
    if not alerter:
        raise CapstoneError(f"--alert: set {VARIABLE} to the URL of a webhook.")
    problems = [each for each in status.problems if each.health is not Health.UNKNOWN]
    environment = environment_name(env)
    try:
        alerter.send_new(environment, problems, is_complete=True)
    except Exception as error:
        log.warning("%s: %s", VARIABLE, user_message(error) or type(error).__name__)


def _close_dead_runs(catalog: Any) -> None:
    """Mark the records of dead runs as killed, and notify the listeners."""
    killed: list[Any] = []
    with contextlib.suppress(CapstoneError):  # for a user who may only read the lake
        killed = catalog["runs"].close_dead_runs()
    if killed:
        config = catalog.load("params:operations")
        listeners = Listeners(listeners_of(config, lambda: catalog["alerts"]))
        for record in killed:
            listeners.notify("on_run_killed", record)


def _lake_facts(catalog: Any) -> LakeFacts:
    """Return the facts about the lake; the database is queried only if it is running."""
    silver, gold = catalog.load("silver"), catalog.load("gold")
    manifest = gold.manifest
    names = catalog.load("bronze_snapshot").names
    newest_window = max((parse_object_name(name)[1] for name in names), default=None)
    is_published = database_error = None
    if manifest:
        from capstone_metrics.serving.ledger import gold_sha256  # noqa: PLC0415 - psycopg2 is slow

        try:
            if catalog["serving"].is_up:
                latest = catalog.load("serving")
                is_published = latest.get("gold_sha256") == gold_sha256(manifest)
        except (DatasetError, CapstoneError) as error:
            database_error = str(user_message(error) or type(error).__name__)
    declared = catalog.load("params:sources")
    refused = refusals_of(declared, catalog.load("bronze_sources"), silver.head, manifest)
    return LakeFacts(
        silver_head=silver.head or None,
        gold_manifest=manifest or None,
        newest_window=newest_window,
        is_published=is_published,
        database_error=database_error,
        damage=tuple(find_damage(silver, gold)),
        refused=refused,
        allowed=allowed_names(catalog.load("params:allow_refused")),
    )
