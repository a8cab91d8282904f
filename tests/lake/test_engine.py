from __future__ import annotations

import datetime as dt
import gc
import inspect
import itertools
import json
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError, user_message
from capstone_metrics.lake.engine import engine_of
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.pipelines.bronze_to_silver import functions
from tests.support import engines
from tests.support.engines import engine
from tests.support.selection import examples, sample

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import ibis.expr.types as ir

SHAPE = ("string", "int64", "float64")

text = st.text(st.characters(codec="utf-8"), max_size=6)
name = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
token = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", " ", "\t", "\x0b", "\x00", "\ufeff", '"', '"a"', '"b":', "\\",
     "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\x", "-", "+", "0", "1", ".5", "e9", "true", "null",
     "NaN", "nan", "inf", "-Infinity", "//", "/**/", "'", "9" * 30, "1e999", '"nan,}"']
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(text, values, max_size=4)
ascii_only = st.booleans()


@pytest.fixture(autouse=True)
def _on_engine(on_engine: None) -> None:
    """Every test here runs on the engine that was asked for."""


def called(function: Callable[..., ir.Value], *rows: tuple[Any, ...]) -> list[Any]:
    """Return the value of a function for each tuple of arguments; all have the same lists."""
    names = list(inspect.signature(function).parameters)
    constants = {n: ibis.array(v) for n, v in zip(names, rows[0], strict=True) if type(v) is list}
    kinds = {n: pa.timestamp("us") if n == "moment" else pa.string() for n in names}
    arrays = {
        name: pa.array(values, kinds[name])
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
        if name not in constants
    }
    given = engine().table_of(pa.table({"at": range(len(rows)), **arrays}).to_reader())
    value = function(*(constants[name] if name in constants else given[name] for name in names))
    result = given.select("at", value=value).order_by("at").to_pyarrow()
    values: list[Any] = result["value"].to_pylist()
    return values


def is_object(line: str) -> bool:
    """Whether Python reads a line as a JSON object of text that UTF-8 can hold."""

    def reject_constant(constant: str) -> None:
        raise ValueError(constant)

    try:
        value = json.loads(line, parse_constant=reject_constant, parse_int=str, parse_float=str)
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return False
    return isinstance(value, dict)


@st.composite
def nearly_objects(draw: st.DrawFn) -> str:
    """The text of an object, with a piece put in or taken out."""
    line = json.dumps(draw(objects), ensure_ascii=draw(ascii_only))
    at, end = draw(st.integers(0, len(line))), draw(st.integers(0, 2))
    return line[:at] + draw(token | st.just("")) + line[at + end :]


@settings(max_examples=examples(20, 100), deadline=None)
@given(
    st.lists(nearly_objects() | st.lists(token, max_size=6).map("".join), min_size=5, max_size=20)
)
@example(
    [
        '{"a": "\\"nan,}", "b": [1 ,\t2]}',
        '{"a": [1, ]}',
        '{"a": NaN}',
        '{"a":-NAN}',
        '{"a": [ inf]}',
        '{"a": [1,\t-Infinity]}',
        '{"a": -inf}',
        '{"a": "\\ud800"}',
        '{"a": "\\ude00\\ud83d"}',
        '{"a": "\\\\ud800"}',
        '{"a": 1}\x00',
        '\ufeff{"a": 1}',
        '{"a": 01}',
        '{"a": 1e999}',
        "[{}]",
        "",
    ]
)
def test_an_object_is_valid_where_python_reads_it(lines: list[str]) -> None:
    valid = called(functions.json_object_valid, *((line,) for line in lines))
    assert valid == [is_object(line) for line in lines]


@pytest.mark.parametrize("depth", [900, 20_000])
def test_an_object_may_be_as_deep_as_it_likes(depth: int) -> None:
    deep = "[" * depth + '{"b": [1, "]"]}' + "]" * depth
    line, broken = f'{{"a": {deep}, "c": 7}}', f'{{"a": {deep[:-1]}, "c": 7}}'
    assert called(functions.json_object_valid, (line,), (broken,)) == [True, False]
    assert called(functions.json_names, (line,)) == [["a", "c"]]
    ((token, seven),) = called(functions.json_fields, (line, ["a", "c"]))
    assert (token.replace(" ", ""), seven) == (deep.replace(" ", ""), "7")


