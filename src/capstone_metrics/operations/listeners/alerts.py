"""Alerts by webhook: each problem is sent once, to a URL that is a secret."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.checks import last_run_check
from capstone_metrics.operations.deadlines import RecordedRun
from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capstone_metrics.operations.checks import Check
    from capstone_metrics.operations.listeners.listener import Record

VARIABLE = "CAPSTONE_ALERT_URL"
TIMEOUT_SECONDS = 5

Problem = dict[str, str]
"""A problem as it is sent: its `check`, its `health`, and its message, `said`."""


class JsonDocument(Protocol):
    """A JSON document, here the document of the problems already sent."""

    def load(self) -> dict[str, Any]:
        """Return the document; empty if there is none."""

    def save(self, data: dict[str, Any]) -> None:
        """Replace the document."""


class Webhook:
    """The webhook that alerts go to.

    Args:
        url: the URL, of HTTP or HTTPS; no error and no log entry shows it.
        timeout: the longest wait for a response, in seconds.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self.url = url
        self.timeout = timeout

    def post(self, alert: dict[str, Any]) -> None:
        """Send an alert, and wait for the response until the timeout.

        Raises:
            CapstoneError: if the alert was not accepted.
        """
        if not self.url.lower().startswith(("http://", "https://")):
            raise CapstoneError("the URL must begin with https:// or http://.")
        failure = ["the server did not respond in time"]

        def send() -> None:
            failure[0] = self._send(json.dumps(alert).encode())

        # the timeout of urllib covers neither a DNS lookup nor a response that trickles in
        thread = Thread(target=send, daemon=True)
        thread.start()
        thread.join(self.timeout)
        if failure[0]:
            raise CapstoneError(f"the alert was not delivered: {failure[0]}.")

    def _send(self, body: bytes) -> str:
        """Send an alert; return why it was not delivered, empty if it was."""
        try:
            request = Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
            build_opener(_NoRedirects).open(request, timeout=self.timeout).close()
        except HTTPError as error:
            return f"the server responded with {error.code}"
        except URLError as error:
            return type(error.reason).__name__
        except Exception as error:  # its text may contain the URL
            return type(error).__name__
        return ""


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: it would turn the POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Alerter:
    """Sends the problems that were not sent yet.

    Args:
        webhook: where to send.
        document: returns the document of the problems already sent.
    """

    webhook: Webhook
    document: Callable[[], JsonDocument]

    def send_new(self, environment: str, problems: Sequence[Check], *, is_complete: bool) -> None:
        """Send the problems that are new.

        Args:
            environment: the name of the environment.
            problems: the current problems.
            is_complete: whether these are the problems of all checks; if not, the problems of
                other checks that were already sent stay current.

        Raises:
            CapstoneError: if the problems were not accepted; they are sent again the next time.
        """
        current = [_alert_problem(problem) for problem in problems]
        sent = self._sent_problems()
        if new := [problem for problem in current if problem not in sent]:
            message = "; ".join(problem["said"] for problem in new)
            health = max(problem.health for problem in problems if _alert_problem(problem) in new)
            self.webhook.post(
                {
                    "text": f"Capstone Metrics, {environment}: {message}",
                    "environment": environment,
                    "health": health.name.lower(),
                    "sent_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                    "problems": new,
                }
            )
        checks = {problem["check"] for problem in current}
        others = [] if is_complete else [old for old in sent if old["check"] not in checks]
        if others + current != sent:
            self.document().save({"sent": others + current})

    def _sent_problems(self) -> list[Problem]:
        """Return the problems already sent; none if unknown, since twice is better than never."""
        with contextlib.suppress(Exception):
            sent: list[Problem] = self.document().load().get("sent", [])
            return sent
        return []


class AlertListener(Listener):
    """Sends an alert for a run that failed or was killed.

    Args:
        alerter: sends the alert.
    """

    name = VARIABLE

    def __init__(self, alerter: Alerter) -> None:
        self.alerter = alerter

    def on_run_end(self, record: Record) -> None:
        if record["state"] != "succeeded":
            self.on_run_killed(record)

    def on_run_killed(self, record: Record) -> None:
        run = RecordedRun(record)
        problem = last_run_check([run], run.updated_at)
        self.alerter.send_new(record["environment"], [problem], is_complete=False)


def alerter_of(document: Callable[[], JsonDocument]) -> Alerter | None:
    """Return the alerter for the URL in the environment; None if there is none."""
    url = os.environ.get(VARIABLE)
    return Alerter(Webhook(url, TIMEOUT_SECONDS), document) if url else None


def _alert_problem(problem: Check) -> Problem:
    return {"check": problem.name, "health": problem.health.name.lower(), "said": problem.message}
