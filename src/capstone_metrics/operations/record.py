"""The record of a run, updated while it runs."""

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

from capstone_metrics.changes import GoldUpdate, SilverUpdate
from capstone_metrics.errors import CapstoneError, name_environment, user_message
from capstone_metrics.operations.listeners.listener import Listeners
from capstone_metrics.publication import Publication
from capstone_metrics.quality import QualityReport
from capstone_metrics.schedule import Calendar
from capstone_metrics.validation.objects import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from capstone_metrics.operations.listeners.listener import Listener
    from capstone_metrics.operations.summary import Summary
    from capstone_metrics.write_stats import WriteStats

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 60
"""How often a running record is saved again, so that another machine sees the run alive."""

RUN_PARAMETERS = (
    *("now", "full", "from", "to", "plan"),
    *("allow_shrink", "allow_findings", "allow_refused", "allow_future"),
)
"""Parameters of a run, and not of the project. Only their values are recorded."""

RECORDED_PACKAGES = ("capstone-metrics", "kedro", "ibis-framework", "pyarrow")
ENGINE_PACKAGES = {"duckdb": "duckdb", "spark": "pyspark"}


class RunStore(Protocol):
    """The store of run records."""

    def start(self, record: dict[str, Any], oldest: str) -> list[dict[str, Any]]:
        """Mark killed runs, delete old records, and write the first record of this run.

        Args:
            record: the record of this run.
            oldest: the identifier of the oldest record to retain.

        Returns:
            The records of the runs that turned out to have been killed.
        """

    def save(self, data: dict[str, Any]) -> None:
        """Save the record as it is now."""


@dataclass(frozen=True)
class RunSpec:
    """Specification of a run.

    Attributes:
        environment: the name of the environment.
        pipelines: the names of the pipelines.
        runtime_params: the parameters given for this run.
        parameters: all parameters.
        catalog: the catalog's configuration.
        nodes: the name of each node and its layer, in order.
    """

    environment: str
    pipelines: list[str]
    runtime_params: Mapping[str, Any]
    parameters: Mapping[str, Any]
    catalog: Mapping[str, Any]
    nodes: list[tuple[str, str | None]]


def best_effort(method: Callable[..., None]) -> Callable[..., None]:
    """Decorate a method so that its failure is one warning and never fails the run.

    After a failure only the end is written, so the run waits at most twice for a store that is
    down.
    """

    @wraps(method)
    def guarded(self: Recorder, *arguments: Any, **options: Any) -> None:
        try:
            with self.lock:
                method(self, *arguments, **options)
        except Exception as error:
            if not self.has_failed:
                message = user_message(error) or type(error).__name__
                log.warning("The record of this run could not be fully saved: %s", message)
            self.has_failed = True

    return guarded


