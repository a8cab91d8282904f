"""Errors that the user can act on, and how an error of a library is translated into one."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

READ_RACE_ERRORS = {"IOException", "HTTPException", "InvalidInputException"}
"""Class names of the errors that an engine raises for a file that changed while it was read."""

READ_RACE_MESSAGES = (
    *("Out of buffer", "TProtocolException"),  # DuckDB, if a file was replaced after it was opened
    *("FileExpired", "FileNotFoundError", "PermissionError", "OSError"),  # s3fs, within DuckDB
)
"""How the messages of such errors begin."""

WORKER_ERROR = re.compile(r"^capstone_metrics\.errors\.\w+Error: (.+)$", re.MULTILINE)
"""The last line of a Spark worker's traceback that ends with a `CapstoneError`."""


class CapstoneError(Exception):
    """One sentence that says what is wrong, where, and what to do next.

    The command line shows it without a traceback. It never contains a secret.
    """


class ConfigError(CapstoneError):
    """What was declared, or asked for on the command line, cannot be done."""


class SourceError(CapstoneError):
    """A file of a source cannot be read as it is declared."""


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


store_checks: list[Callable[[], CapstoneError | None]] = []
"""The check of the object store that an engine reads; none if it reads a folder.

It returns the error of the store, which the engine does not pass on; None if the store answers.
"""

MAX_CHOICES = 8
"""How many choices a message lists."""


def unknown_name(setting: str, name: object, choices: Collection[str]) -> ConfigError:
    """Return the error of a name that is not known, with the choices, the most similar first."""

    def distance(choice: str) -> float:
        return -SequenceMatcher(None, str(name), choice).ratio() - (str(name) in choice)

    if not choices:
        return ConfigError(f"{setting}: there is no {name!r}.")
    known = sorted(set(choices), key=lambda choice: (distance(choice), choice))
    more = ", …" if len(known) > MAX_CHOICES else ""
    shown = ", ".join(known[:MAX_CHOICES]) + more
    return ConfigError(f"{setting}: {name!r} is not one of {shown}.")


def user_message(error: BaseException) -> CapstoneError | None:
    """Return the `CapstoneError` that caused an error of Kedro or an engine, None without one.

    An error raised on a Spark worker arrives as the text of its traceback. A file that vanishes
    while the engine reads it was replaced by a concurrent run, unless the object store of the lake
    now refuses requests.
    """
    causes = list(_causes(error))
    if cause := next((cause for cause in causes if isinstance(cause, CapstoneError)), None):
        return cause
    if match := next(filter(None, (WORKER_ERROR.search(str(cause)) for cause in causes)), None):
        return CapstoneError(match[1])
    if race := next(filter(_is_read_race, causes), None):
        store_error = next(filter(None, (check() for check in store_checks)), None)
        first_line = str(race).partition("\n")[0]
        return store_error or CommitConflictError(
            f"Another run changed the lake while this run was reading it ({first_line}). Run "
            "again; if no other run is active, the file was edited or lost: rebuild the lake from "
            "Bronze, kedro run --params=full=true."
        )
    return None


def _is_read_race(error: BaseException) -> bool:
    """Return whether an engine failed because a file was deleted or replaced while it was read."""
    return type(error).__name__ in READ_RACE_ERRORS or str(error).startswith(READ_RACE_MESSAGES)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
