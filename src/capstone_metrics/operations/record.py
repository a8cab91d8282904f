"""The record of a run, written down while it does its work."""

from __future__ import annotations

import atexit
import datetime as dt
import hashlib
import json
import logging
import platform
import secrets
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from importlib.metadata import PackageNotFoundError, version
from threading import Event, RLock, Thread
from typing import TYPE_CHECKING, Any, Protocol

from capstone_metrics.changes import lot_of
from capstone_metrics.errors import CapstoneError, reason
from capstone_metrics.operations.listeners.listener import Listeners
from capstone_metrics.operations.summary import COMMITS, Summary
from capstone_metrics.schedule import Calendar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from capstone_metrics.operations.listeners.listener import Listener
    from capstone_metrics.saved import Saved

log = logging.getLogger(__name__)

SECONDS_BETWEEN_BEATS = 60
"""How often a long node has its record written again, so that another machine sees it live."""

RUN_PARAMETERS = ("now", "full", "from", "to", "plan", "allow_shrink", "allow_findings")
"""What is said of a run and not of the project. Only their values are recorded."""

PACKAGES = ("capstone-metrics", "kedro", "ibis-framework", "pyarrow")
GENERATIONS = {"gold_manifest": "gold_generation", "serving": "published_generation"}
"""What says which Gold a run made, or left as it was, and which it published."""

ENGINES = {"duckdb": "duckdb", "spark": "pyspark"}


class Runs(Protocol):
    """Where records are kept."""

    def begin(self, record: dict[str, Any], oldest: str) -> list[dict[str, Any]]:
        """Put the records of other runs in order, and write the first one of this run.

        Returns:
            The records of the runs that were found dead.
        """

    def save(self, data: dict[str, Any]) -> None:
        """Write the record as it is now."""


@dataclass(frozen=True)
class Declared:
    """What a run was declared to be.

    Attributes:
        environment: its name.
        pipelines: the names of its pipelines.
        given: the parameters that were said for this run.
        parameters: all parameters.
        catalog: the catalog's configuration.
        nodes: the name of each node and its layer, in order.
    """

    environment: str
    pipelines: list[str]
    given: Mapping[str, Any]
    parameters: Mapping[str, Any]
    catalog: Mapping[str, Any]
    nodes: list[tuple[str, str | None]]


def _harmless(method: Callable[..., None]) -> Callable[..., None]:
    """Have a record that cannot be written cost the run one line of warning, and no more.

    After a failure nothing is written but the end, so a store that is down is waited for twice.
    """

    @wraps(method)
    def tried(self: Recorder, *arguments: Any, **options: Any) -> None:
        try:
            with self.lock:
                method(self, *arguments, **options)
        except Exception as error:
            if not self.has_failed:
                said = reason(error) or type(error).__name__
                log.warning("The record of this run is not kept as it should be: %s", said)
            self.has_failed = True

    return tried


