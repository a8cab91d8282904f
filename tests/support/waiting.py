"""Waiting for a state, of a server or of a thread, that gives no event."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 120
"""After this time what is waited for is taken to hang."""


def wait_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Ask again and again whether a condition holds, until it does.

    Raises:
        TimeoutError: if it never does.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so after {seconds} s: {condition}")
        time.sleep(0.01)
