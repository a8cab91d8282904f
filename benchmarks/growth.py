"""Measure the cost of one more window as the lake grows, and of a run with nothing new.

Two lakes of the same channels, of two months and of a year, process the same windows in turn. A
window on the year's lake is compared with that window on the other one, in the same round, and with
that window on a year's lake without what days gained. It and a run with nothing new are also
compared with `kedro run` of a Kedro project that does nothing.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import yaml
from benchmarks.report import ROOT, conclude, markdown_table, median_and_range

if TYPE_CHECKING:
    from typing import IO

    from benchmarks.report import Comparison

KEDRO = str(Path(sys.executable).parent / "kedro")

ROUNDS = 3
TWO_MONTHS, YEAR = 60, 365  # days
FIRST_RUN = dt.datetime(2026, 1, 31, 20, 5)  # noqa: DTZ001 - local to the schedule
WINDOW = dt.timedelta(hours=12)

MAX_GROWTH = 1.3
MAX_GAINS = 1.4
MAX_IDLE_RATIO = 1.5
MAX_WINDOW_RATIO = 2.5

BARE = {
    "pyproject.toml": """
        [tool.kedro]
        package_name = "bare"
        project_name = "Bare"
        kedro_init_version = "{version}"
        source_dir = "src"
    """,
    ".telemetry": "consent: false",
    "conf/base/catalog.yml": "nothing: {{type: MemoryDataset}}",
    "conf/base/parameters.yml": "",
    "conf/local/parameters.yml": "",
    "src/bare/__init__.py": "",
    "src/bare/settings.py": "",
    "src/bare/pipeline_registry.py": """
        from kedro.pipeline import Pipeline, node


        def do_nothing():
            return 0


        def register_pipelines():
            return {{"__default__": Pipeline([node(do_nothing, inputs=None, outputs="nothing")])}}
    """,
}
"""The files of a Kedro project whose only node does nothing."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a process took, and the files and bytes that it added to its lake."""

    cpu: float
    wall: float
    files: int
    bytes: int


