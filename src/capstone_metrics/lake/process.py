"""Which process is at work, and whether it still is."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS_OF_DRIFT = 5
"""By how much a process's start may seem to move when the clock is set."""


def this_process() -> dict[str, Any]:
    """The `host` and `pid` of this process, and when it `started` (seconds since 1970)."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
    }


def is_here(said: Mapping[str, Any]) -> bool:
    """Whether a process is, or was, of this machine."""
    return bool(said.get("host") == socket.gethostname())


def is_dead(said: Mapping[str, Any]) -> bool:
    """Whether a process was of this machine and lives no more; its number may be another's now."""
    if not is_here(said):
        return False
    try:
        process = psutil.Process(said["pid"])
        is_another = abs(process.create_time() - float(said["started"])) > SECONDS_OF_DRIFT
        return is_another or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
