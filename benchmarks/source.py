"""Measure the observations that the source generates in a second of CPU, without saving them.

Each round is one window of a hundred thousand channels, in its own process. It includes parsing the
declaration, but not the start of Python.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import yaml
from benchmarks.growth import FIRST_RUN
from benchmarks.report import ROOT, conclude, markdown_table, median_and_range

from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import new_objects

if TYPE_CHECKING:
    from benchmarks.report import Comparison

ROUNDS = 3
CHANNELS = 100_000
MIN_OBSERVATIONS_PER_SECOND = 200_000
MAX_GIB = 1.0


@dataclass(frozen=True)
class Cost:
    """Observations of a window, and its cost: seconds of CPU and peak GiB of memory."""

    observations: int
    cpu: float
    memory: float


def generate() -> Cost:
    """Generate a window in this process, and discard it."""
    parameters = yaml.safe_load((ROOT / "conf/base/parameters/sources.yml").read_text())
    schedule = yaml.safe_load((ROOT / "conf/base/parameters/schedule.yml").read_text())["schedule"]
    networks, faker = parameters["networks"], parameters["sources"]["faker"]
    start = time.process_time()
    faker["channels"] = [
        {"faculdade": f"F{i:06}", "rede_social": networks[i % 3], "qtd_inscritos": 1 + 30 * i}
        for i in range(CHANNELS)
    ]
    objects = new_objects("faker", faker, Calendar.of(schedule, str(FIRST_RUN)), ())
    *_, last = objects.values()
    lines = sum(chunk.count(b"\n") for chunk in last())
    peak: float = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Cost(lines, time.process_time() - start, peak)


def compare(costs: list[Cost]) -> list[Comparison]:
    """Return the comparisons, by the median of the rounds."""
    seconds = median(run.cpu / run.observations for run in costs) * MIN_OBSERVATIONS_PER_SECOND
    memory = median(run.memory for run in costs)
    return [
        (f"source: s of CPU for {MIN_OBSERVATIONS_PER_SECOND:,} observations", seconds, 1.0),
        ("source: GiB of memory", memory, MAX_GIB),
    ]


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    costs = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-m", "benchmarks.source", "once"]
        costs.append(Cost(**json.loads(subprocess.check_output(command, cwd=ROOT))))
    cells = (median_and_range([getattr(run, cost) for run in costs]) for cost in ("cpu", "memory"))
    row = (f"{CHANNELS:,} channels", f"{costs[0].observations:,}", *cells)
    print(markdown_table(("a window of", "observations", "CPU s", "GiB"), [row]))
    conclude("source", {"window": costs}, compare(costs), ("numpy", "pyarrow", "faker"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(vars(generate())))
    else:
        main()