class Recorder:
    """Maintains the record of one run, from before its first node to its end.

    It is saved when the run starts, when each node starts, and when the run ends, so the record of
    a killed run names the node that was running. Any failure here is one warning.

    Args:
        runs: returns the store of run records.
        clock: returns the time, in UTC.
        listeners: are notified of the run, each time after the record was updated.
    """

    def __init__(
        self,
        runs: Callable[[], RunStore],
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
        listeners: Iterable[Listener] = (),
    ) -> None:
        self.runs = runs
        self.listeners = Listeners(listeners)
        self.clock = clock
        self.record: dict[str, Any] = {}
        self.lock = RLock()
        self.has_failed = self.is_started = False
        self._start_time = 0.0
        self._pending_outputs: dict[str, set[str]] = {}
        self._ended = Event()

    def start(self, spec: RunSpec) -> None:
        """Record the start of a run."""
        self._start(spec)
        self._notify("on_run_start")

    @best_effort
    def _start(self, spec: RunSpec) -> None:
        started_at, self._start_time = self.clock(), time.monotonic()
        retention = dt.timedelta(days=spec.parameters["operations"]["kept_days"])
        self.record |= {
            "run": run_identifier(started_at, secrets.token_hex(2)),
            "state": "running",
            "begun": _timestamp(started_at),
            "updated": _timestamp(started_at),
            "ended": None,
            "seconds": None,
            **_description(spec),
            "at_work": [],
            "error": None,
            "nodes": {name: {"layer": layer} for name, layer in spec.nodes},
            "loaded": {},
            "datasets": {},
            "addresses": {},
            "windows": {},
            "layers": {},
            "total": {},
            "reasons": {},
            "ignored": {},
            "findings": [],
            "refused": {},
            "gold_generation": None,
            "published_generation": None,
        }
        killed = self.runs().start(self.record, run_identifier(started_at - retention))
        self.is_started = True
        for record in killed:
            self.listeners.notify("on_run_killed", record)
        Thread(target=self._heartbeat, daemon=True).start()
        atexit.register(self.abandon)  # Kedro has no hook for an interrupted run

    @best_effort
    def node_started(self, name: str, outputs: Iterable[str]) -> None:
        """Record the start of a node. It ends when all its outputs are saved."""
        self._pending_outputs[name] = set(outputs)
        self.record["nodes"][name]["begun"] = self._elapsed()
        self.record["at_work"].append(name)
        self._save_progress()
        self._notify("on_node_start", name)

    @best_effort
    def dataset_loaded(self, layer: str, dataset: str, address: str) -> None:
        """Record a dataset that a layer loaded, and its address."""
        names = self.record["loaded"].setdefault(layer, [])
        if dataset not in names:
            names.append(dataset)
        self.record["addresses"][dataset] = address

    @best_effort
    def node_returned(self, name: str) -> None:
        """Record that a node's function returned, which ends a node without outputs."""
        if not self._pending_outputs[name]:
            self._end_node(name)

    @best_effort
    def dataset_saved(
        self,
        node: str,
        dataset: str,
        data: Any,
        stats: Mapping[str, WriteStats],
        summary: Summary,
    ) -> None:
        """Record a dataset that a node saved.

        Args:
            node: the name of the node.
            dataset: the name of the dataset.
            data: the saved data.
            stats: the statistics of the write, by table; empty for a dataset in memory.
            summary: the summary of the run so far, including this dataset.
        """
        for table, each in stats.items():
            self._add_dataset(node, table, each)
        if isinstance(data, SilverUpdate):
            counts = ("lines", "accepted", "quarantined")
            receipts = data.receipts.items()
            self._add_window_counts(
                {name: {count: r[count] for count in counts} for name, r in receipts}
            )
            self.record |= {part: data.accounts[part] for part in ("total", "reasons", "ignored")}
        elif isinstance(data, QualityReport):
            self.record["findings"] += [finding.to_dict() for finding in data.findings]
        elif isinstance(data, GoldUpdate) and stats:
            self.record["gold_generation"] = data.manifest["generation"]
        elif isinstance(data, Publication):
            self.record["published_generation"] = data.manifest["generation"]
            self.record["datasets"][dataset]["tables"] = data.tables
        self.record["layers"] = _layer_counts(summary, self.record["layers"])
        layer = self.record["nodes"][node]["layer"]
        if stats and layer:
            self.record["layers"][layer]["committed"] = _timestamp(self.clock())
        self._pending_outputs[node].discard(dataset)
        if not self._pending_outputs[node]:
            self._end_node(node)

    def end(
        self,
        error: BaseException | None = None,
        refused: Mapping[str, list[str]] | None = None,
        environment: str = "",
    ) -> None:
        """Record the end of the run.

        Args:
            error: why it failed.
            refused: why sources, or parts of them, are not in the lake.
            environment: that of the commands which the error names; empty for the default.
        """
        self.record["refused"] = dict(refused or {})
        message = name_environment(_error_message(error), environment) if error else None
        self._close("failed" if error else "succeeded", message)

    @best_effort
    def sync(self, sync_runs: Callable[[], None]) -> None:
        """Copy the run records elsewhere."""
        sync_runs()

    def abandon(self) -> None:
        """Record that the run was interrupted, unless it has ended."""
        if not self._ended.is_set():
            self._close("killed", None)

    def _close(self, state: str, error: str | None) -> None:
        self._ended.set()
        atexit.unregister(self.abandon)
        self.record |= {"state": state, "seconds": self._elapsed(), "error": error}
        self.record["ended"] = self.record["updated"] = _timestamp(self.clock())
        if self.is_started or not error:  # else the store is down: do not wait for it again
            self._save_final()
        self._notify("on_run_end")

    def _notify(self, event: str, *arguments: Any) -> None:
        """Notify the listeners, unless even the start of the run could not be recorded."""
        if "run" in self.record:
            self.listeners.notify(event, self.record, *arguments)

    @best_effort
    def _save_final(self) -> None:
        self.runs().save(self.record)

    def _add_dataset(self, node: str, dataset: str, stats: WriteStats) -> None:
        counts = {"rows": stats.rows, "files": stats.files, "removed": stats.removed}
        if stats.bytes is not None:
            counts["bytes"] = stats.bytes
        layer = self.record["nodes"][node]["layer"]
        columns = {"columns": dict(stats.columns)} if stats.columns else {}
        self.record["datasets"][dataset] = {"layer": layer, "node": node, **counts, **columns}
        if stats.address:
            self.record["addresses"][dataset] = stats.address
        self._add_window_counts({name: {"ingested": lines} for name, lines in stats.lines.items()})

    def _end_node(self, name: str) -> None:
        self.record["nodes"][name]["ended"] = self._elapsed()
        self.record["at_work"].remove(name)
        self._notify("on_node_end", name)

    def _add_window_counts(self, objects: Mapping[str, Mapping[str, int]]) -> None:
        """Sum the counts of Bronze objects by window, and record them."""
        windows: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for name, counts in objects.items():
            _, window, _ = parse_object_name(name)
            for kind, count in counts.items():
                windows[window][kind] += count
        for window, window_counts in sorted(windows.items()):
            self.record["windows"].setdefault(window, {}).update(window_counts)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._start_time, 3)

    @best_effort
    def _save_progress(self) -> None:
        """Save the record as it is now, while the run lasts."""
        if not (self.has_failed or self._ended.is_set()):
            self.record["updated"] = _timestamp(self.clock())
            self.runs().save(self.record)

    def _heartbeat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            self._save_progress()


