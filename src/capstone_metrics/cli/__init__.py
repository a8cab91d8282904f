"""Commands of the project, in addition to Kedro's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.catalog import catalog
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.registry import registry
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.utils import find_kedro_project

from capstone_metrics.cli.choices import unknown_choice
from capstone_metrics.cli.common import (
    echo_json,
    environments,
    load_catalog,
    require_layers,
    show_user_errors,
    with_user_errors,
)
from capstone_metrics.cli.dashboard import dashboard
from capstone_metrics.cli.operations import runs, status
from capstone_metrics.cli.reset import reset
from capstone_metrics.cli.servers import stop_programs
from capstone_metrics.cli.source import source
from capstone_metrics.errors import CapstoneError, unknown_name, user_message
from capstone_metrics.packaging import pack_configuration

if TYPE_CHECKING:
    from capstone_metrics.operations.verify import VerifyResult
    from capstone_metrics.schemas import Publication
    from capstone_metrics.serving import ServingDataset
    from capstone_metrics.serving.compare import Comparison


RUN_HELP = """Ingest what is due, and take it through Silver and Gold to PostgreSQL.

\b
Parameters of a run, as --params=now=2026-01-31T20:05,full=true:
  now             the instant of the run, local without an offset
  from, to        a backfill: the first and last day or window, 2026-01-31 or 2026-01-31T08
  plan            true: show what the run would change, and change nothing
  full            true: rebuild Silver and Gold from Bronze
  allow_shrink    true: publish a mart that has lost much
  allow_findings  true: build Gold although a rule of quality.yml blocks it
