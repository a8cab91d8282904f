"""The commands that say what ran and what is late."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.project import settings
from kedro.io import DatasetError
from rich.console import Console

from capstone_metrics.changes import lot_of
from capstone_metrics.cli.common import catalog_of, echo_json, one_sentence
from capstone_metrics.errors import CapstoneError, reason
from capstone_metrics.schedule import Timetable, instant_of, zone_of

if TYPE_CHECKING:
    from capstone_metrics.operations.status import Facts, Status

log = logging.getLogger(__name__)


@click.command()
@env_option
@click.option("--now", help="Look at the lake at another instant, on the clock of the runs' now.")
@click.option("--windows", default=4, type=click.IntRange(min=1), help="How many of each layer.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON.")
@click.option("--alert", is_flag=True, help="Send what is wrong and was not sent to the webhook.")
@one_sentence()
def status(env: str | None, now: str | None, windows: int, as_json: bool, alert: bool) -> None:
    """Say what is late, missing or failed, and how the layers stand to one another.

    The exit code is for a monitor: 0 if all is well, 1 for a warning, 2 if something is critical,
    3 if nothing is known.
    """
    from capstone_metrics.operations.deadlines import Run  # noqa: PLC0415
    from capstone_metrics.operations.record import identifier  # noqa: PLC0415
    from capstone_metrics.operations.status import (  # noqa: PLC0415
        oldest_that_matters,
        status_of,
    )

    catalog = catalog_of(env)
    schedule = catalog.load("params:schedule")
    timetable = Timetable.of(schedule)
    instant = instant_of(schedule, now or dt.datetime.now(dt.UTC))
    kept = _kept(catalog)
    if now:
        records = kept.load()
    else:
        since = identifier(oldest_that_matters(timetable, instant, windows))
        records = [*kept.oldest(before=since), *kept.since(since)]
    runs = [Run(record, is_simulated=bool(now)) for record in records]
    found = status_of(timetable, runs, _facts(catalog), instant, windows)
    if as_json:
        echo_json(found.document())
    else:
        found.show(Console())
    if alert:
        _alert(env, found, catalog)
    raise SystemExit(found.health)


@click.group(invoke_without_command=True)
@env_option
@click.option(
    "--last", default=20, type=click.IntRange(min=1), help="How many runs; 20 unless said."
)
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON.")
@click.pass_context
@one_sentence()
def runs(ctx: click.Context, env: str | None, last: int, as_json: bool) -> None:
    """List the last runs, the latest first."""
    if ctx.invoked_subcommand:
        return
    from capstone_metrics.operations.history import show_runs  # noqa: PLC0415

    catalog = catalog_of(env)
    records = _kept(catalog).since("", most=last)[::-1]
    if as_json:
        echo_json(records)
    elif records:
        show_runs(Console(), records, zone_of(catalog.load("params:schedule")))
    else:
        click.echo("No run is recorded.")


@runs.command()
@env_option
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON.")
@one_sentence()
def show(env: str | None, run: str, as_json: bool) -> None:
    """Show what one run did. RUN is its identifier, or a part that no other run's has."""
    from capstone_metrics.operations.history import show_run  # noqa: PLC0415

    catalog = catalog_of(env)
    found = _kept(catalog).find(run)
    if len(found) != 1:
        said = f"{len(found)} runs have {run!r} in their names" if found else f"no run {run!r}"
        raise CapstoneError(f"runs: {said}; 'kedro runs' lists them.")
    if as_json:
        echo_json(found[0])
    else:
        show_run(Console(), found[0], zone_of(catalog.load("params:schedule")))


def _alert(env: str | None, found: Status, catalog: Any) -> None:
    """Have the webhook know what is wrong; that it could not is a warning."""
    from capstone_metrics.operations.deadlines import Health  # noqa: PLC0415
    from capstone_metrics.operations.listeners.alerts import VARIABLE, alarm_of  # noqa: PLC0415

    alarm = alarm_of(lambda: catalog["alerts"])
    if not alarm:
        raise CapstoneError(f"--alert: {VARIABLE} names no webhook.")
    problems = [each for each in found.problems if each.health is not Health.UNKNOWN]
    environment = env or settings.CONFIG_LOADER_ARGS["default_run_env"]
    try:
        alarm.tell(environment, problems, are_all=True)
    except Exception as error:
        log.warning("%s: %s", VARIABLE, reason(error) or type(error).__name__)


def _kept(catalog: Any) -> Any:
    """The records of runs; those that died are marked so, and told, where this user may write."""
    kept, died = catalog["runs"], []
    with contextlib.suppress(CapstoneError):
        died = kept.close()
    if died:
        from capstone_metrics.operations.listeners import listeners_of  # noqa: PLC0415
        from capstone_metrics.operations.listeners.listener import Listeners  # noqa: PLC0415

        said = catalog.load("params:operations")
        listeners = Listeners(listeners_of(said, lambda: catalog["alerts"]))
        for record in died:
            listeners.tell("died", record)
    return kept


def _facts(catalog: Any) -> Facts:
    """What the lake says of itself; the database is asked only if it is there to answer."""
    from capstone_metrics.operations.status import Facts  # noqa: PLC0415

    head, manifest = (
        catalog.load(name) if catalog.exists(name) else None
        for name in ("silver_head", "gold_manifest")
    )
    newest = max((lot_of(name)[1] for name in catalog.load("bronze_objects")), default=None)
    published = trouble = None
    if manifest and catalog["serving"].is_up:
        from capstone_metrics.serving.ledger import gold_sha256  # noqa: PLC0415

        try:
            last = catalog.load("serving")
            published = last.get("gold_sha256") == gold_sha256(manifest)
        except DatasetError as error:
            trouble = str(reason(error) or type(error).__name__)
    return Facts(head, manifest, newest, published, trouble)
