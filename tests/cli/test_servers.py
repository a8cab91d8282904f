"""`kedro serving stop --all` stops what was started in the project's folder, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from capstone_metrics.cli.servers import stop_programs
from capstone_metrics.serving.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

WAITING = "import sys; print('ready', flush=True); sys.stdin.read()"


def program(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a program that waits in a folder, with arguments by which it is known."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, *arguments],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_only_servers_of_the_folder_are_stopped(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "theirs").mkdir()
    ours = program(tmp_path / "ours", "streamlit")
    others = [program(tmp_path / "theirs", "streamlit"), program(tmp_path / "ours", "run")]
    try:
        stopped = list(stop_programs(tmp_path / "ours"))

        assert stopped == [f"the dashboard (process {ours.pid})"]
        assert not psutil.pid_exists(ours.pid)
        assert [each.poll() for each in others] == [None, None]
    finally:
        for each in (ours, *others):
            each.kill()
            each.communicate()


@pytest.mark.slow
def test_the_servers_of_all_environments_are_stopped(project: Project) -> None:
    folder = project.root / "conf/escola"
    folder.mkdir()
    (folder / "globals.yml").write_text("postgres: data/escola\nlake: data/x\n")
    project.kedro("serving", "start", "--env=escola")
    server = EmbeddedServer(project.root / "data/escola")
    assert server.is_running

    done = project.kedro("serving", "stop", "--all")

    assert done.stdout == f"Stopped the PostgreSQL in {project.root}/data/escola.\n"
    assert not server.is_running
    assert project.kedro("serving", "stop", "--all").stdout == ""
