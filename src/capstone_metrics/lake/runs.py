"""A dataset of the run records: one JSON document for each run, beside the layers."""

from __future__ import annotations

import datetime as dt
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from capstone_metrics.errors import CapstoneError
from capstone_metrics.storage import storage_of
from capstone_metrics.storage.documents import format_document
from capstone_metrics.storage.process import is_dead, is_local, this_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Record = dict[str, Any]

log = logging.getLogger(__name__)

RUNS = "operations/runs"
RUNNING = ".running"
MAX_CONCURRENT_READS = 16
"""How many records of a bucket are read concurrently."""


class RunsDataset(AbstractDataset["Record", "list[Record]"]):
    """The records of runs, updated while they run; loaded in the order of their start.

    A record is a dictionary with at least `run`, an identifier that sorts by start time, and
    `state`. The record of an active run is `<run>.running.json`, so a listing shows which runs are
    active; at its end a run writes `<run>.json` and deletes `<run>.running.json`. A run that died
    is loaded as `killed`.

    Args:
        path: the root of the lake.
        silent_minutes: after how many minutes without an update of its record a run of another
            machine is considered dead.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(
        self, *, path: str, silent_minutes: float, metadata: dict[str, Any] | None = None
    ) -> None:
        self.storage = storage_of(path)
        self.silence_limit = dt.timedelta(minutes=silent_minutes)
        self.metadata = metadata

    def start(self, record: Record, oldest: str) -> list[Record]:
        """Write the first record of a run, after cleaning up after earlier runs.

        Dead runs are marked as killed, and records before the identifier `oldest` are deleted.

        Returns:
            The records of the runs that died.
        """
        keys = self.keys_by_run()
        died = self.close_dead_runs(keys)
        self.storage.delete([key for run, key in keys.items() if run < oldest])
        record["process"] = this_process()
        self.save(record)
        return died

    def save(self, data: Record) -> None:
        """Write the record of the run of this process."""
        is_running = data["state"] == "running"
        self.storage.overwrite(_key(data["run"], is_running), format_document(data))
        if not is_running:
            self.storage.delete([_key(data["run"], True)])

    def load(self) -> list[Record]:
        """Return all records, oldest first."""
        return self.load_since("")

    def load_since(self, first: str, limit: int | None = None) -> list[Record]:
        """Return the records from an identifier on, oldest first; at most the `limit` latest."""
        keys = self.keys_by_run()
        runs = [run for run in keys if run >= first]
        return self._read(keys[run] for run in runs[-limit if limit else None :])

    def load_oldest(self, before: str = "~") -> list[Record]:
        """Return the oldest record, in a list; nothing unless it sorts before an identifier."""
        keys = self.keys_by_run()
        return self._read(keys[run] for run in list(keys)[:1] if run < before)

    def load_runs(self, runs: Iterable[str]) -> list[Record]:
        """Return the records of runs by their identifiers."""
        keys = self.keys_by_run()
        return self._read(keys[run] for run in runs if run in keys)

    def find_runs(self, part: str) -> list[Record]:
        """Return the records of runs whose identifiers contain a text."""
        return self._read(key for run, key in self.keys_by_run().items() if part in run)

    def close_dead_runs(self, keys: Mapping[str, str] | None = None) -> list[Record]:
        """Mark dead runs as killed, and return their records.

        A run that ended in the meantime keeps its own record.
        """
        died = []
        if keys is None:
            keys = self.keys_by_run()
        for record in self._read(key for key in keys.values() if key.endswith(f"{RUNNING}.json")):
            if record["state"] == "killed":
                run = record["run"]
                if self.storage.create(_key(run, False), [format_document(record)]):
                    died.append(record)
                self.storage.delete([_key(run, True)])
        return died

    def keys_by_run(self) -> dict[str, str]:
        """Return the key of the record of each run, in the order of their start.

        If a run has both, it is the key of the final record.
        """
        keys: dict[str, str] = {}
        for key in self.storage.keys(RUNS):
            run = key.removeprefix(f"{RUNS}/").removesuffix(".json").removesuffix(RUNNING)
            if key in {_key(run, False), _key(run, True)}:
                keys.setdefault(run, key)  # the final one sorts first
        return keys

    def _read(self, keys: Iterable[str]) -> list[Record]:
        if not self.storage.is_remote:
            records = [self._record(key) for key in keys]
        else:
            with ThreadPoolExecutor(MAX_CONCURRENT_READS) as pool:
                records = list(pool.map(self._record, keys))
        return [record for record in records if record]

    def _record(self, key: str) -> Record | None:
        """Return the current record of a run; None if it is not readable.

        An active run may end after the listing, or while its state is checked.
        """
        final_key = key.replace(f"{RUNNING}.json", ".json")
        for candidate in dict.fromkeys((key, final_key)):
            try:
                record: Record = json.loads(self.storage.read(candidate))
                current = self._mark_if_killed(record)
                is_final = current is record or candidate == final_key
                if is_final or not self.storage.exists(final_key):
                    return current
            except (CapstoneError, ValueError, KeyError, TypeError) as error:
                problem = error
        log.warning(
            "%s is not a valid run record; it is skipped (%s).", key, type(problem).__name__
        )
        return None

    def _mark_if_killed(self, record: Record) -> Record:
        """Return a record, as `killed` if its run is active and died."""
        if record["state"] != "running":
            return record
        process = record["process"]
        silent = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record["updated"])
        died = is_dead(process) if is_local(process) else silent > self.silence_limit
        return {**record, "state": "killed"} if died else record

    def _exists(self) -> bool:
        return bool(self.keys_by_run())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": RUNS}


def _key(run: str, is_running: bool) -> str:
    return f"{RUNS}/{run}{RUNNING if is_running else ''}.json"
