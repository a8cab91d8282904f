"""Small Gold to publish: two marts of one video a faculdade."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from capstone_metrics.schemas import Mart, Publication, Terms, gold_type, marts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    tables = {name: _table(mart, cells) for name, mart in marts.items()}
    listed = {name: _listed(mart, tables[name]) for name, mart in marts.items()}
    manifest = {"silver_rows": len(cells), "marts": listed}
    return Publication(manifest, dict(marts), tables, terms or Terms())


def _table(mart: Mart, cells: list[tuple[dt.date, str, int]]) -> pa.Table:
    rows: dict[tuple[object, ...], list[int]] = {}
    for day, faculdade, views in cells:
        named = {"data_postagem": day, "faculdade": faculdade}
        row = rows.setdefault(tuple(named[column] for column in mart.key), [0, 0])
        row[0], row[1] = row[0] + views, row[1] + 1
    measured = {"total_views": 0, "total_videos": 1}
    values = {
        column: [key[mart.key.index(column)] for key in rows]
        if column in mart.key
        else [row[measured[column]] for row in rows.values()]
        for column in mart.columns
    }
    return pa.table({c: pa.array(values[c], gold_type(c).to_pyarrow()) for c in mart.columns})


def _listed(mart: Mart, table: pa.Table) -> dict[str, object]:
    return {
        "key": list(mart.key),
        "measures": mart.rules,
        "rows": table.num_rows,
        "totals": {name: sum(table[name].to_pylist()) for name, _, _ in mart.measures},
        "sha256": hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest(),
    }
