"""Helpers of the project's commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.utils import find_kedro_project

from capstone_metrics.configuration import Configuration
from capstone_metrics.errors import CapstoneError, environment_option


def environments() -> list[str]:
    """Return the names of the environments, without that which the others override."""
    names = (path.name for path in configuration_folder().glob("*/") if path.is_dir())
    return sorted(name for name in names if name != settings.CONFIG_LOADER_ARGS["base_env"])


def environment_name(env: str | None) -> str:
    """Return the name of an environment; None for the default."""
    return str(env or settings.CONFIG_LOADER_ARGS["default_run_env"])


def project_folder() -> Path:
    """Return the folder of the project that the command is run in."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def configuration_folder() -> Path:
    """Return the folder of the configuration that this command reads."""
    return Path(command_option("conf_source") or project_folder() / settings.CONF_SOURCE)


def configuration_files() -> Configuration:
    """Return the files of the configuration that this command reads."""
    base = settings.CONFIG_LOADER_ARGS["base_env"]
    params: Any = command_option("params") or {}
    environments_read = (base, environment_name(command_option("env")))
    return Configuration(configuration_folder(), environments_read, params)


def command_option(name: str) -> str | None:
    """Return an option of the command that is running."""
    context = click.get_current_context(silent=True)
    value: str | None = context.params.get(name) if context else None
    return value


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def load_catalog(env: str | None, **params: Any) -> Any:
    """Return the catalog of an environment.

    Args:
        env: the name of the environment; None for the default.
        params: runtime parameters of this command.
    """
    session = KedroSession.create(env=env, runtime_params=params)
    return session.load_context().catalog


def require_layers(catalog: Any, *layers: str) -> None:
    """Check that the lake has layers.

    Args:
        catalog: the catalog of an environment.
        layers: the datasets of the layers, `silver` and `gold`.

    Raises:
        CapstoneError: if one is missing, as in a lake that was never run.
    """
    missing = [layer.capitalize() for layer in layers if not catalog.exists(layer)]
    if not missing:
        return
    root = catalog[layers[0]].storage.root
    env = environment_option(command_option("env"))
    if catalog.exists("silver") or catalog.exists("bronze_criacao"):
        raise CapstoneError(
            f"{root} has no {' and no '.join(missing)} yet; run 'kedro run{env}' first. "
            f"'kedro status{env}' says what is refused or has failed."
        )
    raise CapstoneError(f"There is no lake in {root} yet; run 'kedro run{env}' first.")
