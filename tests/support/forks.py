"""Runs in processes of their own, each forked from a server that has imported everything.

A process that starts from nothing spends seconds on imports before the run that a test kills. The
server imports once and opens no lake; each fork of it is a process like any other, which may be
signalled, traced and waited for. All of them end with the process that started the server.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from kedro.framework.project import configure_project, settings

from tests.support import run_lake

if TYPE_CHECKING:
    from collections.abc import Sequence

MODULES = (
    "capstone_metrics.pipeline_registry",
    "capstone_metrics.settings",
    "capstone_metrics.lake.bronze",
    "capstone_metrics.storage.bucket",
    "capstone_metrics.lake.documents",
    "capstone_metrics.storage.folder",
    "capstone_metrics.engines.duckdb",
    "capstone_metrics.engines.duckdb_s3",
    "capstone_metrics.lake.gold",
    "capstone_metrics.lake.runs",
    "capstone_metrics.lake.silver",
    "capstone_metrics.lake.tables",
    "antlr4.LL1Analyzer",
    "ibis.backends.duckdb.converter",
    "ibis.backends.sql.compilers.duckdb",
    "ibis.expr.types.groupby",
    "ibis.formats.pandas",
    "omegaconf._impl",
    "pyarrow.dataset",
    "pyarrow.json",
    "pydantic.main",
    "s3fs",
)
PACKAGE = "capstone_metrics"
LARGEST_MESSAGE = 1 << 17
PR_SET_PTRACER, ANY = 0x59616D61, -1
"""Lets every process trace the caller, where the system allows only ancestors to."""


class Fork:
    """A forked process, with the methods of `subprocess.Popen` that tests use.

    Args:
        arguments: of `run_lake.py`.
        trace: a command of strace, to which the process is added. It runs once that is attached.

    Attributes:
        returncode: as `subprocess` has it; None until it is waited for.
        peak_memory: the most that it had in memory, in KiB; None until then, too.
    """

    def __init__(self, arguments: Sequence[str], trace: Sequence[str] = ()) -> None:
        self.returncode: int | None = None
        self.peak_memory: int | None = None
        self._output, end = os.pipe()
        request = {
            "arguments": list(arguments),
            "environment": dict(os.environ),
            "stops": bool(trace),
        }
        self.pid = _ask(request, end)
        os.close(end)
        self._tracer = self._traced(trace) if trace else None

    def _traced(self, trace: Sequence[str]) -> subprocess.Popen[str]:
        tracer = subprocess.Popen([*trace, "-p", str(self.pid)], stderr=subprocess.PIPE, text=True)
        assert tracer.stderr
        message = tracer.stderr.readline()
        if "attached" not in message:
            self.kill()
            raise RuntimeError(message)
        self.send_signal(signal.SIGCONT)
        return tracer

    def send_signal(self, number: int) -> None:
        """Send a signal to the process, unless it was waited for."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """Return the exit code if the process has ended, else None."""
        return self._status(blocks=False)

    def communicate(self, timeout: float) -> tuple[str, None]:
        """Wait for the end of the process; return its output."""
        deadline, output = time.monotonic() + timeout, b""
        while True:
            if not select.select([self._output], [], [], deadline - time.monotonic())[0]:
                self.kill()
                raise TimeoutError(f"no end after {timeout} s: {output.decode()}")
            block = os.read(self._output, 1 << 16)
            if not block:
                break
            output += block
        os.close(self._output)
        self._status(blocks=True)
        if self._tracer:
            self._tracer.communicate(timeout=timeout)
        return output.decode(), None

    def _status(self, *, blocks: bool) -> int | None:
        if self.returncode is None:
            pid, status, memory = _ask({"wait": self.pid, "blocks": blocks})
            if pid:
                self.returncode, self.peak_memory = os.waitstatus_to_exitcode(status), memory
        return self.returncode


def _ask(request: dict[str, Any], *descriptors: int) -> Any:
    channel = _server()
    socket.send_fds(channel, [json.dumps(request).encode()], descriptors)
    reply = channel.recv(LARGEST_MESSAGE)
    assert reply, "the server has ended"
    return json.loads(reply)


@cache
def _server() -> socket.socket:
    """Start the server, which lives as long as this process; return a socket to it."""
    own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(its.fileno())],
        pass_fds=[its.fileno()],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
    )
    its.close()

    def end() -> None:
        own.close()
        server.wait()

    atexit.register(end)
    return own


def serve(channel: socket.socket) -> list[str]:
    """Fork for each request until the socket is closed.

    Returns:
        In a fork, the arguments of its request.
    """
    while True:
        message, descriptors, *_ = socket.recv_fds(channel, LARGEST_MESSAGE, 1)
        if not message:
            sys.exit()
        request = json.loads(message)
        if "wait" in request:
            options = 0 if request["blocks"] else os.WNOHANG
            pid, status, usage = os.wait4(request["wait"], options)
            channel.send(json.dumps([pid, status, usage.ru_maxrss]).encode())
            continue
        pid = os.fork()
        if not pid:
            channel.close()
            _become(request, *descriptors)
            arguments: list[str] = request["arguments"]
            return arguments
        if request["stops"]:
            os.waitpid(pid, os.WUNTRACED)
        os.close(descriptors[0])
        channel.send(json.dumps(pid).encode())


def _become(request: dict[str, Any], output: int) -> None:
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["stops"]:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(ANY), 0, 0, 0)
        signal.raise_signal(signal.SIGSTOP)


def _run(arguments: list[str]) -> None:
    """Run in a fork, which ends without the deletion of what the server has imported."""
    code = 0
    try:
        run_lake.run(arguments)
    except SystemExit as error:
        print(error, file=sys.stderr)  # noqa: T201 - as Python does
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Import what a run needs, serve, and run in a fork."""
    for name in MODULES:
        import_module(name)
    for plugin in entry_points(group="kedro.hooks"):
        plugin.load()
    configure_project(PACKAGE)
    configuration = settings.CONFIG_LOADER_CLASS("conf", "base", **settings.CONFIG_LOADER_ARGS)
    assert configuration["parameters"]
    assert configuration["catalog"]
    duckdb.execute("SET threads = 1")  # ends its thread, which a fork would not have
    gc.freeze()
    _run(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
