"""Commands about the files of sources: what they would give, and how to declare them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option

from capstone_metrics.cli.common import echo_json, load_catalog, show_user_errors
from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from capstone_metrics.sources.preview import Preview

SHOWN_RECORDS = 10


@click.group()
def source() -> None:
    """Recognise an export, show what it would give, and add it to an environment."""


@source.command()
@env_option
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--preset", help="The export that the file is; recognised if left out.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="A value that the file lacks, such as faculdade='Escola Azul'; timezone is one, too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print every record as JSON.")
@show_user_errors()
def preview(
    env: str | None, file: Path, preset: str | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Show what FILE would give: rows, ignored and rejected records. Nothing is written."""
    from capstone_metrics.sources.preview import Arrival, preview_file  # noqa: PLC0415 - only here

    catalog = load_catalog(env)
    schedule, networks = (catalog.load(f"params:{name}") for name in ("schedule", "networks"))
    arrival = Arrival(networks, dt.datetime.now(dt.UTC), schedule["timezone"])
    name, result = preview_file(file, preset, _overrides(settings), arrival)
    if as_json:
        echo_json({"preset": name, **result.to_dict()})
    else:
        _show(name, result)
        if result.refused:
            raise SystemExit(1)


def _overrides(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return the options of a source that `--set` gives."""
    from capstone_metrics.validation.silver import SILVER  # noqa: PLC0415 - only here

    overrides: dict[str, Any] = {"fields": {}, "defaults": {}}
    for each in settings:
        column, sign, value = each.partition("=")
        if sign and column == "timezone":
            overrides["defaults"]["timezone"] = value
        elif sign and column in SILVER:
            overrides["fields"][column] = {"constant": value}
        else:
            raise CapstoneError(
                f"--set: {each!r} is not COLUMN=VALUE; choose from {', '.join(SILVER)}, timezone."
            )
    return overrides


def _show(preset: str | None, result: Preview) -> None:
    """Print a preview."""
    if preset:
        click.echo(f"preset      {preset}")
    for file, why in result.refused.items():
        click.echo(f"refused     {file}: {why}")
    counts = {name: len(getattr(result, name)) for name in ("rows", "superseded")}
    counts |= {name: len(getattr(result, name)) for name in ("ignored", "rejected")}
    click.echo(
        f"records     {sum(counts.values())} = " + " + ".join(f"{n} {k}" for k, n in counts.items())
    )
    for row in result.rows[:SHOWN_RECORDS]:
        values = (
            f"{k}={v}" for k, v in row.items() if v is not None and k not in {"file", "run_id"}
        )
        click.echo(f"  {', '.join(values)}")
    for each in result.ignored[:SHOWN_RECORDS]:
        click.echo(f"  ignored   record {each['record']}: {each['rule']}")
    for each in result.rejected[:SHOWN_RECORDS]:
        click.echo(
            f"  rejected  record {each['record']}: {', '.join(each['rules'])}: {each['text']}"
        )
