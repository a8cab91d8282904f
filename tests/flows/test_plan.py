"""A plan shows the rows and days that the run after it changes, and changes nothing itself."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

from tests.support.lakes import LAKE_PIPELINES, add, line, run_here
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.project import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}
ROWS = r"([\d,]+) rows to write, ([\d,]+) to remove"
DAYS = r"([\d,]+) days(?: \((.*)\))?"

Row = tuple[Any, ...]


@dataclass
class Change:
    """The numbers of rows that are written and removed, and the days of these rows."""

    written: int = 0
    removed: int = 0
    days: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, before: set[Row], after: set[Row]) -> Change:
        """Return the difference of two tables, whose first column is the day."""
        return cls(len(after - before), len(before - after), {str(r[0]) for r in before ^ after})


def tables(lake: Path) -> dict[str, set[Row]]:
    """Return the rows of Silver and of each mart, with the day first."""
    silver: set[Row] = set()
    if list(lake.glob("silver/criacao/**/*.parquet")):
        text = "* REPLACE (ingestion_ts::VARCHAR AS ingestion_ts)"
        query = f"SELECT data_postagem, {text} FROM read_parquet(?, hive_partitioning = true)"
        files = f"{lake}/silver/criacao/**/*.parquet"
        silver = set(duckdb.execute(query, [files]).fetchall())
    marts = {
        path.stem: set(rows_of(path.read_text().splitlines())) for path in lake.glob("gold/*.csv")
    }
    return {"silver": silver, **marts}


def rows_of(lines: list[str]) -> Iterator[Row]:
    header, *rows = csv.reader(lines)
    day = next((number for number, name in enumerate(header) if name.startswith("data_")), 0)
    return ((row[day], *row) for row in rows)


def planned(project: Project, params: str) -> tuple[dict[str, Change], int]:
    """Return what a plan says of Silver and of each mart, and how many lines it would reject."""
    params = f"--params=plan=true{',' if params else ''}{params}"
    output = project.kedro("run", f"--pipelines={','.join(LAKE_PIPELINES)}", params).stdout
    silver = re.search(rf"{ROWS} on {DAYS}", output)
    assert silver, output
    changes = {"silver": Change(*numbers(silver[1], silver[2]), days_of(silver[4]))}
    gold = re.search(rf"^gold +{DAYS}", output, re.MULTILINE)
    assert gold, output
    for name, *counts in re.findall(rf"(gold_\w+): {ROWS}", output):
        changes[name] = Change(*numbers(*counts), days_of(gold[2]))
    rejected = re.search(r"of which ([\d,]+) would be quarantined", output)
    assert rejected, output
    return changes, numbers(rejected[1])[0]


def numbers(*texts: str) -> list[int]:
    return [int(text.replace(",", "")) for text in texts]


def days_of(text: str | None) -> set[str]:
    """Return the days of a list; no range in these tests is longer than two days."""
    return set(re.findall(r"\d{4}-\d\d-\d\d", text or ""))


@pytest.fixture
def project(open_folder: Path) -> Iterator[Project]:
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


def nothing(project: Project) -> None:
    """Change nothing."""


def first_window(project: Project) -> None:
    lines = [line(), line(rede_social="youtube_shorts"), line(video_id="v2"), line(views="x")]
    more = [line(video_id=f"v{day}", data_postagem=f"2026-01-{day}") for day in (20, 22, 24)]
    unknown = line(video_id="v3", rede_social="orkut")
    add(project.root / "data", "2026-01-31T08", *lines, *more, unknown)


def mixed_window(project: Project) -> None:
    """Add a new video, a new observation, an old one, a moved video and a rejected line."""
    moved = line(video_id="v20", data_postagem="2026-01-18", **LATER)
    stale = line(video_id="v22", data_postagem="2026-01-22", ingestion_ts="2026-01-31T01:00:00Z")
    new = line(video_id="n", data_postagem="2026-01-24", **LATER)
    add(project.root / "data", "2026-01-31T20", line(views=7, **LATER), new, stale, moved, b"{cut")


def same_again(project: Project) -> None:
    """Add an observation that is older than the one in Silver."""
    add(project.root / "data", "2026-01-31T21", line(video_id="n", data_postagem="2026-01-24"))


def add_mart(project: Project) -> None:
    marts = project.parameters("marts.yml")["marts"]
    mart = {"key": ["faculdade"], "measures": {"total_views": {"sum": "views"}}}
    project.configure("parameters_marts.yml", marts={**marts, "gold_all": mart})


def lose_mart(project: Project) -> None:
    (project.root / "data/gold/gold_all.csv").unlink()


def accept_network(project: Project) -> None:
    """Have a rejected line accepted: its day is new to Silver and Gold, after a full rebuild."""
    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["channels"] = []
    declared["networks"].append("orkut")
    project.configure("parameters_sources.yml", **declared)


def two_windows(project: Project) -> None:
    """Add two windows, one of which a backfill names."""
    for day in (28, 29):
        seen = f"2026-01-{day}T11:00:00Z"
        video = line(video_id=f"b{day}", data_postagem=f"2026-01-{day}", ingestion_ts=seen)
        add(project.root / "data", f"2026-01-{day}T08", video)


STEPS: list[tuple[Callable[[Project], None], str]] = [
    (first_window, ""),
    (nothing, ""),
    (mixed_window, ""),
    (same_again, ""),
    (nothing, "full=true"),
    (add_mart, ""),
    (lose_mart, ""),
    (accept_network, ""),
    (nothing, "full=true"),
    (two_windows, "from=2026-01-28,to=2026-01-28"),
    (nothing, ""),
]
"""What happens to a lake, one after another, and the parameters of the run after each."""


@pytest.mark.slow
def test_a_plan_and_the_run_after_it_agree(project: Project) -> None:
    lake, changes = project.root / "data", []
    for happen, params in STEPS:
        happen(project)
        files, before = project.files(), tables(lake)
        plan, rejected = planned(project, params)
        assert project.files() == files
        rejections = len(list_rejected(lake))
        values = dict(pair.split("=") for pair in params.split(",") if pair)
        run_here(project, **{name: value == "true" or value for name, value in values.items()})
        after = tables(lake)
        seen = {name: Change.of(before.get(name, set()), rows) for name, rows in after.items()}
        step = f"{happen.__name__} {params}"
        by_day = (
            change.days
            for name, change in seen.items()
            if name.startswith(("gold_video", "gold_canal"))
        )
        days = set().union(*by_day)
        assert plan["silver"] == seen["silver"], step
        for name in seen.keys() - {"silver"}:
            counts = (seen[name].written, seen[name].removed)
            assert (plan[name].written, plan[name].removed) == counts, step
            assert plan[name].days == days, step
        if "full" not in params:
            assert rejected == len(list_rejected(lake)) - rejections, step
        changes.append((step, bool(plan["silver"].written), bool(days)))
    assert [step for step, *is_change in changes if not any(is_change)] == [
        "nothing ",
        "same_again ",
        "nothing full=true",
        "add_mart ",
        "lose_mart ",
        "accept_network ",
    ]


def test_a_plan_names_what_the_run_refuses_removes_and_leaves_as_it_was(
    project: Project,
) -> None:
    first_window(project)
    run_here(project)
    marts = project.parameters("marts.yml")["marts"]
    kept = {name: mart for name, mart in marts.items() if name != "gold_canal_dia"}
    project.configure("parameters_marts.yml", marts=kept)
    accept_network(project)
    quality = project.parameters("quality.yml")["quality"]
    quality["gold"]["change_pct"] = {"most": 0, "action": "block"}
    project.configure("parameters_quality.yml", quality=quality)
    add(project.root / "data", "2026-01-31T09", line(views=70_000, **LATER))

    def shown(params: str) -> str:
        command = ("run", f"--pipelines={','.join(LAKE_PIPELINES)}", f"--params=plan=true{params}")
        return project.kedro(*command).stdout

    plan = shown("")
    assert "gold_canal_dia: to be removed, as it is no longer declared" in plan
    assert "lines of faker; 'kedro quarantine replay' validates them again" in plan
    assert "%; Gold would not be changed" in plan
    assert "Gold would not be changed" not in shown(",allow_findings=true")


def list_rejected(lake: Path) -> list[str]:
    paths = lake.glob("silver/quarentena/**/*.jsonl")
    return [text for path in paths for text in path.read_text().splitlines()]
