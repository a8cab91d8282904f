"""Small Gold to publish: two marts of one video a faculdade."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
from typing import TYPE_CHECKING, Any

from capstone_metrics.lake.documents import _LineFeeds
from capstone_metrics.schemas import Mart, Publication, Terms, marts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    terms: Terms | None = None,
) -> Publication:
    """All marts, from the views of each faculdade, or of each day and faculdade."""
    cells = [(*(at if isinstance(at, tuple) else (DAY, at)), n) for at, n in views.items()]
    rows = {name: _rows(mart, cells) for name, mart in marts.items()}
    files = {name: csv_of(mart, rows[name]) for name, mart in marts.items()}
    listed = {name: listed_of(mart, rows[name], files[name]) for name, mart in marts.items()}
    manifest = {"silver_rows": len(cells), "marts": listed}
    return Publication(manifest, dict(marts), files, terms or Terms())


def _rows(mart: Mart, cells: list[tuple[dt.date, str, int]]) -> list[tuple[Any, ...]]:
    rows: dict[tuple[Any, ...], list[int]] = {}
    for day, faculdade, views in cells:
        named = {"data_postagem": day, "faculdade": faculdade}
        row = rows.setdefault(tuple(named[column] for column in mart.key), [0, 0])
        row[0], row[1] = row[0] + views, row[1] + 1
    measured = {"total_views": 0, "total_videos": 1}
    chosen = [measured[name] for name, _, _ in mart.measures]
    return [(*key, *(row[place] for place in chosen)) for key, row in sorted(rows.items())]


def csv_of(mart: Mart, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The file of a mart, written as `MartDataset` writes it."""
    file = io.StringIO(newline="")
    writer = csv.writer(_LineFeeds(file), lineterminator="\r\n")
    writer.writerow(mart.columns)
    writer.writerows(rows)
    return file.getvalue().encode()


def listed_of(mart: Mart, rows: Sequence[tuple[Any, ...]], content: bytes) -> dict[str, Any]:
    """What the manifest says of a mart."""
    width = len(mart.key)
    sums = (sum(row[width + place] for row in rows) for place in range(len(mart.measures)))
    return {
        "key": list(mart.key),
        "measures": mart.rules,
        "rows": len(rows),
        "totals": dict(zip(mart.rules, sums, strict=True)),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
