"""Compare the cost of a million observations on Spark with DuckDB and with notebooks of PySpark.

All of them build Gold from the same Bronze, and both engines have to build the same Gold. Since the
notebooks have two marts and no day's gains, Spark builds these alone once more.

The physical plans come from Spark's event log. They are saved, and searched for what would not
scale: cross joins, a sort or a window of all rows in one task, and rows collected to the driver.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from benchmarks.observations import MILLION
from benchmarks.report import RESULTS, conclude, markdown_table
from benchmarks.steps import Contest, Cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.report import Comparison
    from benchmarks.steps import Gold

PLANS_FILE = RESULTS / "spark-plans.txt"

DUCKDB, SPARK, WITHOUT_GROWTH, NOTEBOOKS = (
    "DuckDB",
    "Spark",
    "Spark, two marts without growth",
    "PySpark notebooks, the same two marts",
)
CROSS_JOINS = ("CartesianProduct", "BroadcastNestedLoopJoin")
PASS_THROUGH = ("AQEShuffleRead", "ShuffleQueryStage", "InputAdapter", "WholeStageCodegen")
"""Operators of a plan between an exchange and the operator that reads it."""

MAX_DRIVER_RATIO = 0.01
"""Bytes that the driver collects beside Gold, which it writes, divided by the bytes of Bronze.

What a join broadcasts is left out: Spark collects that too, but never more than a table of 10 MB.
"""

MAX_CPU_RATIO = 1.0
"""CPU time of Spark, divided by that of the notebooks."""


@dataclass(frozen=True)
class EventLog:
    """The plans of a run, and the bytes collected to the driver, from Spark's event log."""

    plans: dict[int, str]
    driver_bytes: int


class SparkContest(Contest):
    """Contest over one Bronze, in which this project may run on Spark, too."""

    def __init__(self, folder: Path, observations: int) -> None:
        super().__init__(folder, observations)
        self.events = self._empty_folder("events")
        self.contenders = {
            DUCKDB: self.run_every_mart,
            SPARK: lambda: self.on_spark(self.run_every_mart),
            WITHOUT_GROWTH: lambda: self.on_spark(self.run_without_growth),
            NOTEBOOKS: lambda: self.run_script("notebooks.py"),
        }

    def on_spark(self, run: Callable[[], tuple[Cost, Gold]]) -> tuple[Cost, Gold]:
        """Run this project on Spark, which logs its events."""
        options = {
            "spark.eventLog.enabled": "true",
            "spark.eventLog.compress": "false",
            "spark.eventLog.rolling.enabled": "false",
            "spark.eventLog.dir": self._empty_folder("events").as_uri(),
        }
        settings = self.project.root / "conf/local/globals.yml"
        settings.write_text(yaml.safe_dump({"engine": {"name": "spark", "options": options}}))
        try:
            return run()
        finally:
            settings.unlink()

    def gold_files(self) -> dict[str, bytes]:
        """Return the files of Gold."""
        return {path.name: path.read_bytes() for path in (self.data / "gold").glob("*.csv")}


def read_event_log(log: Path) -> EventLog:
    """Read the last plan of each query in an event log, and the bytes of all results.

    Results are those of tasks, but of jobs that a join broadcasts.
    """
    plans: dict[int, str] = {}
    broadcast: set[int] = set()
    driver_bytes = 0
    for line in log.open():
        event = json.loads(line)
        if "physicalPlanDescription" in event:
            plans[event["executionId"]] = event["physicalPlanDescription"]
        elif event["Event"] == "SparkListenerJobStart":
            if "broadcast exchange" in event["Properties"].get("spark.job.tags", ""):
                broadcast.update(event["Stage IDs"])
        elif event["Event"] == "SparkListenerTaskEnd" and event["Task Metrics"]:
            is_broadcast = event["Stage ID"] in broadcast
            driver_bytes += 0 if is_broadcast else event["Task Metrics"]["Result Size"]
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, default=MILLION)
    options = parser.parse_args()
    costs: dict[str, Cost] = {}
    gold: dict[str, dict[str, bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        contest = SparkContest(Path(folder), options.observations)
        lines, size = contest.count_lines(), contest.count_bytes()
        for name, run in contest.contenders.items():
            costs[name], _ = run()
            gold[name] = contest.gold_files()
            if name == SPARK:
                (log,) = contest.events.iterdir()
                event_log = read_event_log(log)
    RESULTS.mkdir(parents=True, exist_ok=True)
    PLANS_FILE.write_text("\n\n".join(event_log.plans.values()))
    unscalable = [name for plan in event_log.plans.values() for name in unscalable_operators(plan)]
    print(*unscalable, sep="\n")
    print(f"{lines:,} observations, {size / 1e6:.0f} MB of JSON")
    rows = [
        (name, f"{cost.cpu:.1f}", f"{cost.wall:.1f}", f"{cost.memory:.1f}")
        for name, cost in costs.items()
    ]
    print(markdown_table(("from Bronze to Gold", "CPU s", "wall s", "GiB"), rows))
    beside_gold = event_log.driver_bytes - sum(map(len, gold[SPARK].values()))
    ratio = costs[WITHOUT_GROWTH].cpu / costs[NOTEBOOKS].cpu
    comparisons: list[Comparison] = [
        ("queries that do not scale", float(len(unscalable)), 0.0),
        ("bytes to the driver / bytes of Bronze", beside_gold / size, MAX_DRIVER_RATIO),
        ("Golds that differ", float(gold[SPARK] != gold[DUCKDB]), 0.0),
        (f"{WITHOUT_GROWTH} / {NOTEBOOKS}: CPU", ratio, MAX_CPU_RATIO),
    ]
    print(f"{len(event_log.plans)} plans are in {PLANS_FILE.relative_to(RESULTS.parent.parent)}")
    rounds = {name: [cost] for name, cost in costs.items()}
    conclude("spark", rounds, comparisons, ["duckdb", "ibis-framework", "pyspark"])


if __name__ == "__main__":
    main()
