"""What the project's commands share."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

import click
from kedro.config import MissingConfigException
from kedro.framework.session import KedroSession

from capstone_metrics.errors import reason
from capstone_metrics.operations.listeners.logs import is_json, json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

log = logging.getLogger(__name__)


class Sentence(click.ClickException):
    """An error that is told in one sentence, where logs are JSON as one of their lines."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Tell it."""
        if is_json():
            json_lines.install()
            log.error("%s", self.message)
        else:
            super().show(file)


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Tell an error that the user can act on without its traceback."""
    try:
        yield
    except MissingConfigException as error:
        raise Sentence(
            f"{error}. --env names an environment, and --conf-source where its configuration is."
        ) from None
    except Exception as error:
        if ours := reason(error):
            raise Sentence(str(ours)) from None
        raise


def echo_json(facts: Any) -> None:
    """Print facts for a machine."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False))


def catalog_of(env: str | None, **params: Any) -> Any:
    """The catalog of an environment.

    Args:
        env: its name; the default one unless said.
        params: what is said of this command and not declared.
    """
    session = KedroSession.create(env=env, runtime_params=params)
    return session.load_context().catalog
