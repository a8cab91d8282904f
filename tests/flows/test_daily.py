"""A source of increments by day: a YouTube report, from its file to Gold, and beside counters."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.project import Completed, Project

REPORTS = Path(__file__).parents[1] / "data/exports/youtube_reporting_bulk"
EXPECTED = json.loads((REPORTS / "expected.json").read_text(encoding="utf-8"))["increments"]
GROWTH = "gold_video_crescimento_dia_faculdade"
NOW, LATER = "2026-07-01T12:00", "2026-07-02T12:00"
RUN = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
SOURCE = {
    "type": "files",
    "preset": "youtube_reporting_daily",
    "path": "reports/*",
    "fields": {"faculdade": {"constant": "A"}, "rede_social": {"constant": "youtube"}},
}
COUNTERS = {
    "type": "files",
    "format": "jsonl",
    "path": "counters.jsonl",
    "fields": {
        "faculdade": {"constant": "A"},
        "rede_social": {"constant": "youtube"},
        "data_postagem": "dia",
        "video_id": "id",
        "views": "v",
        "ingestion_ts": "em",
    },
}


@pytest.fixture
def reporting(open_folder: Path) -> Iterator[Project]:
    """A project whose only source are two reports of YouTube."""
    with project_copy(open_folder) as copy:
        (copy.root / "reports").mkdir()
        for name in {each["file"] for each in EXPECTED}:
            (copy.root / "reports" / name).write_bytes((REPORTS / name).read_bytes())
        declare(copy, reports=SOURCE)
        yield copy


def declare(project: Project, **sources: Any) -> None:
    project.configure("parameters_sources.yml", networks=["youtube"], sources=sources)


def days(project: Project) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the observations by day, by video and day."""
    rows = pq.read_table(project.root / "data/silver/observacao_dia").to_pylist()
    return {(row["video_id"], str(row["data_observacao"])): row for row in rows}


def text_of(result: Completed) -> str:
    return " ".join(result.stdout.split())


def account(project: Project) -> dict[str, int]:
    """Return the account of all lines."""
    head = json.loads((project.root / "data/silver/head.json").read_text(encoding="utf-8"))
    total: dict[str, int] = head["total"]
    return total


def test_a_report_gives_gains_and_no_row_of_videos(reporting: Project) -> None:
    reporting.run(RUN, now=NOW)
    found = {
        key: [row[name] for name in ("views_ganhas", "likes_ganhos", "comentarios_ganhos")]
        for key, row in days(reporting).items()
    }
    counters = ("views", "likes", "comentarios")
    assert found == {
        (each["video_id"], each["dia"]): [each[name] for name in counters] for each in EXPECTED
    }
    assert {row[name] for row in days(reporting).values() for name in counters} == {None}
    assert not list((reporting.root / "data/silver/criacao").rglob("*.parquet"))
    assert (reporting.root / f"data/gold/{GROWTH}.csv").read_text() == (
        "data_observacao,faculdade,views_ganhas,likes_ganhos,comentarios_ganhos,videos_observados\n"
        "2026-06-10,A,1291,70,20,3\n"
        "2026-06-11,A,268,16,2,3\n"
    )
    total = account(reporting)
    assert (total["lines"], total["current"], total["ignored"]) == (13, 11, 2)
    assert "FAIL" not in reporting.kedro("verify", "--full").stdout


@pytest.mark.slow
def test_a_later_report_of_a_day_replaces_the_earlier_one(reporting: Project) -> None:
    reporting.run(RUN, now=NOW)
    (name,) = {each["file"] for each in EXPECTED if each["dia"] == "2026-06-10"}
    header, first, *_ = (REPORTS / name).read_text().splitlines()
    later = reporting.root / "reports/channel_basic_a3_20260610_20260701T070511Z.csv"
    later.write_text(f"{header}\n{first}\n")
    before = account(reporting)
    reporting.run(RUN, now=LATER)
    row = days(reporting)["Q1aZ2wS3xE4", "2026-06-10"]
    assert (row["views_ganhas"], row["likes_ganhos"], row["dias"]) == (310, 21, 1)
    after = account(reporting)
    assert after["lines"] == before["lines"] + 1
    assert after["superseded"] == before["superseded"] + 3
    assert "FAIL" not in reporting.kedro("verify", "--full").stdout