"""


@click.group(name="capstone-metrics")
def cli() -> None:
    """Capstone Metrics: begin with 'kedro run'; then 'kedro dashboard', 'kedro status'.

    The project's own commands are in the group "from capstone-metrics"; 'make help' lists tasks.
    """


cli.add_command(dashboard)
cli.add_command(status)
cli.add_command(runs)
cli.add_command(reset)
cli.add_command(source)
for command in (catalog, registry):
    cli.add_command(with_user_errors(command))
with_user_errors(kedro_run)


@cli.command(name="run", params=kedro_run.params, help=RUN_HELP)
@show_user_errors()
def run(**options: Any) -> None:
    """Run pipelines, or with the parameter `plan` show what a run would do."""
    # a job passes all of its parameters, and leaves some empty
    params = {name: value for name, value in (options["params"] or {}).items() if value is not None}
    options["params"] = params
    _run(options)


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


@cli.command()
@show_user_errors()
def package() -> None:
    """Build the wheel, the configuration and the lock into dist, for another machine."""
    os.chdir(find_kedro_project(Path.cwd()) or Path.cwd())
    dist = Path("dist")
    for wheel in dist.glob("*.whl"):
        wheel.unlink()
    shutil.rmtree("build/lib", ignore_errors=True)  # else setuptools packs files of an older build
    # --no-isolation: the locked setuptools, not a downloaded one
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    build = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if build.returncode:
        click.echo(build.stdout, err=True, nl=False)
        raise CapstoneError(
            "The wheel could not be built; run 'make package', which installs the build tools."
        )
    pack_configuration(Path("conf"), dist / "conf-capstone_metrics.tar.gz")
    shutil.copyfile("requirements.lock", dist / "requirements.txt")
    for path in sorted(dist.iterdir()):
        click.echo(path)


@cli.command(name="verify")
@env_option
@click.option("--full", is_flag=True, help="Compare Silver with a rebuild from Bronze.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@show_user_errors()
def verify_lake(env: str | None, full: bool, as_json: bool) -> None:
    """Check the lake against its receipts and manifests.

    The exit code is 0 if every check holds, 1 if one fails or there is no lake.
    """
    from capstone_metrics.operations.verify import Lake, verify  # noqa: PLC0415 - Ibis is slow

    catalog = load_catalog(env)
    require_layers(catalog, "silver", "gold")
    results = verify(Lake(catalog.load))
    if full:
        results += _compare_with_rebuild(catalog)
    if as_json:
        echo_json([asdict(result) for result in results])
    else:
        for result in results:
            mark = "ok  " if result.holds else "FAIL"
            click.echo(f"{mark} {result.check}" + (f": {result.detail}" if result.detail else ""))
    if not all(result.holds for result in results):
        raise SystemExit(1)


@cli.group(name="quarantine", invoke_without_command=True)
@env_option
@click.option("--rule", help="Show only lines that broke this rule.")
@click.option("--lines", default=0, help="How many rejected lines to show.")
@click.pass_context
@show_user_errors()
def quarantine_group(ctx: click.Context, env: str | None, rule: str | None, lines: int) -> None:
    """Count the rejected lines by the rule they broke, and show some of them."""
    if ctx.invoked_subcommand:
        return
    catalog = load_catalog(env)
    require_layers(catalog, "silver")
    reasons = catalog.load("silver").head["reasons"]
    if rule and rule not in reasons:
        raise unknown_name("--rule", rule, reasons)
    if not reasons:
        click.echo("No line is in quarantine.")
    for name, count in reasons.items():
        click.echo(f"{count:>10}  {name}")
    rejected = catalog.load("silver_quarentena")
    if rule:
        rejected = rejected.filter(rejected.regras.contains(rule))
    shown = rejected.order_by("objeto", "linha").limit(lines)
    for row in shown.to_pyarrow().to_pylist() if lines else ():
        click.echo(f"{row['objeto']}:{row['linha']} {', '.join(row['regras'])}")
        click.echo(f"    {row['texto'] or row['texto_base64']}")


@quarantine_group.command()
@env_option
@show_user_errors()
def replay(env: str | None) -> None:
    """Validate all lines of Bronze again, after a rule or a declaration was fixed."""
    session: Any
    with KedroSession.create(env=env, runtime_params={"full": True}) as session:
        session.run(pipeline_names=["bronze_to_silver", "silver_to_gold"])


@cli.group()
def serving() -> None:
    """Start, stop and open the serving database; compare it with Gold; rebuild it."""


@serving.command()
@env_option
@show_user_errors()
def start(env: str | None) -> None:
    """Start the embedded PostgreSQL and print the command to connect."""
    click.echo(_serving_dataset(env).connect_command())


@serving.command()
@env_option
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also of all environments, and the project's dashboards, lineage and notebooks.",
)
@show_user_errors()
def stop(env: str | None, everything: bool) -> None:
    """Stop the embedded PostgreSQL."""
    if not everything:
        click.echo("Stopped." if _serving_dataset(env).server.stop() else "It was not running.")
        return
    for name in stop_programs(find_kedro_project(Path.cwd()) or Path.cwd()):
        click.echo(f"Stopped {name}.")
    for environment in environments():
        server = _serving_dataset(environment).server
        if server.stop():
            click.echo(f"Stopped the PostgreSQL in {server.folder}.")


@serving.command(context_settings={"ignore_unknown_options": True})
@env_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@show_user_errors()
def psql(env: str | None, arguments: tuple[str, ...]) -> None:
    """Open the serving database in psql, as the read-only role.

    ARGUMENTS are options of psql, such as -c "select 1".
    """
    dataset = _serving_dataset(env)
    program, options, environment = dataset.psql()
    os.execve(program, [program, *options, *arguments], {**os.environ, **environment})  # noqa: S606


@serving.command()
@env_option
@show_user_errors()
def ddl(env: str | None) -> None:
    """Print the SQL that sets up a database: roles, schema, tables of the marts, privileges."""
    from capstone_metrics.schemas import marts_of  # noqa: PLC0415 - Ibis is slow to import
    from capstone_metrics.serving.tables import ddl as script  # noqa: PLC0415

    click.echo(script(marts_of(load_catalog(env).load("params:marts"))), nl=False)


@serving.command()
@env_option
@click.option("--rows", default=10, help="How many rows of each kind to show (default: 10).")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@show_user_errors()
def diff(env: str | None, rows: int, as_json: bool) -> None:
    """Show what publishing Gold would change in the database, without changing it."""
    catalog = load_catalog(env)
    comparison = catalog["serving"].compare(_load_publication(catalog))
    if as_json:
        echo_json(comparison.to_dict(rows))
        return
    for statement in comparison.drop_statements:
        click.echo(statement)
    for each in comparison.differences:
        click.echo(f"serving.{each.mart.name}: {'; '.join(each.summary) or 'as in Gold'}")
        for line in each.row_lines(rows):
            click.echo(f"    {line}")
    if comparison.losses:
        click.echo(f"Refused without --params=allow_shrink=true: {', '.join(comparison.losses)}")


@serving.command()
@env_option
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
@show_user_errors()
def check(env: str | None, as_json: bool) -> None:
    """Compare all rows and privileges of the database with Gold; exit with 1 if any differs."""
    catalog = load_catalog(env)
    comparison = catalog["serving"].compare(_load_publication(catalog))
    if as_json:
        echo_json(comparison.to_dict())
    else:
        _print_check(comparison)
    if not comparison.is_equal:
        raise SystemExit(1)


def _print_check(comparison: Comparison) -> None:
    for each in comparison.differences:
        mark = "FAIL" if each.summary else "ok  "
        detail = f": {'; '.join(each.summary)}" if each.summary else ""
        click.echo(f"{mark} serving.{each.mart.name}{detail}")
    if not comparison.is_published:
        click.echo("FAIL the ledger: the latest publication was not of this Gold; publish it.")
    elif not comparison.is_equal:
        click.echo("The tables were changed by hand; 'kedro serving recreate' restores them.")


@serving.command()
@env_option
@click.option(
    "--allow-shrink", is_flag=True, help="Publish even if Gold has much less than before."
)
@show_user_errors()
def recreate(env: str | None, allow_shrink: bool) -> None:
    """Rebuild the database from Gold alone: what is missing, and every row that differs."""
    catalog = load_catalog(env, allow_shrink=allow_shrink)
    stats = catalog["serving"].recreate(_load_publication(catalog))
    click.echo(f"{stats.rows:,} rows written, {stats.removed:,} removed; all others matched Gold.")


def _load_publication(catalog: Any) -> Publication:
    """Return Gold as a run would publish it."""
    from capstone_metrics.pipelines import publish_gold  # noqa: PLC0415 - Ibis is slow to import

    require_layers(catalog, "gold")
    (node,) = publish_gold.create_pipeline().nodes
    outputs = node.run({name: catalog.load(name) for name in node.inputs})
    publication: Publication = outputs["serving"]
    return publication


def _serving_dataset(env: str | None) -> ServingDataset:
    dataset: ServingDataset = load_catalog(env)["serving"]
    return dataset


def _compare_with_rebuild(catalog: Any) -> list[VerifyResult]:
    """Compare Silver and the quarantine with a rebuild of them from all of Bronze."""
    from capstone_metrics.operations.verify import compare_tables  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.increment import find_increment  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.merge import merge  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.validate import validate  # noqa: PLC0415

    sources, *params = (
        catalog.load(f"params:{name}") for name in ("sources", "networks", "schedule")
    )
    silver, bronze = catalog.load("silver"), catalog.load("bronze_criacao")
    increment = find_increment(silver, bronze, sources, True, None, None)
    rebuilt = merge(validate(increment, sources, *params))
    return [
        compare_tables(f"silver_{name}", silver.tables[name], rebuilt.overwrites[name].rows)
        for name in ("criacao", "quarentena")
    ]
