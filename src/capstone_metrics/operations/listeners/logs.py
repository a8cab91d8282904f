"""Logs as JSON: one object a line, each with the identifier of its run."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from pythonjsonlogger.json import JsonFormatter
from rich.logging import RichHandler

from capstone_metrics.errors import ConfigError
from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from types import TracebackType

    from capstone_metrics.operations.listeners.listener import Record

VARIABLE = "CAPSTONE_LOG_FORMAT"
FORMATS = ("rich", "json")

COUNTS = ("rows", "files", "removed", "bytes")
"""The counts of a saved dataset that are logged."""

log = logging.getLogger(__name__)


def is_json() -> bool:
    """Return whether to log JSON."""
    return os.environ.get(VARIABLE) == "json"


def configure_logs() -> None:
    """Configure the log format that the environment names.

    Raises:
        ConfigError: if the format is unknown.
    """
    log_format = os.environ.get(VARIABLE) or FORMATS[0]
    if log_format not in FORMATS:
        raise ConfigError(f"{VARIABLE}: {log_format!r} is not {' or '.join(FORMATS)}.")
    if is_json():
        json_logs.install()


class JsonLogs(Listener):
    """Makes every logger write JSON to standard error, and logs the events of a run."""

    name = VARIABLE

    def __init__(self) -> None:
        self.run: str | None = None

    def install(self) -> None:
        """Replace the log handlers of the terminal, and log an uncaught error as JSON too."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            if isinstance(handler, RichHandler) or type(handler) is logging.StreamHandler:
                root.removeHandler(handler)
        handler = logging.StreamHandler()
        handler.setFormatter(
            JsonFormatter(
                ["levelname", "name", "message"],
                rename_fields={"levelname": "level", "name": "logger"},
                timestamp="time",
                json_ensure_ascii=False,
            )
        )
        handler.addFilter(self._add_run)
        root.addHandler(handler)
        sys.excepthook = _log_uncaught

    def on_run_start(self, record: Record) -> None:
        self.run = record["run"]
        names = ("environment", "pipelines", "parameters", "now", "from", "to", "configuration")
        self._log("The run begins.", "run_begun", **{name: record[name] for name in names})

    def on_node_start(self, record: Record, node: str) -> None:
        self._log(f"Node {node} begins.", "node_begun", node=node, layer=_layer(record, node))

    def on_node_end(self, record: Record, node: str) -> None:
        times = record["nodes"][node]
        self._log(
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

    def on_run_end(self, record: Record) -> None:
        names = ("state", "seconds", "at_work", "error", "layers", "total", "reasons", "findings")
        fields = {name: record[name] for name in names}
        level = logging.INFO if record["state"] == "succeeded" else logging.ERROR
        self._log(f"The run has {record['state']}.", "run_ended", level, **fields)

    def on_run_killed(self, record: Record) -> None:
        nodes = ", ".join(record["at_work"])
        message = f"Run {record['run']} was killed{f' at {nodes}' if nodes else ''}."
        self._log(message, "run_died", logging.ERROR, died=record["run"], at_work=record["at_work"])

    def _log(self, message: str, event: str, level: int = logging.INFO, **fields: Any) -> None:
        log.log(level, "%s", message, extra={"event": event, **fields})

    def _add_run(self, record: logging.LogRecord) -> bool:
        """Add the identifier of the run to a log entry; a filter that drops no entry."""
        if self.run:
            record.run = self.run
        return True


json_logs = JsonLogs()


def _layer(record: Record, node: str) -> str | None:
    layer: str | None = record["nodes"][node]["layer"]
    return layer


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("An unexpected error.", exc_info=(kind, error, trace))
