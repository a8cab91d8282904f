"""Bronze in memory: lines of bytes that the nodes read, and the rows that they make of them."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from capstone_metrics.changes import Batch, Increment, SilverSnapshot
from capstone_metrics.lake.lines import SCHEMA, compute_stats, line_batches
from capstone_metrics.pipelines.bronze_to_silver.validate import validate
from capstone_metrics.schemas import TABLES
from tests.support import lakes
from tests.support.engines import engine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.changes import PartitionOverwrite
    from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult

NETWORKS = ["tiktok", "youtube"]
SCHEDULE = {"timezone": "America/Sao_Paulo"}
NAME = "fonte=faker/janela=2026-01-31T08/criacao.jsonl"
LINE: dict[str, Any] = {
    **lakes.LINE,
    "posted_at": "2026-01-30T21:15:00",
    "titulo_video": "Título",
    "categoria": "dicas",
    "duracao_seg": 30,
    "engagement_rate": 0.11,
    "leads_estimados": 2,
    "ctr_estimado": 1.25,
}
"""A line with every field of the contract."""

CSV = {
    "type": "files",
    "format": "csv",
    "path": "x",
    "fields": {
        "faculdade": "canal",
        "rede_social": {"constant": "youtube"},
        "data_postagem": {"field": "dia", "format": "%d/%m/%y", "timezone": "UTC"},
        "video_id": "id",
        "views": "v",
        "likes": "l",
        "comentarios": {"constant": 0},
        "ingestion_ts": {"field": "visto", "format": "%Y%m%d %H:%M", "timezone": "Asia/Tokyo"},
    },
}
"""The declaration of a source of CSV whose fields have names and formats of their own."""


@pytest.fixture(autouse=True)
def _on_engine(on_engine: None) -> None:
    """Run every test here on the chosen engine."""


def line(**changes: Any) -> bytes:
    """Return a line of Bronze with every field."""
    return lakes.line(**{**LINE, **changes})


def csv_line(**changes: str) -> bytes:
    """Return a line that the source of CSV makes of a row."""
    row = {"canal": "A", "dia": "30/01/26", "id": "1", "v": " 12 ", "l": "3", "visto": ""}
    return json.dumps({**row, **changes}).encode() + b"\n"


def validated(objects: Mapping[str, bytes], sources: Mapping[str, Any]) -> ValidationResult:
    """Validate the lines of Bronze objects, in two batches, for an empty Silver."""
    names = list(objects)
    batches = (batch_of({name: objects[name] for name in some}) for some in (names[:1], names[1:]))
    empty = {
        name: engine().table_of(TABLES[f"silver_{name}"].to_pyarrow().empty_table().to_reader())
        for name in ("criacao", "provenance", "video_index")
    }
    return validate(
        Increment(filter(None, batches), SilverSnapshot(empty, {})), sources, NETWORKS, SCHEDULE
    )


def batch_of(objects: Mapping[str, bytes]) -> Batch | None:
    """Return the lines of some objects; None if there are no objects."""
    batches = (batch for name, b in objects.items() for batch in line_batches(name, [b]))
    lines = engine().table_of(pa.RecordBatchReader.from_batches(SCHEMA, batches))
    measures = {name: compute_stats(io.BytesIO(b)) for name, b in objects.items()}
    return Batch(lines, measures) if objects else None


def rows_of(change: PartitionOverwrite) -> list[dict[str, Any]]:
    """Return the rows of a change."""
    rows: list[dict[str, Any]] = change.rows.to_pyarrow().to_pylist()
    return rows
