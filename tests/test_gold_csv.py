from __future__ import annotations

import csv
import datetime as dt
import io
from typing import Any

import ibis.expr.datatypes as dtypes
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstone_metrics import gold_csv
from capstone_metrics.gold_csv import to_csv

DAY = dt.date(2026, 1, 31)
COLUMNS = {"data_postagem": pa.date32(), "faculdade": pa.string(), "total_views": pa.int64()}
TYPES = {"data_postagem": dtypes.date, "faculdade": dtypes.string, "total_views": dtypes.int64}
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.text(
    st.sampled_from("\r\n\"', ;\t0é"), min_size=1, max_size=5
)


def read_csv(content: bytes) -> pa.Table:
    return gold_csv.read_csv(content, TYPES)


def table_of(*rows: tuple[Any, ...]) -> pa.Table:
    """Return the rows of (data_postagem, faculdade, total_views)."""
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    kinds = COLUMNS.values()
    arrays = [pa.array(list(c), kind) for c, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, list(COLUMNS))


def test_a_mart_is_a_csv_file() -> None:
    table = table_of((DAY, "GRAN", 2**63 - 1), (DAY, 'São, "Paulo"', 0))
    assert to_csv(table).decode() == (
        "data_postagem,faculdade,total_views\n"
        "2026-01-31,GRAN,9223372036854775807\n"
        '2026-01-31,"São, ""Paulo""",0\n'
    )


def test_a_mart_without_rows_is_a_header() -> None:
    content = to_csv(table_of())
    assert content == b"data_postagem,faculdade,total_views\n"
    assert read_csv(content) == table_of()


@pytest.mark.parametrize(
    "name",
    ["007", "1e3", "NULL", "NaN", "true", "2026-01-31", " x ", "'", "=HYPERLINK(1)", "é😀\u202e",
     "a\nb", "a\rb", "a\r\nb", '"', ",", "#", "'); DROP TABLE x", "x" * 10_000,
     pytest.param("x" * 3_000_000, id="more than a block of Arrow")],
)  # fmt: skip
def test_a_name_of_any_kind_stays_text(name: str) -> None:
    table = table_of((DAY, name, 1), (DAY, "other", 2))
    assert read_csv(to_csv(table)) == table


@given(st.lists(st.tuples(names, st.integers(0, 2**63 - 1)), max_size=5))
def test_a_mart_comes_back_as_it_was_written(rows: list[tuple[str, int]]) -> None:
    content = to_csv(table_of(*((DAY, *row) for row in rows)))
    assert read_csv(content) == table_of(*((DAY, *row) for row in rows))
    others = list(csv.reader(io.StringIO(content.decode(), newline="")))[1:]
    assert others == [["2026-01-31", name, str(total)] for name, total in rows]


@pytest.mark.parametrize(
    "content",
    [b"", b"faculdade,total_views\nGRAN\n", b"faculdade,total_views\nGRAN,1.5\n", b"\xff"],
)
def test_what_is_no_mart_is_an_error(content: bytes) -> None:
    with pytest.raises(pa.ArrowInvalid):
        read_csv(content)
