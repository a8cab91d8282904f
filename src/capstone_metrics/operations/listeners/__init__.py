"""The listeners to a run that are configured: logs, a webhook, Prometheus, OpenLineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capstone_metrics.operations.listeners.alerts import AlertListener, alerter_of
from capstone_metrics.operations.listeners.lineage import Lineage
from capstone_metrics.operations.listeners.logs import is_json, json_logs
from capstone_metrics.operations.listeners.metrics import MetricsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from capstone_metrics.operations.listeners.alerts import JsonDocument
    from capstone_metrics.operations.listeners.listener import Listener


def listeners_of(
    config: Mapping[str, Any], document: Callable[[], JsonDocument]
) -> Iterator[Listener]:
    """Yield the listeners that the environment and the configuration turn on.

    Args:
        config: the parameters `operations`.
        document: returns the document of the problems already sent.
    """
    if is_json():
        yield json_logs
    if path := config.get("prometheus_file"):
        yield MetricsFile(str(path))
    if config.get("openlineage"):
        yield Lineage()
    if alerter := alerter_of(document):
        yield AlertListener(alerter)
