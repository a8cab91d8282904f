"""The runs, as their records in the table `serving.runs` describe them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from capstone_metrics.dashboard.database import ReadTransaction

HAS_RUNS_TABLE = "SELECT to_regclass('serving.runs') IS NOT NULL AS has_runs_table"
LATEST_UNCHANGED = """
SELECT max((record #>> '{layers,serving,committed}')::timestamptz) AS unchanged_at
FROM serving.runs
WHERE ended > %s
    AND record #>> '{layers,serving,written}' = '0' AND record #>> '{layers,serving,removed}' = '0'
"""
LATEST_LINE_COUNTS = """
SELECT ended AS counted_at, record -> 'total' AS total, record -> 'reasons' AS reasons
FROM serving.runs WHERE record #> '{total,lines}' IS NOT NULL ORDER BY run DESC LIMIT 1
"""
LATEST_RUNS = """
SELECT
    begun, state,
    extract(epoch FROM ended - begun)::double precision AS seconds,
    (record #>> '{layers,bronze,written}')::bigint AS ingested,
    (record #>> '{layers,silver,accepted}')::bigint AS accepted,
    (record #>> '{layers,silver,quarantined}')::bigint AS quarantined,
    (record #>> '{layers,serving,written}')::bigint AS rows_changed
FROM serving.runs ORDER BY run DESC LIMIT 20
"""


@dataclass(frozen=True)
class LineCounts:
    """How many lines of Bronze have each outcome, by the latest run.

    Attributes:
        counted_at: when that run ended; None while it is running.
        lines: the lines in Bronze.
        current, superseded, quarantined, ignored, withdrawn: how many of them are each.
        reasons: {rule: the lines that broke it}; a line may break several.
    """

    counted_at: dt.datetime | None
    lines: int
    current: int
    superseded: int
    quarantined: int
    reasons: Mapping[str, int]
    ignored: int = 0
    withdrawn: int = 0

    @property
    def outcomes(self) -> dict[str, int]:
        """How many lines have each outcome; the last two only if a line has it."""
        counts = {name: getattr(self, name) for name in ("current", "superseded", "quarantined")}
        rare = {name: getattr(self, name) for name in ("ignored", "withdrawn")}
        return counts | {name: count for name, count in rare.items() if count}

    @property
    def is_balanced(self) -> bool:
        """Whether every line has one outcome."""
        return self.lines == sum(self.outcomes.values())


def unchanged_at(transaction: ReadTransaction) -> dt.datetime | None:
    """Return when a run last published an unchanged Gold, which the ledger does not record."""
    if not _has_runs_table(transaction):
        return None
    rows = transaction.query(LATEST_UNCHANGED, [transaction.publication.published_at])
    committed_at = rows["unchanged_at"][0]
    return None if pd.isna(committed_at) else committed_at


def latest_line_counts(transaction: ReadTransaction) -> LineCounts | None:
    """Return the line counts of the latest run that has them; None if no run has."""
    if not _has_runs_table(transaction):
        return None
    rows = transaction.query(LATEST_LINE_COUNTS)
    if rows.empty:
        return None
    counted_at, total, reasons = rows.iloc[0]
    counts: dict[str, Any] = {**total, "reasons": reasons}
    return LineCounts(counted_at=None if pd.isna(counted_at) else counted_at, **counts)


def latest_runs(transaction: ReadTransaction) -> pd.DataFrame:
    """Return the latest runs, newest first."""
    return transaction.query(LATEST_RUNS) if _has_runs_table(transaction) else pd.DataFrame()


def _has_runs_table(transaction: ReadTransaction) -> bool:
    """Return whether the table exists: a database set up by an older release lacks it."""
    return bool(transaction.query(HAS_RUNS_TABLE)["has_runs_table"][0])
