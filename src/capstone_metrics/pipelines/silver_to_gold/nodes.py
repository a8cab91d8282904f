"""Silver, aggregated into the declared marts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from capstone_metrics.changes import GoldBefore, MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span
from capstone_metrics.schemas import Mart, marts_of

Deferred = Callable[[], ir.Table]
"""A table that is looked for only if it is needed."""

PLACE = ("video_id", "rede_social", "data_postagem")
"""What tells that a row is where it was put."""

NOT_INFORMED = "(não informado)"
"""The key of videos whose optional text is absent: they count, and a key is never null."""


@dataclass(frozen=True)
class Plan:
    """Which days of Gold are to be made again, and from what.

    Attributes:
        days: the days; None says all of them.
        rows: what the marts need of the videos of these days, read once; None without any day.
        before: Gold as it is.
        silver: the head of the Silver that Gold is made from.
    """

    days: set[dt.date] | None
    rows: ir.Table | None
    before: GoldBefore
    silver: Mapping[str, Any]

    def kept(self, mart: Mart) -> pa.Table | None:
        """The mart as it is, if what did not change can stay."""
        listed = self.before.manifest.get("marts", {}).get(mart.name, {})
        is_same = listed.get("key") == list(mart.key) and listed.get("measures") == mart.rules
        is_apart = self.days == set() or "data_postagem" in mart.key
        return self.before.tables.get(mart.name) if is_same and is_apart else None


def plan(
    silver: Deferred,
    places: Deferred,
    head: Mapping[str, Any],
    before: GoldBefore,
    declarations: Mapping[str, Any],
    full: bool,
    first: str | None,
    last: str | None,
) -> Plan:
    """What of Gold is to be made again: the days of Silver that changed since it was made.

    With a backfill these are also the days from its first to its last. If one mart has to be made
    whole, because it is new or not by day, all of them are.

    Args:
        silver: gives the table.
        places: gives the line of Bronze that each of its rows comes from.
        head: of Silver.
        before: Gold as it is.
        declarations: of the marts.
        full: whether to make all of it again.
        first: the day or window at which a backfill begins; None without one.
        last: the day or window at which it ends.

    Raises:
        CapstoneError: if Silver, on these days, is not what its last commit put there.
    """
    marts = marts_of(declarations)
    days = _days(before, full, first, last)
    if any(Plan(days, None, before, head).kept(mart) is None for mart in marts.values()):
        days = None
    if days == set():
        return Plan(days, None, before, head)
    needed = {*PLACE, *(column for mart in marts.values() for column in mart.needs)}
    rows, put = (
        _of_days(table(), days).select(*columns).cache()
        for table, columns in ((silver, sorted(needed)), (places, PLACE))
    )
    _check_silver(rows, put, head["total"]["current"] if days is None else None)
    return Plan(days, rows, before, head)


def foresee(
    before: GoldBefore, full: bool, first: str | None, last: str | None
) -> list[dt.date] | None:
    """The days that `plan` would have made again; None says all of them."""
    days = _days(before, full, first, last)
    return None if days is None else sorted(days)


def _days(
    before: GoldBefore, full: bool, first: str | None, last: str | None
) -> set[dt.date] | None:
    span, changed = Span.of(first, last), None if full else before.changed
    return None if changed is None else changed.union(span.days if span else ())


def aggregate(plan: Plan, declarations: Mapping[str, Any], name: str) -> ir.Table:
    """A mart: one row for each value of its key, sorted by it.

    The days that did not change keep the rows that they have.
    """
    mart = marts_of(declarations)[name]
    kept = plan.kept(mart)
    if plan.rows is None:
        return ibis.memtable(kept)  # sorted, as it was written
    fresh = _aggregate(plan.rows, mart)
    if plan.days is None:
        return fresh
    old = ibis.memtable(kept)
    unchanged = old.filter(old.data_postagem.notin(sorted(plan.days)))
    return ibis.union(fresh, unchanged).order_by(*mart.key)


def _aggregate(silver: ir.Table, mart: Mart) -> ir.Table:
    keys = {
        column: silver[column].fill_null(NOT_INFORMED)
        if silver[column].type().is_string()
        else silver[column]
        for column in mart.key
    }
    keyed = silver.mutate(**keys)
    table = keyed.group_by(*mart.key).agg(**_measures(keyed, mart))
    return table.select(*mart.columns).order_by(*mart.key)


def reconcile(plan: Plan, declarations: Mapping[str, Any], *files: MartFile) -> dict[str, Any]:
    """The manifest of Gold: rows, totals and SHA-256 of each mart, as they were written.

    Args:
        plan: which days were made again, and from what.
        declarations: of the marts.
        files: the marts, in the order of the declarations.

    Raises:
        CapstoneError: if a total of a mart is not that of Silver.
    """
    manifest = {}
    for mart, file in zip(marts_of(declarations).values(), files, strict=True):
        table = file.to_pyarrow()
        found = {name: sum(table[name].to_pylist()) for name, _, _ in mart.measures}
        expected = _expected(plan, mart, found)
        if found != expected:
            raise CapstoneError(
                f"{mart.name} does not add up to Silver: it has {found} where Silver has "
                f"{expected}. Make Gold anew: kedro run --pipelines=silver_to_gold "
                "--params=full=true."
            )
        manifest[mart.name] = {
            "key": list(mart.key),
            "measures": mart.rules,
            "rows": table.num_rows,
            "totals": found,
            "sha256": table.schema.metadata[b"sha256"].decode(),
        }
    head = {
        "silver_origin": plan.silver["origin"],
        "silver_generation": plan.silver["generation"],
        "silver_rows": plan.silver["total"]["current"],
        "marts": manifest,
    }
    generation = plan.before.manifest.get("generation", 0)
    if plan.before.manifest == {"generation": generation, **head}:
        return plan.before.manifest
    return {"generation": generation + 1, **head}


def _expected(plan: Plan, mart: Mart, found: Mapping[str, int]) -> dict[str, int]:
    """The totals of Silver: of all, or what the changed days add to the totals before."""
    if plan.rows is None:
        return dict(plan.before.manifest["marts"][mart.name]["totals"])
    made: dict[str, int] = plan.rows.agg(**_measures(plan.rows, mart)).to_pyarrow().to_pylist()[0]
    kept = plan.kept(mart)
    if plan.days is None or kept is None:
        return made
    days = kept["data_postagem"].to_pylist()
    return {
        name: made[name]
        + sum(
            value
            for day, value in zip(days, kept[name].to_pylist(), strict=True)
            if day not in plan.days
        )
        for name in found
    }


def _check_silver(silver: ir.Table, places: ir.Table, current: int | None) -> None:
    """Refuse a Silver that lost, gained or repeats a video.

    Args:
        silver: the rows of the days to make.
        places: the places of these.
        current: how many rows there are, if these are all days.
    """
    counts = silver.agg(rows=silver.count(), videos=silver.video_id.nunique())
    found = counts.to_pyarrow().to_pylist()[0]
    expected = places.count().to_pyarrow().as_py()
    known = silver.semi_join(places, PLACE).count().to_pyarrow().as_py()
    if not found["rows"] == found["videos"] == known == expected or current not in {None, expected}:
        raise CapstoneError(
            f"Silver is not as its last commit left it: {found['rows']} rows of "
            f"{found['videos']} videos where {expected} were put. If a run was killed, "
            "'kedro run --pipelines=bronze_to_silver' finishes it; if a file was changed by hand "
            "or lost, add --params=full=true to build Silver anew from Bronze."
        )


def _of_days(table: ir.Table, days: set[dt.date] | None) -> ir.Table:
    return table if days is None else table.filter(table.data_postagem.isin(sorted(days)))


def _measures(silver: ir.Table, mart: Mart) -> dict[str, ir.Scalar]:
    return {
        name: getattr(silver[column], aggregate)().fill_null(0).cast("int64")
        for name, aggregate, column in mart.measures
    }
