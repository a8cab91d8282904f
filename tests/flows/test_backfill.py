"""A backfill is of some windows and no others, and a plan shows what a run would do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.lakes import LAKE_PIPELINES, add, content, expected, line, run_here

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.project import Project

PATH = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
NOW = "2026-01-31T20:05"
SPAN = "from=2025-11-05T20,to=2025-11-07"


def days_of(lake: Path) -> set[str]:
    """Return the days that Silver has."""
    return {path.name.partition("=")[2] for path in (lake / "silver/criacao").glob("*/*")}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the days of the lines that came into Gold or left it."""
    old, new = (
        {(name, row) for name, text in gold.items() for row in text.splitlines()}
        for gold in (before, after)
    )
    return {row.split(",")[2 if name == "gold_video.csv" else 0] for name, row in old ^ new}


def test_a_backfill_ingests_its_windows_as_the_plan_before_it_shows(project: Project) -> None:
    plan = project.kedro("run", f"--params=now={NOW},{SPAN},plan=true", PATH).stdout
    assert not list((project.root / "data").glob("[bsg]*/*"))
    project.kedro("run", f"--params=now={NOW},{SPAN}", PATH)
    lake = project.root / "data"
    windows = sorted(path.name[7:] for path in (lake / "bronze").glob("*/*/*"))
    assert windows == [
        "2025-11-05T20",
        *(f"2025-11-0{d}T{h}" for d in (6, 7) for h in ("08", "20")),
    ]
    assert "bronze  5 objects to ingest" in plan
    assert "faker: 2025-11-05 at 20" in plan
    assert "faker: 2025-11-06 to 2025-11-07 at 08, 20" in plan
    lines = sum(len(path.read_bytes().splitlines()) for path in (lake / "bronze").rglob("*.jsonl"))
    assert f"5 objects to process: {lines:,} lines, of which 0 would be quarantined" in plan
    days = sorted(days_of(lake))
    assert f"{len(days)} days ({days[0]} to {days[-1]}) to change" in plan
    again = project.kedro("run", f"--params=now={NOW},{SPAN},plan=true", PATH).stdout
    assert "bronze  0 objects to ingest" in again
    assert "0 days to change" in again


@pytest.mark.slow
def test_the_days_of_a_plan_are_those_that_change(empty_project: Project, lake: Path) -> None:
    days = [f"2026-01-{day}" for day in (26, 27, 28, 29)]
    add(lake, "2026-01-30T20", *(line(video_id=day, data_postagem=day) for day in days))
    run_here(empty_project)
    before = content(lake)["gold"]
    late = {"ingestion_ts": "2026-01-31T23:00:00Z"}
    moves = line(video_id="2026-01-26", data_postagem="2026-01-12", **late)
    stale = line(
        video_id="2026-01-29", data_postagem="2026-01-29", ingestion_ts="2026-01-30T01:00:00Z"
    )
    add(
        lake,
        "2026-01-31T20",
        moves,
        stale,
        line(video_id="2026-01-28", data_postagem="2026-01-28", views=5, **late),
    )
    files = empty_project.files()
    plan = empty_project.kedro(
        "run", "--params=plan=true", f"--pipelines={','.join(LAKE_PIPELINES)}"
    ).stdout
    assert empty_project.files() == files
    posted, observed = {"2026-01-12", "2026-01-26", "2026-01-28"}, {"2026-01-29", "2026-01-31"}
    shown = "2026-01-12, 2026-01-26, 2026-01-28 to 2026-01-29, 2026-01-31"
    assert f"gold    5 days ({shown}) to change" in plan
    run_here(empty_project)
    assert changed(before, content(lake)["gold"]) == posted | observed


@pytest.mark.slow
def test_silver_reads_the_objects_of_the_span_alone(empty_project: Project, lake: Path) -> None:
    for day in (28, 29, 30):
        seen = f"2026-01-{day}T11:00:00Z"
        video = line(video_id=str(day), data_postagem="2026-01-27", ingestion_ts=seen)
        add(lake, f"2026-01-{day}T08", video)
    run_here(empty_project, **{"from": "2026-01-29", "to": "2026-01-29T08"})
    assert [row[0] for row in content(lake)["silver"]] == ["29"]
    run_here(empty_project)
    assert content(lake) == expected(lake)


@pytest.mark.slow
def test_gold_rebuilds_the_days_of_the_span(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    run_here(empty_project)
    plan = ["run", "--pipelines=silver_to_gold"]
    span = "from=2026-01-30,to=2026-01-31"
    assert "gold    0 days" in empty_project.kedro(*plan, "--params=plan=true").stdout
    output = empty_project.kedro(*plan, f"--params=plan=true,{span}").stdout
    assert "gold    0 days" in output  # they are rebuilt, and nothing of them changes
    run_here(empty_project, ["silver_to_gold"], **{"from": "2026-01-30", "to": "2026-01-31"})
    assert content(lake) == expected(lake)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"from": "2026-01-02"}, "to: None is neither a day nor a window"),
        ({"from": "2026-01-02", "to": "2026-01-01"}, "is before"),
        ({"from": "janeiro", "to": "2026-01-01"}, "from: 'janeiro'"),
        ({"from": "2026-01-01", "to": "2026-01-01T24"}, "to: '2026-01-01T24'"),
        ({"from": "2026-01-01", "to": "2026-01-02", "full": True}, "omit from and to"),
    ],
)
def test_an_invalid_span_is_rejected(
    empty_project: Project, lake: Path, params: dict[str, object], message: str
) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        run_here(empty_project, **params)
    assert not (lake / "silver").exists()


@pytest.mark.slow
def test_a_plan_of_the_whole_flow_starts_no_database(empty_project: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    plan = empty_project.kedro("run", "--params=plan=true").stdout
    assert "gold    2 days (2026-01-30 to 2026-01-31) to change" in plan
    assert {path.name for path in lake.iterdir()} <= {"bronze", "examples"}
