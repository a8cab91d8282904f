"""Small Gold to publish: two marts of one video a faculdade."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa

from capstone_metrics.schemas import Mart, Publication, gold_type, marts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

VIEWS = {"total_views": {"sum": "views"}}
MARTS = marts_of(
    {
        "gold_faculdade": {"key": ["faculdade"], "measures": VIEWS},
        "gold_dia": {"key": ["data_postagem", "faculdade"], "measures": VIEWS},
    }
)


def gold(views: Mapping[str, int], marts: Mapping[str, Mart] = MARTS) -> Publication:
    """All marts, from the views of each faculdade."""
    rows = len(views)
    values = {
        "data_postagem": [dt.date(2026, 1, 31)] * rows,
        "faculdade": list(views),
        "total_views": list(views.values()),
        "total_videos": [1] * rows,
    }
    tables = {
        name: pa.table({c: pa.array(values[c], gold_type(c).to_pyarrow()) for c in mart.columns})
        for name, mart in marts.items()
    }
    listed = {
        name: {
            "key": list(mart.key),
            "measures": [measure for measure, _, _ in mart.measures],
            "rows": rows,
            "totals": {measure: sum(values[measure]) for measure, _, _ in mart.measures},
            "sha256": hashlib.sha256(repr(values).encode()).hexdigest(),
        }
        for name, mart in marts.items()
    }
    return Publication({"silver_rows": rows, "marts": listed}, dict(marts), tables)
