"""`kedro reset` removes the lake and the database of one environment, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.serving.embedded import ADMIN, EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.project import Project

EXPORT = """\
video_id,faculdade,rede_social,data_postagem,views,likes,comentarios
v1,GRAN,tiktok,2026-01-30,5,1,0
"""
SOURCES = "sources: {mine: {type: files, format: csv, path: data/exports/*.csv}}\n"


@pytest.fixture(scope="module")
def ran(open_folder: Path) -> Iterator[Project]:
    """A project with two environments that were run: the lake of `escola` lies in `data`, too."""
    with project_copy(open_folder) as copy:
        (copy.root / "data/exports").mkdir()
        (copy.root / "data/exports/export.csv").write_text(EXPORT)
        escola = copy.root / "conf/escola"
        escola.mkdir()
        (escola / "globals.yml").write_text("lake: data/escola\ndatabase: escola\n")
        for environment in ("local", "escola"):
            (copy.root / "conf" / environment / "parameters_sources.yml").write_text(SOURCES)
            copy.run(f"--env={environment}")
        yield copy


def databases(project: Project) -> set[str]:
    server = EmbeddedServer(project.root / "data/postgres")
    with closing(connect(server.start(), "postgres", ADMIN)) as database:
        cursor = database.cursor()
        cursor.execute("SELECT datname FROM pg_database")
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.slow
def test_nothing_is_removed_where_nobody_can_be_asked(ran: Project) -> None:
    before = ran.files()
    done = ran.kedro("reset", check=False)

    assert done.returncode == 1
    assert done.stdout.startswith("A reset of the environment local removes\n")
    assert f"  {ran.root}/data/bronze: 1 files\n" in done.stdout
    assert "the database capstone of the server in" in done.stdout
    assert done.stderr == (
        "Error: Nothing was removed: without a terminal to ask on, give --yes, or ARGS=--yes "
        "to make.\n"
    )
    assert ran.files() == before


@pytest.mark.slow
@pytest.mark.parametrize("path", ["gold/mine.csv", "bronze/exports/mine.csv"])
def test_a_file_that_a_source_reads_is_not_removed(ran: Project, path: str) -> None:
    (ran.root / "data" / path).parent.mkdir(exist_ok=True)
    (ran.root / "data" / path).write_text(EXPORT)
    declared = ran.root / "conf/escola/parameters_sources.yml"
    declared.write_text(SOURCES.replace("data/exports/*.csv", f"data/{path}"))
    try:
        done = ran.kedro("reset", "--yes", check=False)
    finally:
        declared.write_text(SOURCES)

    assert done.returncode == 1
    assert f"data/{path}: a file of the source mine lies in the lake" in done.stderr
    assert (ran.root / "data" / path).read_text() == EXPORT
    (ran.root / "data" / path).unlink()


def test_the_lake_of_another_environment_is_not_removed(ran: Project) -> None:
    settings = ran.root / "conf/escola/globals.yml"
    settings.write_text("lake: data/gold/escola\n")
    try:
        done = ran.kedro("reset", "--yes", check=False)
    finally:
        settings.write_text("lake: data/escola\ndatabase: escola\n")

    assert done.returncode == 1
    assert "data/gold/escola: lake of the environment escola lies in the lake" in done.stderr


@pytest.mark.parametrize("sources", ["{mine: csv}", "{mine: {path: [a]}}"])
def test_a_wrong_declaration_of_another_environment_does_not_bar_a_reset(
    ran: Project, sources: str
) -> None:
    folder = ran.root / "conf/outra"
    folder.mkdir()
    (folder / "parameters_sources.yml").write_text(f"sources: {sources}\n")
    try:
        done = ran.kedro("reset", check=False)
    finally:
        shutil.rmtree(folder)

    assert done.stderr.startswith("Error: Nothing was removed: without a terminal to ask on")


def test_a_server_of_ones_own_is_left_alone(ran: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAPSTONE_DSN", "host=127.0.0.1 port=1")
    done = ran.kedro("reset", check=False)

    assert done.stdout.startswith("Your own server, which CAPSTONE_DSN names, is left as it is.\n")
    assert "data/gold" in done.stdout
    assert "the database" not in done.stdout


@pytest.mark.slow
def test_nothing_is_removed_if_the_user_answers_no(ran: Project) -> None:
    before = ran.files()
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"n\n")
    done = subprocess.run(
        [str(Path(sys.executable).parent / "kedro"), "reset"],
        cwd=ran.root,
        stdin=terminal,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(keyboard)
    os.close(terminal)

    assert (done.returncode, done.stderr) == (1, "Error: Nothing was removed.\n")
    assert "and nothing else. Remove it? [y/N]:" in done.stdout
    assert ran.files() == before


def test_a_reset_removes_one_environment_and_its_next_run_makes_it_again(ran: Project) -> None:
    gold = ran.files()["data/gold/gold_video_views_dia_faculdade.csv"][0]
    escola = ran.files("data/escola")
    passwords = (ran.root / "data/postgres/pgpass").read_text()
    assert {"capstone", "escola"} <= databases(ran)

    done = ran.kedro("reset", "--yes")

    assert done.stdout.endswith("Removed. 'kedro run --env=local' begins anew.\n")
    assert ran.files() == {}
    assert ran.files("data/escola") == escola
    assert (ran.root / "data/exports/export.csv").read_text() == EXPORT
    assert "escola" in databases(ran)
    assert "capstone" not in databases(ran)
    assert ran.kedro("reset").stdout == "The environment local has nothing to remove.\n"

    ran.run()
    assert ran.files()["data/gold/gold_video_views_dia_faculdade.csv"][0] == gold
    assert "capstone" in databases(ran)
    assert (ran.root / "data/postgres/pgpass").read_text() == passwords


def test_a_stopped_server_is_stopped_afterwards(ran: Project) -> None:
    server = EmbeddedServer(ran.root / "data/postgres")
    server.stop()
    ran.kedro("reset", "--yes")

    assert not server.is_running
    assert "capstone" not in databases(ran)


@pytest.mark.slow
def test_a_reset_is_resumed_after_it_was_interrupted(ran: Project) -> None:
    ran.run()
    shutil.rmtree(ran.root / "data/gold")
    (ran.root / "data/silver/head.json").unlink()

    ran.kedro("reset", "--yes")
    assert ran.files() == {}
