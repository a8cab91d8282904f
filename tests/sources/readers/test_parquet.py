from __future__ import annotations

import datetime as dt
import decimal
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError
from tests.sources.readers.files import lines, rows
from tests.support.selection import examples

if TYPE_CHECKING:
    from pathlib import Path


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def texts(folder: Path, values: Any, kind: pa.DataType | None = None) -> list[str]:
    """Return the JSON of the values of one column."""
    content = parquet(pa.table({"a": pa.array(values, kind)}))
    return [line.decode()[5:-1] for line in lines(folder, content, format="parquet")]


def test_a_row_becomes_its_object(tmp_path: Path) -> None:
    at = dt.datetime(2026, 1, 31, 20, 5, 0, 250, tzinfo=dt.UTC)
    table = pa.table(
        {
            "text": ["ção", None],
            "views": pa.array([2**63 - 1, None], pa.int64()),
            "rate": [0.1, None],
            "flag": [True, None],
            "date": [dt.date(2026, 1, 31), None],
            "at": pa.array([at, None], pa.timestamp("us", "UTC")),
            "price": [decimal.Decimal("1.50"), None],
            "tags": [["a", "b"], None],
        }
    )
    first, second = lines(tmp_path, parquet(table), format="parquet")
    assert first.decode() == (
        '{"text":"ção","views":9223372036854775807,"rate":0.1,"flag":true,"date":"2026-01-31",'
        '"at":"2026-01-31 20:05:00.000250+00:00","price":1.50,"tags":["a","b"]}'
    )
    assert json.loads(second) == dict.fromkeys(table.column_names)


AT = dt.datetime(2026, 1, 31, 20, 5, tzinfo=dt.UTC)
D = decimal.Decimal


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        pytest.param([12040.0, 1.5, None], None, ["12040", "1.5", "null"], id="whole floats"),
        pytest.param(
            [-0.0, 2.0**53, 2.0**60],
            None,
            ["-0.0", str(2**53), "1.152921504606847e+18"],
            id="edges",
        ),
        pytest.param(
            [float("nan"), float("inf"), -float("inf")],
            None,
            ['"NaN"', '"Infinity"', '"-Infinity"'],
            id="not finite",
        ),
        pytest.param([0.1, 3.0], pa.float32(), ["0.1", "3"], id="float32"),
        pytest.param(
            [D("801.00"), D("12.50"), D("-3.00")], None, ["801", "12.50", "-3"], id="decimal"
        ),
        pytest.param([D(10**37), D("0.0")], pa.decimal128(38, 0), [str(10**37), "0"], id="digits"),
        pytest.param([2**64 - 1], pa.uint64(), [str(2**64 - 1)], id="uint64"),
        pytest.param(["ç\n", None], pa.large_string(), ['"ç\\n"', "null"], id="large text"),
        pytest.param(
            ["x", "x", None],
            pa.dictionary(pa.int8(), pa.string()),
            ['"x"', '"x"', "null"],
            id="category",
        ),
        pytest.param([b"a\xc3\xa7", None], None, ['"aç"', "null"], id="binary text"),
        pytest.param([b"a", b"\xff"], None, ['"a"', '{"base64":"/w=="}'], id="bytes"),
        pytest.param([AT], pa.timestamp("s"), ['"2026-01-31 20:05:00"'], id="seconds"),
        pytest.param(
            [AT],
            pa.timestamp("ms", "America/Sao_Paulo"),
            ['"2026-01-31 17:05:00-03:00"'],
            id="zone",
        ),
        pytest.param(
            [AT], pa.timestamp("us", "+05:30"), ['"2026-02-01 01:35:00+05:30"'], id="offset"
        ),
        pytest.param(
            [250], pa.timestamp("ms"), ['"1970-01-01 00:00:00.250000"'], id="milliseconds"
        ),
        pytest.param(
            [1, 10**3, 10**9],
            pa.timestamp("ns"),
            [
                '"1970-01-01 00:00:00.000000001"',
                '"1970-01-01 00:00:00.000001"',
                '"1970-01-01 00:00:01"',
            ],
            id="nanoseconds",
        ),
        pytest.param([dt.date(2026, 1, 31)], pa.date64(), ['"2026-01-31"'], id="date64"),
        pytest.param([dt.time(1, 2, 3)], pa.time32("s"), ['"01:02:03"'], id="time"),
        pytest.param([62_500_000], pa.duration("us"), ['"0:01:02.500000"'], id="duration"),
        pytest.param([1], pa.duration("ns"), ['"0:00:00.000000001"'], id="short duration"),
        pytest.param(
            [{"x": 1.0, "y": [None, "b"]}, None],
            None,
            ['{"x":1,"y":[null,"b"]}', "null"],
            id="struct",
        ),
        pytest.param(
            [[{"n": "v"}], [], None], None, ['[{"n":"v"}]', "[]", "null"], id="list of structs"
        ),
        pytest.param([[("k", 1)]], pa.map_(pa.string(), pa.int64()), ['[["k",1]]'], id="map"),
        pytest.param([None], pa.null(), ["null"], id="null"),
    ],
)
def test_a_value_of_any_type_loses_nothing(
    tmp_path: Path, values: Any, kind: pa.DataType | None, expected: list[str]
) -> None:
    result = texts(tmp_path, values, kind)
    assert [text.replace(", ", ",") for text in result] == expected


@settings(
    max_examples=examples(30, 1_000),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "t": st.none() | st.text(max_size=6).filter(lambda t: "\0" not in t),
                "i": st.none() | st.integers(-(2**63), 2**63 - 1),
                "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "l": st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3),
                "s": st.none() | st.fixed_dictionaries({"x": st.none() | st.booleans()}),
            }
        ),
        min_size=1,
        max_size=6,
    )
)
def test_values_come_back(tmp_path: Path, table: list[dict[str, Any]]) -> None:
    schema = pa.schema(
        {
            "t": pa.string(),
            "i": pa.int64(),
            "f": pa.float64(),
            "l": pa.list_(pa.string()),
            "s": pa.struct({"x": pa.bool_()}),
        }
    )
    content = parquet(pa.Table.from_pylist(table, schema))
    assert rows(tmp_path, content, format="parquet") == table


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    content = parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]))
    with pytest.raises(CapstoneError, match=r"export: two columns have the same name, 'a'"):
        lines(tmp_path, content, format="parquet")


def test_a_parquet_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    complete = parquet(pa.table({"a": list(range(1_000))}))
    spoilt = complete[:4] + bytes(byte ^ 0xFF for byte in complete[4:100]) + complete[100:]
    for content in (b"a,b\n1,2\n", complete[:-1], spoilt):
        with pytest.raises(CapstoneError, match="cannot be read as Parquet") as error:
            rows(tmp_path, content, format="parquet")
        assert str(error.value).startswith(f"{tmp_path / 'export'}: ")
        assert "\n" not in str(error.value)
