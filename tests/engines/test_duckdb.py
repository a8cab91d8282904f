from __future__ import annotations

import re
import signal
from threading import Timer
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.engines.duckdb import DuckDBEngine
from capstone_metrics.engines.layout import Layout
from capstone_metrics.errors import CommitConflictError, ConfigError, StorageError
from capstone_metrics.schemas import VIDEO_INDEX
from capstone_metrics.storage import storage_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import ibis.expr.types as ir

CANARY = "c4n4ry"
LAYOUT = Layout("silver/video_index", "index", VIDEO_INDEX, ("shard",), ("video_id",))


class Unused:
    """The changes of a commit to which nothing can be added."""


READS: dict[str, Callable[[DuckDBEngine, ir.Table], Any]] = {
    "result": lambda _, table: table.count().to_pyarrow(),
    "cache": lambda _, table: table.cache(),
    "stage": lambda engine, table: list(engine.stage(table, LAYOUT, Unused())),  # type: ignore[arg-type]
}


@pytest.fixture
def engine() -> DuckDBEngine:
    return DuckDBEngine({})


@pytest.mark.parametrize("name", ["thread", "threads"])
def test_an_option_that_duckdb_does_not_take_is_an_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"engine: DuckDB does not take the options \(.*thread"):
        DuckDBEngine({name: "threadbare"})


@pytest.mark.parametrize("read", READS.values(), ids=READS)
@pytest.mark.parametrize("content", [None, b"x"], ids=["deleted", "replaced"])
def test_a_file_that_changes_while_it_is_read_was_changed_by_another_run(
    engine: DuckDBEngine,
    tmp_path: Path,
    read: Callable[[DuckDBEngine, ir.Table], Any],
    content: bytes | None,
) -> None:
    path = tmp_path / "silver/video_index/shard=0/index"
    path.parent.mkdir(parents=True)
    columns = {name: kind for name, kind in VIDEO_INDEX.items() if name != "shard"}
    pq.write_table(pa.schema(VIDEO_INDEX.to_pyarrow()).empty_table().select(list(columns)), path)
    table = engine.read(storage_of(str(tmp_path)), ["silver/video_index/shard=0/index"], LAYOUT)
    path.unlink()
    if content:
        path.write_bytes(content)

    with pytest.raises(CommitConflictError, match="Another run changed the lake while"):
        read(engine, table)
    store_error = StorageError("the store does not answer")
    engine.connection.find_store_error = lambda _: store_error
    with pytest.raises(StorageError, match="the store does not answer"):
        read(engine, table)


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{CANARY}@store:9000/lake/a.parquet",
        f"https://store/lake/a.parquet?X-Amz-Credential={CANARY}&X-Amz-Signature={CANARY}",
        f"https://user:p@{CANARY}@store/lake/a.parquet?{CANARY}",
    ],
)
def test_no_secret_of_a_url_is_in_a_message(engine: DuckDBEngine, url: str) -> None:
    reported: list[str] = []
    engine.connection.find_store_error = reported.append  # type: ignore[assignment]
    with pytest.raises(CommitConflictError) as raised, engine.connection.translate_errors():
        raise duckdb.HTTPException(f"HTTP Error: GET of '{url}' failed (403)\nwith details")
    assert CANARY not in f"{raised.value}{reported}"
    assert re.search(r"GET of 'https?://store(:9000)?/lake/a.parquet' failed \(403\)", *reported)


@pytest.fixture
def interrupted() -> Iterator[None]:
    """The test is interrupted in a moment."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = Timer(0.3, signal.raise_signal, [signal.SIGINT])
    timer.start()
    yield
    timer.join()
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_an_interrupt_of_a_query_is_one_of_the_program(
    engine: DuckDBEngine, read: Callable[[DuckDBEngine, ir.Table], Any]
) -> None:
    # DuckDB sees a signal between chunks of its source, so that each is quick
    long = engine.connection.sql("SELECT range AS video_id, 0 AS shard FROM range(1000000000000)")
    with pytest.raises(KeyboardInterrupt):
        read(engine, long.filter(ibis._.video_id % 2 == -1))


def test_an_interrupt_while_batches_are_made_is_one_of_the_program(engine: DuckDBEngine) -> None:
    schema = pa.schema({"a": pa.int64()})

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"a": [1]}, schema=schema)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.table_of(pa.RecordBatchReader.from_batches(schema, batches()))


def test_an_error_of_another_kind_stays_as_it_is(engine: DuckDBEngine) -> None:
    with pytest.raises(Exception, match="nothing") as raised:
        engine.connection.raw_sql("FROM nothing")
    assert type(raised.value).__name__ == "CatalogException"
