"""The records of runs in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.runs import sync_runs

if TYPE_CHECKING:
    from psycopg2.extensions import connection

    from tests.serving.conftest import Ask

ALL = "SELECT run, state, ended IS NULL, record ->> 'error' FROM serving.runs ORDER BY run"
RUNNING = {
    "run": "a",
    "state": "running",
    "begun": "2026-01-31T23:05:00.000+00:00",
    "ended": None,
    "error": None,
    "process": {"host": "machine-9f3b"},
    "parameters": {"now": "2026-01-31T20:05"},
}
FAILED = {**RUNNING, "state": "failed", "ended": "2026-01-31T23:06:00.000+00:00", "error": "so."}


class Records(dict[str, Any]):
    """Records by their names, with the names that were read last."""

    def keys_by_run(self) -> list[str]:
        return list(self)

    def load_runs(self, names: Any) -> list[dict[str, Any]]:
        self.read = list(names)
        return [self[name] for name in self.read]


def test_the_table_follows_the_records(loader: connection, ask: Ask) -> None:
    sync_runs(loader, Records(a=RUNNING))
    assert ask(READER, ALL) == [("a", "running", True, None)]
    more = Records(a=FAILED, b={**RUNNING, "run": "b"})
    sync_runs(loader, more)
    assert ask(READER, ALL) == [("a", "failed", False, "so."), ("b", "running", True, None)]
    sync_runs(loader, more)
    assert more.read == ["b"]  # what has ended is not read again
    sync_runs(loader, Records(b=more["b"]))
    assert ask(READER, ALL) == [("b", "running", True, None)]
    sync_runs(loader, Records())
    assert ask(READER, ALL) == []


def test_readers_see_no_machine(loader: connection, ask: Ask) -> None:
    sync_runs(loader, Records(a=RUNNING))
    ((record,),) = ask(READER, "SELECT record::text FROM serving.runs")
    assert '"run": "a"' in record
    assert "machine-9f3b" not in record
    assert "parameters" not in record


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (READER, "DELETE FROM serving.runs"),
        (READER, "UPDATE serving.runs SET state = 'succeeded'"),
        (LOADER, "DROP TABLE serving.runs"),
        (LOADER, "TRUNCATE serving.runs"),
    ],
)
def test_nobody_does_more_than_is_theirs(ask: Ask, role: str, statement: str) -> None:
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(role, statement)
