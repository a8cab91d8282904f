"""What a million observations cost on Spark beside DuckDB, and how Spark plans to treat them.

Both engines build Silver and Gold of the same Bronze from nothing, and have to leave the same Gold.
The physical plans come from Spark's own log of events. They are kept, and searched for what would
not scale: a product of all rows with all rows, a sort or a window of all rows in one task, and
rows that are brought to the driver.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from benchmarks.growth import FILLED
from benchmarks.observations import fill
from benchmarks.report import RESULTS, conclude, spread, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.growth import Cost, Project
    from benchmarks.report import Verdict

PLANS = RESULTS / "spark-plans.txt"

ROUNDS = 2
STAGES = "--pipelines=bronze_to_silver,silver_to_gold"

PRODUCTS = ("CartesianProduct", "BroadcastNestedLoopJoin")
BETWEEN = ("AQEShuffleRead", "ShuffleQueryStage", "InputAdapter", "WholeStageCodegen")
"""What stands in a plan between an exchange and who reads it."""

HIGHEST_SHARE = 0.01
"""Bytes that come to the driver, of those of Bronze."""


@dataclass(frozen=True)
class Planned:
    """What Spark's log says of a run."""

    plans: dict[int, str]
    to_driver: int


def log_events(project: Project, events: Path) -> None:
    """Have an environment `spark`, whose engine logs its events."""
    events.mkdir()
    (project.root / "conf/spark").mkdir()
    shutil.copy(project.root / "conf/local/parameters_sources.yml", project.root / "conf/spark")
    logged = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": events.as_uri(),
    }
    engine = {"name": "spark", "options": logged}
    settings = {"lake": "data", "engine": engine, "database": "capstone_spark"}
    (project.root / "conf/spark/globals.yml").write_text(yaml.safe_dump(settings))


def build(project: Project, env: str) -> tuple[Cost, dict[str, bytes]]:
    """Silver and Gold from Bronze alone: what it cost, and Gold."""
    for layer in ("silver", "gold"):
        shutil.rmtree(project.root / "data" / layer, ignore_errors=True)
    cost = project.kedro("run", f"--env={env}", STAGES, f"--params=now={FILLED}")
    return cost, {
        path.name: path.read_bytes() for path in (project.root / "data/gold").glob("*.csv")
    }


def planned(log: Path) -> Planned:
    """The last plan of each query in a log of events, and the bytes of all results."""
    plans: dict[int, str] = {}
    to_driver = 0
    for line in log.open():
        event = json.loads(line)
        if "physicalPlanDescription" in event:
            plans[event["executionId"]] = event["physicalPlanDescription"]
        elif event["Event"] == "SparkListenerTaskEnd" and event["Task Metrics"]:
            to_driver += event["Task Metrics"]["Result Size"]
    return Planned(plans, to_driver)


def offences(plan: str) -> Iterator[str]:
    """The operators of a plan that put all rows beside all rows, or all in one task in an order."""
    yield from (name for name in PRODUCTS if name in plan)
    tree, _, details = plan.partition("\n\n")
    single = {
        detail.strip().partition(")")[0].lstrip("(")
        for detail in details.split("\n\n")
        if "Exchange" in detail.partition("\n")[0] and "SinglePartition" in detail
    }
    above: list[tuple[int, str]] = []
    for line in tree.splitlines():
        name = line.lstrip(" :+-*")
        depth = len(line) - len(name)
        above = [(at, parent) for at, parent in above if at < depth]
        if any(name.endswith(f"({number})") for number in single):
            reader = next(p for _, p in reversed(above) if not p.startswith(BETWEEN))
            if reader.startswith(("Sort", "Window")):
                yield f"{reader} of all rows in one task"
        above.append((depth, name))


def main() -> None:
    """Measure in turn, compare, keep the plans, and exit with 1 if a goal is not met."""
    costs: dict[str, list[Any]] = {"duckdb": [], "spark": []}
    with tempfile.TemporaryDirectory(prefix="capstone-") as made:
        folder = Path(made)
        project = fill(folder / "project")
        log_events(project, folder / "events")
        size = sum(path.stat().st_size for path in (project.root / "data/bronze").rglob("*.jsonl"))
        gold = []
        for _ in range(ROUNDS):
            for name, env in (("duckdb", "local"), ("spark", "spark")):
                cost, files = build(project, env)
                costs[name].append(cost)
                gold.append(files)
        (log, *_) = (folder / "events").iterdir()
        found = planned(log)
        head = json.loads((project.root / "data/silver/head.json").read_text())
    RESULTS.mkdir(parents=True, exist_ok=True)
    PLANS.write_text("\n\n".join(found.plans.values()))
    bad = [offence for plan in found.plans.values() for offence in offences(plan)]
    print(*bad, sep="\n")
    rows = [(name, spread([run.wall for run in runs])) for name, runs in costs.items()]
    print(f"{head['total']['lines']:,} observations, {size / 1e6:.0f} MB of JSON")
    print(table(("engine", "wall s"), rows))
    verdicts: list[Verdict] = [
        ("queries that do not scale", float(len(bad)), 0.0),
        ("bytes to the driver / bytes of Bronze", found.to_driver / size, HIGHEST_SHARE),
        ("Golds that differ", float(sum(files != gold[0] for files in gold)), 0.0),
    ]
    print(f"{len(found.plans)} plans are in {PLANS.relative_to(RESULTS.parent.parent)}")
    conclude("spark", costs, verdicts, ["duckdb", "ibis-framework", "pyspark"])


if __name__ == "__main__":
    main()