@pytest.mark.slow
def test_what_came_on_a_day_is_counted_once_beside_counters(reporting: Project) -> None:
    """The gain of the next observation is what the increments of the days before it leave."""
    lines = [
        {"id": "Q1aZ2wS3xE4", "dia": "2026-06-01", "v": 1000, "em": "2026-06-08T12:00:00Z"},
        {"id": "Q1aZ2wS3xE4", "dia": "2026-06-01", "v": 3000, "em": "2026-06-12T12:00:00Z"},
        {"id": "8hN9uJ0mK1i", "dia": "2026-06-10", "v": 50, "em": "2026-06-10T12:00:00Z"},
    ]
    (reporting.root / "counters.jsonl").write_text("\n".join(map(json.dumps, lines)))
    reporting.run(RUN, now=NOW)
    declare(reporting, reports=SOURCE, counters=COUNTERS)
    reporting.run(RUN, now=LATER)
    gained = {key: row["views_ganhas"] for key, row in days(reporting).items()}
    assert gained["Q1aZ2wS3xE4", "2026-06-08"] is None  # what it is compared with
    assert gained["Q1aZ2wS3xE4", "2026-06-10"] == 1226
    assert gained["Q1aZ2wS3xE4", "2026-06-11"] == 151
    assert gained["Q1aZ2wS3xE4", "2026-06-12"] == 3000 - 1000 - 1226 - 151
    # its counters were observed on the day of the increments, and are more
    assert days(reporting)["8hN9uJ0mK1i", "2026-06-10"]["views"] == 50
    assert account(reporting)["superseded"] == 2  # these increments, and the first counters
    assert "FAIL" not in reporting.kedro("verify", "--full").stdout


@pytest.mark.slow
def test_a_zip_of_youtube_studio_has_videos_and_what_they_gained(open_folder: Path) -> None:
    """Its table counts in a period, which says nothing of a day; its chart does."""
    with project_copy(open_folder) as copy:
        add = ("source", "add", "data/examples/youtube_studio.zip", "--env=escola")
        result = copy.kedro(*add, "--set=faculdade=Escola Azul")
        hint = re.search(r"to add that: kedro (.*)", result.stdout)
        assert hint
        copy.kedro(*shlex.split(hint[1]))
        copy.run(RUN, "--env=escola", now="2026-01-31T20:05")
        gold = copy.root / "data/escola/gold"
        growth = (gold / f"{GROWTH}.csv").read_text(encoding="utf-8").splitlines()
        assert growth[-1] == f"2026-01-31,Escola Azul,{108 + 270 + 245},,,3"
        assert sum(int(line.split(",")[2]) for line in growth[1:]) == 12_040 + 9_320 + 4_127
        videos = (gold / "gold_video.csv").read_text(encoding="utf-8").splitlines()
        assert len(videos) == 1 + 4
        verified = copy.kedro("verify", "--full", "--env=escola").stdout
        assert "FAIL" not in verified


def test_what_a_source_of_increments_declares_is_checked(reporting: Project) -> None:
    for change, message in (
        ({"fields": {**SOURCE["fields"], "titulo_video": "x"}}, "daily has no titulo_video"),
        ({"fields": {**SOURCE["fields"], "alcance": "x"}}, "'alcance' is not one of"),
        ({"preset": None, "format": "csv", "counters": "daily"}, "where data_observacao, video_id"),
        (
            {"counters": "lifetime", "fields": {**SOURCE["fields"], "data_observacao": "date"}},
            "declare counters: daily beside the fields",
        ),
    ):
        source = {k: v for k, v in {**SOURCE, **change}.items() if v is not None}
        declare(reporting, reports=source)
        result = reporting.run(RUN, now=NOW, check=False)
        assert re.search(message, text_of(result) + result.stderr), result


def test_increments_alone_are_published_and_may_be_of_any_size(reporting: Project) -> None:
    """A gain past 64 bits costs its day alone, and an empty mart of videos is no loss."""
    reporting.run(now=NOW)
    largest = 2**63 - 1
    lines = [
        {"faculdade": "A", "rede_social": "youtube", "video_id": "v", "data_observacao": day}
        | {"views": largest, "likes": 0, "comentarios": 0}
        for day in ("2026-06-17", "2026-06-18")
    ]
    (reporting.root / "days.jsonl").write_text("\n".join(map(json.dumps, lines)))
    counters = {"id": "v", "dia": "2026-06-19", "v": 10, "em": "2026-06-20T12:00:00Z"}
    (reporting.root / "counters.jsonl").write_text(json.dumps(counters))
    huge = {"type": "files", "format": "jsonl", "path": "days.jsonl", "counters": "daily"}
    declare(reporting, reports=SOURCE, huge=huge, counters=COUNTERS)
    reporting.run(now=LATER)
    (row,) = (reporting.root / "data/gold/gold_video.csv").read_text().splitlines()[1:]
    assert row == "youtube,v,2026-06-19,,A,(não informado),(não informado),10,,,,"
    assert "FAIL" not in reporting.kedro("verify", "--full").stdout
