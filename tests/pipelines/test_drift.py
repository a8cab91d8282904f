"""The fields of a source change: new ones are reported or rejected, renamed ones are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capstone_metrics.pipelines.bronze_to_silver.account import account
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
    assert accounts["refused"] == {}


def test_a_frozen_source_refuses_the_lines_with_a_new_field() -> None:
    result = result_of(KNOWN, NEW, schema_drift="freeze")
    (rejected,) = rows_of(merge(result).overwrites["quarentena"])
    assert (rejected["regras"], rejected["linha"]) == (["line.new_field"], 2)
    assert rejected["texto"].encode() + b"\n" == NEW
    accounts, _ = accounts_of(result)
    assert accounts["refused"] == {}


def test_an_object_is_refused_if_each_line_of_a_frozen_source_has_a_new_field() -> None:
    accounts, head = accounts_of(result_of(NEW, NEW, schema_drift="freeze"))
    problem = head["refused"][NAME]
    assert problem.startswith("has the undeclared curtidas_total in all of its 2 lines: they are")
    assert "Correct sources.faker.other_fields, then run 'kedro quarantine replay'" in problem
    assert accounts["refused"] == head["refused"]


def test_a_refusal_holds_through_later_merges_and_ends_with_a_rebuild() -> None:
    _, head = accounts_of(result_of(NEW, schema_drift="freeze"))
    later = replace(result_of(KNOWN, head=head), objects={})
    accounts, _ = accounts_of(later)
    assert accounts["refused"] == head["refused"] != {}
    rebuilt, _ = accounts_of(replace(result_of(NEW, head=head), is_full=True))
    assert rebuilt["refused"] == {}


def test_an_object_is_refused_if_several_lines_were_all_rejected() -> None:
    negative, cut = line(views=-1), b"{cut\n"
    accounts, _ = accounts_of(result_of(negative, negative))
    assert accounts["refused"][NAME].startswith(
        "has no valid line among its 2 lines (views.negative): they are in the quarantine. "
        "Correct sources.faker.fields, then run 'kedro quarantine replay'"
    )
    accounts, _ = accounts_of(result_of(negative, cut))
    assert "(line.not_json, views.negative)" in accounts["refused"][NAME]
    for lines in ([negative], [negative, KNOWN]):
        assert accounts_of(result_of(*lines))[0]["refused"] == {}


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


def test_lines_of_a_source_that_was_renamed_are_reported_until_they_are_validated() -> None:
    _, head = accounts_of(result_of(KNOWN))
    renamed = replace(result_of(line(video_id="v2"), head=head), declaration_digests={})
    accounts, _ = accounts_of(renamed, merge(renamed))
    assert (accounts["outdated"], accounts["undeclared"]) == ([], ["faker"])
    rebuilt, _ = accounts_of(replace(renamed, is_full=True), merge(renamed))
    assert rebuilt["undeclared"] == []


def test_an_ignored_line_does_not_hide_that_a_field_was_renamed() -> None:
    total = line(video_id="Total")
    renamed = line(video_id="v3").replace(b'"views"', b'"Views"')
    accounts, _ = accounts_of(result_of(total, renamed, renamed, ignore={"video_id": "total"}))
    assert accounts["receipts"][NAME]["ignored"] == {"ignore.video_id": 1}
    problem = accounts["refused"][NAME]
    assert problem.startswith("has views in none of its 2 lines; it has Views: they are in the q")
