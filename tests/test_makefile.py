"""`make help` lists what the Makefile has."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.hooks import RunMonitor
from tests.support.project import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Completed


def make(*arguments: str, folder: Path = ROOT) -> Completed:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_is_the_default_and_names_every_target() -> None:
    (declared,) = re.findall(
        r"^\.PHONY:((?:.*\\\n)*.*)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    listed = re.findall(r"^  make (\S+) +\S.*", make().stdout, re.MULTILINE)

    assert sorted([*listed, "psql"]) == sorted(declared.replace("\\", " ").split())
    assert make("help").stdout == make().stdout


@pytest.mark.parametrize("target", ["run", "dashboard", "viz", "notebook", "sql", "reset"])
def test_a_target_takes_the_environment_and_the_options(target: str) -> None:
    done = make("--dry-run", "ENV=youtube", "ARGS=--option", target)
    command = done.stdout.splitlines()[-1]

    assert "--env='youtube'" in command
    assert command.endswith("--option")


def test_a_run_names_targets_that_a_shell_reads() -> None:
    monitor = RunMonitor()
    monitor.environment, monitor.folder, monitor.root = "a b", ROOT, ROOT
    monitor.configuration = {"parameters": {"sources": {}}}
    assert dict(monitor._footer())["Next"].startswith("make dashboard ENV='a b', make viz ENV='a ")


def test_an_unknown_environment_is_told_with_the_choices() -> None:
    done = make("run", "ENV=youtub")

    assert done.returncode == 2
    assert "ENV: 'youtub' is not one of" in done.stderr
    assert "youtube" in done.stderr


def test_clean_stops_what_runs_before_it_removes_it(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for folder in ("conf/local", ".venv/bin", "build", "data"):
        (tmp_path / folder).mkdir(parents=True)
    kedro = tmp_path / ".venv/bin/kedro"
    kedro.write_text('#!/bin/sh\necho "$@" > called; exit 1\n')
    kedro.chmod(0o755)

    done = make("clean", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text() == "serving stop --all\n"
    assert "What still runs was not stopped." in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Makefile", "called", "conf", "data"]
