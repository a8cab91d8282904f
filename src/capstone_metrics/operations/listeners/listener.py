"""Who is told of a run while it lasts. Any of them may fail, and the run does not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Record = Mapping[str, Any]

log = logging.getLogger(__name__)


class Listener:
    """Is told what becomes of a run, by its record as it is then.

    A listener does what it is for within the call, and keeps no record to read it later.
    """

    name = "listener"
    """What a warning calls it: the setting that asks for it."""

    def begun(self, record: Record) -> None:
        """A run begins."""

    def node_begun(self, record: Record, node: str) -> None:
        """A node begins."""

    def node_ended(self, record: Record, node: str) -> None:
        """A node has saved all its outputs."""

    def ended(self, record: Record) -> None:
        """The run has succeeded or failed, or was interrupted."""

    def died(self, record: Record) -> None:
        """An earlier run was found that was killed."""


class Listeners:
    """All that are told of a run, one after the other.

    One that fails costs one warning. It is then told nothing more but the end.
    """

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self.listeners = list(listeners)
        self.failed: set[Listener] = set()

    def tell(self, what: str, *about: Any) -> None:
        """Call a method of each."""
        for listener in self.listeners:
            if listener in self.failed and what != "ended":
                continue
            try:
                getattr(listener, what)(*about)
            except Exception as error:
                if listener not in self.failed:
                    log.warning("%s: %s", listener.name, reason(error) or type(error).__name__)
                self.failed.add(listener)
