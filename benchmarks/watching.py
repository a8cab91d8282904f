"""What it costs to watch a run: a million observations from the source to Gold, watched and not.

Watched is with all that there is: the record, logs as JSON, the numbers for Prometheus in a file
and by HTTP, and the events of OpenLineage. Not watched is with settings of the project whose hooks
leave out the one that watches. Each is a process of its own; they take turns. After a watched run
its process says the status, with an alert: that is shown, but is no part of the run.

From one run to the next the CPU time of a process differs by more than watching costs. So what is
compared is taken where it is spent, in hooks and in logging: of a watched run less what a run
spends there that is not watched.
"""

from __future__ import annotations

import json
import logging
import shutil
import socket
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import TYPE_CHECKING, Any

import yaml
from benchmarks.growth import FILLED
from benchmarks.observations import fill
from benchmarks.report import ROOT, conclude, spread, table
from kedro.framework.hooks.markers import HOOK_NAMESPACE
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth import Project

ROUNDS = 6
HIGHEST_OVERHEAD = 0.03
STAGES = ["ingest_bronze", "bronze_to_silver", "silver_to_gold"]
WATCHED, NOT_WATCHED = "watched", "not watched"
METER = "meter"
HOOK_MARK = f"{HOOK_NAMESPACE}_impl"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU of a run, of these in what watches, of a status after it; on the clock."""

    cpu: float
    watching: float
    status: float
    wall: float


class Receiver(ThreadingHTTPServer):
    """A webhook on loopback that accepts every alert, and counts them."""

    daemon_threads = True
    alerts = 0


class Accepting(BaseHTTPRequestHandler):
    """Accepts an alert."""

    def do_POST(self) -> None:
        """Count it, and say nothing of it."""
        assert isinstance(self.server, Receiver)
        self.server.alerts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(200)
        self.end_headers()


class Meter:
    """The CPU seconds of this process that are spent in some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.is_on = False

    @contextmanager
    def on(self) -> Iterator[None]:
        """Count what is spent in it; once, where one is in another."""
        if self.is_on:
            yield
            return
        self.is_on, begun = True, time.process_time()
        try:
            yield
        finally:
            self.is_on, self.seconds = False, self.seconds + time.process_time() - begun

    def put_into(self, owner: Any, name: str) -> None:
        """Count what is spent in a function of a class or an object."""
        function = getattr(owner, name)

        @wraps(function)
        def counted(*arguments: Any, **options: Any) -> Any:
            with self.on():
                return function(*arguments, **options)

        setattr(owner, name, counted)


def run(root: str, mode: str) -> None:
    """One run in this process; if it is watched, with the status after it."""
    from capstone_metrics import settings  # noqa: PLC0415 - the other process needs none of it
    from capstone_metrics.cli import cli  # noqa: PLC0415

    meter, after = Meter(), Meter()
    meter.put_into(logging.Logger, "handle")
    if mode == NOT_WATCHED:
        settings.HOOKS = settings.HOOKS[:1]
    for hooks in settings.HOOKS:
        for name, function in vars(type(hooks)).items():
            if hasattr(function, HOOK_MARK):
                meter.put_into(hooks, name)
    bootstrap_project(Path(root))
    made = KedroSession.create(project_path=root, env="local", runtime_params={"now": str(FILLED)})
    with made as session:
        session.run(pipeline_names=STAGES)
    if mode == WATCHED:
        meter.is_on = True  # what the status does is no part of the run
        with after.on(), suppress(SystemExit):
            cli.main(["status", "--env=local", "--alert"], standalone_mode=False)
    (Path(root) / METER).write_text(json.dumps([meter.seconds, after.seconds]))


def watched(project: Project, webhook: int) -> dict[str, str]:
    """The environment of a run that everything watches, which the configuration asks for too."""
    with socket.socket() as one:
        one.bind((LOOPBACK, 0))
        port = one.getsockname()[1]
    declared = {
        "kept_days": 400,
        "prometheus_file": str(project.root / "capstone.prom"),
        "prometheus_port": port,
        "openlineage": True,
    }
    path = project.root / "conf/local/parameters_operations.yml"
    path.write_text(yaml.safe_dump({"operations": declared}))
    return {
        "CAPSTONE_LOG_FORMAT": "json",
        "CAPSTONE_ALERT_URL": f"http://{LOOPBACK}:{webhook}/",
        "OPENLINEAGE__TRANSPORT__TYPE": "file",
        "OPENLINEAGE__TRANSPORT__APPEND": "true",
        "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(project.root / "events"),
    }


def measure(project: Project, webhook: Receiver) -> dict[str, list[Cost]]:
    """All layers from nothing, watched and not, in turn; the first of each to warm up."""
    everything = watched(project, webhook.server_address[1])
    costs: dict[str, list[Cost]] = {WATCHED: [], NOT_WATCHED: []}
    for number in range(ROUNDS + 1):
        order = list(costs) if number % 2 else list(costs)[::-1]
        for mode in order:
            for layer in ("bronze", "silver", "gold", "operations"):
                shutil.rmtree(project.root / "data" / layer, ignore_errors=True)
            webhook.alerts = 0
            asked = everything if mode == WATCHED else {}
            with (project.root / "log").open("w") as log:
                command = [sys.executable, "-m", "benchmarks.watching", str(project.root), mode]
                whole = project.measured(command, stderr=log, PYTHONPATH=str(ROOT), **asked)
            watching, status = json.loads((project.root / METER).read_text())
            cost = Cost(whole.cpu - status, watching, status, whole.wall)
            check(project, webhook, is_watched=mode == WATCHED)
            if number:
                costs[mode].append(cost)
    return costs


def check(project: Project, webhook: Receiver, *, is_watched: bool) -> None:
    """Be sure that a run was watched by all that there is, or by nothing."""
    left = [project.root / name for name in ("capstone.prom", "events", "data/operations/runs")]
    found = [path.exists() for path in left]
    found += ["run_ended" in (project.root / "log").read_text(), webhook.alerts > 0]
    assert found == [is_watched] * len(found), found
    for path in left[:2]:
        path.unlink(missing_ok=True)


def main() -> None:
    """Measure, show and judge."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        project = fill(Path(folder) / "project")
        webhook = Receiver((LOOPBACK, 0), Accepting)
        Thread(target=webhook.serve_forever, daemon=True).start()
        costs = measure(project, webhook)
        webhook.shutdown()
    rows = [
        (mode, *(spread([getattr(run, what) for run in runs]) for what in Cost.__annotations__))
        for mode, runs in costs.items()
    ]
    print(
        table(("run", "CPU s", "in hooks and logs", "the status after it", "wall s of both"), rows)
    )
    spent, anyway = (median(run.watching for run in runs) for runs in costs.values())
    overhead = (spent - anyway) / median(run.cpu for run in costs[NOT_WATCHED])
    verdicts = [("CPU of watching / of the run", overhead, HIGHEST_OVERHEAD)]
    conclude("watching", costs, verdicts, ("kedro", "openlineage-python", "prometheus-client"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
    else:
        main()
