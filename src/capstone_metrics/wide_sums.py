"""Sums that may be past the 64 bits of Gold: computed wide, and left out where they are."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.marts import Basis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.marts import Mart

    Overflow = Mapping[str, Any]
    Sum = Callable[[ir.NumericColumn], ir.NumericScalar]

MAX_MEASURE = 2**63 - 1
NOT_INFORMED = "(não informado)"
UNKNOWN_NUMBER, UNKNOWN_DAY = -1, dt.date(1, 1, 1)
"""What stands for a missing text, number or date in a key: its videos count, and no key is null."""


def without_nulls(column: ir.Column) -> ir.Column:
    """Return a column of a key without nulls."""
    if column.type().is_string():
        return column.fill_null(NOT_INFORMED)
    return column.fill_null(UNKNOWN_DAY if column.type().is_date() else UNKNOWN_NUMBER)


def wide(column: ir.NumericColumn) -> ir.DecimalColumn:
    """Return whole numbers of 64 bits so that their sum may need more."""
    numbers: ir.DecimalColumn = column.cast("decimal(38, 0)")
    return numbers


def wide_sum(column: ir.NumericColumn) -> ir.DecimalScalar:
    """Return the sum of whole numbers of 64 bits, which may need more."""
    return wide(column).sum()


def exact_sum(measure: pa.ChunkedArray) -> int:
    """Return the sum of the known values of a measure, which may need more than 64 bits."""
    return int(pc.sum(measure.cast(pa.decimal128(38))).as_py() or 0)


def plain_sum(column: ir.NumericColumn) -> ir.IntegerScalar:
    """Return the sum of whole numbers of 64 bits, which needs no more; it costs a third."""
    return column.sum()


def sum_of(rows: ir.Table, columns: Iterable[str]) -> Sum:
    """Return how columns are summed: plainly, if no sum of some of these rows can need more."""
    bounds = {
        f"{of} {column}": getattr(rows[column], of)() for column in columns for of in ("min", "max")
    }
    (row,) = rows.agg(rows=rows.count(), **bounds).to_pyarrow().to_pylist()
    count = row.pop("rows")
    largest = max((abs(value) for value in row.values() if value is not None), default=0)
    return plain_sum if largest * count <= MAX_MEASURE else wide_sum


def overflow(mart: Mart, key: Mapping[str, Any], measure: str, total: int) -> dict[str, Any]:
    """Return what a manifest has of a sum that is left out."""
    texts = {column: str(value) for column, value in key.items()}
    basis = list(mart.basis)
    return {"mart": mart.name, "basis": basis, "key": texts, "measure": measure, "total": total}


def overflow_days(overflows: Iterable[Overflow]) -> set[dt.date]:
    """Return the days that are left out of every mart with days, of one basis."""
    days = (each["key"].get(_day(each)) for each in overflows)
    return {dt.date.fromisoformat(day) for day in days if day}


def _day(each: Overflow) -> str:
    return Basis(*each["basis"]).day


def rows_within(rows: ir.Table, mart: Mart, overflows: Iterable[Overflow]) -> ir.Table:
    """Return the rows of Silver that a mart is made of.

    Args:
        rows: of its basis.
        mart: the mart. One with days lacks the days of every overflow of its basis, so that all
            such marts have the same totals; another one lacks its own keys.
        overflows: the sums that are left out.
    """
    own = [each for each in overflows if Basis(*each["basis"]) == mart.basis]
    if mart.has_day:
        days = overflow_days(own)
        return rows.filter(rows[mart.basis.day].notin(sorted(days))) if days else rows
    for each in own:
        if each["mart"] == mart.name:
            rows = rows.filter(~_has_key(rows, each["key"]))
    return rows


def _has_key(rows: ir.Table, key: Mapping[str, str]) -> ir.BooleanValue:
    (first, *others) = (
        without_nulls(rows[column]).cast("string") == value for column, value in key.items()
    )
    for other in others:
        first &= other
    return first


def _kind(basis: Basis) -> str:
    age = "" if basis.at_days is None else f" at {basis.at_days} days"
    return f"from {basis.table}{age}"


def overflow_reason(each: Overflow) -> str:
    """Return what is wrong with a sum, and the way out, in a sentence."""
    kind = f"that day is in no mart {_kind(Basis(*each['basis']))}"
    left_out = kind if _day(each) in each["key"] else "it is left out"
    return (
        f"{each['mart']}: {each['measure']} of {', '.join(each['key'].values())} is "
        f"{each['total']:,}, more than the 64 bits of Gold hold, so {left_out}. Correct the "
        "values at the source; the run that reads a later observation of these videos, or a later "
        "report of that day, builds it."
    )
