from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.quality import Finding, Gate, Rules, pending_findings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WARN, BLOCK = {"action": "warn"}, {"action": "block"}
WINDOW = "2026-01-31T20"
MART = {"key": ["data_postagem"], "measures": {"total_views": {"sum": "views"}}}


def none(_: dt.timedelta) -> list[Any]:
    return []


def records(*lines: int | None, **more: Any) -> Callable[[dt.timedelta], list[Any]]:
    """Return a history of the weeks before a window, with the lines of each, the latest first."""
    day = dt.date(2026, 1, 31)
    return lambda _: [
        {
            "parameters": {},
            "layers": {},
            "windows": {f"{day - dt.timedelta(weeks=week)}T20": {"lines": count}},
            **more,
        }
        for week, count in enumerate(lines, 1)
        if count is not None
    ]


def counts(lines: int, quarantined: int = 0) -> Mapping[str, Mapping[str, int]]:
    return {WINDOW: {"lines": lines, "accepted": lines, "quarantined": quarantined}}


def gold(total: int, **more: Any) -> dict[str, Any]:
    return {"marts": {"gold_x": {**MART, "totals": {"total_views": total}, **more}}}


@pytest.mark.parametrize(("quarantined", "is_reported"), [(50, False), (51, True)])
def test_a_window_may_have_so_many_rejected_lines(quarantined: int, is_reported: bool) -> None:
    gate = Gate(Rules(silver={"quarantine_pct": {"most": 5, **WARN}}))
    gate.check_silver(counts(1000, quarantined), none)

    message = "5.1 % of the 1,000 lines of window 2026-01-31T20 are in quarantine; the limit is 5"
    expected = [Finding("quarantine_pct", WINDOW, f"{message} %", "warn")]
    assert gate.findings == (expected if is_reported else [])


@pytest.mark.parametrize(
    ("lines", "before", "volume"),
    [
        (100, (100, 110, 90), None),
        (50, (100, 110, 90), None),
        (49, (100, 110, 90), "49 %"),
        (200, (100, 110, 90), None),
        (201, (100, 110, 90), "201 %"),
        (49, (100, 10_000, 100), "49 %"),  # one week that was unusual does not move the median
        (1, (100,), None),  # one week is not enough to know what is usual
        (1, (100, 0, None), None),
        (1, (None, None, None, None, 100, 100), None),  # too long ago
    ],
)
def test_a_window_is_about_as_large_as_on_the_same_weekday(
    lines: int, before: tuple[int | None, ...], volume: str | None
) -> None:
    gate = Gate(Rules(silver={"volume_pct": {"least": 50, "most": 200, "weeks": 4, **WARN}}))
    gate.check_silver(counts(lines), records(*before))

    assert bool(gate.findings) == bool(volume)
    for finding in gate.findings:
        assert f"{volume} of the 100 that are usual on a Saturday at 20:00" in finding.message


@pytest.mark.parametrize(("lines", "is_reported"), [(60, False), (49, True)])
def test_an_earlier_full_rebuild_counts_each_line_once(lines: int, is_reported: bool) -> None:
    gate = Gate(Rules(silver={"volume_pct": {"least": 50, "most": 200, "weeks": 4, **WARN}}))
    earlier = records(100)
    rebuild = records(100, 100, parameters={"full": True})
    gate.check_silver(counts(lines), lambda period: [*earlier(period), *rebuild(period)])

    assert bool(gate.findings) == is_reported


@pytest.mark.parametrize(("lines", "is_reported"), [(60, False), (49, True)])
def test_a_full_rebuild_compares_windows_by_its_own_counts(lines: int, is_reported: bool) -> None:
    rules = Rules(silver={"volume_pct": {"least": 50, "most": 200, "weeks": 4, **WARN}})
    gate = Gate(rules, is_full_rebuild=True)
    earlier = records(100, 100)
    windows = {**counts(lines)}
    for record in earlier(dt.timedelta()):
        windows |= {name: counts(100)[WINDOW] for name in record["windows"]}
    gate.check_silver(windows, earlier)

    assert bool(gate.findings) == is_reported


@pytest.mark.parametrize(
    ("now", "percentage"), [(150, None), (50, None), (151, "51.0"), (49, "51.0")]
)
def test_a_total_moves_so_far_from_one_gold_to_the_next(now: int, percentage: str | None) -> None:
    gate = Gate(Rules(gold={"change_pct": {"most": 50, **WARN}}))
    gate.check_gold(gold(100), gold(now))

    message = f"gold_x.total_views went from 100 to {now}, by {percentage} %; the limit is 50 %"
    assert [each.message for each in gate.findings] == ([message] if percentage else [])


