"""The dashboard as a reader sees it, in Chromium; the pictures are in build/screenshots.

What every change needs is one pass: each page in both languages, the filters, and each state.
Other themes, widths and pictures come with `--all`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from infra.s3.seaweed import free_ports

from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.dashboard.conftest import GAINED, READER_DSN_VARIABLE, RECORD, runs_of
from tests.support.project import ROOT, project_copy
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, Page

    from tests.dashboard.conftest import Served
    from tests.support.project import Project

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
PERIOD = "period=2026-01-25&period=2026-02-07"
EMPTY = "period=2026-01-01&period=2026-01-10&network=YouTube+Shorts"
OUTSIDE = "period=2025-12-01&period=2026-01-10"
SECONDS = 300
"""After this time a page is taken to hang."""

PORTUGUESE, ENGLISH = Texts("pt_BR"), Texts("en")
CHARTS = {"overview": 11, "videos": 1, "explorer": 1, "method": 0}
"""How many charts a page has at least; a filter leaves some out."""

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
IS_COMPLETE = """
charts => {
    const count = selector => document.querySelectorAll(selector).length;
    const app = document.querySelector('[data-testid=stApp]');
    if (count('[data-testid=stException]')) throw new Error('the page has an exception');
    return app?.dataset.testConnectionState === 'CONNECTED'
        && app.dataset.testScriptState === 'notRunning'
        && count('[data-testid=stSpinner]') === 0
        && count('[data-testid=stVegaLiteChart]') >= charts
        && count('[data-testid=stVegaLiteChart] :is(canvas, svg)')
            === count('[data-testid=stVegaLiteChart]');
}
"""
IS_DRAWN = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
HEIGHT = "document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight"

pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed here"),
    pytest.mark.parametrize("server", ["packaged"], indirect=True),
    pytest.mark.long,
]


@pytest.fixture(scope="module")
def site(
    served: Served, open_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a dashboard, as `kedro dashboard` serves it."""
    served.dataset.sync_runs(runs_of(RECORD, tmp_path_factory.mktemp("lake")))
    stubs = tmp_path_factory.mktemp("stubs")
    (stubs / "rfc3987_syntax.py").write_text("raise ImportError\n")  # slow, and not the product's
    (port,) = free_ports(1)
    with project_copy(open_folder) as copy:
        command, environment = command_of(copy, served.dataset.reader_dsn(), port)
        environment = {**environment, "PYTHONPATH": str(stubs)}
        with running(command, environment, copy, port) as address:
            yield address


def options_of(port: int) -> list[str]:
    """Return the options of Streamlit to serve on a port."""
    return ["--server.headless=true", f"--server.port={port}"]


