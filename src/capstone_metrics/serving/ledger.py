"""The ledger of publications, and the feed of the keys that each publication changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg2.extras import Json

from capstone_metrics.marts import CRIACAO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor

    from capstone_metrics.publication import Publication

SELECT_LATEST = """
SELECT publication, gold_sha256, marts FROM serving.publications ORDER BY publication DESC LIMIT 1
"""
INSERT_PUBLICATION = """
INSERT INTO serving.publications (publication, gold_sha256, marts, rows_changed, rows_deleted)
VALUES (%s, %s, %s, %s, %s)
"""
PRUNE_CHANGES = """
DELETE FROM serving.changes USING serving.publications AS old
WHERE changes.publication = old.publication AND old.published_at < now() - make_interval(days => %s)
"""


@dataclass(frozen=True)
class LedgerEntry:
    """A publication in the ledger; the defaults stand for an empty ledger.

    Attributes:
        publication: the number of the publication.
        gold_sha256: the SHA-256 of Gold's manifest.
        marts: for each mart its entry in the manifest, and the version of its file if known.
    """

    publication: int = 0
    gold_sha256: str = ""
    marts: Mapping[str, Any] = field(default_factory=dict)


def gold_sha256(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of Gold's manifest, which identifies one state of Gold."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def latest_entry(db: cursor) -> LedgerEntry:
    """Return the latest entry of the ledger."""
    db.execute(SELECT_LATEST)
    return LedgerEntry(*(db.fetchone() or ()))


def record_publication(
    db: cursor, entry: LedgerEntry, rows_changed: int, rows_deleted: int, retention_days: int
) -> None:
    """Add a publication to the ledger, and delete the changes of old publications from the feed.

    Args:
        db: a cursor in the transaction of the publication.
        entry: the publication.
        rows_changed: how many rows were inserted or updated.
        rows_deleted: how many rows were deleted.
        retention_days: for how many days the changes of a publication are retained.
    """
    marts = Json(dict(entry.marts))
    values = [entry.publication, entry.gold_sha256, marts, rows_changed, rows_deleted]
    db.execute(INSERT_PUBLICATION, values)
    db.execute(PRUNE_CHANGES, [retention_days])


def losses(latest: LedgerEntry, publication: Publication) -> list[str]:
    """Return what readers would lose by a publication, one phrase each.

    Returns:
        The row counts and lasting totals that fell by more than the policy allows, and the marts
        that have become empty or are no longer declared. At first one may be empty: of days or ages
        until something was observed so often, of videos if only increments by day are known.
    """
    min_ratio = 1 - publication.policy.max_shrink_pct / 100
    phrases = []
    is_empty = not any(each["rows"] for each in publication.manifest["marts"].values())
    for name, mart in publication.marts.items():
        old_counts = _counts(latest.marts.get(name))
        new_counts = _counts(publication.manifest["marts"][name])
        if not new_counts["rows"]:
            if old_counts.get("rows") or (is_empty and mart.basis == CRIACAO):
                phrases.append(f"{name} is empty")
            continue
        declared = latest.marts.get(name, {}).get("measures", {})
        measures = mart.declaration["measures"]
        lasting = {"rows"} | {
            each.name
            for each in mart.measures
            if each.is_lasting and declared.get(each.name) == measures[each.name]
        }
        phrases += (
            f"{name} had {count} {old} and has {new_counts[count]}"
            for count, old in old_counts.items()
            if count in lasting & set(new_counts)
            and old > 0
            and new_counts[count] < old * min_ratio
        )
    undeclared = (name for name in latest.marts if name not in publication.marts)
    return [*phrases, *(f"{name} is no longer declared" for name in undeclared)]


def _counts(entry: Mapping[str, Any] | None) -> dict[str, int]:
    return {"rows": entry["rows"], **entry["totals"]} if entry else {}
