"""The numbers of a run for Prometheus: in a file when it has ended, and by HTTP while it lasts."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import CollectorRegistry, Metric

    from capstone_metrics.operations.listeners.listener import Record

    Values = Mapping[Any, float]

COUNTS = {
    "rows_in": "in",
    "accepted": "accepted",
    "superseded": "superseded",
    "quarantined": "quarantined",
    "written": "written",
    "removed": "removed",
}
"""The counts of a layer, and what their label says."""

LOOPBACK = "127.0.0.1"


class Metrics(Listener):
    """The numbers of a run, as the collectors of the official client.

    Every metric has the label `environment`; times are seconds since 1970.
    """

    def __init__(self) -> None:
        self.found: list[Metric] = []

    def collect(self) -> list[Metric]:
        """What was taken last; any thread may ask."""
        return self.found

    def take(self, record: Record) -> None:
        """Take the numbers of a run as they are now."""
        self.found = list(_metrics(record))

    def registry(self) -> CollectorRegistry:
        """Of these numbers alone.

        Raises:
            CapstoneError: if the official client is not installed.
        """
        try:
            from prometheus_client import CollectorRegistry  # noqa: PLC0415
        except ImportError as error:
            raise CapstoneError(
                "the extra 'metrics' of this package is not installed; install it, or leave the "
                "setting out."
            ) from error
        made = CollectorRegistry()
        made.register(self)
        return made


class MetricsFile(Metrics):
    """Writes them to a file for the node exporter when a run has ended, whole or not at all.

    Args:
        path: of the file; its name ends in `.prom`.
    """

    name = "operations.prometheus_file"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def ended(self, record: Record) -> None:
        registry = self.registry()
        from prometheus_client import write_to_textfile  # noqa: PLC0415

        self.take(record)
        try:
            write_to_textfile(self.path, registry)
        except OSError as error:
            raise CapstoneError(f"{self.path}: {_why(error)}.") from error


class MetricsServer(Metrics):
    """Answers Prometheus while a run lasts, on loopback.

    Args:
        port: where it listens.
    """

    name = "operations.prometheus_port"

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.server: WSGIServer | None = None

    def begun(self, record: Record) -> None:
        registry = self.registry()
        from prometheus_client import start_http_server  # noqa: PLC0415

        self.take(record)
        try:
            self.server, _ = start_http_server(self.port, LOOPBACK, registry)
        except (OSError, OverflowError, TypeError) as error:
            raise CapstoneError(f"{LOOPBACK}:{self.port}: {_why(error)}.") from error

    def node_begun(self, record: Record, node: str) -> None:
        self.take(record)

    def node_ended(self, record: Record, node: str) -> None:
        self.take(record)

    def ended(self, record: Record) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()


def _metrics(record: Record) -> Iterator[Metric]:
    from prometheus_client.metrics_core import GaugeMetricFamily  # noqa: PLC0415

    def gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
        made = GaugeMetricFamily(f"capstone_{name}", text, labels=["environment", *labels])
        for of, value in values.items():
            made.add_metric([record["environment"], *of], value)
        return made

    layers, nodes = record["layers"], record["nodes"]
    info = {(record["run"], record["state"]): 1}
    yield gauge("run_info", "The last run: always 1.", info, "run", "state")
    begun = _seconds(record["begun"])
    yield gauge("run_begun_timestamp_seconds", "When the last run began.", {(): begun})
    if record["ended"]:
        ended, succeeded = _seconds(record["ended"]), record["state"] == "succeeded"
        yield gauge("run_ended_timestamp_seconds", "When the last run ended.", {(): ended})
        yield gauge("run_seconds", "How long the last run took.", {(): record["seconds"]})
        yield gauge("run_succeeded", "Whether the last run succeeded.", {(): succeeded})
    at_work = {(name,): float(name in record["at_work"]) for name in nodes}
    yield gauge("node_at_work", "Whether the run is at a node.", at_work, "node")
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
        (name,): _seconds(layer["committed"])
        for name, layer in layers.items()
        if "committed" in layer
    }
    text = "When what it did to a layer came to count."
    yield gauge("layer_committed_timestamp_seconds", text, committed, "layer")
    lines = {
        ("bronze" if kind == "lines" else kind,): count for kind, count in record["total"].items()
    }
    yield gauge("lines", "Where all lines of Bronze are.", lines, "kind")
    actions = [found["action"] for found in record["findings"]]
    found = {(action,): actions.count(action) for action in ("warn", "block")}
    yield gauge("findings", "What the last run found to be unusual.", found, "action")


def _seconds(said: str) -> float:
    return dt.datetime.fromisoformat(said).timestamp()


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
