"""Commands about rejected lines."""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession

from capstone_metrics.cli.common import load_catalog, require_layers
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import unknown_name
from capstone_metrics.refusals import FILE_OBJECT
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.silver import columns_of


@click.group(name="quarantine", invoke_without_command=True)
@env_option
@click.option("--rule", help="Show only lines that broke this rule.")
@click.option(
    "--lines", default=0, type=click.IntRange(0, 1_000_000), help="How many rejected lines to show."
)
@click.pass_context
@show_user_errors()
def quarantine(ctx: click.Context, env: str | None, rule: str | None, lines: int) -> None:
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
        if rule in {None, name}:
            click.echo(f"{count:>10}  {name}")
    rejected = catalog.load("silver_quarentena")
    if rule:
        rejected = rejected.filter(rejected.regras.contains(rule))
    shown = rejected.order_by("objeto", "linha").limit(lines)
    if not lines:
        return
    from capstone_metrics.sources import Declarations, files  # noqa: PLC0415 - slow, only for lines

    rows = shown.to_pyarrow().to_pylist()
    sources, columns = (catalog.load(f"params:{name}") for name in ("sources", "columns"))
    names = {row["objeto"] for row in rows}
    declared = Declarations.of(sources, columns=columns_of(columns))
    paths = files.files_of(declared.of_files, names)
    for row in rows:
        file, fonte = paths.get(row["objeto"]), parse_object_name(row["objeto"])[0]
        if not file and FILE_OBJECT.search(row["objeto"]):
            file = f"a file of {fonte} that is no longer there as it was"
        place = f"{file}, record {row['linha']}:" if file else f"{row['objeto']}:{row['linha']}"
        click.echo(f"{place} {', '.join(row['regras'])}")
        click.echo(f"    {row['texto'] or row['texto_base64']}")


@quarantine.command()
@env_option
@show_user_errors()
def replay(env: str | None) -> None:
    """Validate all lines of Bronze again, after a rule or a declaration was fixed."""
    session: Any
    with KedroSession.create(env=env, runtime_params={"full": True}) as session:
        session.run(pipeline_names=["bronze_to_silver", "silver_to_gold"])
