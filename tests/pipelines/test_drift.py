"""A source's fields change: what is new is reported or refused, what was renamed is found again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.account import account, refuse_drift
from capstone_metrics.pipelines.bronze_to_silver.merge import merge, quarantine
from tests.pipelines.conftest import NAME, observed, rows_of
from tests.pipelines.test_verdicts import LINE, line

if TYPE_CHECKING:
    from capstone_metrics.pipelines.bronze_to_silver.judge import Judged

DECLARED: dict[str, Any] = {"type": "faker", "other_fields": ["qtd_inscritos"]}
KNOWN = line(qtd_inscritos=7)
NEW = line(video_id="v2", curtidas_total=7)


def judged_of(*lines: bytes, **declared: Any) -> Judged:
    return observed({NAME: b"".join(lines)}, {"faker": {**DECLARED, **declared}})


def accounts_of(judged: Judged) -> tuple[dict[str, Any], dict[str, Any]]:
    *_, counts = merge(judged)
    _, quarantined = quarantine(judged)
    _, accounts, head = account(judged, counts, quarantined)
    return accounts, head


def test_a_new_field_is_kept_and_reported_once() -> None:
    judged = judged_of(KNOWN, NEW, NEW)
    accounts, head = accounts_of(judged)
    assert accounts["receipts"][NAME]["new_fields"] == {"curtidas_total": 2}
    assert accounts["drift"] == {"faker": ["curtidas_total"]}
    assert head["new_fields"] == {"faker": ["curtidas_total"]}
    judged.before.head.update(head)
    again, head = accounts_of(judged)
    assert again["drift"] == {"faker": []}
    assert head["new_fields"] == {"faker": ["curtidas_total"]}
    assert len(rows_of(merge(judged)[0])) == 2
    refuse_drift(accounts)


def test_a_frozen_source_refuses_the_lines_with_a_new_field() -> None:
    judged = judged_of(KNOWN, NEW, schema_drift="freeze")
    (rejected,) = rows_of(quarantine(judged)[0])
    assert (rejected["regras"], rejected["linha"]) == (["line.new_field"], 2)
    assert rejected["texto"].encode() + b"\n" == NEW
    accounts, _ = accounts_of(judged)
    refuse_drift(accounts)


def test_a_run_stops_before_gold_if_each_line_of_a_frozen_source_has_a_new_field() -> None:
    accounts, _ = accounts_of(judged_of(NEW, NEW, schema_drift="freeze"))
    with pytest.raises(CapstoneError, match="has curtidas_total, new, in all of its 2 lines"):
        refuse_drift(accounts)


def test_a_field_that_was_renamed_is_read_under_both_names() -> None:
    renamed = line(video_id="v2", curtidas=5).replace(b'"likes"', b'"_"')
    both = line(video_id="v3", likes=1, curtidas=9)
    fields = {name: name for name in LINE} | {"likes": ["likes", "curtidas"]}
    found = {
        r["video_id"]: r["likes"]
        for r in rows_of(merge(judged_of(line(likes=3), renamed, both, fields=fields))[0])
    }
    assert found == {"v1": 3, "v2": 5, "v3": 1}


def test_lines_that_another_declaration_judged_are_told() -> None:
    before = judged_of(KNOWN)
    accounts, head = accounts_of(before)
    assert accounts["outdated"] == []
    for declared, outdated in ({}, []), ({"other_fields": ["x"]}, ["faker"]):
        judged = judged_of(line(video_id="v2"), **declared)
        judged.before.head.update(head)
        again, _ = accounts_of(judged)
        assert again["outdated"] == outdated
        anew, _ = accounts_of(replace(judged, is_full=True))
        assert anew["outdated"] == []
