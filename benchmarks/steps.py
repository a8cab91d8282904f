r"""From Bronze to Gold: how close to what the machine can do, and how far ahead of other ways.

All contenders read the same bytes, which the project's own source made, each in a process of its
own that starts from nothing, and each has to leave the same Gold. They are this project, with all
that it promises; the limit, which is the tersest SQL of DuckDB and promises nothing; and what one
would write else: notebooks of PySpark, models of dbt on DuckDB, Polars, and Kedro with pandas.

They take turns. What is slow takes part in the first round alone. CPU time and memory are those of
a process and all below it, looked at every twentieth of a second; of memory, what they share is
counted for each.

With `--alone` this project runs without the others, to see what it needs for many more.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import matplotlib as mpl
import psutil
from benchmarks.growth import FILLED, KEDRO, WINDOW
from benchmarks.observations import fill
from benchmarks.report import RESULTS, ROOT, conclude, spread, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.report import Verdict

    Gold = dict[str, list[tuple[str, ...]]]

ROUNDS = 3
OBSERVATIONS = 3_000_000
SECONDS_BETWEEN_LOOKS = 0.05
PEERS = ROOT / "benchmarks/peers"
BIN = ROOT / ".venv/peers/bin"
STAGES = "--pipelines=bronze_to_silver,silver_to_gold"

OURS, WINDOW_ONLY, LIMIT = "this project", "this project, one more window", "the limit: DuckDB"
NOTEBOOKS, DBT = "PySpark notebooks", "dbt on DuckDB"
POLARS, PANDAS = "Polars", "Kedro with pandas"
SLOW = {NOTEBOOKS, PANDAS}

GOALS = {
    (OURS, LIMIT): 1.3,
    (OURS, NOTEBOOKS): 0.1,
    (OURS, DBT): 1.0,
    (OURS, POLARS): 1.0,
    (OURS, PANDAS): 1.0,
    (WINDOW_ONLY, NOTEBOOKS): 1 / 20,
    (WINDOW_ONLY, DBT): 1 / 20,
}
"""The most that one may take of another's CPU time."""

MOST_MEMORY = 2.0


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU and on the clock, and GiB at the most."""

    cpu: float
    wall: float
    memory: float


def measured(command: list[str], folder: Path, **environment: str) -> Cost:
    """Run a program, and look at it and what it starts until all of them have ended."""
    began, most = time.monotonic(), 0
    used: dict[tuple[int, float], float] = {}
    with (folder / "log").open("ab") as log:
        program = psutil.Popen(
            command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
        )
        family: set[psutil.Process] = {program}
        while any(map(_is_alive, family)):
            most = max(most, sum(_look(member, used) for member in family))
            if program.is_running() and program.status() != psutil.STATUS_ZOMBIE:
                family |= set(program.children(recursive=True))
            time.sleep(SECONDS_BETWEEN_LOOKS)
            program.poll()
    if program.wait():
        raise RuntimeError(f"{command}: {(folder / 'log').read_text()[-2000:]}")
    return Cost(sum(used.values()), time.monotonic() - began, most / 2**30)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _look(process: psutil.Process, used: dict[tuple[int, float], float]) -> int:
    """Note the CPU time of a process so far; its memory now."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            used[process.pid, process.create_time()] = times.user + times.system
            return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


