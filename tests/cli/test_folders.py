"""A command does and prints the same in every folder of a project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.project import NOW

if TYPE_CHECKING:
    from tests.support.project import Completed, Project

EXPORT = """\
video_id,faculdade,rede_social,data_postagem,views,likes,comentarios
v1,GRAN,tiktok,2026-01-30,5,1,0
"""


def kedro(folder: Path, *arguments: str) -> Completed:
    """Run a kedro command in a process: logging is configured when it begins."""
    return subprocess.run(
        [str(Path(sys.executable).parent / "kedro"), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.slow
def test_a_run_below_the_root_finds_its_files_and_logs_no_more(project: Project) -> None:
    (project.root / "export.csv").write_text(EXPORT)
    declared = {"mine": {"type": "files", "format": "csv", "path": "export.csv"}}
    project.configure("parameters_sources.yml", sources=declared)
    arguments = ("run", f"--params=now={NOW}", "--pipelines=ingest_bronze,bronze_to_silver")

    below = kedro(project.root / "src", *arguments)
    at_root = kedro(project.root, *arguments)

    assert below.returncode == at_root.returncode == 0, below.stderr
    assert "1 lines in Bronze" in below.stdout
    assert f"in {project.root}: make dashboard" in " ".join(below.stdout.split())
    assert below.stderr == at_root.stderr == ""
    # Kedro's own line, before it knows the project
    assert below.stdout.count(" INFO ") == below.stdout.count(" INFO     Using ") == 1
    assert not (project.root / "src/data").exists()


def test_outside_of_a_project_kedro_reports_it(tmp_path: Path) -> None:
    done = kedro(tmp_path, "status")

    assert done.returncode == 2
    assert "No such command 'status'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["verify", "quarantine", "serving check"])
def test_a_lake_without_a_run_is_one_sentence(project: Project, command: str) -> None:
    done = project.kedro(*command.split(), check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no lake in ")
    assert done.stderr.endswith("data yet; run 'kedro run' first.\n")
    assert done.stderr.count("\n") == 1


def test_the_quarantine_of_a_clean_lake_is_reported_as_empty(project: Project) -> None:
    (project.root / "export.csv").write_text(EXPORT)
    declared = {"mine": {"type": "files", "format": "csv", "path": "export.csv"}}
    project.configure("parameters_sources.yml", sources=declared)
    project.run("--pipelines=ingest_bronze,bronze_to_silver")

    assert project.kedro("quarantine").stdout == "No line is in quarantine.\n"
    unknown = project.kedro("quarantine", "--rule=views", check=False)
    assert unknown.returncode == 1
    assert unknown.stderr == "Error: --rule: there is no 'views'.\n"
    only_silver = project.kedro("verify", check=False)
    assert only_silver.returncode == 1
    assert "data has no Gold yet; run 'kedro run' first." in only_silver.stderr


def test_a_run_shows_its_node_on_a_terminal_and_nothing_more_elsewhere(project: Project) -> None:
    project.ingest_nothing()
    keyboard, terminal = os.openpty()
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kedro"), "run", "--pipelines=bronze_to_silver"],
        cwd=project.root,
        stdin=terminal,
        stdout=terminal,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    shown = os.read(keyboard, 1 << 16).decode()
    os.close(keyboard)
    os.close(terminal)

    assert done.returncode == 0, done.stderr
    assert "silver: " in shown  # which of its nodes depends on when the terminal is drawn
    assert "silver: " not in project.run("--pipelines=bronze_to_silver").stdout