@settings(max_examples=examples(20, 100), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["a", "\\u0061", "A", "", "a\\u0000b", "a\\u0000c", "é", "\\u00e9", "e\u0301"]
        ),
        max_size=4,
    )
)
def test_keys_are_unique_by_what_they_stand_for(keys: list[str]) -> None:
    line = "{" + ",".join(f'"{key}":{{"x":1,"x":2}}' for key in keys) + "}"
    meant = [json.loads(f'"{key}"') for key in keys]
    assert called(functions.json_names, (line,)) == [meant]


@settings(max_examples=examples(20, 100), deadline=None)
@given(
    objects,
    st.lists(name | st.sampled_from(["a/b", "~1", "$", "$.a", "*", "0"]), min_size=1, max_size=4),
    ascii_only,
)
@example({"": 1, "a/b": 2, "~1": 3, "$": 4, "*": 5, "0": 6}, ["", "a/b", "~1", "$", "*", "0"], True)
@example({"a": {"b": 1}}, ["a/b", "$.a", "/a", "a.b"], True)
@example({"a\x00b": 1, "a": 2}, ["a", "b"], True)
def test_a_field_is_looked_up_by_its_name_alone(
    line: dict[str, Any], fields: list[str], ascii_only: bool
) -> None:
    (tokens,) = called(functions.json_fields, (json.dumps(line, ensure_ascii=ascii_only), fields))
    read = [None if token is None else [json.loads(token)] for token in tokens]
    assert read == [[line[name]] if name in line else None for name in fields]


def test_a_field_keeps_the_spelling_that_tells_its_type() -> None:
    tokens = ["1", "-1", "1.7", "1.0", "true", "null", '"12"', '""', "[]", "{}", "-0.0"]
    tokens += [str(2**63), "9" * 40]
    lines = ((f'{{"a": {token} }}', ["a"]) for token in tokens)
    assert called(functions.json_fields, *lines) == [[token] for token in tokens]


def kind_of(value: Any) -> str:
    """Return the name that DuckDB has for the kind of a JSON value."""
    if isinstance(value, int) and not isinstance(value, bool):
        if -(2**63) <= value < 0:
            return "BIGINT"
        return "UBIGINT" if 0 <= value < 2**64 else "DOUBLE"
    kinds: dict[type, str] = {
        str: "VARCHAR",
        bool: "BOOLEAN",
        float: "DOUBLE",
        dict: "OBJECT",
        list: "ARRAY",
    }
    return kinds.get(type(value), "NULL")


@settings(max_examples=examples(20, 100), deadline=None)
@given(objects, st.lists(name, min_size=1, max_size=4), ascii_only)
@example({"a": 2**64 - 1, "b": 2**64, "c": -(2**63), "d": -(2**63) - 1}, ["a", "b", "c", "d"], True)
@example({"a": 1e300, "b": "1", "c": False, "d": None}, ["a", "b", "c", "d", "e"], True)
def test_a_kind_is_that_of_the_value(
    line: dict[str, Any], fields: list[str], ascii_only: bool
) -> None:
    written = json.dumps(line, ensure_ascii=ascii_only)
    (kinds,) = called(functions.json_kinds, (written, fields))
    has_kinds = "\\u0000" not in written
    expected = [kind_of(line[field]) if field in line else None for field in fields]
    assert kinds == (expected if has_kinds else None)


