"""The command that a message names is run as it is printed, and helps."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.support.lakes import LAKE_PIPELINES, add, line
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Completed, Project

LAKE = f"--pipelines={','.join(LAKE_PIPELINES)}"


@pytest.fixture
def small(open_folder: Path) -> Iterator[Project]:
    """A project without a lake, whose source brings nothing: tests fill it."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


def follow(project: Project, done: Completed, number: int = 0) -> Completed:
    """Run a command that a message names, in quotes."""
    text = " ".join((done.stdout + done.stderr).split())
    commands = re.findall(r"'kedro ([^']+)'", text)
    assert len(commands) > number, text
    return project.kedro(*shlex.split(commands[number]), check=False)


@pytest.mark.slow
def test_what_needs_a_lake_names_the_run_that_makes_it(small: Project) -> None:
    add(small.root / "data", "2026-01-31T08", line())
    first = small.kedro("run", "--pipelines=silver_to_gold", check=False)
    assert "There is no Silver to build Gold from; run 'kedro run' first." in first.stderr
    early = small.kedro("run", "--pipelines=publish_gold", check=False)
    assert "There is no Gold to publish; run 'kedro run' first." in early.stderr
    look = small.kedro("quarantine", check=False)
    assert "has no Silver yet; run 'kedro run' first." in look.stderr
    assert follow(small, first).returncode == 0
    for again in (first, early, look):
        assert small.kedro(*again.args).returncode == 0


@pytest.mark.slow
def test_marts_that_changed_since_gold_was_built_name_the_run_that_builds_them(
    small: Project,
) -> None:
    add(small.root / "data", "2026-01-31T08", line())
    small.run()
    marts = small.parameters("marts.yml")["marts"]
    new = {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
    small.configure("parameters_marts.yml", marts={**marts, "gold_faculdade": new})
    done = small.kedro("run", "--pipelines=publish_gold", check=False)
    assert "The declarations of the marts have changed since Gold was built." in done.stderr
    assert follow(small, done).returncode == 0
    small.kedro("run", "--pipelines=publish_gold")


@pytest.mark.slow
def test_lines_of_an_old_declaration_are_validated_again_by_the_replay(small: Project) -> None:
    add(small.root / "data", "2026-01-31T08", line(saves=1))
    small.run(LAKE)
    declared = small.parameters("sources.yml")["sources"]["faker"] | {"channels": []}
    declared["other_fields"] = ["qtd_inscritos", "saves"]
    small.configure("parameters_sources.yml", sources={"faker": declared})
    hint = "validated before their declaration or the networks changed: lines of faker"
    add(small.root / "data", "2026-01-31T20", line(video_id="v2"))
    done = small.run(LAKE)
    assert hint in done.stdout
    assert follow(small, done).returncode == 0
    assert hint not in small.run(LAKE).stdout


@pytest.mark.slow
def test_a_lake_without_a_good_line_names_the_commands_that_show_and_mend_it(
    small: Project,
) -> None:
    add(small.root / "data", "2026-01-31T08", line(rede_social="orkut"))
    done = small.run(LAKE, check=False)
    assert "Silver has no row: all 1 lines are in the quarantine" in done.stderr
    assert "rede_social.unknown" in follow(small, done).stdout
    small.ingest_nothing()
    path = small.root / "conf/local/parameters_sources.yml"
    path.write_text(path.read_text().replace("- tiktok\n", "- tiktok\n- orkut\n", 1))
    assert follow(small, done, 1).returncode == 0
    small.run(LAKE)


def test_a_run_that_is_not_found_names_the_list(small: Project) -> None:
    small.run(LAKE)
    done = small.kedro("runs", "show", "nothing", check=False)
    assert "no run 'nothing'; 'kedro runs' lists them." in done.stderr
    assert "succeeded" in follow(small, done).stdout
