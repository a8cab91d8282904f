"""What runs did, as the database knows it: their records in the table `serving.runs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from capstone_metrics.dashboard.database import Snapshot

IS_KNOWN = "SELECT to_regclass('serving.runs') IS NOT NULL AS is_known"
UNCHANGED = """
SELECT max((record #>> '{layers,serving,committed}')::timestamptz) AS at FROM serving.runs
WHERE ended > %s
    AND record #>> '{layers,serving,written}' = '0' AND record #>> '{layers,serving,removed}' = '0'
"""
ACCOUNTS = """
SELECT ended AS made_at, record -> 'total' AS total, record -> 'reasons' AS reasons
FROM serving.runs WHERE record #> '{total,lines}' IS NOT NULL ORDER BY run DESC LIMIT 1
"""
LATEST = """
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
class Accounts:
    """Where the lines of Bronze were when a run last looked.

    Attributes:
        made_at: when that run ended; None while it is at work.
        lines: of Bronze.
        current, superseded, quarantined: where they went.
        reasons: {rule: the lines that broke it}; a line may break several.
    """

    made_at: dt.datetime | None
    lines: int
    current: int
    superseded: int
    quarantined: int
    reasons: Mapping[str, int]

    @property
    def holds(self) -> bool:
        """Whether every line is in one of three places."""
        return self.lines == self.current + self.superseded + self.quarantined


def unchanged_at(snapshot: Snapshot) -> dt.datetime | None:
    """When a run last published Gold again and nothing had changed, which makes no entry."""
    if not _is_known(snapshot):
        return None
    at = snapshot.ask(UNCHANGED, [snapshot.publication.published_at])["at"][0]
    return None if pd.isna(at) else at


def accounts(snapshot: Snapshot) -> Accounts | None:
    """The latest accounts that a run has left in the database."""
    if not _is_known(snapshot):
        return None
    found = snapshot.ask(ACCOUNTS)
    if found.empty:
        return None
    made_at, total, reasons = found.iloc[0]
    counts: dict[str, Any] = {**total, "reasons": reasons}
    return Accounts(made_at=None if pd.isna(made_at) else made_at, **counts)


def latest(snapshot: Snapshot) -> pd.DataFrame:
    """The latest runs, the newest first."""
    return snapshot.ask(LATEST) if _is_known(snapshot) else pd.DataFrame()


def _is_known(snapshot: Snapshot) -> bool:
    """Whether the database has the table, which one that was set up by an older release lacks."""
    return bool(snapshot.ask(IS_KNOWN)["is_known"][0])
