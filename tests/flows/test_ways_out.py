"""The command that a message names is run as it is printed, and helps."""

from __future__ import annotations

import re
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
from infra.s3.seaweed import free_ports

from tests.support.lakes import LAKE_PIPELINES, add, line
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.package import Package
    from tests.support.project import Completed, Project

LAKE = f"--pipelines={','.join(LAKE_PIPELINES)}"
MART = "gold_video_views_dia_faculdade"


@pytest.fixture
def small(open_folder: Path) -> Iterator[Project]:
    """A project without a lake, whose source brings nothing: tests fill it."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


def follow(project: Project, done: Completed, number: int = 0) -> Completed:
    """Run one of the commands that a message names, in quotes."""
    for output in (done.stderr, done.stdout):  # an error comes before a hint
        if commands := re.findall(r"'kedro ([^']+)'", " ".join(output.split())):
            break
    assert len(commands) > number, output
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


@pytest.fixture
def published(small: Project) -> Project:
    """That project with a lake of one video, published."""
    add(small.root / "data", "2026-01-30T08", line(video_id="v1", data_postagem="2026-01-29"))
    small.run()
    return small


def add_another(project: Project) -> None:
    """Give its lake a video of the next day."""
    later = line(video_id="v2", data_postagem="2026-01-30")
    add(project.root / "data", "2026-01-31T08", later, name="later")


@pytest.mark.slow
def test_a_table_that_was_changed_by_hand_is_shown_and_recreated(published: Project) -> None:
    published.psql(f"UPDATE serving.{MART} SET total_views = total_views + 1")
    add_another(published)
    done = published.run(check=False)

    assert "nothing was published. If 'kedro verify' finds nothing wrong" in done.stderr
    assert follow(published, done, 0).returncode == 0
    assert f"FAIL serving.{MART}" in follow(published, done, 1).stdout
    assert follow(published, done, 2).returncode == 0
    published.kedro("serving", "check")


@pytest.mark.slow
def test_a_table_of_other_types_is_recreated_once_it_is_dropped(published: Project) -> None:
    published.psql(f"ALTER TABLE serving.{MART} ALTER total_views TYPE double precision")
    add_another(published)
    done = published.run(check=False)
    assert f"serving.{MART}.total_views is double precision and the mart needs" in done.stderr
    assert "Rename or drop the table as its owner" in done.stderr

    published.psql(f"DROP TABLE serving.{MART}")
    assert follow(published, done).returncode == 0
    published.kedro("serving", "check")


@pytest.mark.slow
def test_a_gold_that_lost_much_is_checked_and_published_as_it_says(published: Project) -> None:
    marts = published.parameters("marts.yml")["marts"]
    published.configure("parameters_marts.yml", marts={MART: marts[MART]})
    published.run("--pipelines=silver_to_gold")
    done = published.run("--pipelines=publish_gold", check=False)

    assert "Gold has lost too much to be published" in done.stderr
    assert follow(published, done, 1).returncode == 0
    assert follow(published, done).returncode == 0
    published.kedro("serving", "check")


@pytest.mark.slow
def test_a_port_that_is_set_later_is_taken_after_the_stop_that_is_named(
    published: Project,
) -> None:
    (port,) = free_ports(1)
    settings = published.root / "conf/base/globals.yml"
    settings.write_text(settings.read_text().replace("port: 0   ", f"port: {port}"))
    done = published.kedro("serving", "start")
    assert f"on {port}, which 'port' in globals.yml sets, after" in " ".join(done.stdout.split())
    assert follow(published, done).returncode == 0
    assert f"-p {port} " in published.kedro("serving", "start").stdout


@pytest.mark.slow
def test_an_archive_that_cannot_be_read_is_replaced_by_the_one_that_is_named(
    small: Project, package: Package
) -> None:
    add(small.root / "data", "2026-01-31T08", line())
    (small.root / "conf.tar.gz").write_text("no archive")
    done = small.kedro("run", "--conf-source=conf.tar.gz", LAKE, check=False)
    assert "is not an archive that can be read" in done.stderr
    assert "; 'make package' writes one." in done.stderr

    shutil.copy(package.archive, small.root / "conf.tar.gz")  # what 'make package' writes
    small.kedro("run", "--conf-source=conf.tar.gz", "--env=local", LAKE)
