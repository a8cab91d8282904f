"""From an empty folder to PostgreSQL, as a user runs it."""

from __future__ import annotations

import csv
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import yaml

from capstone_metrics.serving.embedded import READER, EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.support.lakes import add, line
from tests.support.markdown import READMES, missing_output
from tests.support.oracle import rebuild
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

KEYS = {
    "gold_video_views_dia_rede_social": ("data_postagem", "rede_social"),
    "gold_video_views_dia_faculdade": ("data_postagem", "faculdade"),
}


def gold(project: Project, mart: str, top: str = "data") -> list[list[str]]:
    with (project.root / top / f"gold/{mart}.csv").open(newline="") as file:
        return list(csv.reader(file))[1:]


def served(project: Project, query: str, database: str = "capstone") -> list[tuple[Any, ...]]:
    address = EmbeddedServer(project.root / "data/postgres", port=0).start()
    assert address.host == "127.0.0.1"
    with closing(connect(address, database, READER)) as reader, reader.cursor() as db:
        db.execute(query)
        return db.fetchall()


def bronze(project: Project, top: str = "data") -> dict[str, bytes]:
    layer = project.root / top / "bronze/criacao"
    return {p.relative_to(layer).as_posix(): p.read_bytes() for p in layer.rglob("*.jsonl")}


@pytest.fixture(scope="module")
def first(open_folder: Path) -> Iterator[tuple[Project, str]]:
    with project_copy(open_folder) as copy:
        yield copy, copy.run("--env=local").stdout


def test_a_first_run_ends_with_the_table(first: tuple[Project, str]) -> None:
    copy, output = first
    lines = sum(content.count(b"\n") for content in bronze(copy).values())
    rows = len(list((copy.root / "data/silver/criacao").rglob("*.parquet")))
    assert rows
    assert re.search(rf"bronze\W+{lines:,}\W+{lines:,}", output)
    assert re.search(
        rf"{lines:,} lines in Bronze = [\d,]+ current in Silver \+ [\d,]+ superseded", output
    )
    assert "data/gold/*.csv" in output
    assert "psql -h 127.0.0.1" in output
    for readme in READMES:
        assert missing_output(readme, output, is_first=True) == []


def test_bronze_has_every_window_of_the_history(first: tuple[Project, str]) -> None:
    windows = sorted(re.search("janela=([^/]+)", name)[1] for name in bronze(first[0]))  # type: ignore[index]
    assert (len(windows), windows[0], windows[-1]) == (60, "2026-01-02T08", "2026-01-31T20")


def test_gold_equals_a_naive_rebuild_of_bronze(first: tuple[Project, str]) -> None:
    copy, _ = first
    networks = copy.parameters("sources.yml")["networks"]
    lake = rebuild(bronze(copy), {"faker": {"type": "faker"}}, networks)
    assert not lake.quarantine
    for mart, key in KEYS.items():
        rows = {tuple(row[:2]): [int(value) for value in row[2:]] for row in gold(copy, mart)}
        assert rows == {(str(k[0]), k[1]): totals for k, totals in lake.mart(*key).items()}
        assert list(rows) == sorted(rows)


def test_postgresql_serves_gold_over_tcp(first: tuple[Project, str]) -> None:
    copy, _ = first
    for mart, key in KEYS.items():
        rows = served(copy, f"SELECT * FROM serving.{mart} ORDER BY {', '.join(key)}")
        assert sorted([str(value) for value in row] for row in rows) == sorted(gold(copy, mart))


def test_a_second_run_changes_no_file(first: tuple[Project, str]) -> None:
    copy, _ = first
    before = copy.files()
    publications = served(copy, "SELECT * FROM serving.publications")
    assert "Nothing new" in copy.run().stdout
    assert copy.files() == before
    assert served(copy, "SELECT * FROM serving.publications") == publications


STAGES = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"


def set_history(project: Project, days: int) -> None:
    """Have the synthetic source begin so many days ago."""
    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["history_days"] = days
    project.configure("parameters_sources.yml", **declared)


@pytest.mark.slow
def test_another_clone_makes_the_same_bytes_and_a_clock_set_back_loses_nothing(
    project: Project, open_folder: Path
) -> None:
    set_history(project, 2)
    project.run(STAGES)
    first, before = project.files(), rows_of(project)
    with project_copy(open_folder) as clone:
        set_history(clone, 2)
        clone.run(STAGES)
        # a commit's record names the process that wrote it
        ours, theirs = (
            {name: at[0] for name, at in copy.files().items() if "/commits/" not in name}
            for copy in (project, clone)
        )
        assert ours == theirs

    project.run(STAGES, now="2026-01-30T20:05")
    assert "Nothing new" in project.run(STAGES).stdout
    in_bronze = {name: at for name, at in first.items() if "/bronze/" in name}
    assert in_bronze.items() < project.files().items()

    with project_copy(open_folder) as clone:
        set_history(clone, 3)  # as far back as the clock has been
        clone.run(STAGES)
        assert rows_of(clone) == rows_of(project) != before