class Contest:
    """The same Bronze for all, and a folder for what each makes of it."""

    def __init__(self, folder: Path, observations: int) -> None:
        self.folder = folder
        self.project = fill(folder / "project", observations)
        self.data = self.project.root / "data"
        self.bronze = self.data / "bronze/criacao"
        self.contenders: dict[str, Callable[[], tuple[Cost, Gold]]] = {
            OURS: self.ours,
            LIMIT: lambda: self.script("limit.py"),
            POLARS: lambda: self.script("by_polars.py"),
            DBT: self.dbt,
            PANDAS: lambda: self.script("kedro_pandas.py"),
            NOTEBOOKS: lambda: self.script("notebooks.py"),
        }

    def ours(self) -> tuple[Cost, Gold]:
        """`kedro run`, all of it anew."""
        for layer in ("silver", "gold", "operations"):
            shutil.rmtree(self.data / layer, ignore_errors=True)
        return self._kedro(STAGES, f"--params=now={FILLED}"), gold_of(self.data / "gold")

    def one_more(self, number: int) -> Cost:
        """`kedro run` at the next window, of which Silver and Gold do not know yet."""
        now = FILLED + number * WINDOW
        self._kedro("--pipelines=ingest_bronze", f"--params=now={now}")
        return self._kedro(STAGES, f"--params=now={now}")

    def _kedro(self, *arguments: str) -> Cost:
        command = [KEDRO, "run", "--env=local", *arguments]
        return measured(command, self.project.root, **self.project.environment)

    def script(self, name: str) -> tuple[Cost, Gold]:
        """A peer that is one program."""
        out = self._empty(name)
        command = [str(BIN / "python"), str(PEERS / name), str(self.bronze), str(out)]
        cost = measured(command, out, PYSPARK_PYTHON=str(BIN / "python"), DO_NOT_TRACK="1")
        return cost, gold_of(out)

    def dbt(self) -> tuple[Cost, Gold]:
        """`dbt run`."""
        out = self._empty("dbt")
        project = ["--project-dir", str(PEERS / "dbt"), "--profiles-dir", str(PEERS / "dbt")]
        places = ["--target-path", str(out / "target"), "--log-path", str(out / "logs")]
        cost = measured(
            [str(BIN / "dbt"), "--quiet", "run", *project, *places],
            out,
            PEER_BRONZE=str(self.bronze),
            PEER_OUT=str(out),
        )
        return cost, gold_of(out)

    def alone(self) -> None:
        """Print what this project takes."""
        cost, _ = self.ours()
        print(f"{cost.cpu:.0f} s of CPU, {cost.wall:.0f} s, {cost.memory:.2f} GiB")

    def lines(self) -> int:
        """How many observations there are."""
        return sum(path.read_bytes().count(b"\n") for path in self.bronze.rglob("*.jsonl"))

    def bytes(self) -> int:
        """How many bytes they have."""
        return sum(path.stat().st_size for path in self.bronze.rglob("*.jsonl"))

    def _empty(self, name: str) -> Path:
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out


def gold_of(folder: Path) -> Gold:
    """The rows of each mart, as they are written."""
    return {
        path.name: [tuple(row) for row in csv.reader(path.open(newline=""))]
        for path in sorted(folder.glob("gold_*.csv"))
    }


def measure(contest: Contest, rounds: int) -> dict[str, list[Cost]]:
    """All contenders in turn; then some windows more."""
    costs: dict[str, list[Cost]] = {name: [] for name in contest.contenders}
    known: Gold = {}
    for number in range(rounds):
        for name, run in contest.contenders.items():
            if number and name in SLOW:
                continue
            cost, gold = run()
            known = known or gold
            if not gold or gold != known:
                raise RuntimeError(f"{name} made another Gold than {OURS}.")
            costs[name].append(cost)
    costs[WINDOW_ONLY] = [contest.one_more(number) for number in range(1, rounds + 1)]
    return costs


def judge(costs: dict[str, list[Cost]]) -> list[Verdict]:
    """Compare medians."""
    cpu = {name: median(cost.cpu for cost in each) for name, each in costs.items()}
    memory = median(cost.memory for cost in costs[OURS])
    return [
        *(
            (f"{one} / {other}: CPU", cpu[one] / cpu[other], most)
            for (one, other), most in GOALS.items()
        ),
        (f"{OURS}: GiB of memory", memory, MOST_MEMORY),
    ]


def show(costs: dict[str, list[Cost]]) -> None:
    """Print what each took, and draw it."""
    limit = median(cost.cpu for cost in costs[LIMIT])
    rows = [
        (
            name,
            *(spread([getattr(cost, what) for cost in each]) for what in Cost.__annotations__),
            f"{median(cost.cpu for cost in each) / limit:.1f}",
        )
        for name, each in costs.items()
    ]
    print(table(("from Bronze to Gold", "CPU s", "wall s", "GiB", "CPU / the limit's"), rows))
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415 - it takes the backend as it is now

    figure, axes = pyplot.subplots(figsize=(8, 3.2), layout="constrained")
    names = list(costs)[::-1]
    bars = axes.barh(names, [median(cost.cpu for cost in costs[name]) for name in names])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("seconds of CPU, median")
    RESULTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(RESULTS / "steps.png", dpi=150)


def main() -> None:
    """Measure, show and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observations", type=int, default=OBSERVATIONS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--alone", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        contest = Contest(Path(folder), asked.observations)
        lines = contest.lines()
        print(f"{lines:,} observations, {contest.bytes() / 1e6:,.0f} MB")
        if asked.alone:
            contest.alone()
            return
        costs = measure(contest, asked.rounds)
    show(costs)
    conclude("steps", costs, judge(costs), ("duckdb", "ibis-framework", "kedro"))


if __name__ == "__main__":
    main()
