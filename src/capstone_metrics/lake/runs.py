"""The records of runs in the catalog: a JSON document each, beside the layers."""

from __future__ import annotations

import datetime as dt
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.process import is_dead, is_here, this_process
from capstone_metrics.lake.storage import document, storage_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Record = dict[str, Any]

log = logging.getLogger(__name__)

LAYER, RUNS = "operations", "operations/runs"
RUNNING = ".running"
AT_ONCE = 16
"""Records of a bucket that are read at the same time."""


class RunsDataset(AbstractDataset["Record", "list[Record]"]):
    """What each run did, written down while it does it; loaded in the order of their beginning.

    A record is a dictionary with at least `run`, an identifier that sorts by the beginning, and
    `state`. That of a run at work is `<run>.running.json`, so a listing tells what is at work;
    the run's end writes `<run>.json` and takes the other away. A run that died is loaded as
    `killed`.

    Args:
        path: the root of the lake.
        silent_minutes: after how long a run of another machine is taken for dead that does not
            write to its record any more.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self, *, path: str, silent_minutes: float, metadata: dict[str, Any] | None = None
    ) -> None:
        self.storage = storage_of(path)
        self.silence = dt.timedelta(minutes=silent_minutes)
        self.metadata = metadata

    def begin(self, record: Record, oldest: str) -> list[Record]:
        """Write the first record of a run, after what the runs before it left was put in order.

        Those that died are marked so, and those that are older than `oldest` are forgotten.

        Returns:
            The records of those that died.
        """
        names = self.names()
        died = self.close(names)
        self.storage.delete([key for name, key in names.items() if name < oldest])
        if not self.storage.is_remote and self.storage.has_abandoned(LAYER):
            with self.storage.locked(LAYER):
                self.storage.sweep(LAYER)
        record["process"] = this_process()
        self.save(record)
        return died

    def save(self, data: Record) -> None:
        """Write the record of this process's run."""
        is_running = data["state"] == "running"
        self.storage.overwrite(_key(data["run"], is_running), document(data).encode())
        if not is_running:
            self.storage.delete([_key(data["run"], True)])

    def load(self) -> list[Record]:
        """All records, the oldest first."""
        return self.since("")

    def since(self, first: str, most: int | None = None) -> list[Record]:
        """The records from an identifier on, the oldest first; of these at most so many."""
        names = self.names()
        chosen = [name for name in names if name >= first]
        return self._read(names[name] for name in chosen[-most if most else None :])

    def oldest(self, before: str = "~") -> list[Record]:
        """The oldest record, if its identifier is before another one; else none."""
        names = self.names()
        return self._read(names[name] for name in list(names)[:1] if name < before)

    def some(self, names: Iterable[str]) -> list[Record]:
        """The records of some runs."""
        keys = self.names()
        return self._read(keys[name] for name in names if name in keys)

    def find(self, part: str) -> list[Record]:
        """The records whose identifiers have a part."""
        return self._read(key for name, key in self.names().items() if part in name)

    def close(self, names: Mapping[str, str] | None = None) -> list[Record]:
        """Mark the runs that died, and give their records.

        One that ended meanwhile keeps what it said itself.
        """
        names, died = self.names() if names is None else names, []
        for record in self._read(key for key in names.values() if key.endswith(f"{RUNNING}.json")):
            if record["state"] == "killed":
                name, text = record["run"], document(record).encode()
                if self.storage.create(_key(name, False), [text]):
                    died.append(record)
                self.storage.delete([_key(name, True)])
        return died

    def names(self) -> dict[str, str]:
        """The key of each record, by its identifier; that of its end, which sorts first, if any."""
        found: dict[str, str] = {}
        for key in self.storage.keys(RUNS):
            name = key.removeprefix(f"{RUNS}/").removesuffix(".json").removesuffix(RUNNING)
            if key in {_key(name, False), _key(name, True)}:
                found.setdefault(name, key)
        return found

    def _read(self, keys: Iterable[str]) -> list[Record]:
        if not self.storage.is_remote:
            found = [self._record(key) for key in keys]
        else:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                found = list(pool.map(self._record, keys))
        return [record for record in found if record]

    def _record(self, key: str) -> Record | None:
        """A record as it is now; None if it is not readable.

        A run at work may have ended since it was listed, or while it was judged.
        """
        end = key.replace(f"{RUNNING}.json", ".json")
        for candidate in dict.fromkeys((key, end)):
            try:
                record: Record = json.loads(self.storage.read(candidate))
                judged = self._judged(record)
                if judged is record or candidate == end or not self.storage.exists(end):
                    return judged
            except (CapstoneError, ValueError, KeyError, TypeError) as error:
                problem = error
        log.warning("%s is no record of a run; it is left out (%s).", key, type(problem).__name__)
        return None

    def _judged(self, record: Record) -> Record:
        if record["state"] != "running":
            return record
        process = record["process"]
        silent = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(record["updated"])
        died = is_dead(process) if is_here(process) else silent > self.silence
        return {**record, "state": "killed"} if died else record

    def _exists(self) -> bool:
        return bool(self.names())

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root, "prefix": RUNS}


def _key(run: str, is_running: bool) -> str:
    return f"{RUNS}/{run}{RUNNING if is_running else ''}.json"
