"""Alerts by webhook: what went wrong is sent once, to a URL that is a secret."""

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
from capstone_metrics.operations.deadlines import Run
from capstone_metrics.operations.listeners.listener import Listener
from capstone_metrics.operations.status import last_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capstone_metrics.operations.listeners.listener import Record
    from capstone_metrics.operations.status import Check

VARIABLE = "CAPSTONE_ALERT_URL"
LONGEST_WAIT = 5  # seconds

Fact = dict[str, str]
"""A problem as it is sent: its `check`, `health`, and what is `said`."""


class Note(Protocol):
    """Where it is kept what was sent."""

    def load(self) -> dict[str, Any]:
        """What was kept last; empty if nothing was."""

    def save(self, data: dict[str, Any]) -> None:
        """Keep it."""


class Webhook:
    """Where alerts go.

    Args:
        url: of HTTP or HTTPS; no error and no log has it.
        seconds: how long an answer is waited for.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.url = url
        self.seconds = seconds

    def post(self, alert: dict[str, Any]) -> None:
        """Send an alert, and wait for the answer, but never longer than is said.

        Raises:
            CapstoneError: if it was not accepted.
        """
        if not self.url.lower().startswith(("http://", "https://")):
            raise CapstoneError("this is no URL that begins with https:// or http://.")
        outcome = ["it did not answer in time"]

        def send() -> None:
            outcome[0] = self._sent(json.dumps(alert).encode())

        # a name that is looked up, and an answer that comes byte by byte, know no timeout
        sending = Thread(target=send, daemon=True)
        sending.start()
        sending.join(self.seconds)
        if outcome[0]:
            raise CapstoneError(f"the alert was not delivered, {outcome[0]}.")

    def _sent(self, body: bytes) -> str:
        """Why an alert could not be sent; empty if it was."""
        try:
            asked = Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
            build_opener(_Stay).open(asked, timeout=self.seconds).close()
        except HTTPError as error:
            return f"the answer was {error.code}"
        except URLError as error:
            return f"because of a {type(error.reason).__name__}"
        except Exception as error:  # whatever it is, its text may have the URL
            return f"because of a {type(error).__name__}"
        return ""


class _Stay(HTTPRedirectHandler):
    """Follows no redirection: what is posted would become what is asked for."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Alarm:
    """Sends what is wrong and was not sent yet.

    Args:
        webhook: where to.
        note: gives where it is kept what was sent.
    """

    webhook: Webhook
    note: Callable[[], Note]

    def tell(self, environment: str, problems: Sequence[Check], *, are_all: bool) -> None:
        """Send the problems that are new.

        Args:
            environment: its name.
            problems: those of now.
            are_all: whether no others are left; else only what was sent of the same checks is
                over.

        Raises:
            CapstoneError: if they were not accepted. They are sent again the next time.
        """
        facts = [_fact(problem) for problem in problems]
        before = self._sent()
        if new := [fact for fact in facts if fact not in before]:
            said = "; ".join(fact["said"] for fact in new)
            worst = max(problem.health for problem in problems if _fact(problem) in new)
            self.webhook.post(
                {
                    "text": f"Capstone Metrics, {environment}: {said}",
                    "environment": environment,
                    "health": worst.name.lower(),
                    "sent_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
                    "problems": new,
                }
            )
        checks = {fact["check"] for fact in facts}
        kept = [] if are_all else [fact for fact in before if fact["check"] not in checks]
        if kept + facts != before:
            self.note().save({"sent": kept + facts})

    def _sent(self) -> list[Fact]:
        """What was sent; nothing if that is not known, for twice is better than never."""
        with contextlib.suppress(Exception):
            sent: list[Fact] = self.note().load().get("sent", [])
            return sent
        return []


class Alerts(Listener):
    """Sends an alert of a run that failed, or was killed.

    Args:
        alarm: sends it.
    """

    name = VARIABLE

    def __init__(self, alarm: Alarm) -> None:
        self.alarm = alarm

    def ended(self, record: Record) -> None:
        if record["state"] != "succeeded":
            self.died(record)

    def died(self, record: Record) -> None:
        run = Run(record)
        problem = last_run([run], run.updated)
        self.alarm.tell(record["environment"], [problem], are_all=False)


def alarm_of(note: Callable[[], Note]) -> Alarm | None:
    """Sends to the URL that the environment names; None if it names none."""
    url = os.environ.get(VARIABLE)
    return Alarm(Webhook(url, LONGEST_WAIT), note) if url else None


def _fact(problem: Check) -> Fact:
    return {"check": problem.name, "health": problem.health.name.lower(), "said": problem.said}