class Recorder:
    """Keeps the record of one run, from before its first node to its end.

    It is written when the run begins, when each node begins, and when the run ends: so a run that
    was killed has told the node that it was at. Whatever goes wrong here is one warning.

    Args:
        runs: gives where records are kept.
        clock: gives the time, in UTC.
        listeners: are told of the run, each time after the record.
    """

    def __init__(
        self,
        runs: Callable[[], Runs],
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.runs = runs
        self.listeners = Listeners(listeners)
        self.clock = clock
        self.record: dict[str, Any] = {}
        self.lock = RLock()
        self.has_failed = self.is_begun = False
        self._mark = 0.0
        self._left: dict[str, set[str]] = {}
        self._end = Event()

    def begin(self, declared: Declared) -> None:
        """Write down that a run begins, and what it is."""
        self._begin(declared)
        self._tell("begun")

    @_harmless
    def _begin(self, declared: Declared) -> None:
        begun, self._mark = self.clock(), time.monotonic()
        kept = dt.timedelta(days=declared.parameters["operations"]["kept_days"])
        self.record |= {
            "run": identifier(begun, secrets.token_hex(2)),
            "state": "running",
            "begun": _said(begun),
            "updated": _said(begun),
            "ended": None,
            "seconds": None,
            **_about(declared),
            "at_work": [],
            "error": None,
            "nodes": {name: {"layer": layer} for name, layer in declared.nodes},
            "loaded": {},
            "datasets": {},
            "addresses": {},
            "windows": {},
            "layers": {},
            "total": {},
            "reasons": {},
            "findings": [],
            **dict.fromkeys(GENERATIONS.values()),
        }
        died = self.runs().begin(self.record, identifier(begun - kept))
        self.is_begun = True
        for record in died:
            self.listeners.tell("died", record)
        Thread(target=self._keep_up, daemon=True).start()
        atexit.register(self.abandon)  # Kedro says nothing of a run that was interrupted

    @_harmless
    def node_begins(self, name: str, outputs: Iterable[str]) -> None:
        """Write down that a node begins. It is over when it has saved all its outputs."""
        self._left[name] = set(outputs)
        self.record["nodes"][name]["begun"] = self._seconds()
        self.record["at_work"].append(name)
        self._write()
        self._tell("node_begun", name)

    @_harmless
    def loaded(self, layer: str, dataset: str, address: str) -> None:
        """Take note of what a layer loaded, and where that lies."""
        names = self.record["loaded"].setdefault(layer, [])
        if dataset not in names:
            names.append(dataset)
        self.record["addresses"][dataset] = address

    @_harmless
    def node_returned(self, name: str) -> None:
        """Take note that a node's function came to its end; one without outputs is over then."""
        if not self._left[name]:
            self._over(name)

    @_harmless
    def saved(
        self, node: str, dataset: str, data: Any, saved: Saved | None, summary: Summary
    ) -> None:
        """Take note of what a node saved.

        Args:
            node: its name.
            dataset: the name of the dataset.
            data: what was saved.
            saved: what the save did; None of what lives as long as the run.
            summary: of the run so far, this dataset included.
        """
        if saved:
            self._add_dataset(node, dataset, saved)
        if dataset == "silver_accounts":
            kinds = ("lines", "accepted", "quarantined")
            receipts = data["receipts"].items()
            self._add_windows({name: {k: r[k] for k in kinds} for name, r in receipts})
            self.record |= {"total": data["total"], "reasons": data["reasons"]}
        elif dataset in GENERATIONS:
            manifest = data if dataset == "gold_manifest" else data.manifest
            self.record[GENERATIONS[dataset]] = manifest["generation"]
            if dataset == "serving":
                self.record["datasets"][dataset]["tables"] = data.tables
        self.record["layers"] = _layers(summary, self.record["layers"])
        if dataset in COMMITS:
            self.record["layers"][COMMITS[dataset]]["committed"] = _said(self.clock())
        self._left[node].discard(dataset)
        if not self._left[node]:
            self._over(node)

    def end(self, error: BaseException | None = None) -> None:
        """Write down how the run ended."""
        self._finish("failed" if error else "succeeded", error)

    @_harmless
    def found(self, findings: list[dict[str, str]]) -> None:
        """Take note of what is unusual."""
        self.record["findings"] = findings

    @_harmless
    def copy(self, mirror: Callable[[], None]) -> None:
        """Have the record copied elsewhere."""
        mirror()

    def abandon(self) -> None:
        """Write down that the run was interrupted, if it has not ended."""
        if not self._end.is_set():
            self._finish("killed", None)

    def _finish(self, state: str, error: BaseException | None) -> None:
        self._end.set()
        atexit.unregister(self.abandon)
        said = _sentence(error) if error else None
        self.record |= {"state": state, "seconds": self._seconds(), "error": said}
        self.record["ended"] = self.record["updated"] = _said(self.clock())
        if self.is_begun or not error:  # else the store is down, and is not waited for again
            self._save_end()
        self._tell("ended")

    def _tell(self, what: str, *about: Any) -> None:
        """Tell the listeners, unless not even the run's beginning could be noted."""
        if "run" in self.record:
            self.listeners.tell(what, self.record, *about)

    @_harmless
    def _save_end(self) -> None:
        self.runs().save(self.record)

    def _add_dataset(self, node: str, dataset: str, saved: Saved) -> None:
        counts = {"rows": saved.rows, "files": saved.files, "removed": saved.removed}
        if saved.bytes is not None:
            counts["bytes"] = saved.bytes
        layer = self.record["nodes"][node]["layer"]
        columns = {"columns": dict(saved.columns)} if saved.columns else {}
        self.record["datasets"][dataset] = {"layer": layer, "node": node, **counts, **columns}
        if saved.address:
            self.record["addresses"][dataset] = saved.address
        self._add_windows({name: {"ingested": lines} for name, lines in saved.lines.items()})

    def _over(self, name: str) -> None:
        self.record["nodes"][name]["ended"] = self._seconds()
        self.record["at_work"].remove(name)
        self._tell("node_ended", name)

    def _add_windows(self, objects: Mapping[str, Mapping[str, int]]) -> None:
        """Add up the counts of some objects of Bronze by their windows."""
        windows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, counts in objects.items():
            _, window, _ = lot_of(name)
            for kind, count in counts.items():
                windows[window][kind] += count
        for window, found in sorted(windows.items()):
            self.record["windows"].setdefault(window, {}).update(found)

    def _seconds(self) -> float:
        return round(time.monotonic() - self._mark, 3)

    @_harmless
    def _write(self) -> None:
        """Write it as it is now, while the run is at work."""
        if not (self.has_failed or self._end.is_set()):
            self.record["updated"] = _said(self.clock())
            self.runs().save(self.record)

    def _keep_up(self) -> None:
        while not self._end.wait(SECONDS_BETWEEN_BEATS):
            self._write()


def identifier(begun: dt.datetime, suffix: str = "") -> str:
    """What a run is called: it sorts by the time at which the run began, in UTC."""
    text = f"{begun.astimezone(dt.UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return f"{text}Z-{suffix}"


def _about(declared: Declared) -> dict[str, Any]:
    said = declared.parameters
    return {
        "environment": declared.environment,
        "pipelines": declared.pipelines,
        "parameters": {
            name: value if name in RUN_PARAMETERS else "(not recorded)"
            for name, value in declared.given.items()
        },
        "now": _instant(said),
        "from": _text(said.get("from")),
        "to": _text(said.get("to")),
        "configuration": fingerprint(declared),
        "versions": _versions(declared.catalog),
    }


def fingerprint(declared: Declared) -> str:
    """What tells a configuration from another: the start of a SHA-256 of what is declared.

    It is of the parameters, but for those of a single run, and of the catalog. Neither holds a
    credential.
    """
    parameters = {k: v for k, v in declared.parameters.items() if k not in RUN_PARAMETERS}
    text = json.dumps([parameters, declared.catalog], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _instant(parameters: Mapping[str, Any]) -> str | None:
    """The instant of a run, in UTC; None if it is not readable, which the run will say."""
    try:
        return _said(Calendar.of(parameters["schedule"], parameters["now"]).now)
    except (CapstoneError, KeyError, TypeError):
        return None


def _versions(catalog: Mapping[str, Any]) -> dict[str, str]:
    said = (catalog.get("silver_criacao") or {}).get("engine", "duckdb")
    engine = said.get("name") if isinstance(said, Mapping) else said
    names = (*PACKAGES, *filter(None, [ENGINES.get(str(engine))]))
    found = {"python": platform.python_version(), "engine": str(engine)}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _layers(summary: Summary, before: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of the table at the end of the run, and when each layer was committed."""
    return {
        name: {**before.get(name, {}), **asdict(layer), "seconds": round(layer.seconds, 3)}
        for name, layer in summary.layers.items()
    }


def _sentence(error: BaseException) -> str:
    """The sentence of an error of ours; of any other only its kind, for its text may hold more."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return str(reason(error) or f"An unexpected {kind}; the run showed its traceback.")


def _said(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
