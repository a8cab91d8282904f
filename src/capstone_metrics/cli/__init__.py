"""The project's commands beside Kedro's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession

from capstone_metrics.cli.common import catalog_of, echo_json, one_sentence
from capstone_metrics.cli.dashboard import dashboard
from capstone_metrics.cli.operations import runs, status
from capstone_metrics.errors import CapstoneError
from capstone_metrics.packaging import configure_logging, pack_configuration

if TYPE_CHECKING:
    from capstone_metrics.operations.verify import Finding, Lake
    from capstone_metrics.schemas import Publication
    from capstone_metrics.serving import ServingDataset
    from capstone_metrics.serving.compare import Comparison


PLANNED = {
    "__default__": ("bronze", "silver", "gold"),
    "ingest_bronze": ("bronze",),
    "bronze_to_silver": ("silver",),
    "silver_to_gold": ("gold",),
}
"""The layers that a plan of a pipeline is about. A publication brings the database to Gold."""


@click.group(name="capstone-metrics")
def cli() -> None:
    """The commands of Capstone Metrics."""


cli.add_command(dashboard)
cli.add_command(status)
cli.add_command(runs)


@cli.command(name="run", params=kedro_run.params, help=kedro_run.help)
@one_sentence()
def run(**options: Any) -> None:
    """Run pipelines, or with the parameter `plan` say what a run would do."""
    assert kedro_run.callback is not None
    if options["conf_source"]:
        configure_logging(options["conf_source"])
    # a job has all of its parameters, and leaves some empty
    given = {name: value for name, value in (options["params"] or {}).items() if value is not None}
    options["params"] = given
    if not given.get("plan"):
        kedro_run.callback(**options)
        return
    from rich.console import Console  # noqa: PLC0415

    from capstone_metrics.operations.plan import show_plan  # noqa: PLC0415

    chosen = options["pipelines"] or [options["pipeline"] or "__default__"]
    layers = {layer for name in chosen for layer in PLANNED.get(name, ())}
    if not layers:
        raise CapstoneError(f"plan: there is no plan of {', '.join(chosen)}.")
    planned = {**options, "pipeline": None, "pipelines": ["plan"], "tags": sorted(layers)}
    results = kedro_run.callback(**planned)
    show_plan(Console(), {name: dataset.load() for name, dataset in results.items()})


@cli.command()
@one_sentence()
def package() -> None:
    """Put the wheel, the configuration and the lock into dist, for another machine."""
    dist = Path("dist")
    for wheel in dist.glob("*.whl"):
        wheel.unlink()
    shutil.rmtree("build/lib", ignore_errors=True)  # setuptools packs what an older build left
    # with the setuptools of the lock, and not with one that is fetched
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    built = subprocess.run(build, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if built.returncode:
        click.echo(built.stdout, err=True, nl=False)
        raise CapstoneError("The wheel was not built; 'make package' installs what it needs.")
    pack_configuration(Path("conf"), dist / "conf-capstone_metrics.tar.gz")
    shutil.copyfile("requirements.lock", dist / "requirements.txt")
    for path in sorted(dist.iterdir()):
        click.echo(path)


@cli.command(name="verify")
@env_option
@click.option("--full", is_flag=True, help="Compare Silver with a rebuild from Bronze.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@one_sentence()
def verify_lake(env: str | None, full: bool, as_json: bool) -> None:
    """Check that the lake is what its receipts and manifests say; exit with 1 if it is not."""
    from capstone_metrics.operations.verify import verify  # noqa: PLC0415 - Ibis is slow to import

    catalog = catalog_of(env)
    findings = verify(_lake(catalog))
    if full:
        findings += _rebuild(catalog_of(env, full=True), catalog)
    if as_json:
        echo_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "ok  " if finding.holds else "FAIL"
            click.echo(
                f"{mark} {finding.check}" + (f": {finding.detail}" if finding.detail else "")
            )
    if not all(finding.holds for finding in findings):
        raise SystemExit(1)


@cli.group(name="quarantine", invoke_without_command=True)
@env_option
@click.option("--rule", help="Show only lines that broke this rule.")
@click.option("--lines", default=0, help="How many rejected lines to show.")
@click.pass_context
@one_sentence()
def quarantined(ctx: click.Context, env: str | None, rule: str | None, lines: int) -> None:
    """Count the rejected lines by the rule that they broke, and show some."""
    if ctx.invoked_subcommand:
        return
    catalog = catalog_of(env)
    for name, count in catalog.load("silver_head")["reasons"].items():
        click.echo(f"{count:>10}  {name}")
    rejected = catalog.load("silver_quarentena")
    if rule:
        rejected = rejected.filter(rejected.regras.contains(rule))
    some = rejected.order_by("objeto", "linha").limit(lines)
    for row in some.to_pyarrow().to_pylist() if lines else ():
        click.echo(f"{row['objeto']}:{row['linha']} {', '.join(row['regras'])}")
        click.echo(f"    {row['texto'] or row['texto_base64']}")


@quarantined.command()
@env_option
@one_sentence()
def replay(env: str | None) -> None:
    """Judge all lines of Bronze again, after a rule or a declaration was mended."""
    session: Any
    with KedroSession.create(env=env, runtime_params={"full": True}) as session:
        session.run(pipeline_names=["bronze_to_silver", "silver_to_gold"])


@cli.group()
def serving() -> None:
    """The serving database: start, stop and open it, compare it with Gold, make it again."""


@serving.command()
@env_option
@one_sentence()
def start(env: str | None) -> None:
    """Have the embedded PostgreSQL run, and say how to connect."""
    click.echo(_serving(env).how_to_connect())


@serving.command()
@env_option
@one_sentence()
def stop(env: str | None) -> None:
    """Stop the embedded PostgreSQL."""
    click.echo("Stopped." if _serving(env).server.stop() else "It was not running.")


@serving.command(context_settings={"ignore_unknown_options": True})
@env_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@one_sentence()
def psql(env: str | None, arguments: tuple[str, ...]) -> None:
    """Open the serving database in psql, as the one who only reads.

    ARGUMENTS are those of psql, such as -c "select 1".
    """
    dataset = _serving(env)
    program, options, environment = dataset.psql()
    os.execve(program, [program, *options, *arguments], {**os.environ, **environment})  # noqa: S606


@serving.command()
@env_option
@one_sentence()
def ddl(env: str | None) -> None:
    """Print the SQL that sets a database up: roles, schema, tables of the marts, rights."""
    from capstone_metrics.schemas import marts_of  # noqa: PLC0415 - Ibis is slow to import
    from capstone_metrics.serving.tables import ddl as script  # noqa: PLC0415

    click.echo(script(marts_of(catalog_of(env).load("params:marts"))), nl=False)


@serving.command()
@env_option
@click.option("--rows", default=10, help="How many rows of each kind to show; 10 unless said.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@one_sentence()
def diff(env: str | None, rows: int, as_json: bool) -> None:
    """Show what publishing Gold would change in the database, and change nothing."""
    catalog = catalog_of(env)
    compared = catalog["serving"].compare(_publication(catalog))
    if as_json:
        echo_json(compared.facts(rows))
        return
    for statement in compared.ended:
        click.echo(statement)
    for each in compared.differences:
        click.echo(f"serving.{each.mart.name}: {'; '.join(each.parts) or 'as in Gold'}")
        for line in each.lines(rows):
            click.echo(f"    {line}")
    if compared.losses:
        click.echo(f"Refused without --params=allow_shrink=true: {', '.join(compared.losses)}")


@serving.command()
@env_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@one_sentence()
def check(env: str | None, as_json: bool) -> None:
    """Compare every row and right of the database with Gold; exit with 1 if one differs."""
    catalog = catalog_of(env)
    compared = catalog["serving"].compare(_publication(catalog))
    if as_json:
        echo_json(compared.facts())
    else:
        _show_check(compared)
    if not compared.is_equal:
        raise SystemExit(1)


def _show_check(compared: Comparison) -> None:
    for each in compared.differences:
        mark = "FAIL" if each.parts else "ok  "
        why = f": {'; '.join(each.parts)}" if each.parts else ""
        click.echo(f"{mark} serving.{each.mart.name}{why}")
    if not compared.is_published:
        click.echo("FAIL the ledger: the latest publication was not of this Gold; publish it.")
    elif not compared.is_equal:
        click.echo("The tables were changed by hand: 'kedro serving recreate' makes them right.")


@serving.command()
@env_option
@click.option("--allow-shrink", is_flag=True, help="Even if Gold has much less than before.")
@one_sentence()
def recreate(env: str | None, allow_shrink: bool) -> None:
    """Make the database from Gold alone: what is missing, and every row that differs."""
    catalog = catalog_of(env, allow_shrink=allow_shrink)
    saved = catalog["serving"].recreate(_publication(catalog))
    click.echo(
        f"{saved.rows:,} rows written, {saved.removed:,} removed; all others were as in Gold."
    )


def _publication(catalog: Any) -> Publication:
    """Gold, as a run would publish it."""
    from capstone_metrics.pipelines import publish_gold  # noqa: PLC0415 - Ibis is slow to import
    from capstone_metrics.schemas import marts_of  # noqa: PLC0415

    marts = marts_of(catalog.load("params:marts"))
    (publish,) = publish_gold.create_pipeline(list(marts)).nodes
    made = publish.run({name: catalog.load(name) for name in publish.inputs})
    published: Publication = made["serving"]
    return published


def _serving(env: str | None) -> ServingDataset:
    dataset: ServingDataset = catalog_of(env)["serving"]
    return dataset


def _lake(catalog: Any) -> Lake:
    from capstone_metrics.operations.verify import Lake  # noqa: PLC0415

    manifest = catalog.load("gold_manifest")
    return Lake(
        bronze=catalog.load("bronze_measures"),
        receipts=catalog.load("silver_receipts"),
        head=catalog.load("silver_head"),
        silver=catalog.load("silver_criacao"),
        places=catalog.load("silver_places"),
        quarantine=catalog.load("silver_quarentena"),
        manifest=manifest,
        marts={name: catalog.load(name).to_pyarrow() for name in manifest["marts"]},
    )


def _rebuild(anew: Any, catalog: Any) -> list[Finding]:
    """Silver and its quarantine, from all of Bronze and nothing else, beside those in the lake."""
    from capstone_metrics.operations.verify import differences  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.judge import observe  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.merge import (  # noqa: PLC0415
        merge,
        quarantine,
    )

    params = (catalog.load(f"params:{name}") for name in ("sources", "networks", "schedule"))
    judged = observe(anew.load("bronze_criacao@pending"), *params)
    silver, *_ = merge(judged)
    rejected, _ = quarantine(judged)
    return [
        differences(name, catalog.load(name), change.rows)
        for name, change in (("silver_criacao", silver), ("silver_quarentena", rejected))
    ]
