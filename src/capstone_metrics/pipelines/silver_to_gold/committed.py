"""Check that Silver is what its last commit wrote."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

import ibis.expr.types as ir

from capstone_metrics.changes import SilverSnapshot, current_rows
from capstone_metrics.errors import DataError
from capstone_metrics.facts import Days, Facts, rows_of_days
from capstone_metrics.marts import Basis
from capstone_metrics.schemas import DAYS, PROVENANCE_OF

HASH_MODULUS = 2**31 - 1
"""So that the sum of billions of hashes fits into 64 bits."""


def require_committed(silver: SilverSnapshot, facts: Mapping[Basis, Facts]) -> None:
    """Raise if Silver has lost, gained, repeated or changed a video since its last commit.

    Each table is compared with the provenance of what was committed, on the days of which rows are
    read; observations of earlier days, which videos at an age need too, have to have their files.

    Raises:
        DataError: with the numbers of rows.
    """
    read = {basis: each for basis, each in facts.items() if each.rows is not None}
    if read and (lost := silver.lost_days()):
        table, lost_days = next(iter(lost.items()))
        more = f" and {len(lost_days) - 1:,} days more" if len(lost_days) > 1 else ""
        raise DataError(
            f"Silver has lost its file of {table} of {lost_days[0]}{more}. Rebuild Silver from "
            "Bronze: kedro run --params=full=true."
        )
    for table, provenance in PROVENANCE_OF.items():
        parts = [each.days for basis, each in read.items() if basis.day == DAYS[table]]
        if not parts:
            continue
        days = _union(parts)
        complete = {Basis(table), Basis("video")}  # a video is a row of criacao
        same = (
            each.rows
            for basis, each in read.items()
            if basis in complete and basis.day == DAYS[table] and each.days == days
        )
        rows = next(same, None)
        rows = silver.tables[table] if rows is None else rows
        tables = (rows, silver.tables[provenance])
        found, expected = (
            _fingerprints(rows_of_days(each, DAYS[table], days), DAYS[table]) for each in tables
        )
        count, expected_count = (
            sum(rows for rows, _ in each.values()) for each in (found, expected)
        )
        is_whole = table == "criacao" and days is None
        if found != expected or (is_whole and count != current_rows(silver.head)):
            raise DataError(
                f"Silver is not as its last commit left it: its {table} has {count} rows where "
                f"{expected_count} were committed, or other videos. If a file was edited or lost, "
                "rebuild Silver from Bronze: kedro run --params=full=true; if a run was killed, "
                "'kedro run --pipelines=bronze_to_silver' completes its commit."
            )


def _union(parts: Iterable[Days]) -> Days:
    """Return the days of any part; None, which is all days, if a part has all."""
    days: set[dt.date] = set()
    for part in parts:
        if part is None:
            return None
        days |= part
    return days


def _fingerprints(rows: ir.Table, day: str) -> dict[dt.date, tuple[int, int]]:
    """Return for each day the number of rows, and a sum over their videos in any order."""
    video = (rows.rede_social + "/" + rows.video_id).hash() % HASH_MODULUS
    by_day = rows.mutate(video=video).group_by(day)
    counts = by_day.agg(rows=lambda each: each.count(), videos=lambda each: each.video.sum())
    return {row[day]: (row["rows"], row["videos"]) for row in counts.to_pyarrow().to_pylist()}
