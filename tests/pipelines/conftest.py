"""Bronze in memory: lines of bytes that the nodes read, and the rows that they make of them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import FORMAT, Increment, SilverSnapshot
from capstone_metrics.pipelines.bronze_to_silver.validate import validate
from capstone_metrics.schemas import silver_tables
from capstone_metrics.storage import storage_of
from capstone_metrics.validation import validator
from capstone_metrics.validation.silver import columns_of
from tests.support import lakes
from tests.support.engines import engine

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.changes import PartitionOverwrite, SilverUpdate
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


def silver_snapshot(
    tables: Mapping[str, ir.Table] | None = None,
    head: Mapping[str, Any] | None = None,
    receipts: Mapping[str, dict[str, Any]] | None = None,
    changed: Callable[[str | None, int], set[dt.date] | None] = lambda *_: None,
) -> SilverSnapshot:
    """Return Silver as its dataset loads it; without arguments, before its first commit."""
    head, receipts = dict(head or {}), receipts or {}
    declared = head.get("columns", {})
    empty = {
        name: engine().table_of(schema.to_pyarrow().empty_table().to_reader())
        for name, schema in silver_tables(columns_of(declared)).items()
    }
    return SilverSnapshot(
        head.get("generation", 0),
        head,
        {**empty, **(tables or {})},
        lambda: set(receipts),
        lambda names: {name: receipts[name] for name in names},
        changed,
    )


def committed(update: SilverUpdate) -> SilverSnapshot:
    """Return Silver after an update of an empty one, as its dataset loads it."""
    tables = {name: overwrite.rows for name, overwrite in update.overwrites.items()}
    receipts = {name: dict(receipt) for name, receipt in update.receipts.items()}
    return silver_snapshot(tables, {"format": FORMAT, **update.head}, receipts)


def validated(
    objects: Mapping[str, bytes],
    sources: Mapping[str, Any],
    silver: SilverSnapshot | None = None,
    columns: Mapping[str, str] | None = None,
) -> ValidationResult:
    """Validate the lines of Bronze objects, for a Silver that may be empty."""
    snapshot = silver or silver_snapshot()
    with TemporaryDirectory() as folder:
        for name, content in objects.items():
            path = Path(folder, "bronze", name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        read = partial(engine().validate, storage_of(folder), "bronze", list(objects))
        increment = Increment(read, snapshot, is_full=not snapshot.head)
        return validate(increment, sources, NETWORKS, columns or {}, SCHEDULE)


def rows_of(change: PartitionOverwrite) -> list[dict[str, Any]]:
    """Return the rows of a change."""
    rows: list[dict[str, Any]] = change.rows.to_pyarrow().to_pylist()
    return rows
