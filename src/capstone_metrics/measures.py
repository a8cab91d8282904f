"""The rows of a mart: the measures of the rows of Silver that share a key."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING

import ibis
import pyarrow as pa

from capstone_metrics.marts import RATIO, RATIO_DIGITS
from capstone_metrics.wide_sums import wide_sum, without_nulls

if TYPE_CHECKING:
    from collections.abc import Iterable

    import ibis.expr.types as ir

    from capstone_metrics.marts import Mart, Measure
    from capstone_metrics.wide_sums import Sum

RATIO_STEP = Decimal(1).scaleb(-RATIO_DIGITS)
EXACT = Context(prec=60)
"""Engines divide decimals differently, so the ratio of two exact sums is computed by this."""

DIVIDEND, DIVISOR = "dividend of ", "divisor of "


def keyed(rows: ir.Table, mart: Mart) -> ir.Table:
    """Return rows of Silver whose keys are known, as are the texts that describe their videos."""
    texts = (name for name in mart.attributes if rows[name].type().is_string())
    return rows.mutate(**{name: without_nulls(rows[name]) for name in (*mart.key, *texts)})


def totals_of(
    rows: ir.Table, measures: Iterable[Measure], sum_of: Sum = wide_sum
) -> dict[str, ir.NumericScalar]:
    """Return the measures of all rows that add up.

    Args:
        rows: the rows.
        measures: the measures.
        sum_of: how a column is summed.
    """
    return {each.name: _total(rows, each, sum_of) for each in measures if each.is_additive}


def aggregate(rows: ir.Table, mart: Mart, sum_of: Sum = wide_sum) -> ir.Table:
    """Return the rows of a mart that rows of Silver give.

    Args:
        rows: the rows.
        mart: the mart.
        sum_of: how a column is summed.
    """
    rows = keyed(rows, mart)
    aggregates: dict[str, ir.Scalar] = {name: rows[name].max() for name in mart.attributes}
    for each in mart.measures:
        if each.aggregate == "ratio":
            aggregates[DIVIDEND + each.name] = sum_of(rows[each.column])
            aggregates[DIVISOR + each.name] = sum_of(rows[each.divisor])
        elif each.aggregate == "max":
            aggregates[each.name] = rows[each.column].max()
        elif each.is_additive:
            aggregates[each.name] = _total(rows, each, sum_of).cast("int64")
    table = rows.group_by(*mart.key).agg(**aggregates)
    for each in mart.measures:
        if each.aggregate == "last":
            table = table.left_join(_last(rows, mart, each), mart.key, rname="{name} of last")
            table = table.drop(*(f"{name} of last" for name in mart.key))
    if any(each.aggregate == "ratio" for each in mart.measures):
        table = ibis.memtable(_with_ratios(table.to_pyarrow(), mart))
    return table.select(*mart.columns).order_by(*mart.key)


def _total(rows: ir.Table, measure: Measure, sum_of: Sum) -> ir.NumericScalar:
    column = rows[measure.column]
    return sum_of(column) if measure.aggregate == "sum" else column.count()


def _last(rows: ir.Table, mart: Mart, measure: Measure) -> ir.Table:
    """Return the latest value of a column by key; of equal times, the greatest one."""
    known = rows.filter(rows[measure.column].notnull())
    by_time = known.group_by(*mart.key, "ingestion_ts").agg(
        **{"at the time": known[measure.column].max()}
    )
    latest = by_time["at the time"].argmax(by_time.ingestion_ts)
    return by_time.group_by(*mart.key).agg(**{measure.name: latest})


def _with_ratios(table: pa.Table, mart: Mart) -> pa.Table:
    """Return rows with the ratios of their sums; that to nothing is null."""
    for each in mart.measures:
        if each.aggregate == "ratio":
            sums = (table[name + each.name].to_pylist() for name in (DIVIDEND, DIVISOR))
            ratios = [_ratio(*pair) for pair in zip(*sums, strict=True)]
            table = table.append_column(each.name, pa.array(ratios, RATIO.to_pyarrow()))
    return table


def _ratio(dividend: Decimal | int | None, divisor: Decimal | int | None) -> Decimal | None:
    if dividend is None or not divisor:
        return None
    return EXACT.quantize(EXACT.divide(dividend, divisor), RATIO_STEP)
