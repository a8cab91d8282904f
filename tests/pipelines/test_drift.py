"""The fields of a source change: new ones are reported or rejected, renamed ones are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.check import check_silver
from capstone_metrics.pipelines.bronze_to_silver.merge import MergeResult, merge
from capstone_metrics.quality import QualityReport
from tests.pipelines.conftest import LINE, NAME, line, rows_of, silver_snapshot, validated

if TYPE_CHECKING:
    from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult

DECLARED: dict[str, Any] = {"type": "faker", "other_fields": ["qtd_inscritos"]}
KNOWN = line(qtd_inscritos=7)
NEW = line(video_id="v2", curtidas_total=7)


def result_of(
    *lines: bytes, head: dict[str, Any] | None = None, **declared: Any
) -> ValidationResult:
    """Validate lines for a Silver that has a head, or for a new one."""
    sources = {"faker": {**DECLARED, **declared}}
    return validated({NAME: b"".join(lines)}, sources, silver_snapshot(head=head))


def accounts_of(
    result: ValidationResult, merged: MergeResult | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the accounts and the head, of a merge that is done or is done here."""
    update = account(result, merged or merge(result), QualityReport("silver", []))
    return dict(update.accounts), update.head


def drift_of(result: ValidationResult) -> list[tuple[str, str, str]]:
    """Return the window, the message and the action of each finding of drift."""
    findings = check_silver(result, {}, {}).findings
    return [(each.subject, each.message, each.action) for each in findings if each.rule == "drift"]


def test_a_new_field_is_reported_once() -> None:
    result = result_of(KNOWN, NEW, NEW)
    merged = merge(result)
    accounts, head = accounts_of(result, merged)
    assert accounts["receipts"][NAME]["new_fields"] == {"curtidas_total": 2}
    assert accounts["drift"] == {"faker": ["curtidas_total"]}
    assert head["new_fields"] == {"faker": ["curtidas_total"]}
    again, head = accounts_of(result_of(KNOWN, NEW, NEW, head=head), merged)
    assert again["drift"] == {"faker": []}
    assert head["new_fields"] == {"faker": ["curtidas_total"]}
    assert len(rows_of(merged.overwrites["criacao"])) == 2
    assert drift_of(result) == []


def test_a_frozen_source_refuses_the_lines_with_a_new_field() -> None:
    result = result_of(KNOWN, NEW, schema_drift="freeze")
    (rejected,) = rows_of(merge(result).overwrites["quarentena"])
    assert (rejected["regras"], rejected["linha"]) == (["line.new_field"], 2)
    assert rejected["texto"].encode() + b"\n" == NEW
    assert drift_of(result) == []


def test_a_new_field_in_each_line_of_a_frozen_source_blocks_gold() -> None:
    ((window, message, action),) = drift_of(result_of(NEW, NEW, schema_drift="freeze"))
    assert (window, action) == ("2026-01-31T08", "block")
    assert message.startswith(f"{NAME} has the undeclared curtidas_total in all of its 2 lines: ")
    assert "Correct sources.faker.other_fields, then run 'kedro quarantine replay'" in message


def test_the_drift_of_many_objects_is_one_finding_for_each_window() -> None:
    renamed = line().replace(b'"views"', b'"Views"')
    names = [NAME.replace("criacao", name) for name in "abc"]
    other = NAME.replace("T08", "T20")
    objects = dict.fromkeys([*names, other], renamed) | {NAME: line()}
    findings = drift_of(validated(objects, {"faker": DECLARED}))
    assert [window for window, *_ in findings] == ["2026-01-31T08", "2026-01-31T20"]
    assert f"{names[0]} has views in none of its 1 lines, and 2 more like it: " in findings[0][1]
    assert f"{other} has views in none of its 1 lines: " in findings[1][1]


def test_a_field_that_was_renamed_is_read_under_both_names() -> None:
    renamed = line(video_id="v2", curtidas=5).replace(b'"likes"', b'"_"')
    both = line(video_id="v3", likes=1, curtidas=9)
    fields = {name: name for name in LINE} | {"likes": ["likes", "curtidas"]}
    merged = merge(result_of(line(likes=3), renamed, both, fields=fields))
    likes = {row["video_id"]: row["likes"] for row in rows_of(merged.overwrites["criacao"])}
    assert likes == {"v1": 3, "v2": 5, "v3": 1}


def test_lines_validated_by_another_declaration_are_reported() -> None:
    before = result_of(KNOWN)
    accounts, head = accounts_of(before)
    assert accounts["outdated"] == []
    for declared, outdated in ({}, []), ({"other_fields": ["x"]}, ["faker"]):
        result = result_of(line(video_id="v2"), head=head, **declared)
        merged = merge(result)
        again, _ = accounts_of(result, merged)
        assert again["outdated"] == outdated
        rebuilt, _ = accounts_of(replace(result, is_full=True), merged)
        assert rebuilt["outdated"] == []


def test_an_ignored_line_does_not_hide_that_a_field_was_renamed() -> None:
    total = line(video_id="Total")
    renamed = line(video_id="v3").replace(b'"views"', b'"Views"')
    result = result_of(total, renamed, renamed, ignore={"video_id": "total"})
    assert result.objects[NAME]["ignored"] == {"ignore.video_id": 1}
    ((_, message, _),) = drift_of(result)
    assert "has views in none of its 2 lines" in message
