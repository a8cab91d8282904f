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

from capstone_metrics.cli.common import catalog_of, one_sentence
from capstone_metrics.errors import CapstoneError

STREAMLIT = (
    "--server.address=127.0.0.1",
    "--server.fileWatcherType=none",
    "--server.showEmailPrompt=false",
    "--browser.gatherUsageStats=false",
    "--client.showErrorDetails=none",
    "--client.toolbarMode=minimal",
    "--theme.light.primaryColor=#005A9C",
    "--theme.light.textColor=#000000",
    "--theme.dark.primaryColor=#7CC0FF",
    "--theme.dark.textColor=#FFFFFF",
    "--theme.headingFontSizes=2.25rem,1.5rem",
)
"""How the dashboard is served, where an argument does not say otherwise.

The colours have the contrast that text needs (WCAG AA); Streamlit's own do not.
"""


@click.command(context_settings={"ignore_unknown_options": True})
@env_option
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@one_sentence()
def dashboard(env: str | None, arguments: tuple[str, ...]) -> None:
    """Serve the dashboard on loopback, until it is interrupted.

    It reads the server that CAPSTONE_READER_DSN names, and the embedded one if that is not set.
    ARGUMENTS are options of Streamlit, such as --server.port=8600.
    """
    if not find_spec("streamlit"):
        raise CapstoneError(
            "The dashboard needs Streamlit: 'make dashboard' installs it, and so does 'pip install "
            "capstone-metrics[dashboard]'."
        )
    environment = {**os.environ, **_of_the_dashboard(catalog_of(env))}
    page = Path(__file__).parents[1] / "dashboard/app.py"
    command = [sys.executable, "-m", "streamlit", "run", str(page), *STREAMLIT, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606


def _of_the_dashboard(catalog: Any) -> dict[str, str]:
    """The dashboard's environment: what it knows of the configuration."""
    schedule = catalog.load("params:schedule")
    publication = {"timezone": schedule["timezone"], **schedule["layers"]["publication"]}
    known = {"CAPSTONE_PUBLICATION_SCHEDULE": json.dumps(publication)}
    if "CAPSTONE_READER_DSN" not in os.environ:
        if catalog["serving"].remote:
            raise CapstoneError(
                "CAPSTONE_DSN names a server of yours, and whom it publishes as; name whom the "
                "dashboard reads as in CAPSTONE_READER_DSN, such as 'host=… user=bi_reader'."
            )
        known["CAPSTONE_READER_DSN"] = catalog["serving"].reader_dsn()
    return known
