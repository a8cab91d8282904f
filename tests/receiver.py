"""A receiver of webhooks on loopback: it keeps what it is sent, and answers as a test has it."""

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


@dataclass
class Receiver:
    """What came, and how it is answered.

    Attributes:
        port: where it listens.
        answer: the status of the next answers; 0 for none, -1 for one byte every now and then.
        paths: of the requests.
        bodies: of the requests, read as JSON.
        over: set when those that hang are to be let go.
    """

    port: int = 0
    answer: int = 200
    paths: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    def url(self, path: str = "/") -> str:
        """Of a path on it."""
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver, for as long as it is needed."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.paths.append(self.path)
            kept.bodies.append(json.loads(body))
            if kept.answer == 0:
                kept.over.wait(30)
                return
            if kept.answer < 0:
                while not kept.over.wait(0.05):
                    self.wfile.write(b"H")
                return
            self.send_response(kept.answer)
            if kept.answer in {302, 307}:
                self.send_header("Location", self.path)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept.port = server.server_address[1]
    Thread(target=server.serve_forever, daemon=True).start()
    yield kept
    kept.over.set()
    server.shutdown()
    server.server_close()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
