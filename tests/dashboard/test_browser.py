"""The dashboard as a reader sees it, in Chromium; the pictures are kept in build/screenshots."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.conftest import ROOT, project_copy
from tests.dashboard.conftest import BY_NETWORK, RECORD, runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dashboard.conftest import Served

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
PICTURES = ROOT / "build/screenshots"
PERIOD = "period=2026-02-01&period=2026-02-14"
SECONDS_TO_START = 60

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed here")


@pytest.fixture(scope="module")
def site(
    served: Served, open_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a dashboard, as `kedro dashboard` serves it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("log") / "dashboard.log"
    served.dataset.mirror(runs_of(RECORD, tmp_path_factory.mktemp("lake")))
    environment = {**os.environ, "CAPSTONE_READER_DSN": served.dataset.reader_dsn()}
    kedro = str(Path(sys.executable).parent / "kedro")
    options = ["--server.headless=true", f"--server.port={port}"]
    with project_copy(open_folder) as copy, log.open("w") as output:
        process = subprocess.Popen(
            [kedro, "dashboard", *options],
            cwd=copy.root,
            env=environment,
            stdout=output,
            stderr=output,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{address}/_stcore/health", process, log)
            yield address
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, url: str, **context: Any) -> Iterator[Page]:
    """A page in a browser of its own that asks nothing of the world."""
    settings = {
        "locale": "en-US",
        "timezone_id": "America/Sao_Paulo",
        "viewport": {"width": 1280, "height": 900},
    }
    made = browser.new_context(**{**settings, **context})
    page = made.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    yield page
    made.close()
    assert not [one for one in asked if not re.match(r"(http|ws)://127\.0\.0\.1|data:|blob:", one)]


def settled(page: Page, charts: int = 8) -> None:
    """Wait until the page is whole."""
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg")).to_have_count(
        charts, timeout=20_000
    )
    expect(page.get_by_test_id("stSpinner")).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)


def keep(page: Page, name: str) -> None:
    """Keep a picture of the whole page, in which axe finds no fault."""
    width = page.viewport_size["width"] if page.viewport_size else 1280
    height = page.evaluate(
        "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"
    )
    page.set_viewport_size({"width": width, "height": min(height + 80, 5_000)})
    page.wait_for_timeout(600)  # charts follow the size of the window
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def views(page: Page) -> str:
    return page.get_by_test_id("stMetricValue").first.inner_text()


def test_the_page_in_portuguese(browser: Browser, site: str) -> None:
    with visit(browser, f"{site}/?{PERIOD}", locale="pt-BR") as page:
        settled(page)
        expect(page.get_by_role("heading", level=1)).to_have_text(Texts("pt_BR")("title"))
        expect(page.get_by_test_id("stMetric")).to_have_count(5)
        assert re.fullmatch(r"\d+,\d\s(mi|bi)", views(page))
        keep(page, "overview-pt")


def test_dark(browser: Browser, site: str) -> None:
    with visit(browser, f"{site}/?{PERIOD}&mean=true", color_scheme="dark") as page:
        settled(page)
        ground = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground)[:3])) < 60
        keep(page, "overview-dark")


def test_a_phone_needs_no_scrolling_sideways(browser: Browser, site: str) -> None:
    size = {"width": 390, "height": 844}
    with visit(browser, f"{site}/?{PERIOD}", viewport=size, locale="pt-BR", has_touch=True) as page:
        settled(page)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth")
        for metric in page.get_by_test_id("stMetric").all():
            box = metric.bounding_box()
            assert box
            assert 0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
        keep(page, "overview-phone")


def test_what_is_chosen_is_in_the_url_which_opens_again(browser: Browser, site: str) -> None:
    with visit(browser, f"{site}/?{PERIOD}") as page:
        settled(page)
        everything = views(page)
        page.get_by_test_id("stMultiSelect").first.get_by_role("combobox").click()
        page.get_by_role("option", name="TikTok").click()
        page.keyboard.press("Escape")
        expect(page.get_by_test_id("stMetricValue").first).not_to_have_text(everything)
        page.get_by_text(Texts("en")("mean"), exact=True).click()
        page.wait_for_url("**mean=true**")
        settled(page)
        shared, chosen = page.url, views(page)
        expect(page.get_by_text("Network: not filtered here")).to_be_visible()
        keep(page, "overview-filtered")
    assert "network=TikTok" in shared

    with visit(browser, shared) as page:
        settled(page)
        assert views(page) == chosen
        page.get_by_text("PT", exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(Texts("pt_BR")("title"))
        settled(page)
        expect(page.get_by_text(re.compile("14 dias$"))).to_be_visible()
        for part in ("network=TikTok", "mean=true", "lang=PT", PERIOD):
            assert part in page.url
        page.get_by_role("link", name=Texts("pt_BR")("explorer")).click()
        settled(page, charts=1)
        expect(page.get_by_role("heading", level=1)).to_have_text(Texts("pt_BR")("explorer"))


def test_the_file_has_the_rows_of_gold(browser: Browser, site: str, served: Served) -> None:
    with visit(browser, f"{site}/?{PERIOD}") as page:
        settled(page)
        with page.expect_download() as started:
            page.get_by_test_id("stDownloadButton").first.get_by_role("button").click()
        name, content = started.value.suggested_filename, started.value.path().read_text()

    assert name == f"{BY_NETWORK}_2026-02-01_2026-02-14.csv"
    head, *gold = (served.gold / f"{BY_NETWORK}.csv").read_text().splitlines()
    rows = [row for row in gold if "2026-02-01" <= row[:10] <= "2026-02-14"]
    assert content.splitlines() == [head, *rows]


def test_nothing_for_a_filter_is_left_by_a_button(browser: Browser, site: str) -> None:
    texts = Texts("en")
    nothing = "period=2026-01-01&period=2026-01-10&network=YouTube+Shorts"
    with visit(browser, f"{site}/?{nothing}") as page:
        expect(page.get_by_text(texts("empty"))).to_be_visible(timeout=20_000)
        button = page.get_by_role("button", name=texts("clear"))
        expect(button).to_be_visible()
        expect(page.get_by_test_id("stMultiSelect")).to_have_count(2)
        keep(page, "empty")
        button.click()
        settled(page)
        assert page.url.rstrip("/?") == site


@pytest.mark.parametrize("look", ["light", "dark-phone-pt"])
@pytest.mark.parametrize(("name", "charts"), [("explorer", 1), ("method", 0)])
def test_the_other_pages(browser: Browser, site: str, name: str, charts: int, look: str) -> None:
    other = {"locale": "pt-BR", "color_scheme": "dark", "viewport": {"width": 390, "height": 844}}
    texts = Texts("en" if look == "light" else "pt_BR")
    with visit(browser, f"{site}/{name}", **({} if look == "light" else other)) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(texts(name), timeout=20_000)
        expect(page.get_by_test_id("stDataFrame").last).to_be_visible()
        settled(page, charts)
        main = page.get_by_test_id("stMain")
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth")
        keep(page, f"{name}-{look}")


def test_loading_is_said_while_the_database_is_busy(
    browser: Browser, site: str, served: Served
) -> None:
    address = served.dataset.server.start()
    with closing(connect(address, served.dataset.database, ADMIN)) as admin:
        admin.cursor().execute("LOCK serving.publications IN ACCESS EXCLUSIVE MODE")
        with visit(browser, f"{site}/?{PERIOD}") as page:
            expect(page.get_by_text(Texts("en")("loading"))).to_be_visible(timeout=20_000)
            admin.rollback()
            settled(page)


def test_a_database_that_is_away_is_said_and_comes_back(
    browser: Browser, site: str, served: Served
) -> None:
    """The last test of this module: it stops the server."""
    texts = Texts("en")
    served.dataset.server.stop()
    with visit(browser, site) as page:
        expect(page.get_by_text(texts("away"))).to_be_visible(timeout=20_000)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        keep(page, "away")
        page.set_viewport_size({"width": 1280, "height": 900})
        served.dataset.server.port = _port_of(served)
        served.dataset.server.start()
        page.get_by_role("button", name=texts("retry")).click()
        settled(page)


def _port_of(served: Served) -> int:
    """Where the server listened before it was stopped."""
    options = (served.dataset.server.cluster / "postmaster.opts").read_text()
    return int(re.search(r'"-p" "(\d+)"', options)[1])  # type: ignore[index]