@settings(max_examples=examples(15, 50), deadline=None)
@given(st.lists(st.lists(token, max_size=8).map("".join), min_size=1, max_size=40))
@example(['{"a": 1,}', '{"a": 1, }', '{"a": 1,\t}', '{"a": 1,\r}', '{"a": 1', "[1]", '"a"', ""])
def test_a_line_with_scalar_kinds_is_an_object(tokens: list[str]) -> None:
    lines = [*tokens, *(f'{{"a":{each}}}' for each in tokens)]
    results = called(functions.json_kinds, *((line, ["a"]) for line in lines))
    for line, kinds in zip(lines, results, strict=True):
        if kinds and kinds[0] not in {None, "DOUBLE", "OBJECT", "ARRAY"}:
            assert is_object(line)
            first = json.loads(line, object_pairs_hook=lambda pairs: dict(reversed(pairs)))["a"]
            assert kinds == [kind_of(first)] or first == 0  # -0 has a sign


@settings(max_examples=examples(20, 100), deadline=None)
@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.integers(0, 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    ascii_only,
)
def test_a_value_is_what_python_reads(
    text: str, integer: int, decimal: float, ascii_only: bool
) -> None:
    content = {"a/b": text, "b": integer, "`c": decimal}
    shape = {name: ibis.dtype(kind) for name, kind in zip(content, SHAPE, strict=True)}
    lines = [json.dumps(content, ensure_ascii=ascii_only), json.dumps({"b": 2**63}), "{"]
    given = engine().table_of(pa.table({"at": range(3), "line": lines}).to_reader())
    table = given.select("at", value=functions.json_values(given.line, shape)).order_by("at")
    values, past, broken = table.to_pyarrow()["value"].to_pylist()
    assert values == content
    assert past == dict.fromkeys(content)
    assert not any((broken or {}).values())


@settings(max_examples=examples(20, 100), deadline=None)
@given(st.text(st.characters(codec="utf-8")), ascii_only)
@example('\x00"\\/\r\n\u2028', False)
@example("\u0301e\u0301👨‍👩‍👧🇧🇷", False)
@example("👨‍👩‍👧🇧🇷\u0301", True)
def test_a_string_stands_for_what_python_reads(meant: str, ascii_only: bool) -> None:
    token = json.dumps(meant, ensure_ascii=ascii_only)
    assert called(functions.json_unquoted, (token,)) == [meant]


def changes_of(zone: ZoneInfo) -> list[dt.datetime]:
    """The local midnights of the days on which a zone changes its clocks, from 1985 to 2035."""
    days = [dt.datetime(1985, 1, 1, tzinfo=zone) + dt.timedelta(day) for day in range(365 * 51)]
    return [
        day.replace(tzinfo=None)
        for day, after in itertools.pairwise(days)
        if day.utcoffset() != after.utcoffset()
    ]


@pytest.mark.parametrize(
    "name",
    [
        "America/Sao_Paulo",
        "America/New_York",
        "Europe/Lisbon",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Asia/Kolkata",
    ],
)
def test_local_and_utc_times_are_those_of_python(name: str) -> None:
    zone = ZoneInfo(name)
    quarter = dt.timedelta(minutes=15)
    around = [*sample(changes_of(zone), 16), dt.datetime.fromisoformat("2026-01-31")]
    moments = [day + at * quarter for day in around for at in range(-100, 200)]
    rows = [(moment, name) for moment in moments]
    results = list(
        zip(
            called(functions.local_to_utc, *rows),
            called(functions.utc_to_local, *rows),
            strict=True,
        )
    )

    def python(moment: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
        utc = moment.replace(tzinfo=zone).astimezone(dt.UTC)
        local = moment.replace(tzinfo=dt.UTC).astimezone(zone)
        return utc.replace(tzinfo=None), local.replace(tzinfo=None)

    wrong = [(m, f, python(m)) for m, f in zip(moments, results, strict=True) if f != python(m)]
    assert wrong == []


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        pytest.param("2018-11-04T00:30", "2018-11-04T03:30", id="skipped"),
        pytest.param("2019-02-16T23:30", "2019-02-17T01:30", id="repeated"),
        pytest.param("2019-02-17T00:00", "2019-02-17T03:00", id="after it"),
        pytest.param(None, None, id="null"),
    ],
)
def test_a_skipped_or_repeated_hour_counts_as_before_it(local: str | None, utc: str | None) -> None:
    moment = dt.datetime.fromisoformat(local) if local else None
    expected = dt.datetime.fromisoformat(utc) if utc else None
    assert called(functions.local_to_utc, (moment, "America/Sao_Paulo")) == [expected]


