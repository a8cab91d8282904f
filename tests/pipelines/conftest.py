"""Bronze in memory: texts become lines that the nodes read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from capstone_metrics.lake.engine import table_of
from capstone_metrics.lake.lines import SCHEMA, line_batches
from capstone_metrics.pipelines.bronze_to_silver.nodes import current, observe, quarantined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import ibis.expr.types as ir

NETWORKS = ["tiktok", "youtube"]
SCHEDULE = {"timezone": "America/Sao_Paulo"}
NAME = "fonte=faker/janela=2026-01-31T08/criacao.jsonl"

Silver = "Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]"


def observed(objects: Mapping[str, bytes], sources: Mapping[str, Any]) -> ir.Table:
    """The verdicts on the lines of Bronze objects."""
    batches = (batch for name, b in objects.items() for batch in line_batches(name, io.BytesIO(b)))
    bronze = table_of("duckdb", pa.RecordBatchReader.from_batches(SCHEMA, batches))
    return observe(bronze, sources, NETWORKS, SCHEDULE)


@pytest.fixture
def to_silver() -> Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Bronze objects (or one object's bytes) into the rows of Silver and of the quarantine."""

    def make(
        objects: Mapping[str, bytes] | bytes, sources: Mapping[str, Any] | None = None
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = {NAME: objects} if isinstance(objects, bytes) else objects
        table = observed(found, sources or {"faker": {"type": "faker"}})
        return current(table).to_pyarrow().to_pylist(), quarantined(table).to_pyarrow().to_pylist()

    return make
