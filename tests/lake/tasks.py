"""Tasks of other processes on a lake. Each function runs in a process of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from capstone_metrics.lake import transaction
from capstone_metrics.lake.transaction import SILVER, Transaction
from capstone_metrics.storage import storage_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

KEY = "silver/t/d=9/part-0.parquet"


def die_with_stage(root: str, test: Connection) -> None:
    """Stage a commit, and die."""
    _staged(root)
    os._exit(1)


def die_in_object(root: str, test: Connection) -> None:
    """Stage a commit, and die in the middle of an object of Bronze."""
    _staged(root)

    def chunks() -> Iterator[bytes]:
        yield b"half"
        os._exit(1)

    storage_of(root).create("bronze/a.jsonl", chunks())


def die_when_recorded(root: str, test: Connection) -> None:
    """Stage a commit, and die when its record is written and nothing else."""
    transaction._apply = lambda *_: os._exit(1)
    _staged(root).commit({})


def finish_on_message(root: str, test: Connection) -> None:
    """Stage a commit, wait for a message, and finish it."""
    staged = _staged(root)
    test.send("staged")
    test.recv()
    staged.commit({})
    staged.discard()


def _staged(root: str) -> Transaction:
    """Return the second commit of a lake, with one object."""
    staged = Transaction(storage_of(root), SILVER, 1)
    staged.write(KEY, b"staged")
    return staged
