"""A receiver of webhooks on loopback: it stores the requests, and answers as a test has it."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


HANGS, DRIBBLES = 0, -1
"""In place of a status: no answer at all; and one that comes byte by byte, and never ends."""


@dataclass
class Receiver:
    """The requests that came, and the status of the next answers.

    Attributes:
        port: where it listens.
        status: of the next answers, or `HANGS` or `DRIBBLES`.
        paths: of the requests.
        bodies: of the requests, read as JSON.
        end: set when the answers that hang may end.
    """

    port: int = 0
    status: int = 200
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    end: Event = field(default_factory=Event)

    def url(self, path: str = "/") -> str:
        """Return the URL of a path on it."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Run a receiver, for as long as it is needed."""
    hook = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.paths.append(self.path)
            hook.bodies.append(json.loads(body))
            if hook.status == HANGS:
                hook.end.wait()
                return
            if hook.status == DRIBBLES:
                while not hook.end.wait(0.05):
                    self.wfile.write(b"H")
                return
            self.send_response(hook.status)
            if hook.status in {302, 307}:
                self.send_header("Location", self.path)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_address[1]
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield hook
    hook.end.set()
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
