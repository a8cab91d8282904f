"""Bronze in memory: texts become lines that the nodes read."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from capstone_metrics.changes import Before, Lot, Pending
from capstone_metrics.lake.lines import SCHEMA, line_batches, measure
from capstone_metrics.pipelines.bronze_to_silver.judge import observe
from capstone_metrics.pipelines.bronze_to_silver.merge import merge, quarantine
from capstone_metrics.schemas import TABLES
from tests.engines import engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from capstone_metrics.changes import Change
    from capstone_metrics.pipelines.bronze_to_silver.judge import Judged

NETWORKS = ["tiktok", "youtube"]
SCHEDULE = {"timezone": "America/Sao_Paulo"}
NAME = "fonte=faker/janela=2026-01-31T08/criacao.jsonl"


@pytest.fixture(autouse=True)
def _on_engine(on_engine: None) -> None:
    """Every test here runs on the engine that was asked for."""


def observed(objects: Mapping[str, bytes], sources: Mapping[str, Any]) -> Judged:
    """The verdicts on the lines of Bronze objects, in two lots, for an empty Silver."""
    names = list(objects)
    lots = (lot_of({name: objects[name] for name in some}) for some in (names[:1], names[1:]))
    empty = {
        name: engine().table_of(TABLES[f"silver_{name}"].to_pyarrow().empty_table().to_reader())
        for name in ("criacao", "places", "locator")
    }
    return observe(Pending(filter(None, lots), Before(empty, {})), sources, NETWORKS, SCHEDULE)


def lot_of(objects: Mapping[str, bytes]) -> Lot | None:
    """The lines of some objects; None if there are no objects."""
    batches = (batch for name, b in objects.items() for batch in line_batches(name, [b]))
    lines = engine().table_of(pa.RecordBatchReader.from_batches(SCHEMA, batches))
    measures = {name: measure(io.BytesIO(b)) for name, b in objects.items()}
    return Lot(lines, measures) if objects else None


@pytest.fixture
def to_silver() -> Callable[..., tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Bronze objects (or one object's bytes) into the rows of Silver and of the quarantine."""

    def make(
        objects: Mapping[str, bytes] | bytes, sources: Mapping[str, Any] | None = None
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        found = {NAME: objects} if isinstance(objects, bytes) else objects
        judged = observed(found, sources or {"faker": {"type": "faker"}})
        current, *_ = merge(judged)
        rejected, _ = quarantine(judged)
        return rows_of(current), rows_of(rejected)

    return make


def rows_of(change: Change) -> list[dict[str, Any]]:
    """The rows of a change."""
    rows: list[dict[str, Any]] = change.rows.to_pyarrow().to_pylist()
    return rows