class Project:
    """A Kedro project whose commands are measured."""

    def __init__(self, root: Path) -> None:
        self.root = root
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(root / "bytecode")}
        self.environment = {**os.environ, **bytecode, "DO_NOT_TRACK": "1"}

    def kedro(self, *arguments: str) -> Cost:
        """Run a Kedro command in its own process; return its cost."""
        return self.run_measured([KEDRO, *arguments])

    def run_measured(
        self, command: list[str], stderr: IO[str] | None = None, **environment: str
    ) -> Cost:
        """Run a program with more environment variables; return its cost."""
        before, wall, cpu = self.files(), time.monotonic(), _cpu_of_children()
        subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=True,
        )
        cpu, wall = _cpu_of_children() - cpu, time.monotonic() - wall
        added = self.files() - before
        return Cost(cpu, wall, len(added), sum(size for _, _, _, size in added))

    def files(self) -> set[tuple[Path, int, int, int]]:
        """Return the path, inode, time of the last write and size of each file of the lake."""
        files = [path for path in (self.root / "data").rglob("*") if path.is_file()]
        stats = ((path, path.stat()) for path in files)
        return {(path, stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in stats}


class LakeProject(Project):
    """A copy of the project's configuration, with a lake of its own."""

    def __init__(self, root: Path, days: int) -> None:
        super().__init__(root)
        shutil.copytree(ROOT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        for part in ("pyproject.toml", ".telemetry"):
            shutil.copy(ROOT / part, root / part)
        (root / "src").mkdir()  # the installed package is the code
        parameters = yaml.safe_load((root / "conf/base/parameters/sources.yml").read_text())
        parameters["sources"]["faker"]["history_days"] = days
        (root / "conf/local").mkdir()
        (root / "conf/local/parameters_sources.yml").write_text(yaml.safe_dump(parameters))

    def count_in_periods(self, *, is_period: bool) -> None:
        """Have the counters of the source count in a period, or since the posting."""
        path = self.root / "conf/local/parameters_sources.yml"
        parameters = yaml.safe_load(path.read_text())
        parameters["sources"]["faker"]["counters"] = "period" if is_period else "lifetime"
        path.write_text(yaml.safe_dump(parameters))

    def leave_out_gains(self) -> None:
        """Have no day gain anything, and no mart say so."""
        self.count_in_periods(is_period=True)
        declared = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())["marts"]
        marts = {name: each for name, each in declared.items() if "from" not in each}
        text = yaml.safe_dump({"marts": marts}, sort_keys=False)
        (self.root / "conf/local/parameters_marts.yml").write_text(text)

    def remove(self, layer: str) -> None:
        """Remove a layer of the lake."""
        shutil.rmtree(self.root / "data" / layer, ignore_errors=True)

    def run(self, now: dt.datetime) -> Cost:
        """Run the pipelines up to Gold at an instant."""
        pipelines = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
        return self.kedro("run", "--env=local", pipelines, f"--params=now={now.isoformat()}")


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def create_bare_project(root: Path) -> Project:
    """Create a Kedro project that does nothing."""
    for name, text in BARE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(textwrap.dedent(text).format(version=version("kedro")))
    return Project(root)


def measure(folder: Path) -> dict[str, list[Cost]]:
    """Fill both lakes, which also compiles the imported modules, then measure in turn."""
    months, year = LakeProject(folder / "months", TWO_MONTHS), LakeProject(folder / "year", YEAR)
    plain = LakeProject(folder / "plain", YEAR)
    plain.leave_out_gains()
    bare = create_bare_project(folder / "bare")
    for project in (months, year, plain):
        project.run(FIRST_RUN)
    bare.kedro("run")
    costs: dict[str, list[Cost]] = {
        name: []
        for name in (
            "window, two months",
            "window, year",
            "window, year, without gains",
            "nothing new, year",
            "bare Kedro project",
        )
    }
    for count in range(1, ROUNDS + 1):
        now = FIRST_RUN + count * WINDOW
        windows = months.run(now), year.run(now), plain.run(now)
        runs = (*windows, year.run(now), bare.kedro("run"))
        for name, cost in zip(costs, runs, strict=True):
            costs[name].append(cost)
    return costs


def compare(costs: dict[str, list[Cost]]) -> list[Comparison]:
    """Return the comparisons, by the median of the rounds."""
    months, year, plain, idle, bare = costs.values()

    windows = list(zip(year, months, strict=True))
    idle_ratio, window_ratio = (
        median(one.cpu / other.cpu for one, other in zip(runs, bare, strict=True))
        for runs in (idle, year)
    )
    cpu = median(one.cpu / other.cpu for one, other in windows)
    size = median(one.bytes / other.bytes for one, other in windows)
    gains = median(one.cpu / other.cpu for one, other in zip(year, plain, strict=True))
    return [
        ("window, year / two months: CPU", cpu, MAX_GROWTH),
        ("window, year / two months: bytes", size, MAX_GROWTH),
        ("window, year / without gains: CPU", gains, MAX_GAINS),
        ("nothing new / bare Kedro project: CPU", idle_ratio, MAX_IDLE_RATIO),
        ("window, year / bare Kedro project: CPU", window_ratio, MAX_WINDOW_RATIO),
    ]


def show(costs: dict[str, list[Cost]]) -> None:
    """Print the cost of each run."""
    rows = []
    for name, runs in costs.items():
        cells = [median_and_range([getattr(run, cost) for run in runs]) for cost in ("cpu", "wall")]
        files, size = (median(getattr(run, cost) for run in runs) for cost in ("files", "bytes"))
        rows.append((name, *cells, f"{files:.0f}", f"{size / 1000:.0f}"))
    print(markdown_table(("run", "CPU s", "wall s", "files", "kB"), rows))


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        costs = measure(Path(folder))
    show(costs)
    conclude("growth", costs, compare(costs), ("duckdb", "ibis-framework", "kedro"))


if __name__ == "__main__":
    main()
