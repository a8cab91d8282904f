"""Merge accepted observations into Silver, and write rejected lines to its quarantine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import PartitionOverwrite, SilverSnapshot
from capstone_metrics.pipelines.bronze_to_silver.latest import latest
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.schemas import PROVENANCE, SILVER, VIDEO_INDEX
from capstone_metrics.validation.objects import parse_object_name

LINE_KEY = ["objeto", "linha"]


@dataclass(frozen=True)
class MergedProvenance:
    """The provenance (video, partition and Bronze line) of the rows that a merge rewrites.

    Attributes:
        upserted: the provenance of the rows that the merge inserts or updates.
        unchanged: the provenance of the rows that no accepted line replaces.
        before: the provenance of all rows of these partitions before the merge.
        partitions: the rewritten partitions; None for the whole table.
    """

    upserted: ir.Table
    unchanged: ir.Table
    before: ir.Table
    partitions: list[tuple[str, ...]] | None


def merge(
    validation: ValidationResult,
) -> tuple[PartitionOverwrite, PartitionOverwrite, PartitionOverwrite, dict[str, int]]:
    """Merge the accepted observations into Silver, which has the latest of each video.

    "Latest" is a total order: the last `ingestion_ts`, then the last object and line in Bronze. So
    the result depends only on what is in Bronze, and not on the order or number of merges.

    Args:
        validation: the validated lines.

    Returns:
        The overwrites of `silver_criacao`, `silver_provenance` and `silver_video_index`, and
        counts: of the `accepted` lines, and of the rows of the rewritten partitions `before` and
        `after` the merge.
    """
    snapshot = validation.snapshot
    if not validation.objects:
        silver, provenance, video_index = (
            PartitionOverwrite(ibis.memtable([], schema=schema), [])
            for schema in (SILVER, PROVENANCE, VIDEO_INDEX)
        )
        return silver, provenance, video_index, {"accepted": 0, "before": 0, "after": 0}
    merged = _merge_provenance(validation)
    silver_rows = validation.accepted.semi_join(merged.upserted, LINE_KEY).select(*SILVER)
    if merged.partitions is not None:  # else no row is unchanged
        old = _in_partitions(snapshot.tables["criacao"], merged.partitions)
        unchanged = old.semi_join(merged.unchanged, "video_id").select(*SILVER)
        silver_rows = ibis.union(silver_rows, unchanged)
    after = ibis.union(merged.upserted, merged.unchanged)
    new_or_moved = merged.upserted.anti_join(
        merged.before, ["video_id", "rede_social", "data_postagem"]
    )
    counts = {
        "accepted": validation.count_lines("accepted"),
        "before": _count(merged.before),
        "after": _count(after),
    }
    return (
        PartitionOverwrite(silver_rows, merged.partitions),
        PartitionOverwrite(after.select(*PROVENANCE), merged.partitions),
        _video_index_overwrite(new_or_moved, snapshot, merged.partitions is None),
        counts,
    )


def dry_run(validation: ValidationResult) -> dict[str, Any]:
    """Return what `merge` would change.

    Returns:
        The `objects` that it would merge, their `lines`, how many of these are `accepted`, and the
        `days` of Silver that would change.
    """
    lines = sum(stats["lines"] for stats in validation.objects.values())
    summary = {"objects": sorted(validation.objects), "lines": lines, "accepted": 0, "days": []}
    if validation.objects:
        merged = _merge_provenance(validation)
        # a video whose posting date was corrected also changes the day that it leaves
        replaced = merged.before.semi_join(merged.upserted, "video_id")
        rows = ibis.union(*(each.select("data_postagem") for each in (merged.upserted, replaced)))
        days = rows.distinct().to_pyarrow()["data_postagem"].to_pylist()
        summary |= {"accepted": validation.count_lines("accepted"), "days": sorted(days)}
    return summary


def quarantine(validation: ValidationResult) -> tuple[PartitionOverwrite, int]:
    """Return the overwrite of the quarantine, and the number of rejected lines."""
    partitions = None
    if not validation.is_full:  # the quarantine has a partition for each Bronze object
        partitions = [parse_object_name(name) for name in validation.objects]
    rejected = _count(validation.rejected) if validation.objects else 0
    return PartitionOverwrite(validation.rejected, partitions), rejected


def _merge_provenance(validation: ValidationResult) -> MergedProvenance:
    """Find which accepted lines are inserted or replace a row, and which rows are unchanged."""
    snapshot = validation.snapshot
    new = latest(validation.accepted.select(*PROVENANCE).mutate(is_new=True)).cache()
    if validation.is_full or snapshot.generation == 0:
        before = new.filter(~new.is_new)  # empty: there is no row to compare with
        partitions = None
    else:
        before, partitions = _affected_rows(new, snapshot)
    merged = latest(ibis.union(before, new)).cache()
    return MergedProvenance(
        upserted=merged.filter(merged.is_new),
        unchanged=merged.filter(~merged.is_new),
        before=before,
        partitions=partitions,
    )


def _affected_rows(
    new: ir.Table, snapshot: SilverSnapshot
) -> tuple[ir.Table, list[tuple[str, ...]]]:
    """Return the provenance of the rows of every affected partition, and the affected partitions.

    A merge affects the partitions of the new observations and, for a video whose posting date or
    network was corrected, the partition that it leaves.
    """
    target_partitions = _partitions(new)
    provenance = snapshot.tables["provenance"]
    target_rows = _in_partitions(provenance, target_partitions).select(*PROVENANCE).cache()
    # these videos are new, or in another partition, which the index names
    absent = new.anti_join(target_rows, "video_id").select("video_id", shard=_shard(new.video_id))
    shards = absent.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    video_index = snapshot.tables["video_index"]
    moved = video_index.filter(video_index.shard.isin(shards)).semi_join(absent, "video_id")
    old_partitions = sorted({*_partitions(moved)} - {*target_partitions})
    rows = target_rows
    if old_partitions:
        old_rows = _in_partitions(provenance, old_partitions).select(*PROVENANCE)
        rows = ibis.union(target_rows, old_rows)
    return rows.mutate(is_new=False).cache(), sorted([*target_partitions, *old_partitions])


def _video_index_overwrite(
    new_or_moved: ir.Table, snapshot: SilverSnapshot, is_full: bool
) -> PartitionOverwrite:
    """Return the overwrite of the shards of the index that have a new or moved video."""
    entries = new_or_moved.mutate(shard=_shard(new_or_moved.video_id)).select(*VIDEO_INDEX).cache()
    if is_full:
        return PartitionOverwrite(entries)
    shards = entries.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    video_index = snapshot.tables["video_index"]
    rest = video_index.filter(video_index.shard.isin(shards)).anti_join(entries, "video_id")
    rows = ibis.union(entries, rest.select(*VIDEO_INDEX))
    return PartitionOverwrite(rows, [(shard,) for shard in shards])


def _shard(video_id: ir.StringValue) -> ir.StringValue:
    return video_id.hexdigest("md5").left(2)


def _partitions(table: ir.Table) -> list[tuple[str, ...]]:
    rows = table.select("rede_social", "data_postagem").distinct().to_pyarrow().to_pylist()
    return sorted((row["rede_social"], str(row["data_postagem"])) for row in rows)


def _in_partitions(table: ir.Table, partitions: list[tuple[str, ...]]) -> ir.Table:
    """Return the rows of some partitions."""
    networks = {network for network, _ in partitions}
    days = {day for _, day in partitions}
    name = table.rede_social + "/" + table.data_postagem.cast("string")
    # the engine skips files by the first two filters; the third leaves out other combinations
    return table.filter(
        table.rede_social.isin(sorted(networks)),
        table.data_postagem.isin([dt.date.fromisoformat(day) for day in sorted(days)]),
        name.isin(["/".join(partition) for partition in partitions]),
    )


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