def test_the_engine_counts_in_utc() -> None:
    moment = dt.datetime(2026, 1, 31, 23, tzinfo=dt.UTC)
    kind = pa.schema({"moment": pa.timestamp("us", "UTC")})
    table = engine().table_of(pa.table([[moment]], schema=kind).to_reader())
    text = table.moment.cast("timestamp").strftime("%Y-%m-%d %H")
    assert (text.to_pyarrow().to_pylist(), table.moment.date().to_pyarrow().to_pylist()) == (
        ["2026-01-31 23"],
        [moment.date()],
    )


def test_a_process_has_one_connection() -> None:
    assert engine_of(engines.chosen) is engine()


def test_an_unknown_engine_is_rejected() -> None:
    with pytest.raises(CapstoneError, match=r"engine: 'sqlite' is not one of duckdb, spark"):
        engine_of("sqlite")


def test_an_object_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    name = "fonte=faker/janela=2026-01-31T08/a.jsonl"
    (tmp_path / "bronze" / name).mkdir(parents=True)  # a folder with the name of an object

    with pytest.raises(Exception, match="is a directory") as raised:
        engine().lines_of(storage_of(str(tmp_path)), "bronze", [name])

    message = str(user_message(raised.value))
    assert message.startswith(str(tmp_path / "bronze" / name))
    assert "\n" not in message


def test_a_table_is_filled_from_batches_and_lasts_as_long_as_its_expression() -> None:
    schema = pa.schema({"a": pa.int64()})

    def filled(*rows: int) -> ir.Table:
        batches = [pa.record_batch({"a": pa.array([row], pa.int64())}) for row in rows]
        return engine().table_of(pa.RecordBatchReader.from_batches(schema, batches))

    first, second = filled(1, 2), filled()
    name = first.op().name
    doubled = first.a.sum() * 2
    del first
    assert (doubled.to_pyarrow().as_py(), second.count().to_pyarrow().as_py()) == (6, 0)
    assert name in engine().connection.list_tables()
    del doubled
    gc.collect()
    assert name not in engine().connection.list_tables()


def test_an_empty_batch_ends_nothing() -> None:
    batches = [pa.record_batch({"a": pa.array(rows, pa.int64())}) for rows in ([1], [], [2])]
    table = engine().table_of(pa.RecordBatchReader.from_batches(batches[0].schema, batches))
    assert table.a.sum().to_pyarrow().as_py() == 3


@pytest.mark.skipif(engines.chosen != "duckdb", reason="another engine has room for all lines")
def test_lines_come_in_batches_that_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"fonte=faker/janela=2026-01-31T08/{part}.jsonl" for part in "abc"]
    for name in names:
        path = tmp_path / "bronze" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n" * 10)
    monkeypatch.setattr("capstone_metrics.lake.duckdb_engine.BATCH_BYTES", 50)
    connection, read = engine().connection, []
    before = set(connection.list_tables())
    for batch in engine().batches_of(storage_of(str(tmp_path)), "bronze", names):
        read.append((list(batch.objects), batch.lines.count().to_pyarrow().as_py()))
        assert len(set(connection.list_tables()) - before) == 1
    assert read == [(names[:2], 20), (names[2:], 10)]


def test_an_engine_calls_the_functions_by_their_own_names() -> None:
    declared = [
        v for v in vars(functions).values() if callable(v) and v.__module__ == functions.__name__
    ]
    declared.remove(functions.json_values)  # which some engines have by another name
    assert declared
    for function in declared:
        names = list(inspect.signature(function).parameters)
        kinds = {
            n: "array<string>"
            if n in {"fields", "values"}
            else "timestamp"
            if n == "moment"
            else "string"
            for n in names
        }
        given = ibis.table(kinds, name="given")
        value = function(*(given[name] for name in names))
        compiled = engine().connection.compile(given.select(value=value))
        assert f"{function.__name__}(" in compiled.lower()
