"""Helpers of the project's commands."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

import click
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession

from capstone_metrics.errors import user_message
from capstone_metrics.operations.listeners.logs import is_json, json_logs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

log = logging.getLogger(__name__)


class UserError(click.ClickException):
    """An error shown in one sentence without a traceback, or as a log line where logs are JSON."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the error."""
        if is_json():
            json_logs.install()
            log.error("%s", self.message)
        else:
            super().show(file)


@contextlib.contextmanager
def show_user_errors() -> Iterator[None]:
    """Show an error that the user can act on in one sentence, without its traceback."""
    try:
        yield
    except MissingConfigException as error:
        raise UserError(
            f"{error}. Name an environment with --env, and its configuration with --conf-source."
        ) from None
    except Exception as error:
        if message := user_message(error):
            raise UserError(str(message)) from None
        raise


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
