"""The command that checks a lake."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option

from capstone_metrics.cli.common import echo_json, load_catalog, require_layers
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import DataError, name_environment

if TYPE_CHECKING:
    from capstone_metrics.changes import SilverSnapshot
    from capstone_metrics.operations.verify import VerifyResult


@click.command(name="verify")
@env_option
@click.option("--full", is_flag=True, help="Compare Silver with a rebuild from Bronze.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@show_user_errors()
def verify_lake(env: str | None, full: bool, as_json: bool) -> None:
    """Check the lake against its receipts and manifests.

    The exit code is 0 if every check holds, 1 if one fails or there is no lake.
    """
    from capstone_metrics.operations.verify import Lake, verify  # noqa: PLC0415 - pyarrow is slow

    catalog = load_catalog(env)
    require_layers(catalog, "silver", "gold")
    lake = Lake(catalog.load)
    results = verify(lake)
    if full:
        results += _compare_with_rebuild(catalog, lake.silver)
    results = [replace(each, detail=name_environment(each.detail, env or "")) for each in results]
    if as_json:
        echo_json([asdict(result) for result in results])
    else:
        for result in results:
            mark = "ok  " if result.holds else "FAIL"
            click.echo(f"{mark} {result.check}" + (f": {result.detail}" if result.detail else ""))
    if not all(result.holds for result in results):
        raise SystemExit(1)


def _compare_with_rebuild(catalog: Any, silver: SilverSnapshot) -> list[VerifyResult]:
    """Compare the tables of Silver with a rebuild of them from all of Bronze."""
    # pyarrow, which each of these imports, is slow
    from capstone_metrics.operations.verify import compare_tables  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.increment import find_increment  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.merge import merge  # noqa: PLC0415
    from capstone_metrics.pipelines.bronze_to_silver.validate import validate  # noqa: PLC0415

    sources, networks, columns, schedule = (
        catalog.load(f"params:{name}") for name in ("sources", "networks", "columns", "schedule")
    )
    bronze = catalog.load("bronze_criacao")
    if silver.columns != columns:
        raise DataError(
            "Silver has other columns than are declared; run 'kedro run', which builds it again."
        )
    increment = find_increment(
        silver, bronze, sources, networks, columns, True, None, None, list(sources)
    )
    rebuilt = merge(validate(increment, sources, networks, columns, schedule))
    return [
        compare_tables(f"silver_{name}", silver.tables[name], rebuilt.overwrites[name].rows)
        for name in ("criacao", "observacao_dia", "quarentena")
    ]
