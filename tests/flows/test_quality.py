"""A rule of quality.yml warns, or bars Gold until someone allows it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from tests.support.lakes import add, clear, content, expected, line, restore, run_here
from tests.support.project import project_copy
from tests.support.runs import records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}
SILVER, GOLD = ["bronze_to_silver"], ["silver_to_gold"]


@pytest.fixture(scope="module")
def strict(open_folder: Path) -> Iterator[Project]:
    """A project in which the rules block, but for one mart that has its own."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        rule: dict[str, Any] = {"action": "block"}
        copy.configure(
            "parameters_quality.yml",
            quality={
                "silver": {"quarantine_pct": {"most": 40, **rule}},
                "gold": {"change_pct": {"most": 50, **rule}},
                "marts": {
                    "gold_video_views_dia_faculdade": {"change_pct": {"most": 80, "action": "warn"}}
                },
            },
        )
        yield copy


@pytest.fixture(scope="module")
def filled(strict: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of its lake after a first run."""
    add(strict.root / "data", "2026-01-31T08", line(), line(video_id="v2"))
    run_here(strict)
    copy = tmp_path_factory.mktemp("filled") / "data"
    shutil.copytree(strict.root / "data", copy)
    return copy


@pytest.fixture
def lake(strict: Project, filled: Path) -> Path:
    """A lake that has a Gold."""
    data = strict.root / "data"
    restore(data, filled)
    return data


def gold(lake: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (lake / "gold").glob("*.*")}


def test_rejected_lines_bar_gold_in_this_run_and_the_next(strict: Project, lake: Path) -> None:
    before = gold(lake)
    add(lake, "2026-01-31T20", line(views=110, **LATER), line(views="x"))
    with pytest.raises(CapstoneError, match=r"50\.0 % of the 2 lines of window 2026-01-31T20 are"):
        run_here(strict)
    assert gold(lake) == before
    (record,) = records(lake)[1:]
    assert (record["state"], record["at_work"]) == ("failed", ["enforce_quality"])
    assert [finding["of"] for finding in record["findings"]] == ["2026-01-31T20"]
    assert record["error"].endswith("fix the source or the rule in quality.yml.")
    assert content(lake)["silver"] == expected(lake)["silver"]  # Silver has it all

    with pytest.raises(CapstoneError, match="Gold was not changed"):
        run_here(strict, GOLD)
    assert gold(lake) == before
    run_here(strict, GOLD, allow_findings=True)
    assert content(lake) == expected(lake)
    run_here(strict)  # it was allowed once, and is over
    assert records(lake)[-1]["state"] == "succeeded"


@pytest.mark.slow
def test_a_rebuild_of_silver_opens_the_gate(strict: Project, lake: Path) -> None:
    add(lake, "2026-01-31T20", line(views=110, **LATER), line(views="x"))
    run_here(strict, SILVER)
    with pytest.raises(CapstoneError, match="Gold was not changed"):
        run_here(strict, GOLD)
    (lake / "bronze/criacao/fonte=faker/janela=2026-01-31T20/criacao.jsonl").unlink()
    add(lake, "2026-01-31T20", line(views=110, **LATER), line(views=1, **LATER))
    run_here(strict, full=True)
    assert content(lake) == expected(lake)


@pytest.mark.slow
def test_a_total_that_moves_too_far_is_not_committed(strict: Project, lake: Path) -> None:
    before = gold(lake)
    add(lake, "2026-01-31T20", line(views=300, **LATER))
    with pytest.raises(CapstoneError) as caught:
        run_here(strict)
    message = "gold_video_views_dia_rede_social.total_views went from 200 to 400, by 100.0 %"
    assert str(caught.value).startswith(message)
    assert gold(lake) == before
    findings = {(each["of"], each["action"]) for each in records(lake)[-1]["findings"]}
    assert findings == {
        ("gold_video_views_dia_rede_social.total_views", "block"),
        ("gold_video_views_dia_faculdade.total_views", "warn"),
        ("gold_video_views_dia_canal.total_views", "block"),
    }
    run_here(strict, allow_findings=True)
    assert content(lake) == expected(lake)


def test_a_warning_is_shown_and_bars_nothing(empty_project: Project) -> None:
    lake = empty_project.root / "data"
    clear(lake)
    add(lake, "2026-01-31T08", line(), line(views="x"))
    output = empty_project.run("--pipelines=bronze_to_silver,silver_to_gold").stdout
    status = empty_project.kedro("status", "--now=2026-01-31T20:06", "--json", check=False)

    (finding,) = records(lake)[0]["findings"]
    assert finding["said"] == (
        "50.0 % of the 2 lines of window 2026-01-31T08 are in quarantine; the limit is 5 %"
    )
    assert f"  unusual: {finding['said']}" in output
    assert json.loads(status.stdout)["checks"]["quality"] == {
        "health": "warning",
        "said": finding["said"],
    }
    assert content(lake) == expected(lake)


def test_an_invalid_rule_stops_a_run_before_silver(project: Project) -> None:
    add(project.root / "data", "2026-01-31T08", line())
    project.configure("parameters_quality.yml", quality={"gold": {"change_pct": 5}})
    done = project.run("--pipelines=bronze_to_silver,silver_to_gold", check=False)

    assert done.returncode == 1
    location = "conf/local/parameters_quality.yml"
    expected = f"Error: {location}: quality.gold.change_pct: 5 must be a mapping with most, action"
    assert done.stderr.startswith(expected)
    assert not (project.root / "data/silver").exists()
