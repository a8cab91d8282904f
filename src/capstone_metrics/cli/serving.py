"""Commands about the serving database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option

from capstone_metrics.cli.common import (
    echo_json,
    environments,
    load_catalog,
    project_folder,
    require_layers,
)
from capstone_metrics.cli.servers import stop_programs
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.pipelines import publish_gold
from capstone_metrics.validation.silver import columns_of

if TYPE_CHECKING:
    from capstone_metrics.publication import Publication
    from capstone_metrics.serving import ServingDataset
    from capstone_metrics.serving.compare import Comparison


@click.group()
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
    for name in stop_programs(project_folder()):
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
    from capstone_metrics.serving.tables import ddl as script  # noqa: PLC0415 - psycopg2 is slow

    catalog = load_catalog(env)
    marts, columns = (catalog.load(f"params:{name}") for name in ("marts", "columns"))
    click.echo(script(marts_of(marts, columns_of(columns))), nl=False)


@serving.command()
@env_option
@click.option(
    "--rows",
    default=10,
    type=click.IntRange(0, 1_000_000),
    help="How many rows of each kind to show (default: 10).",
)
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
    click.echo(f"serving.definitions: {'; '.join(comparison.definitions) or 'as declared'}")
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
    if comparison.definitions:
        click.echo(f"FAIL serving.definitions: {'; '.join(comparison.definitions)}; publish them.")
    else:
        click.echo("ok   serving.definitions")
    if not comparison.is_published:
        click.echo("FAIL the ledger: the latest publication was not of this Gold; publish it.")
    elif comparison.has_other_rows:
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
    require_layers(catalog, "gold")
    (node,) = publish_gold.create_pipeline().nodes
    outputs = node.run({name: catalog.load(name) for name in node.inputs})
    publication: Publication = outputs["serving"]
    return publication


def _serving_dataset(env: str | None) -> ServingDataset:
    dataset: ServingDataset = load_catalog(env)["serving"]
    return dataset
