"""Tasks of other processes on a lake. Each function runs in a process of its own."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from capstone_metrics.lake import commit
from capstone_metrics.lake.storage import storage_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from capstone_metrics.lake.commit import Commit

HEAD = "silver/head.json"
TURNS = 3


def persist(root: str, test: Connection) -> None:
    """Stage an object, persist the workspace, send its name, and wait."""
    lake = storage_of(root)
    workspace = lake.workspace("silver")
    (workspace / "x").write_bytes(b"staged")
    test.send(lake.persist(workspace))
    test.recv()


def stage(root: str, test: Connection) -> None:
    """Stage an object, send its path, and wait."""
    workspace = storage_of(root).workspace("silver")
    (workspace / "x").write_bytes(b"staged")
    test.send(str(workspace / "x"))
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
    staged = _staged(root)
    commit._apply_record = lambda *_: os._exit(1)
    staged.finish(HEAD, 2)


def finish_on_message(root: str, test: Connection) -> None:
    """Stage a commit, wait for a message, and finish it."""
    staged = _staged(root)
    test.send("staged")
    test.recv()
    staged.finish(HEAD, 2)


def _staged(root: str) -> Commit:
    """Return the second commit of a lake, with one object and the head."""
    staged = commit.open_commit(storage_of(root), "silver")
    for key, content in (("silver/t/d=9/part-0.parquet", "staged"), (HEAD, '{"generation": 2}')):
        with staged.stage(key) as path:
            path.write_text(content)
        staged.put(key)
    return staged
