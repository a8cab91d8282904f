from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.quality import (
    Finding,
    Rules,
    check_names,
    check_rules,
    check_totals,
    check_windows,
    usual_windows,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

WARN, BLOCK = {"action": "warn"}, {"action": "block"}
WINDOW = "2026-01-31T20"
MART = {"key": ["data_postagem"], "measures": {"total_views": {"sum": "views"}}}
RULE = {"least": 50, "most": 200, "weeks": 4, **WARN}
VOLUME = Rules(silver={"volume_pct": RULE})


def messages_of(lines: int, rules: Rules, quarantined: int = 0, **others: int) -> list[str]:
    """Return the messages about a window; `others` are the lines of other windows."""
    windows = {WINDOW: {"lines": lines, "quarantined": quarantined}}
    report = check_windows(windows, {WINDOW: lines, **others}, rules)
    assert report.layer == "silver"
    assert all((each.subject, each.action) == (WINDOW, "warn") for each in report.findings)
    return [each.message for each in report.findings]


def weeks(*lines: int | None) -> dict[str, int]:
    """Return the lines of the weeks before the window, the latest first."""
    day = dt.date(2026, 1, 31)
    return {
        f"{day - dt.timedelta(weeks=week)}T20": count
        for week, count in enumerate(lines, 1)
        if count is not None
    }


def gold(total: int, **more: Any) -> dict[str, Any]:
    return {"marts": {"gold_x": {**MART, "totals": {"total_views": total}, **more}}}


@pytest.mark.parametrize(("quarantined", "is_reported"), [(50, False), (51, True)])
def test_a_window_may_have_so_many_rejected_lines(quarantined: int, is_reported: bool) -> None:
    rules = Rules(silver={"quarantine_pct": {"most": 5, **WARN}})
    message = "5.1 % of the 1,000 lines of window 2026-01-31T20 are in quarantine; the limit is 5 %"
    assert messages_of(1000, rules, quarantined) == ([message] if is_reported else [])


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
    ],
)
def test_a_window_is_about_as_large_as_on_the_same_weekday(
    lines: int, before: tuple[int | None, ...], volume: str | None
) -> None:
    messages = messages_of(lines, VOLUME, **weeks(*before), **{"2026-02-07T20": 10_000})
    assert len(messages) == bool(volume)
    for message in messages:
        assert f"{volume} of the 100 that are usual on a Saturday at 20:00" in message


def test_only_the_newest_window_is_compared() -> None:
    counts = {"lines": 1, "quarantined": 0}
    windows = {"2026-01-31T08": counts, WINDOW: counts}
    report = check_windows(windows, {WINDOW: 1, **weeks(100, 100)}, VOLUME)
    assert [each.subject for each in report.findings] == [WINDOW]


def test_a_window_is_compared_with_the_weeks_that_its_rule_names() -> None:
    assert usual_windows(WINDOW, VOLUME) == list(weeks(1, 1, 1, 1))
    assert usual_windows(WINDOW, Rules()) == []


def test_without_windows_there_is_nothing_unusual() -> None:
    rules = Rules(silver={**VOLUME.silver, "quarantine_pct": {"most": 0, **BLOCK}})
    assert check_windows({}, {}, rules).findings == []


def totals(before: Mapping[str, Any], after: Mapping[str, Any], rules: Rules) -> list[Finding]:
    """Return what is unusual in the totals of Gold."""
    report = check_totals(before, after, rules)
    assert report.layer == "gold"
    return report.findings


@pytest.mark.parametrize(
    ("now", "percentage"), [(150, None), (50, None), (151, "51.0"), (49, "51.0")]
)
def test_a_total_moves_so_far_from_one_gold_to_the_next(now: int, percentage: str | None) -> None:
    findings = totals(gold(100), gold(now), Rules(gold={"change_pct": {"most": 50, **WARN}}))
    message = f"gold_x.total_views went from 100 to {now}, by {percentage} %; the limit is 50 %"
    expected = [Finding("change_pct", "gold_x.total_views", message, "warn")]
    assert findings == (expected if percentage else [])


def test_a_mart_has_rules_of_its_own() -> None:
    rules = Rules.of(
        {
            "gold": {"change_pct": {"most": 50, **WARN}},
            "marts": {"gold_x": {"change_pct": {"most": 10, **BLOCK}}},
        }
    )
    assert [each.action for each in totals(gold(100), gold(120), rules)] == ["block"]
    assert rules.for_mart("gold_y")["change_pct"]["most"] == 50


