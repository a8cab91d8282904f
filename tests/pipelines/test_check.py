"""The quality rules of Silver see the lines of a run beside those of the weeks before it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from capstone_metrics.pipelines.bronze_to_silver.account import FINDINGS_KEPT, account
from capstone_metrics.pipelines.bronze_to_silver.check import check_silver
from capstone_metrics.pipelines.bronze_to_silver.merge import merge
from capstone_metrics.quality import Finding, QualityReport
from tests.pipelines.conftest import line, silver_snapshot, validated

SOURCES: dict[str, Any] = {"faker": {"type": "faker"}}
VOLUME = {"volume_pct": {"least": 50, "most": 200, "weeks": 4, "action": "warn"}}
REJECTED = {"quarantine_pct": {"most": 40, "action": "block"}}
DAY = dt.date(2026, 1, 31)
HEAD = {"generation": 3, "format": 3}


def name_of(weeks: int = 0, name: str = "a", hour: str = "08") -> str:
    day = DAY - dt.timedelta(weeks=weeks)
    return f"fonte=faker/janela={day}T{hour}/{name}.jsonl"


def receipts(*lines: int) -> dict[str, dict[str, Any]]:
    """Return the receipts of the weeks before, the latest first."""
    return {name_of(weeks): {"lines": count} for weeks, count in enumerate(lines, 1)}


def checked(
    objects: dict[str, bytes],
    before: dict[str, dict[str, Any]],
    rules: dict[str, Any],
    *,
    head: dict[str, Any] | None = HEAD,
) -> list[str]:
    """Return the messages of what is unusual in a run."""
    validation = validated(objects, SOURCES, silver_snapshot(head=head, receipts=before))
    return [each.message for each in check_silver(validation, {"silver": rules}).findings]


def test_a_window_is_compared_with_those_of_its_weekday_and_hour() -> None:
    many = {name_of(weeks, hour="20"): {"lines": 100} for weeks in range(5)}
    before = {**receipts(10, 10), **many, name_of(5): {"lines": 1000}}
    assert checked({name_of(): line() * 5}, before, VOLUME) == []
    (message,) = checked({name_of(): line() * 4}, before, VOLUME)
    assert message.startswith("window 2026-01-31T08 has 4 lines, 40 % of the 10 that are usual")


def test_a_window_has_the_lines_of_all_of_its_objects() -> None:
    late = {**receipts(10, 10), name_of(name="early"): {"lines": 4}}
    assert checked({name_of(): line() * 4}, late, VOLUME) == []
    both = {name_of(): line() * 4, name_of(name="b"): line()}
    assert checked(both, receipts(10, 10), VOLUME) == []


def test_a_rebuild_compares_its_own_lines() -> None:
    objects = {name_of(): line() * 4, name_of(1): line() * 10, name_of(2): line() * 10}
    assert len(checked(objects, {}, VOLUME, head=None)) == 1
    assert checked(objects, receipts(1, 1), VOLUME, head=None)[0].endswith("50 and 200 %")


def test_rejected_lines_are_counted_by_window() -> None:
    early: dict[str, Any] = {"ingestion_ts": None, "data_postagem": "2026-01-20"}
    before = line(**early) * 2 + line(**early, views="x")
    objects = {name_of(): line() + line(views="x"), name_of(1): before}
    (message,) = checked(objects, {}, REJECTED)
    assert message.startswith("50.0 % of the 2 lines of window 2026-01-31T08 are in quarantine")


def test_a_run_without_lines_is_usual() -> None:
    assert checked({}, receipts(10, 10), VOLUME | REJECTED) == []
    assert checked({name_of(): b"\n"}, receipts(10, 10), VOLUME | REJECTED) == []


def finding(window: str, message: str = "so many", rule: str = "quarantine_pct") -> Finding:
    return Finding(rule, window, message, "block")


def findings_of(head: dict[str, Any] | None, *findings: Finding) -> list[tuple[str, str, str, int]]:
    """Return the findings in the head after a run, with the generation of each."""
    validation = validated({name_of(): line()}, SOURCES, silver_snapshot(head=head))
    update = account(validation, merge(validation), QualityReport("silver", list(findings)))
    return [
        (each["rule"], each["of"], each["said"], each["generation"])
        for each in update.head["findings"]
    ]


def test_the_head_keeps_findings_with_the_generation_that_found_them() -> None:
    window, other = "2026-01-31T08", "2026-01-31T20"
    known = {**finding(window).to_dict(), "generation": 2}
    head = {**HEAD, "findings": [known]}
    before = ("quarantine_pct", window, "so many", 2)
    assert findings_of(head) == [before]
    assert findings_of(head, finding(other)) == [before, ("quarantine_pct", other, "so many", 4)]
    again = ("quarantine_pct", window, "more", 4)
    assert findings_of(head, finding(window, "more")) == [again]
    assert findings_of(None, finding(window)) == [("quarantine_pct", window, "so many", 1)]


@pytest.mark.parametrize("days", [0, 1])
def test_findings_of_long_ago_are_dropped(days: int) -> None:
    newest = dt.datetime(2026, 1, 31, 8)  # noqa: DTZ001 - a window is local time
    old = f"{newest - FINDINGS_KEPT - dt.timedelta(days=days):%Y-%m-%dT%H}"
    head = {**HEAD, "findings": [{**finding(old).to_dict(), "generation": 2}]}
    kept = [window for _, window, *_ in findings_of(head, finding("2026-01-31T08"))]
    assert kept == ["2026-01-31T08"] if days else [old, "2026-01-31T08"]
