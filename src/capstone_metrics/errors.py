"""Errors that the user can act on. An error of a library becomes one where it is called."""

from __future__ import annotations

import re
import shlex
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class CapstoneError(Exception):
    """One sentence that says what is wrong, where, and what to do next.

    The command line shows it without a traceback. It never contains a secret.
    """


class ConfigError(CapstoneError):
    """What was declared, or asked for on the command line, cannot be done."""


class SourceError(CapstoneError):
    """A file of a source cannot be read as it is declared."""


class SourceChangedError(SourceError):
    """A file of a source changed while it was read, as one does that is still being copied."""


class DataError(CapstoneError):
    """The lines of a layer are not what the next layer may be made of."""


class StorageError(CapstoneError):
    """The lake cannot be read or written, or is not as its last commit left it."""


class CommitConflictError(StorageError):
    """Another run writes to the layer that this run commits."""


class EngineError(CapstoneError):
    """Spark does not answer, or fails."""


class ServingError(CapstoneError):
    """The database cannot be started, reached or published to."""


COMMAND = re.compile(
    r"\bkedro (?:run|status|verify|reset|runs(?: show [\w.-]+)?|quarantine(?: replay)?"
    r"|serving [a-z]+)\b(?! --env)"
)
"""A command that a message names, which is about an environment."""

MAX_CHOICES = 8
"""How many choices a message lists."""

SIMILAR = 0.6
"""The ratio of `SequenceMatcher` from which two names are alike."""


def unknown_name(
    setting: str, name: object, choices: Collection[str], declared_in: str = ""
) -> ConfigError:
    """Return the error of a name that is not known, with the nearest choices.

    Those that are similar come first, the most similar before the others, which are sorted.

    Args:
        setting: what names it.
        name: the name.
        choices: the known names.
        declared_in: the parameter in which others may be declared; empty for none.
    """

    def similarity(choice: str) -> float:
        return SequenceMatcher(None, str(name), choice).ratio() + (str(name) in choice)

    def rank(choice: str) -> float:
        return -similarity(choice) if similarity(choice) >= SIMILAR else 0

    if not choices:
        return ConfigError(f"{setting}: there is no {name!r}.")
    known = sorted(set(map(str, choices)), key=lambda choice: (-similarity(choice), choice))
    nearest = sorted(known[:MAX_CHOICES], key=lambda choice: (rank(choice), choice))
    more = ", …" if len(known) > MAX_CHOICES else ""
    hint = f"; correct it, or add it to {declared_in}" if declared_in else ""
    return ConfigError(f"{setting}: {name!r} is not one of {', '.join(nearest)}{more}{hint}.")


def environment_option(environment: str | None) -> str:
    """Return the option of a command that names an environment; nothing for the default."""
    return f" --env={shlex.quote(environment)}" if environment else ""


def name_environment(message: str, environment: str) -> str:
    """Return a message with the environment in the commands that it names; none for the default."""
    return COMMAND.sub(lambda command: f"{command[0]}{environment_option(environment)}", message)


def os_error_message(error: OSError, path: object) -> str:
    """Return the path and the cause of an error of the operating system, to begin a sentence.

    Args:
        error: the error.
        path: the path that was in use, where the error has none.
    """
    failed_path = error.filename2 or error.filename or path
    return f"{failed_path}: {(error.strerror or str(error)).lower()}"


def user_message(error: BaseException) -> CapstoneError | None:
    """Return the `CapstoneError` that caused an error, such as one of Kedro; None without one."""
    known = (cause for cause in causes(error) if isinstance(cause, CapstoneError))
    return next(known, None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