@pytest.mark.parametrize(
    "before",
    [{}, gold(100, key=["faculdade"]), gold(100, measures={}), gold(0)],
    ids=["none", "another key", "other measures", "nothing"],
)
def test_a_gold_that_cannot_be_compared_is_not(before: dict[str, Any]) -> None:
    assert totals(before, gold(100), Rules(gold={"change_pct": {"most": 1, **BLOCK}})) == []


NAMES_WARN = Rules(gold={"names_by_case": WARN})


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["GRAN", "IMPACTA"], None),
        (["Gran", "GRAN", "IMPACTA"], "'GRAN' and 'Gran'"),
        (["gran", "Gran", "GRAN"], "'GRAN' and 'Gran' and 'gran'"),
        (["Escola Ação", "ESCOLA AÇÃO", "b", "B"], "'B' and 'b', 'ESCOLA AÇÃO' and 'Escola Ação'"),
        (["Ação", "Acao"], None),  # Power BI tells accents apart
        (["Straße", "STRASSE"], "'STRASSE' and 'Straße'"),
    ],
)
def test_names_that_differ_by_case_alone_are_found(names: list[str], shown: str | None) -> None:
    marts = {"gold_x": {"faculdade": names}, "gold_y": {"faculdade": names}}
    findings = check_names(marts, NAMES_WARN).findings
    assert len(findings) == bool(shown)
    for finding in findings:
        assert (finding.subject, finding.action) == ("faculdade", "warn")
        assert f"takes for one: {shown}; write them alike" in finding.message


def test_few_of_many_spellings_are_shown_and_a_mart_may_be_left_out() -> None:
    names = [each for letter in "abcdefg" for each in (letter, letter.upper())]
    (finding,) = check_names({"gold_x": {"faculdade": names}}, NAMES_WARN).findings
    assert "'E' and 'e', …; write" in finding.message
    declared = {"gold": NAMES_WARN.gold, "marts": {"gold_x": {"names_by_case": None}}}
    assert check_names({"gold_x": {"faculdade": names}}, Rules.of(declared)).findings == []
    assert check_names({"gold_x": {"faculdade": names}}, Rules()).findings == []


def test_a_finding_comes_back_from_a_record() -> None:
    finding = Finding("change_pct", "gold_x.total_views", "so much", "block")
    assert Finding.of({**finding.to_dict(), "generation": 7}) == finding


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (5, "quality: 5 must be a mapping with silver, gold, marts"),
        ({"bronze": {}}, "quality: 'bronze' is not one of gold, marts, silver"),
        ({"silver": {"rate": {}}}, "quality.silver: 'rate' is not one of quarantine_pct, volume_"),
        ({"gold": [1]}, r"quality.gold: \[1\] must be a mapping with change_pct, names_by_case"),
        ({"gold": {"change_pct": 5}}, "change_pct: 5 must be a mapping with most, action"),
        ({"gold": {"change_pct": WARN}}, "quality.gold.change_pct: most is missing"),
        ({"gold": {"change_pct": {"most": None, **WARN}}}, "change_pct: most is missing"),
        *(
            ({"gold": {"change_pct": {"most": most, **WARN}}}, "a number of at least 0")
            for most in ("5", -1, True, float("nan"), float("inf"))
        ),
        ({"gold": {"change_pct": {"most": 5, "action": "stop"}}}, "'stop' must be warn or block"),
        ({"gold": {"change_pct": {"most": 5, "action": []}}}, r"\[\] must be warn or block"),
        *(
            ({"silver": {"volume_pct": {**RULE, "weeks": weeks}}}, f"weeks: {weeks} must be a ")
            for weeks in (0, 1, 1.5, 521)
        ),
        ({"silver": {"volume_pct": {**RULE, "least": 201}}}, "has a least that is more than its "),
        ({"marts": {"gold_z": {}}}, "quality.marts: 'gold_z' is not one of gold_x"),
        ({"marts": {2026: {}}}, "quality.marts: 2026 is not one of gold_x"),
        ({"marts": ["gold_x"]}, r"quality.marts: \['gold_x'\] must be a mapping with gold_x"),
        ({"marts": {"gold_x": {"change_pct": 5}}}, "quality.marts.gold_x.change_pct: 5 must be a"),
    ],
)
def test_an_invalid_declaration_is_rejected(declared: Any, sentence: str) -> None:
    with pytest.raises(CapstoneError, match=sentence):
        check_rules(declared, ["gold_x"])


def test_a_rule_that_is_null_is_none() -> None:
    declared = {"silver": {"volume_pct": None}, "gold": None, "marts": {"gold_x": None}}
    check_rules(declared, ["gold_x"])
    rules = Rules.of(declared)
    assert messages_of(1, rules, **weeks(100, 100)) == usual_windows(WINDOW, rules) == []
    assert totals(gold(100), gold(200), rules) == []
