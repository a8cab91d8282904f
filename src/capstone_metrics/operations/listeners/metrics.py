"""Metrics of a run for Prometheus, in a file when it has ended."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import ConfigError
from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from capstone_metrics.operations.listeners.listener import Record

    Samples = Mapping[Any, float]

COUNTS = {
    "rows_in": "in",
    "accepted": "accepted",
    "superseded": "superseded",
    "quarantined": "quarantined",
    "ignored": "ignored",
    "withdrawn": "withdrawn",
    "written": "written",
    "removed": "removed",
}
"""The counts of a layer, and the value of their label `kind`."""


class MetricsFile(Listener):
    """Writes the metrics to a file for the node exporter, atomically, when a run has ended.

    Every metric has the label `environment`; times are seconds since 1970. The file is written by
    the official client, whose collector this is.

    Args:
        path: the path of the file, which ends in `.prom`.
    """

    name = "operations.prometheus_file"

    def __init__(self, path: str) -> None:
        self.path = path
        self.metrics: list[Metric] = []

    def collect(self) -> list[Metric]:
        """Return the metrics."""
        return self.metrics

    def on_run_end(self, record: Record) -> None:
        try:
            from prometheus_client import (  # noqa: PLC0415 - optional
                CollectorRegistry,
                write_to_textfile,
            )
        except ImportError as error:
            raise ConfigError(
                "the extra 'metrics' of this package is not installed; install it or remove the "
                "setting."
            ) from error
        self.metrics = list(_metrics(record))
        registry = CollectorRegistry()
        registry.register(self)
        try:
            write_to_textfile(self.path, registry)
        except OSError as error:
            cause = (error.strerror or str(error)).lower()
            raise ConfigError(f"{self.path}: {cause}.") from error


def _metrics(record: Record) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily  # noqa: PLC0415 - optional

    def gauge(name: str, text: str, values: Samples, *labels: str) -> Metric:
        metric = GaugeMetricFamily(f"capstone_{name}", text, labels=["environment", *labels])
        for label_values, value in values.items():
            metric.add_metric([record["environment"], *label_values], value)
        return metric

    layers = record["layers"]
    info = {(record["run"], record["state"]): 1}
    yield gauge("run_info", "The last run: always 1.", info, "run", "state")
    start = _unix_time(record["begun"])
    yield gauge("run_begun_timestamp_seconds", "When the last run began.", {(): start})
    if record["ended"]:
        end = _unix_time(record["ended"])
        succeeded = record["state"] == "succeeded"
        yield gauge("run_ended_timestamp_seconds", "When the last run ended.", {(): end})
        yield gauge("run_seconds", "How long the last run took.", {(): record["seconds"]})
        yield gauge("run_succeeded", "Whether the last run succeeded.", {(): succeeded})
    rows = {
        (name, kind): layer[count]
        for name, layer in layers.items()
        for count, kind in COUNTS.items()
        if layer[count] is not None
    }
    yield gauge("layer_rows", "What the last run did to a layer, in rows.", rows, "layer", "kind")
    seconds = {(name,): layer["seconds"] for name, layer in layers.items()}
    yield gauge("layer_seconds", "How long the last run took for a layer.", seconds, "layer")
    committed = {
        (name,): _unix_time(layer["committed"])
        for name, layer in layers.items()
        if "committed" in layer
    }
    text = "When the last run committed a layer."
    yield gauge("layer_committed_timestamp_seconds", text, committed, "layer")
    lines = {
        ("bronze" if kind == "lines" else kind,): count for kind, count in record["total"].items()
    }
    yield gauge("lines", "Where all lines of Bronze are.", lines, "kind")
    actions = [finding["action"] for finding in record["findings"]]
    findings = {(action,): actions.count(action) for action in ("warn", "block")}
    yield gauge("findings", "Unusual findings of the last run.", findings, "action")


def _unix_time(timestamp: str) -> float:
    return dt.datetime.fromisoformat(timestamp).timestamp()
