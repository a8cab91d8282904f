"""Listeners to a run. A listener may fail without failing the run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import user_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Record = Mapping[str, Any]

log = logging.getLogger(__name__)


class Listener:
    """Base class of listeners to a run: each method gets the run record as it is at that moment.

    A method must be done with the record when it returns: the record changes afterwards.
    """

    name = "listener"
    """What turns the listener on: a setting, or its name as a plug-in. Warnings begin with it."""

    def on_run_start(self, record: Record) -> None:
        """Handle the start of a run."""

    def on_node_start(self, record: Record, node: str) -> None:
        """Handle the start of a node."""

    def on_node_end(self, record: Record, node: str) -> None:
        """Handle the end of a node, which has saved all its outputs."""

    def on_run_end(self, record: Record) -> None:
        """Handle the end of the run: succeeded, failed or interrupted."""

    def on_run_killed(self, record: Record) -> None:
        """Handle an earlier run that turned out to have been killed."""


class Listeners:
    """All listeners to a run, notified one after the other.

    The first failure of a listener is logged as a warning; after it, the listener is only notified
    of the end of the run.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self.listeners = list(listeners)
        self.failed: set[Listener] = set()

    def notify(self, event: str, *arguments: Any) -> None:
        """Call a method of each listener."""
        for listener in self.listeners:
            if listener in self.failed and event != "on_run_end":
                continue
            try:
                getattr(listener, event)(*arguments)
            except Exception as error:
                if listener not in self.failed:
                    log.warning(
                        "%s: %s", listener.name, user_message(error) or type(error).__name__
                    )
                self.failed.add(listener)