def command_of(project: Project, dsn: str, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the process that `kedro dashboard` becomes: its arguments and its environment."""
    processes: list[tuple[list[str], dict[str, str]]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(READER_DSN_VARIABLE, dsn)
        patch.setattr(os, "execve", lambda _, *process: processes.append(process))
        project.kedro("dashboard", *options_of(port))
    (process,) = processes
    return process


@contextmanager
def running(
    command: list[str], environment: Mapping[str, str], project: Project, port: int
) -> Iterator[str]:
    """Run a dashboard until the end of the block; its address."""
    log = project.root / "dashboard.log"
    address = f"http://127.0.0.1:{port}"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=project.root, env=environment, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: process.poll() is not None or is_up(address), SECONDS)
        assert process.poll() is None, log.read_text()
        yield address
    finally:
        process.terminate()
        process.wait(timeout=SECONDS)


def is_up(address: str) -> bool:
    """Whether a dashboard answers."""
    try:
        with urllib.request.urlopen(f"{address}/_stcore/health"):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - it is slow to import

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visit(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Open a page in a new context, which requests nothing but from loopback."""
    defaults = {"locale": "en-US", "timezone_id": "America/Sao_Paulo", "viewport": DESKTOP}
    context = browser.new_context(**{**defaults, **options})
    context.set_default_timeout(SECONDS * 1000)
    page = context.new_page()
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.goto(url)
    yield page
    context.close()
    assert not [url for url in urls if not re.match(r"(http|ws)://127\.0\.0\.1|data:|blob:", url)]


def expect(subject: Any) -> Any:
    """Return the assertions of Playwright, which wait for minutes."""
    from playwright.sync_api import expect  # noqa: PLC0415

    expect.set_options(timeout=SECONDS * 1000)
    return expect(subject)


def wait_for_page(page: Page, name: str = "overview") -> None:
    """Wait until a page is complete: nothing runs, and its charts are drawn."""
    page.wait_for_function(IS_COMPLETE, arg=CHARTS[name])
    if name != "overview":
        expect(page.get_by_test_id("stDataFrame").last).to_be_visible()


def wait_for_title(page: Page, title: str) -> None:
    """Wait until a page has a title."""
    expect(page.get_by_role("heading", level=1)).to_have_text(title)


def check_picture(page: Page, name: str) -> None:
    """Save a picture of the whole page, in which axe has no finding."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415

    width = page.viewport_size["width"] if page.viewport_size else DESKTOP["width"]
    height = page.evaluate(HEIGHT)
    page.set_viewport_size({"width": width, "height": min(height + 80, 5_000)})
    page.evaluate(IS_DRAWN)  # charts follow the size of the window
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()


def needs_no_sideways_scrolling(page: Page) -> bool:
    """Whether the page is no wider than its window."""
    return bool(page.get_by_test_id("stMain").evaluate("e => e.scrollWidth <= e.clientWidth"))


def views(page: Page) -> str:
    """Return the first figure of the overview."""
    return page.get_by_test_id("stMetricValue").first.inner_text()


@contextmanager
def locked(served: Served) -> Iterator[None]:
    """Hold a lock for which every page waits."""
    address = served.dataset.server.start()
    with closing(connect(address, served.dataset.database, ADMIN)) as admin:
        admin.cursor().execute("LOCK serving.publications IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def away(served: Served) -> Iterator[None]:
    """Have the database accept no connection."""
    address, database = served.dataset.server.start(), served.dataset.database
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        try:
            yield
        finally:
            admin.cursor().execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")


def test_one_pass(browser: Browser, site: str, served: Served) -> None:
    """In one visit, since its first page takes longer than the others together."""
    with visit(browser, f"{site}/?{PERIOD}", locale="pt-BR") as page:
        check_every_page_in_both_languages(page)
        check_the_file_of_a_mart(page, served)
        check_the_choice_of_top_videos_is_in_the_url(page)
        check_the_filters_are_in_the_url_which_opens_again(page)
        check_a_busy_database_and_one_that_is_away(page, served)
        check_a_period_outside_of_the_data_is_shown(page, site)
        check_a_filter_without_rows(page, site)


def check_every_page_in_both_languages(page: Page) -> None:
    wait_for_page(page)
    wait_for_title(page, PORTUGUESE("title"))
    expect(page.get_by_test_id("stMetric")).to_have_count(8)
    assert re.fullmatch(r"\d+,\d\s(mi|bi)", views(page))
    check_picture(page, "overview-pt")
    for name in ("videos", "explorer", "method"):
        page.get_by_role("link", name=PORTUGUESE(name)).click()
        wait_for_title(page, PORTUGUESE(name))
        wait_for_page(page, name)
        assert needs_no_sideways_scrolling(page)
        check_picture(page, f"{name}-pt")
    page.set_viewport_size(DESKTOP)

    page.get_by_text("EN", exact=True).click()
    wait_for_title(page, ENGLISH("method"))
    for name, title in (("explorer", "explorer"), ("overview", "title")):
        page.get_by_role("link", name=ENGLISH(name)).click()
        wait_for_title(page, ENGLISH(title))
        wait_for_page(page, name)


def check_the_file_of_a_mart(page: Page, served: Served) -> None:
    """The file has the rows of Gold, of the days that the page is about."""
    with page.expect_download() as download:
        page.get_by_test_id("stDownloadButton").first.get_by_role("button").click()
    name, content = download.value.suggested_filename, download.value.path().read_text()

    first, last = re.fullmatch(rf"{GAINED}_(\S+)_(\S+)\.csv", name).groups()  # type: ignore[union-attr]
    head, *gold = (served.gold / f"{GAINED}.csv").read_text().splitlines()
    rows = [row for row in gold if first <= row[:10] <= last]
    assert content.splitlines() == [head, *rows]


def check_the_choice_of_top_videos_is_in_the_url(page: Page) -> None:
    """In every language alike, so that a link works in each."""
    page.get_by_role("link", name=ENGLISH("videos")).click()
    wait_for_title(page, ENGLISH("videos"))
    wait_for_page(page, "videos")
    choice = page.get_by_test_id("stSelectbox").get_by_role("combobox")
    choice.click()
    page.get_by_role("option", name=ENGLISH.label("views_7d")).click()
    page.wait_for_url("**top=views_7d**")
    wait_for_page(page, "videos")
    page.get_by_text("PT", exact=True).click()
    wait_for_title(page, PORTUGUESE("videos"))
    expect(choice.last).to_have_value(PORTUGUESE.label("views_7d"))
    page.goto(page.url)
    wait_for_page(page, "videos")
    expect(choice.last).to_have_value(PORTUGUESE.label("views_7d"))
    page.get_by_text("EN", exact=True).click()
    wait_for_title(page, ENGLISH("videos"))
    page.get_by_role("link", name=ENGLISH("overview")).click()
    wait_for_title(page, ENGLISH("title"))
    wait_for_page(page)


def check_the_filters_are_in_the_url_which_opens_again(page: Page) -> None:
    everything = views(page)
    page.get_by_test_id("stMultiSelect").first.get_by_role("combobox").click()
    page.get_by_role("option", name="TikTok").click()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stMetricValue").first).not_to_have_text(everything)
    page.wait_for_url("**network=TikTok**")
    wait_for_page(page)
    filtered = views(page)
    for name, title in (("videos", "videos"), ("overview", "title")):
        page.get_by_role("link", name=ENGLISH(name)).click()
        wait_for_title(page, ENGLISH(title))
        wait_for_page(page, name)
        expect(page.get_by_test_id("stMultiSelect").first).to_contain_text("TikTok")
    assert views(page) == filtered
    page.wait_for_url("**network=TikTok**")

    page.goto(page.url)
    wait_for_page(page)
    wait_for_title(page, ENGLISH("title"))
    assert views(page) == filtered
    for part in ("network=TikTok", "lang=EN", PERIOD):
        assert part in page.url
    page.get_by_text("PT", exact=True).click()
    wait_for_title(page, PORTUGUESE("title"))
    wait_for_page(page)
    expect(page.get_by_role("heading", name=PORTUGUESE("gained"))).to_be_visible()


def check_a_busy_database_and_one_that_is_away(page: Page, served: Served) -> None:
    with locked(served):
        page.get_by_text("EN", exact=True).click()
        expect(page.get_by_text(ENGLISH("loading"))).to_be_visible()
    wait_for_title(page, ENGLISH("title"))
    wait_for_page(page)

    with away(served):
        page.get_by_text("PT", exact=True).click()
        expect(page.get_by_text(PORTUGUESE("unavailable"))).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    page.get_by_role("button", name=PORTUGUESE("retry")).click()
    wait_for_page(page)


def check_a_period_outside_of_the_data_is_shown(page: Page, site: str) -> None:
    page.goto(f"{site}/?{OUTSIDE}")
    wait_for_page(page)
    expect(page.get_by_text("Você pediu o período de 1 de dez. de 2025")).to_be_visible()
    assert page.url.endswith("?period=2026-01-01&period=2026-01-10")


def check_a_filter_without_rows(page: Page, site: str) -> None:
    page.goto(f"{site}/?{EMPTY}")
    expect(page.get_by_text(PORTUGUESE("empty"))).to_be_visible()
    expect(page.get_by_test_id("stMultiSelect")).to_have_count(2)
    page.get_by_role("button", name=PORTUGUESE("reset")).click()
    wait_for_page(page)
    assert page.url.rstrip("/?") == site


LOOKS: dict[str, tuple[Texts, dict[str, Any]]] = {
    "light": (ENGLISH, {}),
    "dark": (ENGLISH, {"color_scheme": "dark"}),
    "phone-pt": (PORTUGUESE, {"locale": "pt-BR", "viewport": PHONE, "has_touch": True}),
    "dark-phone-pt": (
        PORTUGUESE,
        {"locale": "pt-BR", "viewport": PHONE, "color_scheme": "dark"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", CHARTS)
def test_every_page_in_every_look(browser: Browser, site: str, name: str, look: str) -> None:
    texts, options = LOOKS[look]
    path = f"?{PERIOD}" if name == "overview" else name
    with visit(browser, f"{site}/{path}", **options) as page:
        wait_for_title(page, texts("title" if name == "overview" else name))
        wait_for_page(page, name)
        assert needs_no_sideways_scrolling(page)
        for metric in page.get_by_test_id("stMetric").all():
            box = metric.bounding_box()
            assert box
            assert 0 <= box["x"] <= box["x"] + box["width"] <= page.viewport_size["width"]
        background = page.get_by_test_id("stApp").evaluate(
            "e => getComputedStyle(e).backgroundColor"
        )
        is_dark = max(map(int, re.findall(r"\d+", background)[:3])) < 60
        assert is_dark == ("dark" in look)
        check_picture(page, f"{name}-{look}")


@pytest.mark.slow
def test_every_state_has_a_picture(browser: Browser, site: str, served: Served) -> None:
    with visit(browser, f"{site}/?{PERIOD}&network=TikTok") as page:
        wait_for_page(page)
        check_picture(page, "overview-filtered")
    with visit(browser, f"{site}/?{EMPTY}") as page:
        expect(page.get_by_role("button", name=ENGLISH("reset"))).to_be_visible()
        check_picture(page, "empty")
    with away(served), visit(browser, site) as page:
        expect(page.get_by_text(ENGLISH("unavailable"))).to_be_visible()
        check_picture(page, "unavailable")


@pytest.mark.slow
def test_the_command_becomes_the_server(served: Served, project: Project) -> None:
    kedro = str(Path(sys.executable).parent / "kedro")
    environment = {**os.environ, READER_DSN_VARIABLE: served.dataset.reader_dsn()}
    (port,) = free_ports(1)
    with running([kedro, "dashboard", *options_of(port)], environment, project, port) as address:
        assert is_up(address)
