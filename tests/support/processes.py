"""Processes of the tests' own on a lake: each is forked from one that has imported the package."""

from __future__ import annotations

import multiprocessing
import multiprocessing.util
import os
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.waiting import SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerProcess

    Task = Callable[..., None]

context = multiprocessing.get_context("forkserver")
multiprocessing.util.get_temp_dir()  # for its socket: the path of a test's own folder is too long
context.set_forkserver_preload(
    [__name__, "capstone_metrics.storage.bucket", "tests.support.publisher"]
)


@dataclass(frozen=True)
class Child:
    """A process at work, and what it and the test send one another."""

    process: ForkServerProcess
    connection: Connection

    @property
    def pid(self) -> int:
        """Its number."""
        assert self.process.pid
        return self.process.pid

    def receive(self) -> Any:
        """Wait for its next message."""
        assert self.connection.poll(SECONDS), "no message came"
        return self.connection.recv()

    def send(self, message: str) -> None:
        """Send it a message."""
        self.connection.send(message)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait until it is gone."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        """Wait for its end, and return its exit code."""
        self.process.join(SECONDS)
        assert self.process.exitcode is not None, "it did not end"
        return self.process.exitcode


@contextmanager
def child(task: Task, *arguments: Any) -> Iterator[Child]:
    """Run a function of a module in a process of its own, which ends with the block at the latest.

    Args:
        task: gets the arguments and, last, a connection to the test.
        arguments: as can be pickled.
    """
    own_end, its_end = context.Pipe()
    work = (dict(os.environ), task, *arguments, its_end)
    process = context.Process(target=_run, args=work, daemon=True)
    process.start()
    its_end.close()
    try:
        yield Child(process, own_end)
    finally:
        process.kill()
        process.join(SECONDS)
        own_end.close()


def _run(environment: Mapping[str, str], task: Task, *arguments: Any) -> None:
    """Do a task in the environment of the test: that of the server which forks is an older one."""
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    task(*arguments)
