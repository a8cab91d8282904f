"""The rules have the same outcome as the naive oracle."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.mutations import near_line
from tests.support.oracle import rebuild
from tests.support.selection import examples
from tests.validation.conftest import COLUMNS, NETWORKS, OTHER_NAMES, ROW, SOURCES, ZONE, outcome

NAME = "fonte={}/janela=2026-01-31T08/a.jsonl"


def expected(content: bytes, source: str) -> tuple[int, dict[int, set[str]]]:
    """Return the number of accepted lines, and the rules that the others broke, by the oracle."""
    name = NAME.format(source)
    declarations: dict[str, Any] = {source: SOURCES[source][0]}
    declared = tuple(COLUMNS.get(source, ()))
    lake = rebuild({name: content}, declarations, NETWORKS, ZONE, declared)
    return lake.accepted, {number: rules for (_, number), rules in lake.quarantine.items()}


def actual(content: bytes, source: str) -> tuple[int, dict[int, set[str]]]:
    result = outcome(content, source, is_scanned=False)
    rules = {row["linha"]: set(row["regras"]) for row in result["rejected"]}
    return len(result["accepted"]), rules


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("seed", range(examples(2, 40)))
def test_nearly_good_lines_have_the_outcome_of_the_oracle(source: str, seed: int) -> None:
    random = Random(f"{source} {seed}")
    lines = (near_line(random, SOURCES[source][1], OTHER_NAMES) for _ in range(100))
    content = b"\n".join(lines)
    assert actual(content, source) == expected(content, source)


@given(st.sampled_from(list(SOURCES)), st.binary(max_size=60))
def test_any_bytes_have_the_outcome_of_the_oracle(source: str, content: bytes) -> None:
    assert actual(content, source) == expected(content, source)


@pytest.mark.parametrize("extra", ["true", "5", '""', '{"x":1}', "[]", '[""]', '["x"]', "null"])
@pytest.mark.parametrize("others", ["", '"a":" ",', '"_missing":["v"],'])
def test_any_values_beyond_the_header_have_the_outcome_of_the_oracle(
    others: str, extra: str
) -> None:
    content = f'{{{others}"_extra":{extra}}}'.encode()
    assert actual(content, "csv") == expected(content, "csv")


@pytest.mark.parametrize("is_scanned", [False, True])
def test_a_row_that_does_not_fit_its_header_costs_itself_alone(is_scanned: bool) -> None:
    rows = [ROW, {**ROW, "_extra": ["x", ""]}, {**ROW, "_missing": ["visto"]}, {**ROW, "x": "1"}]
    content = b"\n".join(json.dumps(row).encode() for row in rows * 20)
    result = outcome(content, "csv", is_scanned=is_scanned)
    assert {tuple(row["regras"]) for row in result["rejected"]} == {
        ("line.extra_values",),
        ("line.too_few_values",),
    }
    assert len(result["accepted"]) == 40
    assert result["new_fields"] == {"x": 20}
