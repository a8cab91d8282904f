"""Silver, aggregated into the declared marts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from capstone_metrics.changes import GoldBefore
from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span
from capstone_metrics.schemas import Mart, marts_of

NOT_INFORMED = "(não informado)"
"""The key of videos whose optional text is absent: they count, and a key is never null."""


@dataclass(frozen=True)
class Plan:
    """Which days of Gold are to be made again.

    Attributes:
        days: the days; None says all of them.
        before: Gold as it is.
        silver: the head of the Silver that Gold is made from.
    """

    days: set[dt.date] | None
    before: GoldBefore
    silver: Mapping[str, Any]

    def kept(self, mart: Mart) -> pa.Table | None:
        """The mart as it is, if its unchanged days can stay."""
        listed = self.before.manifest.get("marts", {}).get(mart.name, {})
        is_same = listed.get("key") == list(mart.key) and listed.get("measures") == mart.rules
        by_day = "data_postagem" in mart.key
        return self.before.tables.get(mart.name) if is_same and by_day else None


def plan(
    silver: ir.Table,
    places: ir.Table,
    head: Mapping[str, Any],
    before: GoldBefore,
    full: bool,
    first: str | None,
    last: str | None,
) -> Plan:
    """What of Gold is to be made again: the days of Silver that changed since it was made.

    With a backfill these are also the days from its first to its last.

    Args:
        silver: the table.
        places: the line of Bronze that each of its rows comes from.
        head: of Silver.
        before: Gold as it is.
        full: whether to make all of it again.
        first: the day or window at which a backfill begins; None without one.
        last: the day or window at which it ends.

    Raises:
        CapstoneError: if Silver, on these days, is not what its last commit put there.
    """
    days = _days(before, full, first, last)
    _check_silver(silver, places, days, head["total"]["current"])
    return Plan(days, before, head)


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


def aggregate(silver: ir.Table, declarations: Mapping[str, Any], plan: Plan, name: str) -> ir.Table:
    """A mart: one row for each value of its key, sorted by it.

    The days that did not change keep the rows that they have, where the mart is by day and its
    declaration is the one that it was made from.
    """
    mart = marts_of(declarations)[name]
    kept = plan.kept(mart)
    if kept is None or plan.days is None:
        return _aggregate(silver, mart)
    if not plan.days:
        return ibis.memtable(kept)
    days = sorted(plan.days)
    fresh = _aggregate(silver.filter(silver.data_postagem.isin(days)), mart)
    old = ibis.memtable(kept)
    return ibis.union(fresh, old.filter(old.data_postagem.notin(days))).order_by(*mart.key)


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


def reconcile(
    silver: ir.Table, declarations: Mapping[str, Any], plan: Plan, *tables: pa.Table
) -> dict[str, Any]:
    """The manifest of Gold: rows, totals and SHA-256 of each mart, as they were written.

    Args:
        silver: the table that the marts were made from.
        declarations: of the marts.
        plan: which days were made again.
        tables: the marts, in the order of the declarations.

    Raises:
        CapstoneError: if a total of a mart is not that of Silver.
    """
    manifest = {}
    for mart, table in zip(marts_of(declarations).values(), tables, strict=True):
        found = {name: sum(table[name].to_pylist()) for name, _, _ in mart.measures}
        expected = _expected(silver, mart, plan, found)
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


def _expected(silver: ir.Table, mart: Mart, plan: Plan, found: Mapping[str, int]) -> dict[str, int]:
    """The totals of Silver: of all, or what the changed days add to the totals before."""
    kept = plan.kept(mart)
    if kept is None or plan.days is None:
        total: dict[str, int] = silver.agg(**_measures(silver, mart)).to_pyarrow().to_pylist()[0]
        return total
    if not plan.days:
        return dict(plan.before.manifest["marts"][mart.name]["totals"])
    changed = silver.filter(silver.data_postagem.isin(sorted(plan.days)))
    now = changed.agg(**_measures(changed, mart)).to_pyarrow().to_pylist()[0]
    days = kept["data_postagem"].to_pylist()
    return {
        name: now[name]
        + sum(
            value
            for day, value in zip(days, kept[name].to_pylist(), strict=True)
            if day not in plan.days
        )
        for name in found
    }


def _check_silver(
    silver: ir.Table, places: ir.Table, days: set[dt.date] | None, current: int
) -> None:
    """Refuse a Silver that lost, gained or repeats a video."""
    if days is not None:
        wanted = sorted(days)
        silver, places = (t.filter(t.data_postagem.isin(wanted)) for t in (silver, places))
    if days == set():
        return
    where = ["video_id", "rede_social", "data_postagem"]
    counts = silver.agg(rows=silver.count(), videos=silver.video_id.nunique())
    found = counts.to_pyarrow().to_pylist()[0]
    expected = places.count().to_pyarrow().as_py()
    known = silver.semi_join(places, where).count().to_pyarrow().as_py()
    if not found["rows"] == found["videos"] == known == expected or (
        days is None and expected != current
    ):
        raise CapstoneError(
            f"Silver is not as its last commit left it: {found['rows']} rows of "
            f"{found['videos']} videos where {expected} were put. If a run was killed, "
            "'kedro run --pipelines=bronze_to_silver' finishes it; if a file was changed by hand "
            "or lost, add --params=full=true to build Silver anew from Bronze."
        )


def _measures(silver: ir.Table, mart: Mart) -> dict[str, ir.Scalar]:
    return {
        name: getattr(silver[column], aggregate)().fill_null(0).cast("int64")
        for name, aggregate, column in mart.measures
    }
