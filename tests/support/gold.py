"""A small Gold to publish: two marts, with one video a faculdade."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from capstone_metrics.gold_csv import to_csv
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.publication import Publication, PublicationPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capstone_metrics.marts import Mart

VIEWS = {"total_views": {"sum": "views"}}
MARTS = marts_of(
    {
        "gold_faculdade": {"key": ["faculdade"], "measures": VIEWS},
        "gold_dia": {"key": ["data_postagem", "faculdade"], "measures": VIEWS},
    }
)
DAY = dt.date(2026, 1, 31)


def gold(
    views: Mapping[str | tuple[dt.date, str], int],
    marts: Mapping[str, Mart] = MARTS,
    policy: PublicationPolicy | None = None,
) -> Publication:
    """Return all marts of the views of each faculdade, or of each day and faculdade."""
    cells = [(*(at if isinstance(at, tuple) else (DAY, at)), n) for at, n in views.items()]
    rows = {name: _rows(mart, cells) for name, mart in marts.items()}
    files = {name: csv_of(mart, rows[name]) for name, mart in marts.items()}
    entries = {name: entry_of(mart, rows[name], files[name]) for name, mart in marts.items()}
    manifest = {"silver_rows": len(cells), "marts": entries}
    return Publication(manifest, dict(marts), files, policy or PublicationPolicy())


def _rows(mart: Mart, cells: list[tuple[dt.date, str, int]]) -> list[tuple[Any, ...]]:
    rows: dict[tuple[Any, ...], list[int]] = {}
    for day, faculdade, views in cells:
        values = {"data_postagem": day, "faculdade": faculdade}
        row = rows.setdefault(tuple(values[column] for column in mart.key), [0, 0])
        row[0], row[1] = row[0] + views, row[1] + 1
    measured = {"total_views": 0, "total_videos": 1}
    columns = [measured[name] for name in mart.measure_names]
    return [(*key, *(row[column] for column in columns)) for key, row in sorted(rows.items())]


def csv_of(mart: Mart, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return the file of a mart."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in mart.columns)
    texts = [  # of any size
        pa.array([None if value is None else str(value) for value in values], pa.string())
        for values in columns
    ]
    return to_csv(pa.table(texts, list(mart.columns)))


def entry_of(mart: Mart, rows: Sequence[tuple[Any, ...]], content: bytes) -> dict[str, Any]:
    """Return the manifest's entry of a mart."""
    width = len(mart.labels)
    totals = {
        measure.name: sum(row[width + column] or 0 for row in rows)
        for column, measure in enumerate(mart.measures)
        if measure.is_additive
    }
    return {
        **mart.declaration,
        "rows": len(rows),
        "totals": totals,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
