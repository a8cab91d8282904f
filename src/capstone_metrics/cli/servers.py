"""The servers that a user starts in the project's folder: the dashboard, lineage, notebooks."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = {
    "streamlit": "the dashboard",
    "dashboard": "the dashboard",
    "viz": "the lineage",
    "jupyter": "the notebooks",
}
"""What each server is, by the argument that starts it: of Python, of `kedro`, or its program."""

STOP_SECONDS = 10


def stop_programs(root: Path) -> Iterator[str]:
    """Stop the servers of a project that run on this Python, and yield what each was.

    Args:
        root: the folder of the project, in which they were started.
    """
    programs = Path(sys.executable).parent
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            arguments = process.cmdline()
            if not arguments or Path(arguments[0]).parent != programs:
                continue
            names = {Path(argument).name.partition("-")[0] for argument in arguments[1:4]}
            started = next((name for name in PROGRAMS if name in names), None)
            if started and Path(process.cwd()).is_relative_to(root):
                children = process.children(recursive=True)
                for each in (process, *children):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        each.terminate()
                _, alive = psutil.wait_procs([process, *children], timeout=STOP_SECONDS)
                for each in alive:
                    each.kill()
                yield f"{PROGRAMS[started]} (process {process.pid})"
