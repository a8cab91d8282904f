from __future__ import annotations

import datetime as dt
import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from capstone_metrics.changes import GoldSnapshot, SilverSnapshot
from capstone_metrics.operations.checks import Damage, LakeFacts, find_damage
from capstone_metrics.operations.deadlines import Health, RecordedRun
from capstone_metrics.operations.status import status_at
from capstone_metrics.schedule import Timetable

NOW = dt.datetime(2026, 1, 31, 23, 5, tzinfo=dt.UTC)
TIMETABLE = Timetable.of({"timezone": "America/Sao_Paulo", "layers": {}})
HEAD = {"objects": 2}
MART = pa.table({"total": [1]})


def silver(receipts: int = 2, generation: int = 1, head: Any = None) -> SilverSnapshot:
    names = {str(number) for number in range(receipts)}
    head = HEAD if head is None else head
    return SilverSnapshot(generation, head, {}, lambda: names, lambda _: {}, lambda *_: None)


def gold(generation: int = 1, manifest: Any = None, **tables: pa.Table | None) -> GoldSnapshot:
    return GoldSnapshot(generation, {"marts": {}} if manifest is None else manifest, {}, tables)


def run(**changes: Any) -> RecordedRun:
    moment = NOW.isoformat()
    record: dict[str, Any] = {
        "run": "a",
        "state": "succeeded",
        "begun": moment,
        "updated": moment,
        "now": None,
        "from": None,
        "to": None,
        "at_work": [],
        "error": None,
        "findings": [],
        "layers": {},
        "nodes": {},
    }
    return RecordedRun({**record, **changes})


@pytest.mark.parametrize(
    ("lake", "damage"),
    [
        ((silver(0, 0, {}), gold(0, {})), []),
        ((silver(0, 0, {}), gold()), [("Silver is lost", "run")]),
        ((silver(), gold(gold_x=MART)), []),
        ((silver(3), gold()), []),  # another run is putting receipts into place
        ((silver(head={}), gold()), [("the head of Silver is lost", "run")]),
        ((silver(1), gold()), [("1 receipts of Silver are lost", "run --params=full=true")]),
        (
            (silver(), gold(manifest={})),
            [("the manifest of Gold is lost", "run --pipelines=silver_to_gold")],
        ),
        (
            (silver(), gold(gold_x=None, gold_y=MART)),
            [("gold_x was edited or lost", "run --pipelines=silver_to_gold")],
        ),
        (
            (silver(3), replace(gold(gold_x=None), is_pending=lambda: True)),
            [("a run ended in the middle of a commit of Gold", "run")],
        ),
        (
            (replace(silver(1), is_pending=lambda: True), gold(gold_x=None)),
            [("a run ended in the middle of a commit of Silver", "run")],
        ),
    ],
)
def test_a_lost_file_is_found_with_the_command_that_makes_it(
    lake: tuple[SilverSnapshot, GoldSnapshot], damage: list[tuple[str, str]]
) -> None:
    assert list(find_damage(*lake)) == damage


@pytest.mark.parametrize(
    ("state", "health"), [("succeeded", Health.CRITICAL), ("running", Health.OK)]
)
def test_files_are_not_compared_while_a_run_promotes_them(state: str, health: Health) -> None:
    facts = LakeFacts(damage=(Damage("gold_x was edited or lost", "run"),))
    status = status_at(TIMETABLE, [run(state=state)], facts, NOW, 1)
    (check,) = (check for check in status.checks if check.name == "files")
    assert (check.health, check.command) == (health, "run")


@pytest.mark.parametrize(
    ("count", "message"), [(1, "total 0 is unusual"), (15, "total 0 is unusual; 14 more")]
)
def test_many_findings_are_one_short_message(count: int, message: str) -> None:
    findings = [{"said": f"total {number} is unusual"} for number in range(count)]
    status = status_at(TIMETABLE, [run(findings=findings)], LakeFacts(), NOW, 1)
    (check,) = (check for check in status.checks if check.name == "quality")
    assert (check.message, check.command) == (message, "runs show a")


@pytest.mark.parametrize(
    ("state", "hint"),
    [("failed", "  → kedro runs show a --env=e"), ("killed", "  → kedro run --env=e")],
)
def test_a_run_that_would_fail_again_is_not_advised(state: str, hint: str) -> None:
    refused = {"mine": ["sources.mine.path: no file at 'x'; correct the path."]}
    error = "x.csv: is cut; export it again."
    record = run(state=state, error=error)
    status = status_at(TIMETABLE, [record], LakeFacts(refused=refused), NOW, 1)
    text = io.StringIO()
    status.show(Console(file=text, width=200), " --env=e")

    _, last_run, sources, *_ = text.getvalue().splitlines()
    assert last_run == f"  run a {state}{f': {error}' if state == 'failed' else ''}{hint}"
    assert sources == f"  refused: {refused['mine'][0]}"


def test_a_killed_run_is_one_fact_with_the_windows_that_it_left() -> None:
    layers = {"silver": {"starts": ["20:00"], "minutes": 30}}
    layers["gold"] = layers["silver"]
    timetable = Timetable.of({"timezone": "America/Sao_Paulo", "layers": layers})
    nodes = {"merge": {"layer": "silver"}, "build_marts": {"layer": "gold"}}
    record = run(state="killed", nodes=nodes, at_work=["merge"], windows={})
    days_before = (NOW - dt.timedelta(days=2)).isoformat()
    first = run(run="first", begun=days_before, updated=days_before)
    status = status_at(timetable, [first, record], LakeFacts(), NOW + dt.timedelta(hours=1), 1)
    text = io.StringIO()
    status.show(Console(file=text, width=200))

    windows = "silver 2026-01-31T20, gold 2026-01-31T20"
    assert text.getvalue().splitlines()[:2] == [
        "CRITICAL: 1 to attend to (times of America/Sao_Paulo)",
        f"  {windows}: run a killed at merge  → kedro run",
    ]