def run_identifier(started_at: dt.datetime, suffix: str = "") -> str:
    """Return the identifier of a run, which sorts by its start in UTC."""
    text = f"{started_at.astimezone(dt.UTC):%Y%m%dT%H%M%S.%f}"[:-3]
    return f"{text}Z-{suffix}"


def _description(spec: RunSpec) -> dict[str, Any]:
    parameters = spec.parameters
    return {
        "environment": spec.environment,
        "pipelines": spec.pipelines,
        "parameters": {
            name: value if name in RUN_PARAMETERS else "(not recorded)"
            for name, value in spec.runtime_params.items()
        },
        "now": _run_instant(parameters),
        "from": _optional_text(parameters.get("from")),
        "to": _optional_text(parameters.get("to")),
        "configuration": config_fingerprint(spec),
        "versions": _versions(spec.catalog),
    }


def config_fingerprint(spec: RunSpec) -> str:
    """Return the start of the SHA-256 of a configuration: its parameters and its catalog.

    The parameters of a single run are left out. Neither part contains a credential.
    """
    parameters = {k: v for k, v in spec.parameters.items() if k not in RUN_PARAMETERS}
    text = json.dumps([parameters, spec.catalog], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _run_instant(parameters: Mapping[str, Any]) -> str | None:
    """Return the instant of a run, in UTC; None if unreadable, which fails the run later."""
    try:
        return _timestamp(Calendar.of(parameters["schedule"], parameters["now"]).now)
    except (CapstoneError, KeyError, TypeError):
        return None


def _versions(catalog: Mapping[str, Any]) -> dict[str, str]:
    config = (catalog.get("silver") or {}).get("engine", "duckdb")
    engine = config.get("name") if isinstance(config, Mapping) else config
    names = (*RECORDED_PACKAGES, *filter(None, [ENGINE_PACKAGES.get(str(engine))]))
    versions = {"python": platform.python_version(), "engine": str(engine)}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _layer_counts(summary: Summary, recorded: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the counts of the summary, and when each layer was committed."""
    return {
        name: {**recorded.get(name, {}), **asdict(layer), "seconds": round(layer.seconds, 3)}
        for name, layer in summary.layers.items()
    }


def _error_message(error: BaseException) -> str:
    """Return the message of a CapstoneError; else only the type, as the text may hold secrets."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    return str(user_message(error) or f"An unexpected {kind}; the run showed its traceback.")


def _timestamp(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat(timespec="milliseconds")


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)
