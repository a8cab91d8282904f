from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from capstone_metrics.changes import GoldSnapshot, GoldUpdate, SilverSnapshot, SilverUpdate
from capstone_metrics.operations.summary import LayerCounts, Summary
from capstone_metrics.publication import Publication
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Sequence

ACCOUNTS = {
    "run": {
        "lines": 15,
        "accepted": 10,
        "superseded": 3,
        "quarantined": 2,
        "ignored": 3,
        "withdrawn": 0,
    },
    "total": {
        "lines": 1010,
        "current": 1005,
        "superseded": 3,
        "quarantined": 2,
        "ignored": 0,
        "withdrawn": 0,
    },
    "reasons": {"views": 2, "video_id": 1},
    "ignored": {"only.type": 3},
    "drift": {"faker": ["[b]", "c"], "mine": []},
    "outdated": ["mine"],
    "undeclared": ["old"],
}
SILVER = SilverUpdate(
    SilverSnapshot(0, {}, {}, set, lambda _: {}, lambda *_: None), {}, {}, {}, ACCOUNTS
)
GOLD = GoldUpdate(GoldSnapshot(), {}, {"silver_rows": 1005})
PUBLISHED = Publication({"marts": {"gold_a": {"rows": 2}, "gold_b": {"rows": 1}}}, {}, {})


@pytest.fixture
def summary() -> Summary:
    """Of a run through all layers."""
    summary = Summary()
    saves: list[tuple[str, Any, list[WriteStats]]] = [
        ("bronze", {}, [WriteStats(rows=10, files=1)]),
        ("silver", SILVER, [WriteStats(rows=4, files=2, removed=1), WriteStats(rows=2, files=1)]),
        ("gold", GOLD, [WriteStats(rows=2, files=1), WriteStats()]),
        ("serving", PUBLISHED, [WriteStats(rows=3, removed=1)]),
    ]
    for layer, data, stats in saves:
        summary.add(layer, data, stats, seconds=0.25)
    return summary


def shown(summary: Summary, results: Sequence[tuple[str, str]] = (), width: int = 100) -> list[str]:
    text = io.StringIO()
    summary.show(Console(file=text, width=width), results)
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_each_layer_counts_its_own_rows(summary: Summary) -> None:
    assert summary.layers == {
        "bronze": LayerCounts(rows_in=10, accepted=10, written=10, seconds=0.25),
        "silver": LayerCounts(
            rows_in=15,
            accepted=10,
            superseded=3,
            quarantined=2,
            ignored=3,
            withdrawn=0,
            written=6,
            removed=1,
            seconds=0.25,
        ),
        "gold": LayerCounts(rows_in=1005, accepted=1005, written=2, seconds=0.25),
        "serving": LayerCounts(rows_in=3, accepted=3, written=3, removed=1, seconds=0.25),
    }


def test_the_table_has_a_line_for_each_layer(summary: Summary) -> None:
    rows = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in shown(summary)]

    assert [row for row in rows if row] == [
        ["layer", "in", "current", "superseded", "quarantined", "ignored", "written", "seconds"],
        ["bronze", "10", "", "", "", "", "10", "0.2"],
        ["silver", "15", "7", "3", "2", "3", "6 (-1)", "0.2"],
        ["gold", "1,005", "", "", "", "", "2", "0.2"],
        ["serving", "3", "", "", "", "", "3 (-1)", "0.2"],
    ]
    summary.layers["silver"].withdrawn = 1
    (header,) = (line for line in shown(summary, width=80) if line.startswith("┃"))
    assert "quarantined┃ignored┃withdrawn" in header
    summary.layers["silver"].ignored = summary.layers["silver"].withdrawn = 0
    assert "ignored" not in "".join(shown(summary)[:3])


def test_the_identity_and_the_reasons_are_shown(summary: Summary) -> None:
    assert {
        "1,010 lines in Bronze = 1,005 current in Silver + 3 superseded + 2 quarantined",
        "  quarantined by views: 2",
        "  quarantined by video_id: 1",
        "  ignored by only.type: 3",
        "  undeclared fields of faker, in Bronze only: [b], c",
        "  validated before their declaration or the networks changed: lines of mine; "
        "'kedro quarantine replay' validates them again",
        "  lines of old have no valid declaration: declare them again under the same name, or "
        "'kedro quarantine replay' rejects them",
    } <= set(shown(summary))


def test_a_run_without_silver_shows_no_identity() -> None:
    summary = Summary()
    summary.add("bronze", {}, [WriteStats(rows=10)], seconds=0.25)

    assert not [line for line in shown(summary) if "=" in line]


@pytest.mark.parametrize(
    ("saved", "idle"),
    [(WriteStats(), True), (WriteStats(rows=1), False), (WriteStats(removed=1), False)],
)
def test_only_a_run_that_wrote_nothing_is_idle(saved: WriteStats, idle: bool) -> None:
    summary = Summary()
    summary.add("serving", PUBLISHED, [saved], seconds=0.25)

    message = "Nothing new: no file and no table was changed."
    assert (message in shown(summary)) is idle


def test_a_path_is_shown_in_full() -> None:
    path = "/home/ana/[capstone]/" + "data/" * 30

    assert f"Gold        {path}" in shown(Summary(), [("Gold", path)])


def test_of_many_findings_the_first_are_shown(summary: Summary) -> None:
    summary.findings = [f"total {number} is unusual" for number in range(15)]
    summary.run, summary.environment = "2026Z-a1", "escola"

    lines = [line for line in shown(summary) if "unusual" in line]
    assert lines[:3] == [f"  unusual: total {number} is unusual" for number in range(3)]
    assert lines[3:] == [
        "  unusual besides: 12; 'kedro runs show 2026Z-a1 --env=escola' names them"
    ]
