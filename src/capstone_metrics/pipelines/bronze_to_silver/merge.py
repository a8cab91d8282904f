"""Merge accepted observations into Silver, and write rejected lines to its quarantine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import PartitionOverwrite, SilverSnapshot
from capstone_metrics.facts import (
    POSTED,
    count_of,
    days_of,
    index_of,
    rows_of_days,
    shard_of,
    values_of,
)
from capstone_metrics.pipelines.bronze_to_silver.latest import latest
from capstone_metrics.pipelines.bronze_to_silver.observations import merge_observations
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.schemas import PROVENANCE, VIDEO_INDEX, VIDEO_KEY, silver_tables
from capstone_metrics.validation.objects import parse_object_name

LINE_KEY = ["objeto", "linha"]
"""The columns that identify a line of Bronze."""


@dataclass(frozen=True)
class MergedProvenance:
    """The provenance (video, partition and Bronze line) of all rows on the days of a merge.

    Attributes:
        upserted: the provenance of the rows that the merge inserts or updates.
        unchanged: the provenance of the rows that no accepted line replaces.
        before: the provenance of all rows of these days before the merge.
        days: the days of the merge; None for all days.
    """

    upserted: ir.Table
    unchanged: ir.Table
    before: ir.Table
    days: list[dt.date] | None

    @property
    def partitions(self) -> list[tuple[str, ...]] | None:
        """The partitions of `criacao` whose rows change; None for all partitions.

        A video whose posting date was corrected also changes the partition that it leaves.
        """
        if self.days is None:
            return None
        replaced = self.before.semi_join(self.upserted, VIDEO_KEY)
        return sorted({*_partitions(self.upserted), *_partitions(replaced)})


@dataclass(frozen=True)
class MergeResult:
    """The changes of Silver by a merge, and the numbers of lines and rows in it.

    Attributes:
        overwrites: the new partitions of each table of Silver; without new objects none, or all
            of them emptied by a rebuild.
        accepted: the number of accepted lines.
        rows_before: the number of rows of the rewritten partitions before the merge.
        rows_after: the number of these rows after the merge.
        quarantined: the number of rejected lines.
        daily_lines: by how many the lines grew that rows of increments sum.
    """

    overwrites: Mapping[str, PartitionOverwrite] = field(default_factory=dict)
    accepted: int = 0
    rows_before: int = 0
    rows_after: int = 0
    quarantined: int = 0
    daily_lines: int = 0

    @property
    def new_current(self) -> int:
        """By how many the lines grew that rows are made of.

        These are the latest of a video, or all increments of a day.
        """
        return self.rows_after - self.rows_before + self.daily_lines


def merge(validation: ValidationResult) -> MergeResult:
    """Merge the accepted observations into Silver, which has the latest of each video.

    "Latest" is a total order: the last `ingestion_ts`, then the last object and line in Bronze. So
    the result depends only on what is in Bronze, and not on the order or number of merges.

    Args:
        validation: the validated lines.
    """
    if not validation.objects:
        is_emptied = validation.is_full and validation.snapshot.generation
        emptied = silver_tables(validation.columns) if is_emptied else {}
        tables = {name: schema.to_pyarrow().empty_table() for name, schema in emptied.items()}
        return MergeResult({n: PartitionOverwrite(ibis.memtable(t)) for n, t in tables.items()})
    merged = _merge_provenance(validation)
    after = ibis.union(merged.upserted, merged.unchanged)
    days: list[tuple[str, ...]] | None = None
    if merged.days is not None:
        days = [(str(day),) for day in merged.days]
    overwrites = {
        "criacao": _criacao_overwrite(merged, validation),
        "provenance": PartitionOverwrite(after.select(*PROVENANCE), days),
        "video_index": _video_index_overwrite(merged, validation.snapshot),
        "quarentena": _quarantine_overwrite(validation),
        **merge_observations(validation, _observed_before(merged.before, validation)),
    }
    return MergeResult(
        overwrites=overwrites,
        accepted=validation.count_lines("accepted"),
        rows_before=count_of(merged.before),
        rows_after=count_of(after),
        quarantined=count_of(validation.rejected),
        daily_lines=_new_daily_lines(validation, overwrites["day_provenance"]),
    )


def _observed_before(before: ir.Table, validation: ValidationResult) -> ir.Table:
    """Return the provenance that videos of new lines had before, with those of increments.

    Args:
        before: the provenance of rows of `criacao` on the days of the merge.
        validation: the validated lines.
    """
    if validation.is_full or not validation.daily_lines:
        return before
    observed = validation.observed
    videos = observed.filter(observed.linhas_somadas > 0).select(*VIDEO_KEY).distinct()
    others = videos.anti_join(before, VIDEO_KEY).cache()
    days = days_of(index_of(others, validation.snapshot.tables["video_index"]), POSTED)
    rows = rows_of_days(validation.snapshot.tables["provenance"], POSTED, days)
    rows = rows.semi_join(others, VIDEO_KEY).select(*PROVENANCE).mutate(is_new=False)
    return ibis.union(before, rows.select(*before.columns)).cache()


def _new_daily_lines(validation: ValidationResult, overwrite: PartitionOverwrite) -> int:
    """Return by how many the lines grow that rows of increments sum."""
    if not validation.has_daily_lines:
        return 0
    after = _sum(overwrite.rows.linhas_somadas)
    if overwrite.partitions is None:
        return after
    days = [dt.date.fromisoformat(day) for (day,) in overwrite.partitions]
    before = rows_of_days(validation.snapshot.tables["day_provenance"], "data_observacao", days)
    return after - _sum(before.linhas_somadas)


def _criacao_overwrite(
    merged: MergedProvenance, validation: ValidationResult
) -> PartitionOverwrite:
    """Return the overwrite of the partitions of the data that have an inserted or updated row."""
    rows = validation.accepted.semi_join(merged.upserted, LINE_KEY).select(*validation.columns)
    partitions = merged.partitions
    if partitions is not None:  # else no row is unchanged
        old = _in_partitions(validation.snapshot.tables["criacao"], partitions)
        rows = ibis.union(
            rows, old.semi_join(merged.unchanged, VIDEO_KEY).select(*validation.columns)
        )
    return PartitionOverwrite(rows, partitions)


def _quarantine_overwrite(validation: ValidationResult) -> PartitionOverwrite:
    """Return the overwrite of the quarantine, which has a partition for each Bronze object."""
    partitions = None
    if not validation.is_full:
        partitions = [parse_object_name(name) for name in validation.objects]
    return PartitionOverwrite(validation.rejected, partitions)


def _merge_provenance(validation: ValidationResult) -> MergedProvenance:
    """Find which accepted lines are inserted or replace a row, and which rows are unchanged."""
    new = latest(validation.accepted.select(*PROVENANCE).mutate(is_new=True)).cache()
    if validation.is_full:
        before = new.filter(~new.is_new)  # empty: there is no row to compare with
        days = None
    else:
        before, days = _rows_before(new, validation.snapshot)
    merged = latest(ibis.union(before, new)).cache()
    return MergedProvenance(
        upserted=merged.filter(merged.is_new),
        unchanged=merged.filter(~merged.is_new),
        before=before,
        days=days,
    )


def _rows_before(new: ir.Table, snapshot: SilverSnapshot) -> tuple[ir.Table, list[dt.date]]:
    """Return the provenance of all rows on the days that a merge may change, and the days.

    A merge may change the days of the new observations and, for a video whose posting date was
    corrected, the day that it leaves.
    """
    provenance = snapshot.tables["provenance"]
    days = days_of(new, POSTED)
    rows = rows_of_days(provenance, POSTED, days).select(*PROVENANCE).cache()
    # these videos are new, or on another day, which the index names
    moved = index_of(new.anti_join(rows, VIDEO_KEY), snapshot.tables["video_index"])
    if other_days := set(days_of(moved, POSTED)).difference(days):
        rows = ibis.union(rows, rows_of_days(provenance, POSTED, other_days).select(*PROVENANCE))
    return rows.mutate(is_new=False).cache(), sorted([*days, *other_days])


def _video_index_overwrite(
    merged: MergedProvenance, snapshot: SilverSnapshot
) -> PartitionOverwrite:
    """Return the overwrite of the shards of the index that have a new or moved video."""
    new_or_moved = merged.upserted.anti_join(merged.before, [*VIDEO_KEY, "data_postagem"])
    entries = (
        new_or_moved.mutate(shard=shard_of(new_or_moved.video_id)).select(*VIDEO_INDEX).cache()
    )
    if merged.days is None:
        return PartitionOverwrite(entries)
    shards = values_of(entries, "shard")
    video_index = snapshot.tables["video_index"]
    rest = video_index.filter(video_index.shard.isin(shards)).anti_join(entries, VIDEO_KEY)
    rows = ibis.union(entries, rest.select(*VIDEO_INDEX))
    return PartitionOverwrite(rows, [(shard,) for shard in shards])


def _partitions(table: ir.Table) -> list[tuple[str, ...]]:
    rows = table.select("rede_social", "data_postagem").distinct().to_pyarrow().to_pylist()
    return sorted((row["rede_social"], str(row["data_postagem"])) for row in rows)


def _in_partitions(table: ir.Table, partitions: list[tuple[str, ...]]) -> ir.Table:
    """Return the rows of some partitions."""
    networks = {network for network, _ in partitions}
    days = {dt.date.fromisoformat(day) for _, day in partitions}
    name = table.rede_social + "/" + table[POSTED].cast("string")
    # the engine skips files by the first two filters; the third leaves out other combinations
    rows = rows_of_days(table.filter(table.rede_social.isin(sorted(networks))), POSTED, days)
    return rows.filter(name.isin(["/".join(partition) for partition in partitions]))


def _sum(column: ir.IntegerColumn) -> int:
    return int(column.sum().to_pyarrow().as_py() or 0)
