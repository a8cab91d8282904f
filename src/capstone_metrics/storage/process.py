"""Identify processes, and detect dead ones."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

START_TOLERANCE_SECONDS = 5
"""How much the start time of a process may appear to move when the clock is adjusted."""


def this_process() -> dict[str, Any]:
    """Return the `host` and `pid` of this process, and when it `started` (Unix time, seconds)."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
    }


def is_local(process: Mapping[str, Any]) -> bool:
    """Return whether a process runs, or ran, on this machine."""
    return bool(process.get("host") == socket.gethostname())


def is_dead(process: Mapping[str, Any]) -> bool:
    """Return whether a process of this machine has ended; its id may have been reused.

    Args:
        process: its `host`, its `pid`, and when it `started`, or else its `latest_start`.
    """
    if not is_local(process):
        return False
    try:
        current = psutil.Process(process["pid"])
        start = current.create_time()
        is_reused = (
            abs(start - float(process["started"])) > START_TOLERANCE_SECONDS
            if "started" in process
            else start > float(process["latest_start"]) + START_TOLERANCE_SECONDS
        )
        return is_reused or current.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
