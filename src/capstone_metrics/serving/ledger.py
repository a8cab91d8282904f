"""The ledger of publications, and the feed of the keys that each of them changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from psycopg2.extras import Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg2.extensions import cursor

    from capstone_metrics.schemas import Publication

LATEST = """
SELECT publication, gold_sha256, marts FROM serving.publications ORDER BY publication DESC LIMIT 1
"""
NOTE = """
INSERT INTO serving.publications (publication, gold_sha256, marts, rows_changed, rows_deleted)
VALUES (%s, %s, %s, %s, %s)
"""
FORGET = """
DELETE FROM serving.changes USING serving.publications AS old
WHERE changes.publication = old.publication AND old.published_at < now() - make_interval(days => %s)
"""


@dataclass(frozen=True)
class Entry:
    """The latest entry of the ledger; an empty one before there is any."""

    publication: int = 0
    gold_sha256: str = ""
    marts: Mapping[str, Any] = field(default_factory=dict)


def gold_sha256(manifest: Mapping[str, Any]) -> str:
    """What tells one Gold from another: the SHA-256 of its manifest."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def latest(db: cursor) -> Entry:
    """The latest entry."""
    db.execute(LATEST)
    return Entry(*(db.fetchone() or ()))


def note(db: cursor, entry: Entry, changed: int, deleted: int, kept_days: int) -> None:
    """Enter a publication, and forget which keys the old ones changed.

    Args:
        db: in its transaction.
        entry: what was published.
        changed: how many rows were inserted or changed.
        deleted: how many were deleted.
        kept_days: for how many days the changes of a publication are kept.
    """
    marts = Json(dict(entry.marts))
    db.execute(NOTE, [entry.publication, entry.gold_sha256, marts, changed, deleted])
    db.execute(FORGET, [kept_days])


def losses(before: Entry, publication: Publication) -> list[str]:
    """What readers would be left without: rows, parts of a total, or a mart.

    Returns:
        What fell by more than the terms allow; a mart that is empty, or not declared any more.
    """
    least = 1 - publication.terms.max_shrink_pct / 100
    lost = []
    for name in publication.marts:
        was, now = _counts(before.marts.get(name)), _counts(publication.manifest["marts"][name])
        if not now["rows"]:
            lost.append(f"{name} is empty")
            continue
        lost += (
            f"{name} had {count} {value} and has {now[count]}"
            for count, value in was.items()
            if count in now and now[count] < value * least
        )
    ended = (name for name in before.marts if name not in publication.marts)
    return [*lost, *(f"{name} is not declared any more" for name in ended)]


def _counts(listed: Mapping[str, Any] | None) -> dict[str, int]:
    return {"rows": listed["rows"], **listed["totals"]} if listed else {}
