"""The table `serving.runs`: a copy of the run records, for readers of the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from psycopg2.extras import Json, execute_values

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from psycopg2.extensions import connection

PRIVATE_FIELDS = ("process", "parameters", "addresses")
"""The fields of a record that are not copied: the machine, the parameters and the addresses."""

SELECT_FINISHED = "SELECT run FROM serving.runs WHERE state <> 'running'"
UPSERT_RUNS = """
INSERT INTO serving.runs (run, state, begun, ended, record) VALUES %s
ON CONFLICT (run) DO UPDATE
SET state = excluded.state, ended = excluded.ended, record = excluded.record
"""
DELETE_OTHERS = "DELETE FROM serving.runs WHERE NOT run = ANY (%s)"


class RunRecords(Protocol):
    """The run records in the lake."""

    def keys_by_run(self) -> Collection[str]:
        """Return the identifiers of all runs; they may be the keys of a mapping."""

    def load_runs(self, runs: Iterable[str]) -> list[dict[str, Any]]:
        """Return the records of runs by their identifiers."""


def sync_runs(database: connection, records: RunRecords) -> None:
    """Make the table equal the run records: add new ones, update unfinished ones, delete others.

    Args:
        database: a connection of the loader.
        records: the run records in the lake.
    """
    with database, database.cursor() as db:
        db.execute(SELECT_FINISHED)
        finished = {run for (run,) in db.fetchall()}
        runs = list(records.keys_by_run())
        unfinished = records.load_runs(run for run in runs if run not in finished)
        execute_values(db, UPSERT_RUNS, [_row(record) for record in unfinished])
        db.execute(DELETE_OTHERS, [runs])


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    public = Json({name: value for name, value in record.items() if name not in PRIVATE_FIELDS})
    return record["run"], record["state"], record["begun"], record["ended"], public
