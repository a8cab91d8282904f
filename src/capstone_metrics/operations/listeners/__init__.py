"""The listeners to a run that are configured: logs, a webhook, Prometheus, and plug-ins."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.operations.listeners.alerts import AlertListener, alerter_of
from capstone_metrics.operations.listeners.logs import is_json, json_logs
from capstone_metrics.operations.listeners.metrics import MetricsFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from capstone_metrics.operations.listeners.alerts import JsonDocument
    from capstone_metrics.operations.listeners.listener import Listener

PLUGINS = "capstone_metrics.listeners"
"""The group of entry points by which a package provides a listener: its name, and its class."""


def listeners_of(
    config: Mapping[str, Any], document: Callable[[], JsonDocument]
) -> Iterator[Listener]:
    """Yield the listeners that the environment and the configuration turn on.

    Args:
        config: the parameters `operations`.
        document: returns the document of the problems already sent.

    Raises:
        ConfigError: if a plug-in is unknown, or cannot be imported.
    """
    if is_json():
        yield json_logs
    if path := config.get("prometheus_file"):
        yield MetricsFile(str(path))
    for name in config.get("listeners", ()):
        yield _plugin(name)
    if alerter := alerter_of(document):
        yield AlertListener(alerter)


def _plugin(name: str) -> Listener:
    """Return the listener of an installed package; only then is it imported."""
    setting = "operations.listeners"
    plugins = {each.name: each for each in entry_points(group=PLUGINS)}
    if name not in plugins:
        raise unknown_name(setting, name, plugins)
    try:
        listener: Listener = plugins[name].load()()
    except ImportError as error:
        raise ConfigError(
            f"{setting}: {name} cannot be loaded ({error}); install the package or extra that it "
            "needs, or omit it."
        ) from error
    return listener