def rows_of(project: Project) -> dict[str, bytes]:
    """The bytes of a lake, but for what counts its commits."""
    heads = {"data/silver/head.json", "data/gold/manifest.json"}
    return {
        name: at[0]
        for name, at in project.files().items()
        if "/commits/" not in name and name not in heads
    }


def test_the_youtube_export_in_a_lake_of_its_own(project: Project) -> None:
    output = project.run("--env=youtube").stdout
    identity = "3,398 lines in Bronze = 2,602 current in Silver + 796 superseded + 0 quarantined"
    assert identity in output
    totals = (699_557_695, 28_959_279, 2_931_769, 2_602)
    for mart in KEYS:
        columns = zip(*(row[2:] for row in gold(project, mart, "data/youtube")), strict=True)
        assert tuple(sum(map(int, column)) for column in columns) == totals
        sums = ", ".join(f"sum({m})::bigint" for m in yaml_measures(project))
        query = f"SELECT {sums} FROM serving.{mart}"
        assert served(project, query, "capstone_youtube") == [totals]

    # Gold that was edited by hand is not published
    mart = project.root / "data/youtube/gold/gold_video_views_dia_faculdade.csv"
    mart.write_text(mart.read_text().replace("1", "2", 1))
    rejected = project.run("--env=youtube", "--pipelines=publish_gold", check=False)
    assert rejected.returncode == 1
    assert "is not the file that Gold's manifest names" in rejected.stderr
    assert "Traceback" not in rejected.stdout + rejected.stderr


def yaml_measures(project: Project) -> list[str]:
    marts = project.parameters("marts.yml")["marts"]
    return list(marts["gold_video_views_dia_rede_social"]["measures"])


def test_a_mart_and_a_source_are_added_by_a_declaration_each(project: Project) -> None:
    youtube = yaml.safe_load((project.root / "conf/youtube/parameters_sources.yml").read_text())
    marts = project.parameters("marts.yml")["marts"]
    marts["gold_categoria"] = {
        "key": ["data_postagem", "categoria"],
        "measures": {"total_views": {"sum": "views"}, "total_videos": {"count": "video_id"}},
    }
    project.configure("parameters_marts.yml", marts=marts)
    project.configure("parameters_sources.yml", **youtube)
    project.run()
    rows = gold(project, "gold_categoria")
    assert sum(int(row[2]) for row in rows) == 699_557_695
    query = "SELECT sum(total_views)::bigint, sum(total_videos)::bigint FROM serving.gold_categoria"
    assert served(project, query) == [(699_557_695, 2_602)]


NAMES = [
    "'); DROP TABLE serving.publications; --",
    '=HYPERLINK("http://x")',
    "../../x",
    "x" * 10_000,
    "🎬👩‍👩‍👧",
    "مرحبا \u202eabc",
]


def test_a_name_is_text_from_bronze_to_postgresql(project: Project) -> None:
    project.ingest_nothing()
    lines = (line(video_id=f"v{n}", views=n, faculdade=name) for n, name in enumerate(NAMES))
    add(project.root / "data", "2026-01-31T08", *lines)
    before = elsewhere(project)
    project.run()

    views = {name: n for n, name in enumerate(NAMES)}
    query = "SELECT faculdade, views FROM read_parquet(?)"
    parts = [str(path) for path in (project.root / "data/silver/criacao").rglob("*.parquet")]
    assert dict(duckdb.sql(query, params=[parts]).fetchall()) == views
    mart = "gold_video_views_dia_faculdade"
    assert {row[1]: int(row[2]) for row in gold(project, mart)} == views
    assert dict(served(project, f"SELECT faculdade, total_views FROM serving.{mart}")) == views
    assert served(project, "SELECT count(*) FROM serving.publications") == [(1,)]

    assert elsewhere(project) == before
    (project.root / "data/silver/../../x").touch()
    assert elsewhere(project) != before


def elsewhere(project: Project) -> set[str]:
    """Return every path in the project and beside it, except where a run writes."""
    layers = ("bronze", "silver", "gold", "operations", "_tmp", "postgres")
    own = (*(f"data/{layer}" for layer in layers), ".viz")
    written = {project.root / name for name in own}
    return {
        str(path)
        for top in (project.root, project.root.parent)
        for path in (top.rglob("*") if top == project.root else top.iterdir())
        if not written & {path, *path.parents}
    }
