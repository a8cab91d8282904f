"""Merge accepted observations into Silver, and append rejected lines to its quarantine."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import PartitionOverwrite, SilverSnapshot, parse_object_name
from capstone_metrics.pipelines.bronze_to_silver.batch import LINE_KEY
from capstone_metrics.pipelines.bronze_to_silver.latest import latest
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.schemas import PROVENANCE, SILVER, VIDEO_INDEX


@dataclass(frozen=True)
class MergedProvenance:
    """The provenance of the rows in the partitions that a merge rewrites.

    Attributes:
        added: of the new rows.
        unchanged: of the rows that stay as they are.
        previous: of all rows before the merge.
        partitions: the partitions; None for the whole table.
    """

    added: ir.Table
    unchanged: ir.Table
    previous: ir.Table
    partitions: list[tuple[str, ...]] | None


def merge(
    validation: ValidationResult,
) -> tuple[PartitionOverwrite, PartitionOverwrite, PartitionOverwrite, dict[str, int]]:
    """Merge the accepted observations into Silver, which has the latest of each video.

    "Latest" is a total order: the last `ingestion_ts`, then the last object and line in Bronze. So
    the result depends on what is in Bronze, and not on the order or number of merges.

    Args:
        validation: the validated lines.

    Returns:
        The overwrites of `silver_criacao`, `silver_provenance` and `silver_video_index`, and
        counts: the `accepted` observations, and the rows of the rewritten partitions `before` and
        `after`.
    """
    snapshot = validation.snapshot
    if not validation.objects:
        silver, provenance, video_index = (
            PartitionOverwrite(ibis.memtable([], schema=schema), [])
            for schema in (SILVER, PROVENANCE, VIDEO_INDEX)
        )
        return silver, provenance, video_index, {"accepted": 0, "before": 0, "after": 0}
    merged = _merge_provenance(validation)
    rows = validation.accepted.semi_join(merged.added, LINE_KEY).select(*SILVER)
    if merged.partitions is not None:
        old = _in_partitions(snapshot.tables["criacao"], merged.partitions)
        rows = ibis.union(rows, old.semi_join(merged.unchanged, "video_id").select(*SILVER))
    after = ibis.union(merged.added, merged.unchanged)
    relocated = merged.added.anti_join(
        merged.previous, ["video_id", "rede_social", "data_postagem"]
    )
    counts = {
        "accepted": validation.count_lines("accepted"),
        "before": _count(merged.previous),
        "after": _count(after),
    }
    return (
        PartitionOverwrite(rows, merged.partitions),
        PartitionOverwrite(after.select(*PROVENANCE), merged.partitions),
        _update_video_index(relocated, snapshot, merged.partitions is None),
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
        replaced = merged.previous.semi_join(merged.added, "video_id")
        days = ibis.union(*(table.select("data_postagem") for table in (merged.added, replaced)))
        changed = days.distinct().to_pyarrow()["data_postagem"].to_pylist()
        summary |= {"accepted": validation.count_lines("accepted"), "days": sorted(changed)}
    return summary


def quarantine(validation: ValidationResult) -> tuple[PartitionOverwrite, int]:
    """Return the overwrite of the quarantine, and the number of rejected lines."""
    partitions = None
    if not validation.is_full:
        partitions = [parse_object_name(name) for name in validation.objects]
    rejected = _count(validation.rejected) if validation.objects else 0
    return PartitionOverwrite(validation.rejected, partitions), rejected


def _merge_provenance(validation: ValidationResult) -> MergedProvenance:
    snapshot = validation.snapshot
    new = latest(validation.accepted.select(*PROVENANCE).mutate(is_new=True)).cache()
    if validation.is_full or snapshot.generation == 0:
        previous, partitions = new.filter(~new.is_new), None
    else:
        previous, partitions = _affected_rows(new, snapshot)
    merged = latest(ibis.union(previous, new)).cache()
    added, unchanged = merged.filter(merged.is_new), merged.filter(~merged.is_new)
    return MergedProvenance(added, unchanged, previous, partitions)


def _affected_rows(
    new: ir.Table, snapshot: SilverSnapshot
) -> tuple[ir.Table, list[tuple[str, ...]]]:
    """Return the provenance of the rows in the partitions that a merge affects, and these.

    Those are the partitions of the new observations and, for a video whose posting date or network
    was corrected, the partition that it is in now.
    """
    own = _partitions(new)
    rows = _in_partitions(snapshot.tables["provenance"], own).select(*PROVENANCE).cache()
    missing = new.anti_join(rows, "video_id").select("video_id", shard=_shard(new.video_id))
    shards = missing.select("shard").distinct().to_pyarrow()["shard"].to_pylist()
    video_index = snapshot.tables["video_index"]
    elsewhere = video_index.filter(video_index.shard.isin(shards)).semi_join(missing, "video_id")
    others = sorted({*_partitions(elsewhere)} - {*own})
    other_rows = _in_partitions(snapshot.tables["provenance"], others).select(*PROVENANCE)
    affected = ibis.union(rows, other_rows) if others else rows
    return affected.mutate(is_new=False).cache(), sorted([*own, *others])


def _update_video_index(
    relocated: ir.Table, snapshot: SilverSnapshot, is_full: bool
) -> PartitionOverwrite:
    """Return the overwrite of the index's shards with videos in a new partition."""
    entries = relocated.mutate(shard=_shard(relocated.video_id)).select(*VIDEO_INDEX).cache()
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


def _in_partitions(table: ir.Table, partitions: list[tuple[str, ...]] | None) -> ir.Table:
    """Return the rows of some partitions; the engine opens no file of the others."""
    if partitions is None:
        return table
    networks, days = ({partition[i] for partition in partitions} for i in (0, 1))
    name = table.rede_social + "/" + table.data_postagem.cast("string")
    return table.filter(
        table.rede_social.isin(sorted(networks)),
        table.data_postagem.isin([dt.date.fromisoformat(day) for day in sorted(days)]),
        name.isin(["/".join(partition) for partition in partitions]),
    )


def _count(table: ir.Table) -> int:
    return int(table.count().to_pyarrow().as_py())
