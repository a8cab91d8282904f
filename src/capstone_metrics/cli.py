"""The project's commands beside Kedro's own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import env_option
from kedro.framework.session import KedroSession

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving import ServingDataset


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Tell an error that the user can act on without its traceback."""
    try:
        yield
    except Exception as error:
        if ours := reason(error):
            raise click.ClickException(str(ours)) from None
        raise


@click.group(name="capstone-metrics")
def cli() -> None:
    """The commands of Capstone Metrics."""


@cli.command(name="run", params=kedro_run.params, help=kedro_run.help)
@one_sentence()
def run(**options: Any) -> None:
    """Run pipelines."""
    assert kedro_run.callback is not None
    kedro_run.callback(**options)


@cli.group()
def serving() -> None:
    """The serving database: start it, stop it, open it."""


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


def _serving(env: str | None) -> ServingDataset:
    session = KedroSession.create(env=env)
    dataset: ServingDataset = session.load_context().catalog["serving"]
    return dataset


def reason(error: BaseException) -> CapstoneError | None:
    """The error of ours that lies behind one of Kedro's, if there is one."""
    return next((cause for cause in _causes(error) if isinstance(cause, CapstoneError)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
