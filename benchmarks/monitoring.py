"""Measure the cost of monitoring a run: a million observations from the source to Gold.

A monitored run has all that there is: the record, logs as JSON, Prometheus metrics in a file, and
OpenLineage events. An unmonitored run has the project's settings without the hooks
that monitor. Each is its own process; they take turns. After a monitored run its process reports
the status, with an alert: that is shown, but is not part of the run.

From one run to the next the CPU time of a process differs by more than monitoring costs. So the
time in hooks and in logging is compared instead: that of a monitored run, minus what an unmonitored
run also spends there.
"""

from __future__ import annotations

import json
import logging
import shutil
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
from benchmarks.growth import FIRST_RUN
from benchmarks.observations import create_project
from benchmarks.report import ROOT, conclude, markdown_table, median_and_range
from kedro.framework.hooks.markers import HOOK_NAMESPACE
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth import LakeProject

ROUNDS = 6
MAX_OVERHEAD = 0.03
STAGES = ["ingest_bronze", "bronze_to_silver", "silver_to_gold"]
MONITORED, UNMONITORED = "monitored", "not monitored"
METER_FILE = "meter"
HOOK_ATTRIBUTE = f"{HOOK_NAMESPACE}_impl"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Cost:
    """Seconds of a run: CPU, CPU of the monitoring in it, CPU of a status after it, wall clock."""

    cpu: float
    monitoring: float
    status: float
    wall: float


class WebhookServer(ThreadingHTTPServer):
    """A webhook on loopback that accepts and counts alerts."""

    daemon_threads = True
    alerts = 0


class WebhookHandler(BaseHTTPRequestHandler):
    """Handler that accepts every alert."""

    def do_POST(self) -> None:
        """Count the alert and accept it."""
        assert isinstance(self.server, WebhookServer)
        self.server.alerts += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(200)
        self.end_headers()


class Meter:
    """CPU seconds that this process spends in some functions."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.is_on = False

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Measure a block; a block within another counts once."""
        if self.is_on:
            yield
            return
        self.is_on, start = True, time.process_time()
        try:
            yield
        finally:
            self.is_on, self.seconds = False, self.seconds + time.process_time() - start

    def meter_function(self, owner: Any, name: str) -> None:
        """Measure a function of a class or an object."""
        function = getattr(owner, name)

        @wraps(function)
        def metered(*arguments: Any, **options: Any) -> Any:
            with self.measuring():
                return function(*arguments, **options)

        setattr(owner, name, metered)


def run(root: str, mode: str) -> None:
    """Run once in this process; if monitored, report the status after it."""
    from capstone_metrics import settings  # noqa: PLC0415 - the parent process does not need it
    from capstone_metrics.cli import cli  # noqa: PLC0415

    meter, status_meter = Meter(), Meter()
    meter.meter_function(logging.Logger, "handle")
    if mode == UNMONITORED:
        settings.HOOKS = settings.HOOKS[:1]
    for hooks in settings.HOOKS:
        for name, function in vars(type(hooks)).items():
            if hasattr(function, HOOK_ATTRIBUTE):
                meter.meter_function(hooks, name)
    bootstrap_project(Path(root))
    params = {"now": str(FIRST_RUN)}
    with KedroSession.create(project_path=root, env="local", runtime_params=params) as session:
        session.run(pipeline_names=STAGES)
    if mode == MONITORED:
        meter.is_on = True  # the status is not part of the run
        with status_meter.measuring(), suppress(SystemExit):
            cli.main(["status", "--env=local", "--alert"], standalone_mode=False)
    (Path(root) / METER_FILE).write_text(json.dumps([meter.seconds, status_meter.seconds]))


def enable_monitoring(project: LakeProject, webhook: int) -> dict[str, str]:
    """Turn on all monitoring in the configuration; return the environment variables for it."""
    operations = {
        "kept_days": 400,
        "prometheus_file": str(project.root / "capstone.prom"),
        "listeners": ["openlineage"],
    }
    path = project.root / "conf/local/parameters_operations.yml"
    path.write_text(yaml.safe_dump({"operations": operations}))
    return {
        "CAPSTONE_LOG_FORMAT": "json",
        "CAPSTONE_ALERT_URL": f"http://{LOOPBACK}:{webhook}/",
        "OPENLINEAGE__TRANSPORT__TYPE": "file",
        "OPENLINEAGE__TRANSPORT__APPEND": "true",
        "OPENLINEAGE__TRANSPORT__LOG_FILE_PATH": str(project.root / "events"),
    }


def measure(project: LakeProject, webhook: WebhookServer) -> dict[str, list[Cost]]:
    """Run all layers from nothing, monitored and not, in turn; the first of each warms up."""
    monitoring_environment = enable_monitoring(project, webhook.server_address[1])
    costs: dict[str, list[Cost]] = {MONITORED: [], UNMONITORED: []}
    for number in range(ROUNDS + 1):
        order = list(costs) if number % 2 else list(costs)[::-1]
        for mode in order:
            for layer in ("bronze", "silver", "gold", "operations"):
                shutil.rmtree(project.root / "data" / layer, ignore_errors=True)
            webhook.alerts = 0
            environment = monitoring_environment if mode == MONITORED else {}
            with (project.root / "log").open("w") as log:
                command = [sys.executable, "-m", "benchmarks.monitoring", str(project.root), mode]
                total = project.run_measured(
                    command, stderr=log, PYTHONPATH=str(ROOT), **environment
                )
            monitoring, status = json.loads((project.root / METER_FILE).read_text())
            cost = Cost(total.cpu - status, monitoring, status, total.wall)
            check(project, webhook, is_monitored=mode == MONITORED)
            if number:
                costs[mode].append(cost)
    return costs


def check(project: LakeProject, webhook: WebhookServer, *, is_monitored: bool) -> None:
    """Check that a run was monitored by everything, or by nothing."""
    outputs = [project.root / name for name in ("capstone.prom", "events", "data/operations/runs")]
    traces = [path.exists() for path in outputs]
    traces += ["run_ended" in (project.root / "log").read_text(), webhook.alerts > 0]
    assert traces == [is_monitored] * len(traces), traces
    for path in outputs[:2]:
        path.unlink(missing_ok=True)


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        project = create_project(Path(folder) / "project")
        webhook = WebhookServer((LOOPBACK, 0), WebhookHandler)
        Thread(target=webhook.serve_forever, daemon=True).start()
        costs = measure(project, webhook)
        webhook.shutdown()
    rows = [
        (
            mode,
            *(
                median_and_range([getattr(run, cost) for run in runs])
                for cost in Cost.__annotations__
            ),
        )
        for mode, runs in costs.items()
    ]
    print(
        markdown_table(
            ("run", "CPU s", "in hooks and logs", "the status after it", "wall s of both"), rows
        )
    )
    spent, baseline = (median(run.monitoring for run in runs) for runs in costs.values())
    overhead = (spent - baseline) / median(run.cpu for run in costs[UNMONITORED])
    comparisons = [("CPU of monitoring / of the run", overhead, MAX_OVERHEAD)]
    conclude("monitoring", costs, comparisons, ("kedro", "openlineage-python", "prometheus-client"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(*sys.argv[1:])
    else:
        main()
