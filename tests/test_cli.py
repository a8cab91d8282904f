from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import duckdb
import pytest

from capstone_metrics.cli import reason
from tests.conftest import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Project

EXPORT = """\
video_id,faculdade,rede_social,data_postagem,views,likes,comentarios
v1,GRAN,tiktok,2026-01-30,5,1,0
v2,GRAN,tiktok,2026-01-31,7,1,0
"""


@pytest.fixture(scope="module")
def ran(open_folder: Path) -> Iterator[tuple[Project, str]]:
    """A project with a source and a mart of a user's own, and what its run said."""
    with project_copy(open_folder) as copy:
        (copy.root / "export.csv").write_text(EXPORT)
        export = {"type": "files", "format": "csv", "path": "export.csv"}
        copy.configure("parameters_sources.yml", sources={"mine": export})
        mart = {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
        copy.configure("parameters_marts.yml", marts={"gold_mine": mart})
        yield copy, copy.run().stdout


@pytest.mark.parametrize(
    ("pipeline", "now", "configured", "sentence"),
    [
        ("ingest_bronze", "nonsense", {}, "now: 'nonsense' is not an instant"),
        (
            "ingest_bronze",
            "2026-01-31T20:05",
            {"sources": {"mine": {"type": "files", "format": "csv", "path": "no/such.csv"}}},
            "sources.mine.path: no file at 'no/such.csv'",
        ),
        (
            "silver_to_gold",
            "2026-01-31T20:05",
            {"marts": {"gold_mine": {"key": ["canal"], "measures": {"n": {"count": "views"}}}}},
            "marts.gold_mine.key: ['canal'] must be",
        ),
    ],
)
def test_an_error_of_the_user_is_one_sentence(
    project: Project, pipeline: str, now: str, configured: dict[str, object], sentence: str
) -> None:
    project.configure("parameters_mine.yml", **configured)
    done = project.run(f"--pipelines={pipeline}", now=now, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout


def test_a_source_and_a_mart_of_ones_own_are_run(ran: tuple[Project, str]) -> None:
    project, said = ran
    query = "SELECT current_user, * FROM serving.gold_mine"

    assert "2 lines in Bronze = 2 current in Silver" in said
    gold = (project.root / "data/gold/gold_mine.csv").read_text()
    assert gold == "faculdade,total_views\nGRAN,12\n"
    assert project.kedro("serving", "psql", "-Atc", query).stdout == "bi_reader|GRAN|12\n"


def test_no_password_is_shown(ran: tuple[Project, str]) -> None:
    project, said = ran
    catalog = project.kedro("catalog", "resolve-patterns").stdout
    lines = (project.root / "data/postgres/pgpass").read_text().splitlines()

    assert "gold_mine" in catalog
    assert len(lines) == 3
    assert not [line for line in lines if line.split(":")[4] in said + catalog]


def test_python_runs_the_package(ran: tuple[Project, str]) -> None:
    arguments = ["--env=local", "--params=now=2026-01-31T20:05", "--pipelines=silver_to_gold"]
    command = [sys.executable, "-m", "capstone_metrics", *arguments]
    said = subprocess.run(command, cwd=ran[0].root, check=True, stdout=subprocess.PIPE, text=True)

    assert "│ gold  │  2 │        2 │" in said.stdout


def test_the_database_is_opened_before_any_run_and_stopped(project: Project) -> None:
    opened = project.kedro("serving", "psql", "--", "-At", "-c", "SELECT current_database()")
    started = project.kedro("serving", "start")
    stopped = project.kedro("serving", "stop")

    assert opened.stdout == "capstone\n"
    assert started.stdout.endswith(" -U bi_reader capstone\n")
    assert stopped.stdout == "Stopped.\n"


def test_a_database_that_cannot_start_is_one_sentence(project: Project) -> None:
    project.configure("globals.yml", postgres="pyproject.toml")
    done = project.kedro("serving", "start", check=False)

    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {project.root}/pyproject.toml: ")
    assert done.stderr.count("\n") == 1


def test_the_flow_is_registered_by_name(project: Project) -> None:
    names = "__default__ bronze_to_silver ingest_bronze plan publish_gold silver_to_gold"

    assert project.kedro("registry", "list").stdout.replace("- ", "").split() == names.split()


def test_a_file_that_vanishes_while_it_is_read_was_moved_by_another_run(tmp_path: Path) -> None:
    gone = tmp_path / "part-0.parquet"
    with pytest.raises(duckdb.IOException) as caught:
        duckdb.read_parquet(str(gone)).fetchall()
    assert str(reason(caught.value)).startswith("Another run changed the lake")
    assert reason(ValueError("x")) is None
