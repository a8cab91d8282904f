"""The records of runs, mirrored to a table for who reads the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from psycopg2.extras import Json, execute_values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from psycopg2.extensions import connection

APART = ("process", "parameters", "addresses")
"""What of a record is no reader's business: the machine, its places, what was said to a run."""

ENDED = "SELECT run FROM serving.runs WHERE state <> 'running'"
ENTER = """
INSERT INTO serving.runs (run, state, begun, ended, record) VALUES %s
ON CONFLICT (run) DO UPDATE
SET state = excluded.state, ended = excluded.ended, record = excluded.record
"""
FORGET = "DELETE FROM serving.runs WHERE NOT run = ANY (%s)"


class Records(Protocol):
    """The records of runs in the lake."""

    def names(self) -> Collection[str]:
        """The identifiers of all runs."""

    def some(self, names: Iterable[str]) -> list[dict[str, Any]]:
        """The records of some runs."""


def mirror(database: connection, records: Records) -> None:
    """Have the table hold the records of the lake: new ones, those that ended, and no others.

    Args:
        database: a connection of the loader.
        records: those of the lake.
    """
    with database, database.cursor() as db:
        db.execute(ENDED)
        known = {run for (run,) in db.fetchall()}
        names = list(records.names())
        new = records.some(name for name in names if name not in known)
        execute_values(db, ENTER, [_row(record) for record in new])
        db.execute(FORGET, [names])


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    said = Json({name: value for name, value in record.items() if name not in APART})
    return record["run"], record["state"], record["begun"], record["ended"], said
