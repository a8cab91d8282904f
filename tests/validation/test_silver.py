"""The declared columns of Silver."""

from __future__ import annotations

import json
from typing import Any

import pytest

from capstone_metrics.errors import ConfigError
from capstone_metrics.validation.silver import SILVER, columns_of
from tests.validation.conftest import LINE, outcome


def test_declared_columns_come_after_those_that_silver_always_has() -> None:
    declared = {"alcance": "int64", "formato": "string", "nota": "float64", "dia": "date"}
    assert list(columns_of(declared).items()) == [*SILVER.items(), *declared.items()]


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (["alcance"], r"columns: \['alcance'\] must be {name: type}"),
        ({"Alcance": "int64"}, "columns.Alcance: name a column by lower-case letters"),
        ({"alcance total": "int64"}, "columns.alcance total: name a column by lower-case letters"),
        ({1: "int64"}, "columns.1: name a column by lower-case letters"),
        ({"a" * 64: "int64"}, "longer than the 63 bytes"),
        ({"views": "int64"}, "columns.views: there is such a column already"),
        ({"views_ganhas": "int64"}, "columns.views_ganhas: there is such a column already"),
        ({"linha": "int64"}, "columns.linha: there is such a column already"),
        ({"rank": "int64"}, "columns.rank: .* or the name is reserved"),
        ({"previous_views": "int64"}, "columns.previous_views: .* or the name is reserved"),
        ({"counted_views_ganhas": "int64"}, "counted_views_ganhas: .* or the name is reserved"),
        ({"video_id_right": "int64"}, "columns.video_id_right: .* or the name is reserved"),
        ({"ctid": "int64"}, "columns.ctid: .* or the name is reserved"),
        ({"alcance": "integer"}, "columns.alcance: 'integer' is not one of .*int64"),
        ({"alcance": None}, "columns.alcance: None is not one of "),
    ],
)
def test_what_cannot_be_a_column_is_an_error(declared: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        columns_of(declared)


@pytest.mark.parametrize("is_scanned", [False, True])
def test_a_declared_counter_is_read_and_is_never_negative(is_scanned: bool) -> None:
    values: list[Any] = [7, 0, None, -1, "7", 1.5]
    content = "\n".join(json.dumps({**LINE, "alcance": value}) for value in values).encode()
    result = outcome(content, "declared", is_scanned=is_scanned)

    assert [row["alcance"] for row in result["accepted"]] == [7, 0, None]
    assert [row["regras"] for row in result["rejected"]] == [
        ["alcance.negative"],
        ["alcance.unreadable"],
        ["alcance.unreadable"],
    ]


@pytest.mark.parametrize("is_scanned", [False, True])
def test_a_source_without_a_field_for_a_column_leaves_it_empty(is_scanned: bool) -> None:
    result = outcome(json.dumps(LINE).encode(), "declared", is_scanned=is_scanned)
    assert [row["alcance"] for row in result["accepted"]] == [None]
