from __future__ import annotations

import datetime as dt
import gc
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.engines import engine_of
from capstone_metrics.engines.layout import Layout
from capstone_metrics.errors import user_message
from capstone_metrics.storage import storage_of
from capstone_metrics.validation.validator import Validator
from tests.support import engines
from tests.support.engines import engine

if TYPE_CHECKING:
    from pathlib import Path

    import ibis.expr.types as ir


@pytest.fixture(autouse=True)
def _on_engine(on_engine: None) -> None:
    """Every test here runs on the engine that was asked for."""


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


def test_an_object_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    name = "fonte=faker/janela=2026-01-31T08/a.jsonl"
    (tmp_path / "bronze" / name).mkdir(parents=True)  # a folder with the name of an object

    with pytest.raises(Exception, match="is a directory") as raised:
        engine().validate(storage_of(str(tmp_path)), "bronze", [name], Validator({}, (), "UTC"))

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


def test_files_that_changed_are_read_again_though_a_result_was_cached(tmp_path: Path) -> None:
    layout = Layout("days", "parquet", ibis.schema({"a": "int64", "day": "date"}), ("day",), ("a",))
    key = layout.key([dt.date(2026, 1, 31)])
    path = tmp_path / key
    path.parent.mkdir(parents=True)

    def total() -> ir.IntegerScalar:
        return engine().read(storage_of(str(tmp_path)), [key], layout).a.sum().as_table().cache()

    pq.write_table(pa.table({"a": [1]}), path)
    before = total()
    assert before.to_pyarrow().to_pydict() == {"Sum(a)": [1]}
    pq.write_table(pa.table({"a": [2]}), path)
    assert total().to_pyarrow().to_pydict() == {"Sum(a)": [2]}
    assert before.to_pyarrow().to_pydict() == {"Sum(a)": [1]}  # it was cached, and is still there


def test_an_empty_batch_ends_nothing() -> None:
    batches = [pa.record_batch({"a": pa.array(rows, pa.int64())}) for rows in ([1], [], [2])]
    table = engine().table_of(pa.RecordBatchReader.from_batches(batches[0].schema, batches))
    assert table.a.sum().to_pyarrow().as_py() == 3
