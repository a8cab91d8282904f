"""Silver, aggregated into the declared marts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import Mart, marts_of

NOT_INFORMED = "(não informado)"
"""The key of videos whose optional text is absent: they count, and a key is never null."""


def aggregate(silver: ir.Table, declarations: Mapping[str, Any], name: str) -> ir.Table:
    """A mart: one row for each value of its key, sorted by it."""
    mart = marts_of(declarations)[name]
    keys = {
        column: silver[column].fill_null(NOT_INFORMED)
        if silver[column].type().is_string()
        else silver[column]
        for column in mart.key
    }
    keyed = silver.mutate(**keys)
    table = keyed.group_by(*mart.key).agg(**_measures(keyed, mart))
    return table.select(*mart.columns).order_by(*mart.key)


def reconcile(
    silver: ir.Table, declarations: Mapping[str, Any], *tables: pa.Table
) -> dict[str, Any]:
    """The manifest of Gold: rows, totals and SHA-256 of each mart, as they were written.

    Args:
        silver: the table that the marts were made from.
        declarations: of the marts.
        tables: the marts, in the order of the declarations.

    Raises:
        CapstoneError: if a total of a mart is not that of Silver.
    """
    manifest = {}
    for mart, table in zip(marts_of(declarations).values(), tables, strict=True):
        expected = silver.agg(**_measures(silver, mart)).to_pyarrow().to_pylist()[0]
        found = {name: sum(table[name].to_pylist()) for name in expected}
        if found != expected:
            raise CapstoneError(
                f"{mart.name} does not add up to Silver: it has {found} where Silver has "
                f"{expected}. Something else changed the lake during this run; run again."
            )
        manifest[mart.name] = {
            "key": list(mart.key),
            "measures": list(expected),
            "rows": table.num_rows,
            "totals": found,
            "sha256": table.schema.metadata[b"sha256"].decode(),
        }
    return {"silver_rows": silver.count().to_pyarrow().as_py(), "marts": manifest}


def _measures(silver: ir.Table, mart: Mart) -> dict[str, ir.Scalar]:
    return {
        name: getattr(silver[column], aggregate)().fill_null(0).cast("int64")
        for name, aggregate, column in mart.measures
    }
