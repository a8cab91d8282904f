from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstone_metrics.engines.duckdb import DuckDBEngine
from capstone_metrics.engines.layout import Layout
from capstone_metrics.errors import CommitConflictError, StorageError
from capstone_metrics.schemas import VIDEO_INDEX
from capstone_metrics.storage import storage_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import ibis.expr.types as ir

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


def test_an_error_of_another_kind_stays_as_it_is(engine: DuckDBEngine) -> None:
    with pytest.raises(Exception, match="nothing") as raised:
        engine.connection.raw_sql("FROM nothing")
    assert type(raised.value).__name__ == "CatalogException"
