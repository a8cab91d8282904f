"""The next run says what a new source, channel, hour or mart brings, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
LATER = "2026-01-31T22:00"


@pytest.fixture
def running(open_folder: Path) -> Iterator[Project]:
    """A project whose synthetic source has run for three days."""
    with project_copy(open_folder) as copy:
        declare(copy)
        copy.run(LAKE)
        yield copy


def declare(project: Project, **sources: Any) -> None:
    """Declare the synthetic source of three days, and others; `faker` with changes."""
    declared = project.parameters("sources.yml")["sources"]["faker"] | {"history_days": 3}
    changed = {**declared, **sources.pop("faker", {})}
    project.configure("parameters_sources.yml", sources={"faker": changed, **sources})


def text_of(project: Project, *arguments: str) -> str:
    """Return the output of a run, without its line breaks."""
    return " ".join(project.run(LAKE, *arguments, now=LATER).stdout.split())


def windows(project: Project) -> int:
    return len(list((project.root / "data/bronze").rglob("*.jsonl")))


@pytest.mark.slow
def test_a_new_hour_brings_no_window_of_the_past_and_names_the_command_that_does(
    running: Project,
) -> None:
    schedule = running.parameters("schedule.yml")["schedule"]
    schedule["layers"]["bronze"]["starts"] = ["08:00", "12:00", "20:00"]
    running.configure("parameters_schedule.yml", schedule=schedule)
    before = windows(running)
    text = text_of(running)
    assert "3 windows at an hour that is new in the schedule are left out" in text
    params = "from=2026-01-29T12,to=2026-01-31T12"
    assert f"Run with --params={params} to ingest them." in text
    assert windows(running) == before
    running.kedro("run", LAKE, f"--params=now={LATER},{params}")
    assert windows(running) == before + 3
    assert "left out" not in text_of(running)


@pytest.mark.slow
def test_a_new_channel_is_named_once_with_what_it_brings(running: Project) -> None:
    (first, *others) = running.parameters("sources.yml")["sources"]["faker"]["channels"]
    new = {**first, "faculdade": "NOVA"}
    declare(running, faker={"channels": [first, *others, new]})
    text = text_of(running)
    assert (
        "sources.faker: NOVA on instagram_reels is new: it is observed from the next window" in text
    )
    assert "is new" not in text_of(running)
    # as the message says, a source of its own brings its past
    declare(
        running,
        nova=running.parameters("sources.yml")["sources"]["faker"]
        | {"history_days": 3, "channels": [new]},
    )
    text = text_of(running)
    assert "sources.nova is new: it brings 6 objects, of the windows 2026-01-29T08 to 2026" in text


@pytest.mark.slow
def test_a_new_source_and_a_new_mart_are_named_with_what_they_bring(running: Project) -> None:
    exports = running.root / "exports"
    exports.mkdir()
    for number in (1, 2):
        (exports / f"{number}.csv").write_text(
            f"faculdade,rede_social,data_postagem,video_id,views,likes,comentarios\nA,tiktok,2026-01-30,v{number},5,1,0\n"
        )
    declare(running, mine={"type": "files", "format": "csv", "path": "exports/*"})
    marts = running.parameters("marts.yml")["marts"]
    new = {"key": ["data_postagem", "categoria"], "measures": {"total_views": {"sum": "views"}}}
    running.configure("parameters_marts.yml", marts={**marts, "gold_categoria": new})
    text = text_of(running)
    assert (
        "sources.mine is new: it brings 2 objects, of the windows 2026-01-31T20 to 2026-0" in text
    )
    assert "gold_categoria is new: it is built from all of Silver, with every day." in text
    assert "is new" not in text_of(running)
