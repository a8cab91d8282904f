"""The accepted observations come into Silver, the others into its quarantine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import Before, Change, lot_of
from capstone_metrics.pipelines.bronze_to_silver.judge import Judged
from capstone_metrics.pipelines.bronze_to_silver.latest import latest
from capstone_metrics.pipelines.bronze_to_silver.lot import PLACE
from capstone_metrics.schemas import LOCATOR, PLACES, SILVER


@dataclass(frozen=True)
class Merged:
    """The latest place of each video among those that are new and those in their way.

    Attributes:
        fresh: the places that are new.
        kept: those that stay.
        known: those of the touched partitions as they were.
        touched: the partitions that are written again; None says all.
    """

    fresh: ir.Table
    kept: ir.Table
    known: ir.Table
    touched: list[tuple[str, ...]] | None


def merge(judged: Judged) -> tuple[Change, Change, Change, dict[str, int]]:
    """Bring the accepted observations into Silver: the latest of each video stays.

    "Latest" is a total order, the last `ingestion_ts` and then the last place in Bronze. So the
    outcome depends on what is in Bronze, and not on the order or number of merges.

    Args:
        judged: the lines.

    Returns:
        The changes of `silver_criacao`, `silver_places` and `silver_locator`, and counts: the
        observations `accepted`, and the rows of the changed partitions `before` and `after`.
    """
    before = judged.before
    if not judged.objects:
        rows, places, locator = (
            Change(ibis.memtable([], schema=schema), []) for schema in (SILVER, PLACES, LOCATOR)
        )
        return rows, places, locator, {"accepted": 0, "before": 0, "after": 0}
    found = _merge_places(judged)
    rows = judged.accepted.semi_join(found.fresh, PLACE).select(*SILVER)
    if found.touched is not None:
        old = _within(before.tables["criacao"], found.touched).semi_join(found.kept, "video_id")
        rows = ibis.union(rows, old.select(*SILVER))
    merged = ibis.union(found.fresh, found.kept)
    relocated = found.fresh.anti_join(found.known, ["video_id", "rede_social", "data_postagem"])
    counts = {
        "accepted": judged.lines("accepted"),
        "before": _count(found.known),
        "after": _count(merged),
    }
    return (
        Change(rows, found.touched),
        Change(merged.select(*PLACES), found.touched),
        _relocate(relocated, before, found.touched is None),
        counts,
    )


def foresee(judged: Judged) -> dict[str, Any]:
    """What `merge` would change.

    Returns:
        The `objects` that it would take in, their `lines`, those `accepted`, and the `days` of
        Silver that would change.
    """
    lines = sum(measured["lines"] for measured in judged.objects.values())
    plan = {"objects": sorted(judged.objects), "lines": lines, "accepted": 0, "days": []}
    if judged.objects:
        places = _merge_places(judged)
        left = places.known.semi_join(places.fresh, "video_id")
        days = ibis.union(*(table.select("data_postagem") for table in (places.fresh, left)))
        changed = days.distinct().to_pyarrow()["data_postagem"].to_pylist()
        plan |= {"accepted": judged.lines("accepted"), "days": sorted(changed)}
    return plan


def quarantine(judged: Judged) -> tuple[Change, int]:
    """The rejected lines of the pending objects, with the rules that they broke; and how many."""
    lots = None if judged.is_full else [lot_of(name) for name in judged.objects]
    return Change(judged.rejected, lots), _count(judged.rejected) if judged.objects else 0


def _merge_places(judged: Judged) -> Merged:
    new = latest(judged.accepted.select(*PLACES).mutate(is_new=True)).cache()
    if judged.is_full or judged.before.generation == 0:
        known, touched = new.filter(~new.is_new), None
    else:
        known, touched = _rows_in_the_way(new, judged.before)
    merged = latest(ibis.union(known, new)).cache()
    return Merged(merged.filter(merged.is_new), merged.filter(~merged.is_new), known, touched)


def _rows_in_the_way(new: ir.Table, before: Before) -> tuple[ir.Table, list[tuple[str, ...]]]:
    """The places in the partitions that a merge touches, and these partitions.

    Those are the partitions that the new observations belong to and, for a video whose posting
    date or network was corrected, the one that it is in now.
    """
    touched = _partitions(new)
    here = _within(before.tables["places"], touched).select(*PLACES).cache()
    strangers = new.anti_join(here, "video_id").select("video_id", shard=_shard(new.video_id))
    shards = strangers.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    locator = before.tables["locator"]
    elsewhere = locator.filter(locator.shard.isin(shards)).semi_join(strangers, "video_id")
    others = sorted({*_partitions(elsewhere)} - {*touched})
    there = _within(before.tables["places"], others).select(*PLACES)
    known = ibis.union(here, there) if others else here
    return known.mutate(is_new=False).cache(), sorted([*touched, *others])


def _relocate(relocated: ir.Table, before: Before, is_whole: bool) -> Change:
    """The shards of the locator with the videos that are new or moved."""
    moved = relocated.mutate(shard=_shard(relocated.video_id)).select(*LOCATOR).cache()
    if is_whole:
        return Change(moved)
    shards = moved.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    locator = before.tables["locator"]
    rest = locator.filter(locator.shard.isin(shards)).anti_join(moved, "video_id")
    return Change(ibis.union(moved, rest.select(*LOCATOR)), [(shard,) for shard in shards])


def _shard(video_id: ir.StringValue) -> ir.StringValue:
    return video_id.hexdigest("md5").left(2)


def _partitions(table: ir.Table) -> list[tuple[str, ...]]:
    found = table.select("rede_social", "data_postagem").distinct().to_pyarrow().to_pylist()
    return sorted((row["rede_social"], str(row["data_postagem"])) for row in found)


def _within(table: ir.Table, partitions: list[tuple[str, ...]] | None) -> ir.Table:
    """The rows of some partitions; files of others are not opened."""
    if partitions is None:
        return table
    networks, days = ({part[i] for part in partitions} for i in (0, 1))
    name = table.rede_social + "/" + table.data_postagem.cast("string")
    return table.filter(
        table.rede_social.isin(sorted(networks)),
        table.data_postagem.isin([dt.date.fromisoformat(day) for day in sorted(days)]),
        name.isin(["/".join(part) for part in partitions]),
    )


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
