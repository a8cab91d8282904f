"""Who is told of a run, where that is asked for: logs, a webhook, Prometheus, OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capstone_metrics.operations.listeners.alerts import Alerts, alarm_of
from capstone_metrics.operations.listeners.lineage import Lineage
from capstone_metrics.operations.listeners.logs import is_json, json_lines
from capstone_metrics.operations.listeners.metrics import MetricsFile, MetricsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from capstone_metrics.operations.listeners.alerts import Note
    from capstone_metrics.operations.listeners.listener import Listener


def listeners_of(declared: Mapping[str, Any], note: Callable[[], Note]) -> Iterator[Listener]:
    """Those that the environment and the configuration ask for.

    Args:
        declared: the parameters `operations`.
        note: gives where it is kept what alerts were sent.
    """
    if is_json():
        yield json_lines
    if path := declared.get("prometheus_file"):
        yield MetricsFile(str(path))
    if port := declared.get("prometheus_port"):
        yield MetricsServer(port)
    if declared.get("openlineage"):
        yield Lineage()
    if alarm := alarm_of(note):
        yield Alerts(alarm)
