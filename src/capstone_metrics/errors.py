"""Errors that a user can act on."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOST = {"IOException", "HTTPException", "InvalidInputException"}
LOST_TEXTS = (
    *("Out of buffer", "TProtocolException"),  # DuckDB, of a file that is not the one it opened
    *("FileExpired", "FileNotFoundError", "PermissionError", "OSError"),  # s3fs, within DuckDB's
)


class CapstoneError(Exception):
    """One sentence that says what is wrong, where, and what to do next.

    The command line shows it without a traceback. It never holds a secret.
    """


def reason(error: BaseException) -> CapstoneError | None:
    """The error of ours that lies behind one of Kedro's, if there is one.

    A file that vanishes while the engine reads it was moved by another run, unless the store of
    the lake refuses it now.
    """
    causes = list(_causes(error))
    if ours := next((cause for cause in causes if isinstance(cause, CapstoneError)), None):
        return ours
    if lost := next(filter(_is_lost, causes), None):
        remote = sys.modules.get("capstone_metrics.lake.remote")
        refused: CapstoneError | None = remote.refusal() if remote else None
        said = str(lost).partition("\n")[0]
        return refused or CapstoneError(
            f"Another run changed the lake while this one read it ({said}); run again. If none is "
            "at work, 'kedro verify' says what is wrong."
        )
    return None


def _is_lost(error: BaseException) -> bool:
    """Whether an engine could not read a file that was there before, or found another in it."""
    return type(error).__name__ in LOST or str(error).startswith(LOST_TEXTS)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
