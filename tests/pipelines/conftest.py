"""Bronze in memory: lines of bytes that the nodes read, and the rows that they make of them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import Increment, SilverSnapshot
from capstone_metrics.lake.storage import storage_of
from capstone_metrics.pipelines.bronze_to_silver.validate import validate
from capstone_metrics.schemas import TABLES
from capstone_metrics.validation import validator
from tests.support import lakes
from tests.support.engines import engine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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


@pytest.fixture(autouse=True, scope="package")
def _scan_every_line() -> Iterator[None]:
    """Have the few lines of these tests scanned, as many are; on Spark, workers do not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validator, "SCANNED_BYTES", 0)
        patch.setattr(validator, "COMPILED_BYTES", 0)
        yield


def line(**changes: Any) -> bytes:
    """Return a line of Bronze with every field."""
    return lakes.line(**{**LINE, **changes})


def csv_line(**changes: str) -> bytes:
    """Return a line that the source of CSV makes of a row."""
    row = {"canal": "A", "dia": "30/01/26", "id": "1", "v": " 12 ", "l": "3", "visto": ""}
    return json.dumps({**row, **changes}).encode() + b"\n"


def validated(objects: Mapping[str, bytes], sources: Mapping[str, Any]) -> ValidationResult:
    """Validate the lines of Bronze objects, for an empty Silver."""
    empty = {
        name: engine().table_of(TABLES[f"silver_{name}"].to_pyarrow().empty_table().to_reader())
        for name in ("criacao", "provenance", "video_index")
    }
    with TemporaryDirectory() as folder:
        for name, content in objects.items():
            path = Path(folder, "bronze", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        read = partial(engine().validate, storage_of(folder), "bronze", list(objects))
        return validate(Increment(read, SilverSnapshot(empty, {})), sources, NETWORKS, SCHEDULE)


def rows_of(change: PartitionOverwrite) -> list[dict[str, Any]]:
    """Return the rows of a change."""
    rows: list[dict[str, Any]] = change.rows.to_pyarrow().to_pylist()
    return rows
