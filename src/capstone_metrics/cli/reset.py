"""The command that starts an environment over."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.utils import env_option
from kedro.framework.project import settings

from capstone_metrics.cli.common import environment_name, environments, load_catalog, project_folder
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import CapstoneError, environment_option
from capstone_metrics.sources.files import matching_files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving import ServingDataset
    from capstone_metrics.storage.base import Storage


@click.command()
@env_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@show_user_errors()
def reset(env: str | None, yes: bool) -> None:
    """Start an environment over: remove its lake and its database, after asking.

    What sources read, other environments and a server of your own are left as they are.
    """
    from capstone_metrics.lake.removal import (  # noqa: PLC0415 - pyarrow is slow to import
        LAYERS,
        remove_lake,
    )

    name = environment_name(env)
    catalog = load_catalog(env)
    serving: ServingDataset = catalog["serving"]
    storage: Storage = catalog["silver"].storage
    keys = {layer: storage.keys(layer) for layer in LAYERS}
    if not storage.is_remote:
        _check_others([Path(storage.address(layer)) for layer in LAYERS])
    removals = [f"{storage.address(layer)}: {len(keys[layer]):,} files" for layer in LAYERS[::-1]]
    removals = [each for each, layer in zip(removals, LAYERS[::-1], strict=True) if keys[layer]]
    if not serving.remote and serving.has_database():
        removals.append(f"the database {serving.database} of the server in {serving.server.folder}")
    if serving.remote:
        click.echo("Your own server, which CAPSTONE_DSN names, is left as it is.")
    if not removals:
        click.echo(f"The environment {name} has nothing to remove.")
        return
    click.echo("\n  ".join([f"A reset of the environment {name} removes", *removals]))
    if not yes:
        _ask()
    remove_lake(storage)
    if not serving.remote:
        serving.drop_database()
    click.echo(f"Removed. 'kedro run{environment_option(name)}' begins anew.")


def _ask() -> None:
    """Ask whether to remove it.

    Raises:
        CapstoneError: if the answer is not yes, or there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise CapstoneError(
            "Nothing was removed: without a terminal to ask on, give --yes, or ARGS=--yes to make."
        )
    if not click.confirm("and nothing else. Remove it?"):
        raise CapstoneError("Nothing was removed.")


@dataclass(frozen=True)
class _Other:
    """A path that must survive, and what it is."""

    path: Path
    name: str


def _check_others(layers: list[Path]) -> None:
    """Check that nothing else lies in the folders of a lake's layers.

    Raises:
        CapstoneError: if a file that a source reads does, or the lake or server of an environment.
    """
    folders = [layer.resolve() for layer in layers]
    for other in _others():
        if any(other.path.resolve().is_relative_to(folder) for folder in folders):
            raise CapstoneError(
                f"{other.path}: {other.name} lies in the lake that would be removed; nothing was "
                "removed. Move it elsewhere, and declare its new place."
            )


def _others() -> Iterator[_Other]:
    """Yield the files that sources read, and the lakes and servers of all environments."""
    project = project_folder()
    for env in environments():
        loader: Any = settings.CONFIG_LOADER_CLASS(
            str(project / settings.CONF_SOURCE), env, **settings.CONFIG_LOADER_ARGS
        )
        for setting in ("lake", "postgres"):
            if isinstance(path := loader["globals"][setting], str):
                yield _Other(project / path, f"{setting} of the environment {env}")
        for source, declared in loader["parameters"]["sources"].items():
            pattern = declared.get("path") if isinstance(declared, Mapping) else None
            for path in matching_files(str(project / pattern)) if isinstance(pattern, str) else ():
                yield _Other(path, f"a file of the source {source}")
