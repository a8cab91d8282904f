"""Tasks of other processes on a storage. Each function runs in a process of its own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from capstone_metrics.storage import storage_of
from capstone_metrics.storage.staging import staging_prefix

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TURNS = 3


def stage(root: str, test: Connection) -> None:
    """Stage an object of Silver, send its key, and wait."""
    test.send(storage_of(root).stage(staging_prefix("silver"), b"staged").key)
    test.recv()


def lock(root: str, test: Connection) -> None:
    """Lock the commits of Silver, and wait."""
    with storage_of(root).locked("silver"):
        test.send("locked")
        test.recv()


def take_turns(root: str, log: str, test: Connection) -> None:
    """Lock the commits of Silver several times, and note each time in a file."""
    lake = storage_of(root)
    test.send("ready")
    test.recv()
    for _ in range(TURNS):
        with lake.locked("silver"), open(log, "a", buffering=1) as file:  # noqa: PTH123
            file.write("in\n")
            time.sleep(0.05)  # the work of the process
            file.write("out\n")
