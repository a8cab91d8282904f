"""Commands of the project, in addition to Kedro's own."""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.catalog import catalog
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.registry import registry
from kedro.io import DatasetError

from capstone_metrics.cli.choices import unknown_choice
from capstone_metrics.cli.dashboard import dashboard
from capstone_metrics.cli.operations import runs, status
from capstone_metrics.cli.options import with_checked_options
from capstone_metrics.cli.package import package
from capstone_metrics.cli.quarantine import quarantine
from capstone_metrics.cli.reset import reset
from capstone_metrics.cli.serving import serving
from capstone_metrics.cli.source import source
from capstone_metrics.cli.user_errors import show_user_errors, with_user_errors
from capstone_metrics.cli.verify import verify_lake
from capstone_metrics.errors import ConfigError, user_message

RUN_HELP = """Ingest what is due, and take it through Silver and Gold to PostgreSQL.

\b
Parameters of a run, as --params=now=2026-01-31T20:05,full=true:
  now             the instant of the run, local without an offset
  from, to        a backfill: the first and last day or window, 2026-01-31 or 2026-01-31T08
  plan            true: show what the run would change, and change nothing
  full            true: rebuild Silver and Gold from Bronze
  allow_shrink    true: publish a mart that has lost much
  allow_findings  true: build Gold although a rule of quality.yml blocks it
  allow_future    true: take a now that is in the future
  allow_refused   the name of a source or mart of which Gold may lack what is refused
"""


@click.group(name="capstone-metrics")
def cli() -> None:
    """Capstone Metrics: begin with 'kedro run'; then 'kedro dashboard', 'kedro status'.

    The project's own commands are in the group "from capstone-metrics"; 'make help' lists tasks.
    """


for command in (dashboard, package, quarantine, reset, runs, serving, source, status, verify_lake):
    cli.add_command(with_checked_options(command))
for command in (catalog, registry):
    cli.add_command(with_checked_options(with_user_errors(command)))
with_user_errors(kedro_run)


@cli.command(name="run", params=kedro_run.params, help=RUN_HELP)
@show_user_errors()
def run(**options: Any) -> None:
    """Run pipelines, or with the parameter `plan` show what a run would do."""
    for option in ("load_versions", "only_missing_outputs"):
        if options[option]:
            raise ConfigError(
                f"--{option.replace('_', '-')}: datasets here have no versions, and a run itself "
                "finds what is done; omit it."
            )
    # a job passes all of its parameters, and null for those that it leaves as they are
    params = {name: value for name, value in (options["params"] or {}).items() if value is not None}
    options["params"] = params
    _run(options)


with_checked_options(run)


def _run(options: dict[str, Any]) -> dict[str, Any]:
    """Run pipelines by Kedro, and return their free outputs.

    Raises:
        CapstoneError: if an option names what does not exist.
    """
    assert kedro_run.callback is not None
    try:
        outputs: dict[str, Any] = kedro_run.callback(**options)
    except (AttributeError, LookupError, ValueError, DatasetError) as error:
        if not user_message(error) and (unknown := unknown_choice(options)):
            raise unknown from error
        raise
    return outputs
