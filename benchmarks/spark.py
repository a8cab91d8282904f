"""Compare the cost of a million observations on Spark and on DuckDB, and check Spark's plans.

Both engines build Silver and Gold from the same Bronze, and have to build the same Gold. The
physical plans come from Spark's event log. They are saved, and searched for what would not scale:
cross joins, a sort or a window of all rows in one task, and rows collected to the driver.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from benchmarks.growth import FIRST_RUN
from benchmarks.observations import create_project
from benchmarks.report import RESULTS, conclude, markdown_table, median_and_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth import Cost, LakeProject
    from benchmarks.report import Comparison

PLANS_FILE = RESULTS / "spark-plans.txt"

ROUNDS = 2
STAGES = "--pipelines=bronze_to_silver,silver_to_gold"

CROSS_JOINS = ("CartesianProduct", "BroadcastNestedLoopJoin")
PASS_THROUGH = ("AQEShuffleRead", "ShuffleQueryStage", "InputAdapter", "WholeStageCodegen")
"""Operators of a plan between an exchange and the operator that reads it."""

MAX_DRIVER_RATIO = 0.01
"""Bytes collected to the driver, divided by the bytes of Bronze."""


@dataclass(frozen=True)
class EventLog:
    """The plans of a run, and the bytes collected to the driver, from Spark's event log."""

    plans: dict[int, str]
    driver_bytes: int


def configure_event_log(project: LakeProject, events: Path) -> None:
    """Add an environment `spark`, whose engine logs its events."""
    events.mkdir()
    (project.root / "conf/spark").mkdir()
    shutil.copy(project.root / "conf/local/parameters_sources.yml", project.root / "conf/spark")
    options = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": events.as_uri(),
    }
    engine = {"name": "spark", "options": options}
    settings = {"lake": "data", "engine": engine, "database": "capstone_spark"}
    (project.root / "conf/spark/globals.yml").write_text(yaml.safe_dump(settings))


def build(project: LakeProject, env: str) -> tuple[Cost, dict[str, bytes]]:
    """Build Silver and Gold from Bronze alone; return the cost and the files of Gold."""
    for layer in ("silver", "gold"):
        shutil.rmtree(project.root / "data" / layer, ignore_errors=True)
    cost = project.kedro("run", f"--env={env}", STAGES, f"--params=now={FIRST_RUN}")
    return cost, {
        path.name: path.read_bytes() for path in (project.root / "data/gold").glob("*.csv")
    }


def read_event_log(log: Path) -> EventLog:
    """Read the last plan of each query in an event log, and the bytes of all results."""
    plans: dict[int, str] = {}
    driver_bytes = 0
    for line in log.open():
        event = json.loads(line)
        if "physicalPlanDescription" in event:
            plans[event["executionId"]] = event["physicalPlanDescription"]
        elif event["Event"] == "SparkListenerTaskEnd" and event["Task Metrics"]:
            driver_bytes += event["Task Metrics"]["Result Size"]
    return EventLog(plans, driver_bytes)


def unscalable_operators(plan: str) -> Iterator[str]:
    """Yield the operators of a plan that cross-join, or that sort all rows in one task."""
    yield from (name for name in CROSS_JOINS if name in plan)
    tree, _, details = plan.partition("\n\n")
    single = {
        detail.strip().partition(")")[0].lstrip("(")
        for detail in details.split("\n\n")
        if "Exchange" in detail.partition("\n")[0] and "SinglePartition" in detail
    }
    ancestors: list[tuple[int, str]] = []
    for line in tree.splitlines():
        name = line.lstrip(" :+-*")
        depth = len(line) - len(name)
        ancestors = [(level, parent) for level, parent in ancestors if level < depth]
        if any(name.endswith(f"({number})") for number in single):
            reader = next(p for _, p in reversed(ancestors) if not p.startswith(PASS_THROUGH))
            if reader.startswith(("Sort", "Window")):
                yield f"{reader} of all rows in one task"
        ancestors.append((depth, name))


def main() -> None:
    """Measure in turn, compare, save the plans, and exit with 1 if a goal is missed."""
    costs: dict[str, list[Any]] = {"duckdb": [], "spark": []}
    with tempfile.TemporaryDirectory(prefix="capstone-") as temporary:
        folder = Path(temporary)
        project = create_project(folder / "project")
        configure_event_log(project, folder / "events")
        size = sum(path.stat().st_size for path in (project.root / "data/bronze").rglob("*.jsonl"))
        gold = []
        for _ in range(ROUNDS):
            for name, env in (("duckdb", "local"), ("spark", "spark")):
                cost, files = build(project, env)
                costs[name].append(cost)
                gold.append(files)
        (log, *_) = (folder / "events").iterdir()
        event_log = read_event_log(log)
        head = json.loads((project.root / "data/silver/head.json").read_text())
    RESULTS.mkdir(parents=True, exist_ok=True)
    PLANS_FILE.write_text("\n\n".join(event_log.plans.values()))
    unscalable = [name for plan in event_log.plans.values() for name in unscalable_operators(plan)]
    print(*unscalable, sep="\n")
    rows = [(name, median_and_range([run.wall for run in runs])) for name, runs in costs.items()]
    print(f"{head['total']['lines']:,} observations, {size / 1e6:.0f} MB of JSON")
    print(markdown_table(("engine", "wall s"), rows))
    comparisons: list[Comparison] = [
        ("queries that do not scale", float(len(unscalable)), 0.0),
        ("bytes to the driver / bytes of Bronze", event_log.driver_bytes / size, MAX_DRIVER_RATIO),
        ("Golds that differ", float(sum(files != gold[0] for files in gold)), 0.0),
    ]
    print(f"{len(event_log.plans)} plans are in {PLANS_FILE.relative_to(RESULTS.parent.parent)}")
    conclude("spark", costs, comparisons, ["duckdb", "ibis-framework", "pyspark"])


if __name__ == "__main__":
    main()
