"""The numbers of a run for Prometheus, as a file that the node exporter's collector reads."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COUNTS = {
    "rows_in": "in",
    "accepted": "accepted",
    "superseded": "superseded",
    "quarantined": "quarantined",
    "written": "written",
    "removed": "removed",
}
"""The counts of a layer, and what their label says."""


def write_metrics(record: Mapping[str, Any], path: str) -> None:
    """Write the numbers of a run that has ended, whole or not at all.

    Every metric has the label `environment`; times are seconds since 1970.

    Args:
        record: of the run.
        path: of the file; its name ends in `.prom`.

    Raises:
        CapstoneError: if the official client is not installed, or the file cannot be written.
    """
    try:
        from prometheus_client import CollectorRegistry, Gauge, write_to_textfile  # noqa: PLC0415
    except ImportError as error:
        raise CapstoneError(
            "operations.prometheus_file: the extra 'metrics' of this package is not installed; "
            "install it, or leave the file out."
        ) from error

    registry = CollectorRegistry()
    environment = record["environment"]

    def gauge(name: str, text: str, *labels: str) -> Callable[..., Any]:
        made = Gauge(f"capstone_{name}", text, ["environment", *labels], registry=registry)
        return lambda *values: made.labels(environment, *values)

    info = gauge("run_info", "The last run: always 1.", "run", "state")
    info(record["run"], record["state"]).set(1)
    ended = gauge("run_ended_timestamp_seconds", "When the last run ended.")
    ended().set(_seconds(record["ended"]))
    gauge("run_seconds", "How long the last run took.")().set(record["seconds"])
    succeeded = gauge("run_succeeded", "Whether the last run succeeded.")
    succeeded().set(record["state"] == "succeeded")
    _layers(record["layers"], gauge)
    lines = gauge("lines", "Where all lines of Bronze are.", "kind")
    for kind, count in record["total"].items():
        lines("bronze" if kind == "lines" else kind).set(count)
    found = gauge("findings", "What the last run found to be unusual.", "action")
    for action in ("warn", "block"):
        found(action).set(sum(each["action"] == action for each in record["findings"]))
    try:
        write_to_textfile(path, registry)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise CapstoneError(f"operations.prometheus_file: {path}: {why}.") from error


def _layers(
    layers: Mapping[str, Mapping[str, Any]], gauge: Callable[..., Callable[..., Any]]
) -> None:
    rows = gauge("layer_rows", "What the last run did to a layer, in rows.", "layer", "kind")
    seconds = gauge("layer_seconds", "How long the last run took for a layer.", "layer")
    committed = gauge(
        "layer_committed_timestamp_seconds", "When what it did to a layer came to count.", "layer"
    )
    for name, layer in layers.items():
        for count, kind in COUNTS.items():
            if layer[count] is not None:
                rows(name, kind).set(layer[count])
        seconds(name).set(layer["seconds"])
        if "committed" in layer:
            committed(name).set(_seconds(layer["committed"]))


def _seconds(said: str) -> float:
    return dt.datetime.fromisoformat(said).timestamp()