def test_a_mart_has_rules_of_its_own() -> None:
    rules = Rules.of(
        {
            "gold": {"change_pct": {"most": 50, **WARN}},
            "marts": {"gold_x": {"change_pct": {"most": 10, **BLOCK}}},
        },
        ["gold_x", "gold_y"],
    )
    gate = Gate(rules)
    gate.check_gold(gold(100), gold(120))

    assert [finding.action for finding in gate.findings] == ["block"]
    assert rules.for_mart("gold_y")["change_pct"]["most"] == 50


@pytest.mark.parametrize(
    "before",
    [{}, gold(100, key=["faculdade"]), gold(100, measures={}), gold(0)],
    ids=["none", "another key", "other measures", "nothing"],
)
def test_a_gold_that_cannot_be_compared_is_not(before: dict[str, Any]) -> None:
    gate = Gate(Rules(gold={"change_pct": {"most": 1, **BLOCK}}))
    gate.check_gold(before, gold(100))
    gate.enforce(none)

    assert gate.findings == []


def blocked(gate: Gate, history: Any = none) -> bool:
    try:
        gate.enforce(history)
    except CapstoneError as error:
        assert "--params=allow_findings=true" in str(error)
        return True
    return False


def test_only_what_blocks_bars_gold_unless_it_is_allowed() -> None:
    for action, allow_findings, expected in (
        ("warn", False, False),
        ("block", False, True),
        ("block", True, False),
    ):
        gate = Gate(Rules(gold={"change_pct": {"most": 1, "action": action}}), allow_findings)
        gate.check_gold(gold(100), gold(200))
        assert len(gate.findings) == 1
        assert blocked(gate) == expected


FINDING = {"rule": "quarantine_pct", "of": WINDOW, "said": "so.", "action": "block"}
DONE = {"committed": "2026-01-31T23:06:00+00:00"}


def ran(findings: Any = (), full: bool = False, **layers: Any) -> dict[str, Any]:
    return {"parameters": {"full": full}, "layers": layers, "findings": list(findings)}


@pytest.mark.parametrize(
    ("history", "is_pending"),
    [
        ([ran([FINDING], silver=DONE)], True),
        ([ran([FINDING], silver=DONE), ran(silver=DONE)], True),
        ([ran([FINDING], silver=DONE), ran(gold=DONE)], False),
        ([ran([FINDING], silver=DONE), ran(silver=DONE, full=True)], False),
        ([ran([FINDING], silver=DONE), ran(full=True)], True),
        ([ran([{**FINDING, "rule": "change_pct"}], silver=DONE)], False),
    ],
)
def test_a_finding_of_silver_is_pending_until_gold_is_built_or_silver_is_rebuilt(
    history: list[Any], is_pending: bool
) -> None:
    assert bool(pending_findings(history)) == is_pending
    rules = Rules(silver={"quarantine_pct": {"most": 5, **BLOCK}})
    assert blocked(Gate(rules), lambda _: history) == is_pending
    assert not blocked(Gate(rules, allow_findings=True), lambda _: history)
    rebuild = Gate(rules, is_full_rebuild=True)
    rebuild.check_silver(counts(100), none)
    assert not blocked(rebuild, lambda _: history)


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (5, "quality: 5 must only have rules for silver, gold and marts"),
        ({"bronze": {}}, "quality: .* must only have rules"),
        ({"silver": {"rate": {}}}, "quality.silver: .* must only have the rules quarantine_pct"),
        ({"gold": [1]}, "quality.gold: .* must only have the rules change_pct"),
        ({"gold": {"change_pct": 5}}, "quality.gold.change_pct: 5 must have action, most"),
        ({"gold": {"change_pct": {"most": "5", **WARN}}}, "all but action are numbers"),
        ({"gold": {"change_pct": {"most": -1, **WARN}}}, "all but action are numbers"),
        ({"gold": {"change_pct": {"most": 5, "action": "stop"}}}, "'stop' is not warn or block"),
        ({"marts": {"gold_z": {}}}, "quality.marts: gold_z is not a declared mart"),
    ],
)
def test_an_invalid_declaration_is_rejected(declared: Any, sentence: str) -> None:
    with pytest.raises(CapstoneError, match=sentence):
        Rules.of(declared, ["gold_x"])


def test_a_rule_that_is_null_is_none() -> None:
    assert Rules.of({"silver": {"volume_pct": None}, "gold": None}, []) == Rules()
