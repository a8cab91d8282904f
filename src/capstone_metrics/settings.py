"""Kedro's settings for this project."""

import datetime as dt

from kedro.config import OmegaConfigLoader
from omegaconf.resolvers import oc

from capstone_metrics.configuration_check import ConfigurationCheck
from capstone_metrics.hooks import RunMonitor

HOOKS = (ConfigurationCheck(), RunMonitor())
DISABLE_HOOKS_FOR_PLUGINS = (
    "kedro-telemetry",
)  # it sends usage data unless a .telemetry file refuses

CONFIG_LOADER_CLASS = OmegaConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": {
        "clock": lambda: dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "oc.env": oc.env,
    },
}
