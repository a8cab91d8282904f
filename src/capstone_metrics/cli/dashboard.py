"""The command that serves the dashboard."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.utils import env_option

from capstone_metrics.cli.common import load_catalog
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import ConfigError

STREAMLIT_OPTIONS = (
    "--server.address=127.0.0.1",
    "--server.fileWatcherType=none",
    "--server.showEmailPrompt=false",
    "--browser.gatherUsageStats=false",
    "--client.showErrorDetails=none",
    "--client.toolbarMode=minimal",
    "--global.disableWidgetStateDuplicationWarning=true",
    "--theme.light.primaryColor=#005A9C",
    "--theme.light.textColor=#000000",
    "--theme.dark.primaryColor=#7CC0FF",
    "--theme.dark.textColor=#FFFFFF",
    "--theme.headingFontSizes=2.25rem,1.5rem",
)
"""Options of Streamlit, unless an argument sets them.

The filters are kept from page to page, of which Streamlit would warn. The colours have the contrast
that text needs (WCAG AA); Streamlit's own do not.
"""


@click.command(context_settings={"ignore_unknown_options": True})
@env_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@show_user_errors()
def dashboard(env: str | None, arguments: tuple[str, ...]) -> None:
    """Serve the dashboard on loopback until interrupted.

    It reads the server in CAPSTONE_READER_DSN, or the embedded one if that is not set.
    ARGUMENTS are options of Streamlit, such as --server.port=8600.
    """
    if not find_spec("streamlit"):
        raise ConfigError(
            "The dashboard needs Streamlit: 'make dashboard' installs it, and so does 'pip install "
            "capstone-metrics[dashboard]'."
        )
    environment = {**os.environ, **_dashboard_environment(load_catalog(env))}
    page = Path(__file__).parents[1] / "dashboard/app.py"
    command = [sys.executable, "-m", "streamlit", "run", str(page), *STREAMLIT_OPTIONS, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606


def _dashboard_environment(catalog: Any) -> dict[str, str]:
    """Return the environment variables that configure the dashboard."""
    schedule = catalog.load("params:schedule")
    layers = {name: each for name, each in schedule["layers"].items() if name == "publication"}
    publication = {"timezone": schedule["timezone"], "layers": layers}
    variables = {"CAPSTONE_PUBLICATION_SCHEDULE": json.dumps(publication)}
    if "CAPSTONE_READER_DSN" not in os.environ:
        if catalog["serving"].remote:
            raise ConfigError(
                "CAPSTONE_DSN names your own server and the role that publishes; set "
                "CAPSTONE_READER_DSN to the role that reads, such as 'host=… user=bi_reader'."
            )
        variables["CAPSTONE_READER_DSN"] = catalog["serving"].reader_dsn()
    return variables
