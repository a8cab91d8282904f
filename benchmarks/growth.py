"""What one more window costs as the lake grows, and what a run costs that finds nothing new.

Two lakes of the same channels, of two months and of a year, take in the same windows in turn.
The peer of a window on the year's lake is that window on the other one, in the same round; the
peer of a run with nothing new is `kedro registry list`, which is Kedro's own start.
"""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import yaml
from benchmarks.report import ROOT, conclude, spread, table

if TYPE_CHECKING:
    from typing import IO

    from benchmarks.report import Verdict

KEDRO = str(Path(sys.executable).parent / "kedro")

ROUNDS = 3
MONTHS, YEAR = 60, 365  # days
FILLED = dt.datetime(2026, 1, 31, 20, 5)  # noqa: DTZ001 - local to the schedule
WINDOW = dt.timedelta(hours=12)

HIGHEST_RATIO = 1.3
HIGHEST_START = 1.5


@dataclass(frozen=True)
class Cost:
    """What a process took, and what it put into its lake."""

    cpu: float
    wall: float
    files: int
    bytes: int


class Project:
    """A copy of the project's configuration, with a lake of its own."""

    def __init__(self, root: Path, days: int) -> None:
        self.root = root
        shutil.copytree(ROOT / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        for part in ("pyproject.toml", ".telemetry"):
            shutil.copy(ROOT / part, root / part)
        (root / "src").mkdir()  # the installed package is the code
        bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(root / "bytecode")}
        self.environment = {**os.environ, **bytecode, "DO_NOT_TRACK": "1"}
        declared = yaml.safe_load((root / "conf/base/parameters/sources.yml").read_text())
        declared["sources"]["faker"]["history_days"] = days
        (root / "conf/local").mkdir()
        (root / "conf/local/parameters_sources.yml").write_text(yaml.safe_dump(declared))

    def run(self, now: dt.datetime) -> Cost:
        """Run the path to Gold at an instant."""
        pipelines = "--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold"
        return self.kedro("run", "--env=local", pipelines, f"--params=now={now.isoformat()}")

    def kedro(self, *arguments: str) -> Cost:
        """Run a command of Kedro in a process of its own."""
        return self.measured([KEDRO, *arguments])

    def measured(
        self, command: list[str], stderr: IO[str] | None = None, **environment: str
    ) -> Cost:
        """Run a program, with what is set in its environment beside what is there."""
        lake, wall, cpu = self.files(), time.monotonic(), _cpu_of_children()
        subprocess.run(
            command,
            cwd=self.root,
            env={**self.environment, **environment},
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            check=True,
        )
        cpu, wall = _cpu_of_children() - cpu, time.monotonic() - wall
        put = self.files() - lake
        return Cost(cpu, wall, len(put), sum(size for _, _, _, size in put))

    def files(self) -> set[tuple[Path, int, int, int]]:
        """The files of the lake: path, inode, time of the last write and size."""
        files = [path for path in (self.root / "data").rglob("*") if path.is_file()]
        stats = ((path, path.stat()) for path in files)
        return {(path, stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in stats}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(folder: Path) -> dict[str, list[Cost]]:
    """Fill both lakes, which also compiles what Python imports, then measure in turn."""
    months, year = Project(folder / "months", MONTHS), Project(folder / "year", YEAR)
    for project in (months, year):
        project.run(FILLED)
        project.kedro("registry", "list")
    costs: dict[str, list[Cost]] = {
        name: []
        for name in ("window, two months", "window, year", "nothing new, year", "registry list")
    }
    for count in range(1, ROUNDS + 1):
        now = FILLED + count * WINDOW
        runs = (months.run(now), year.run(now), year.run(now), year.kedro("registry", "list"))
        for name, cost in zip(costs, runs, strict=True):
            costs[name].append(cost)
    return costs


def judge(costs: dict[str, list[Cost]]) -> list[Verdict]:
    """Compare by the median of the rounds."""
    months, year, nothing, start = costs.values()

    windows = list(zip(year, months, strict=True))
    begun = median(one.cpu / other.cpu for one, other in zip(nothing, start, strict=True))
    cpu = median(one.cpu / other.cpu for one, other in windows)
    size = median(one.bytes / other.bytes for one, other in windows)
    return [
        ("window, year / two months: CPU", cpu, HIGHEST_RATIO),
        ("window, year / two months: bytes", size, HIGHEST_RATIO),
        ("nothing new / registry list: CPU", begun, HIGHEST_START),
    ]


def show(costs: dict[str, list[Cost]]) -> None:
    """Print what each run took."""
    rows = []
    for name, runs in costs.items():
        cells = [spread([getattr(run, what) for run in runs]) for what in ("cpu", "wall")]
        files, size = (median(getattr(run, what) for run in runs) for what in ("files", "bytes"))
        rows.append((name, *cells, f"{files:.0f}", f"{size / 1000:.0f}"))
    print(table(("run", "CPU s", "wall s", "files", "kB"), rows))


def main() -> None:
    """Measure, show and judge."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        costs = measure(Path(folder))
    show(costs)
    conclude("growth", costs, judge(costs), ("duckdb", "ibis-framework", "kedro"))


if __name__ == "__main__":
    main()
