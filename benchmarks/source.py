"""What the source makes in a second of CPU: one window of a hundred thousand channels, unsaved.

Each time in a process of its own; the reading of the declaration is in, the start of Python is not.
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
from benchmarks.growth import FILLED
from benchmarks.report import ROOT, conclude, spread, table

from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import new_objects

if TYPE_CHECKING:
    from benchmarks.report import Verdict

ROUNDS = 3
CHANNELS = 100_000
LEAST_A_SECOND = 200_000
MOST_MEMORY = 1.0


@dataclass(frozen=True)
class Cost:
    """What a window holds, and what it took: seconds of CPU, and GiB at the most."""

    observations: int
    cpu: float
    memory: float


def make() -> Cost:
    """Make a window in this process, and forget it."""
    declared = yaml.safe_load((ROOT / "conf/base/parameters/sources.yml").read_text())
    schedule = yaml.safe_load((ROOT / "conf/base/parameters/schedule.yml").read_text())["schedule"]
    networks, faker = declared["networks"], declared["sources"]["faker"]
    begun = time.process_time()
    faker["channels"] = [
        {"faculdade": f"F{at:06}", "rede_social": networks[at % 3], "qtd_inscritos": 1 + 30 * at}
        for at in range(CHANNELS)
    ]
    objects = new_objects("faker", faker, Calendar.of(schedule, str(FILLED)), ())
    *_, last = objects.values()
    lines = sum(chunk.count(b"\n") for chunk in last())
    peak: float = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Cost(lines, time.process_time() - begun, peak)


def judge(costs: list[Cost]) -> list[Verdict]:
    """Compare by the median of the rounds."""
    seconds = median(run.cpu / run.observations for run in costs) * LEAST_A_SECOND
    memory = median(run.memory for run in costs)
    return [
        (f"source: s of CPU for {LEAST_A_SECOND:,} observations", seconds, 1.0),
        ("source: GiB of memory", memory, MOST_MEMORY),
    ]


def main() -> None:
    """Measure, show and judge."""
    costs = []
    for _ in range(ROUNDS):
        command = [sys.executable, "-m", "benchmarks.source", "once"]
        costs.append(Cost(**json.loads(subprocess.check_output(command, cwd=ROOT))))
    cells = (spread([getattr(run, what) for run in costs]) for what in ("cpu", "memory"))
    row = (f"{CHANNELS:,} channels", f"{costs[0].observations:,}", *cells)
    print(table(("a window of", "observations", "CPU s", "GiB"), [row]))
    conclude("source", {"window": costs}, judge(costs), ("numpy", "pyarrow", "faker"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(vars(make())))
    else:
        main()
