"""Logs for machines: one JSON object a line, each with the run that it is of."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from rich.logging import RichHandler

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from types import TracebackType

    from capstone_metrics.operations.listeners.listener import Record

VARIABLE = "CAPSTONE_LOG_FORMAT"
FORMATS = ("rich", "json")

COUNTS = ("rows", "files", "removed", "bytes")
"""What is said of a dataset that was saved."""

log = logging.getLogger(__name__)


def is_json() -> bool:
    """Whether logs are to be lines of JSON."""
    return os.environ.get(VARIABLE) == "json"


def configure_logs() -> None:
    """Have logs be what the environment asks for.

    Raises:
        CapstoneError: if it names a format that there is not.
    """
    said = os.environ.get(VARIABLE) or FORMATS[0]
    if said not in FORMATS:
        raise CapstoneError(f"{VARIABLE}: {said!r} is not {' or '.join(FORMATS)}.")
    if is_json():
        json_lines.install()


class JsonLines(Listener):
    """Has every logger write JSON to standard error; tells there what becomes of a run."""

    name = VARIABLE

    def __init__(self) -> None:
        self.run: str | None = None

    def install(self) -> None:
        """Take the place of what writes to the terminal, and of the printed traceback."""
        from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415 - few runs need it

        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, RichHandler) or type(handler) is logging.StreamHandler:
                root.removeHandler(handler)
        made = logging.StreamHandler()
        made.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                rename_fields={"levelname": "level", "name": "logger"},
                timestamp="time",
                json_ensure_ascii=False,
            )
        )
        made.addFilter(self._mark)
        root.addHandler(made)
        sys.excepthook = _log_uncaught

    def begun(self, record: Record) -> None:
        self.run = record["run"]
        names = ("environment", "pipelines", "parameters", "now", "from", "to", "configuration")
        self._say("The run begins.", "run_begun", **{name: record[name] for name in names})

    def node_begun(self, record: Record, node: str) -> None:
        self._say(f"Node {node} begins.", "node_begun", node=node, layer=_layer(record, node))

    def node_ended(self, record: Record, node: str) -> None:
        times = record["nodes"][node]
        self._say(
            f"Node {node} has ended.",
            "node_ended",
            node=node,
            layer=_layer(record, node),
            seconds=round(times["ended"] - times["begun"], 3),
            datasets={
                name: {kind: saved[kind] for kind in COUNTS if kind in saved}
                for name, saved in record["datasets"].items()
                if saved["node"] == node
            },
        )

    def ended(self, record: Record) -> None:
        names = ("state", "seconds", "at_work", "error", "layers", "total", "reasons", "findings")
        said = {name: record[name] for name in names}
        level = logging.INFO if record["state"] == "succeeded" else logging.ERROR
        self._say(f"The run has {record['state']}.", "run_ended", level, **said)

    def died(self, record: Record) -> None:
        at = ", ".join(record["at_work"])
        said = f"Run {record['run']} was killed{f' at {at}' if at else ''}."
        self._say(said, "run_died", logging.ERROR, died=record["run"], at_work=record["at_work"])

    def _say(self, text: str, event: str, level: int = logging.INFO, **facts: Any) -> None:
        log.log(level, "%s", text, extra={"event": event, **facts})

    def _mark(self, record: logging.LogRecord) -> bool:
        if self.run:
            record.run = self.run
        return True


json_lines = JsonLines()


def _layer(record: Record, node: str) -> str | None:
    layer: str | None = record["nodes"][node]["layer"]
    return layer


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("An unexpected error.", exc_info=(kind, error, trace))
