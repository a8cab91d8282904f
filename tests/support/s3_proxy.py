"""A proxy before a real S3 server that fails on demand."""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from infra.s3.seaweed import HOST

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

SECONDS_OF_REUSE = 5
"""How long an idle connection to the server is used again; it closes idle ones later."""


@dataclass(frozen=True)
class Request:
    """A request to the proxy: its key without the bucket, and its `fate`, such as passed or cut."""

    method: str
    key: str
    query: str
    conditions: dict[str, str]
    is_copy: bool = False
    fate: str = "passed"


@dataclass
class Faults:
    """The faults of a proxy. Each share is of the selected requests; the others pass.

    Args:
        errors: the share that is answered with `error`, a status and a code of S3's.
        cut: the share whose connection is closed before the request is passed on.
        lost: the share that is passed on, but whose connection is closed without its answer.
        torn: the share whose answer ends in the middle of its body.
        delay: the seconds by which each is delayed.
        stop_at: the number, from 1, of the request at which `on_stop` is called; that one and
            all after it are cut.
        on_stop: such as to kill a process.
        only: which requests are selected and counted; all by default.
        times: how many are selected, from the first; all by default.
        seed: of the draws.
    """

    errors: float = 0
    error: tuple[int, str] = (503, "SlowDown")
    cut: float = 0
    lost: float = 0
    torn: float = 0
    delay: float = 0
    stop_at: int | None = None
    on_stop: Callable[[], object] = lambda: None
    only: Callable[[Request], bool] = lambda request: True
    times: int = sys.maxsize
    seed: int = 0
    count: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()

    def draw(self, request: Request) -> tuple[str, float]:
        """Return the fate of a request, such as passed or cut, and after how many seconds."""
        if not self.only(request):
            return "passed", 0
        with self._lock:
            self.count += 1
            number, drawn = self.count, self._random.random()
        if number == self.stop_at:
            self.on_stop()
        if self.stop_at and number >= self.stop_at:
            return "cut", 0
        if number > self.times:
            return "passed", 0
        for fate, part in self._shares().items():
            drawn -= part
            if drawn < 0:
                return fate, self.delay
        return "passed", self.delay

    def _shares(self) -> dict[str, float]:
        return {"error": self.errors, "cut": self.cut, "lost": self.lost, "torn": self.torn}


class Faulty:
    """A proxy before a server of S3: `faults` may be set at any time, `requests` came so far.

    It passes on the bytes of headers and bodies as they are, so signatures stay valid.

    Args:
        upstream: the URL of the server.
        folder: a path below which it answers, and that it takes off: no signature is passed on.
        tls: by which it answers as `localhost`.
    """

    def __init__(self, upstream: str, folder: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.folder = folder
        self.faults = Faults()
        self.requests: list[Request] = []
        self._server = _Server((HOST, 0), _Handler)
        self._server.faulty = self
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        address = f"https://localhost:{self._server.server_port}"
        self.endpoint = address if tls else f"http://{HOST}:{self._server.server_port}{folder}"

    def start(self) -> None:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening, and cut requests over open connections."""
        self.faults = Faults(cut=1)
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        """Pass everything on, and forget the requests so far."""
        self.faults = Faults()
        self.requests = []


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    faulty: Faulty

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that goes away: some tests kill it."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one packet for a small answer
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.upstream = HTTPConnection(self.server.faulty.upstream, blocksize=1 << 20)
        self.used = time.monotonic()

    def finish(self) -> None:
        self.upstream.close()
        super().finish()

    def pass_on(self) -> None:
        """Treat a request by its fate."""
        body = self._body()
        faulty = self.server.faulty
        if faulty.folder:
            if not self.path.startswith(f"{faulty.folder}/"):
                self._send_error(404, "NoSuchRoute")
                return
            self.path = self.path.removeprefix(faulty.folder)
            del self.headers["Authorization"]
        request = _request(self)
        faults = faulty.faults
        fate, delay = faults.draw(request)
        faulty.requests.append(replace(request, fate=fate))
        time.sleep(delay)
        if fate == "error":
            self._send_error(*faults.error)
        elif fate == "cut":
            self.close_connection = True
        else:
            self._forward(body, fate)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = pass_on  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Ask for the body at once, past the buffer."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def log_message(self, *args: Any) -> None:
        """Log nothing."""

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers of HTTP's; S3's own are in the body
        return b"".join(chunks)

    def _forward(self, body: bytes, fate: str) -> None:
        if time.monotonic() - self.used > SECONDS_OF_REUSE:
            self.upstream.close()
        self.used = time.monotonic()
        is_chunked = "Transfer-Encoding" in self.headers
        try:
            self.upstream.putrequest(
                self.command, self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in {"connection", "expect", "keep-alive"}:
                    self.upstream.putheader(name, value)
            self.upstream.endheaders(
                [body] if is_chunked else body or None, encode_chunked=is_chunked
            )
            response = self.upstream.getresponse()
            content = response.read()
        except (OSError, HTTPException):
            self.upstream.close()
            self.close_connection = True
            return
        if fate == "lost":
            self.close_connection = True
            return
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() not in {"connection", "keep-alive", "transfer-encoding"}:
                self.send_header(name, value)
        if response.getheader("Content-Length") is None and response.status not in {204, 304}:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if fate == "torn":
            self.close_connection = True
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def _send_error(self, status: int, code: str) -> None:
        content = f"<Error><Code>{code}</Code><Message>Injected by the test.</Message></Error>"
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content.encode())


def _request(handler: BaseHTTPRequestHandler) -> Request:
    path, _, query = handler.path.partition("?")
    _, _, key = unquote(path).lstrip("/").partition("/")
    conditions = {
        name: handler.headers[name]
        for name in ("If-Match", "If-None-Match")
        if name in handler.headers
    }
    is_copy = "x-amz-copy-source" in handler.headers
    return Request(handler.command, key, query, conditions, is_copy)
