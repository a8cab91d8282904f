"""Make the pictures of the README and of the manual, in docs/images: `make pictures`.

A copy of the project runs at the README's instant, and Chromium opens what it serves.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tempfile
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from infra.s3.seaweed import free_ports
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.dashboard.test_browser import (
    CHROMIUM,
    FLAGS,
    IS_DRAWN,
    expect,
    options_of,
    running,
    visit,
    wait_for_page,
)
from tests.support.project import ROOT, project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.support.project import Project

IMAGES = ROOT / "docs/images"
DASHBOARDS = {"": "en-US", ".pt-BR": "pt-BR"}
"""The languages of the pictures of the dashboard, by the ends of their names."""

PAGES = {"dashboard": "overview", "videos": "videos"}
"""The pages of the dashboard, by the beginnings of the names of their pictures."""

MAIN_PAGE = "overview"
"""The page without a path of its own."""

COLOURS = 128
"""Enough for pages, and a quarter of the bytes."""

GRAPH_ALONE = {
    "theme": "light",
    "showFeatureHints": False,
    "visible": {"graph": True, "sidebar": False, "miniMap": False},
}
"""What Kedro-Viz shows."""


def save(page: Page, name: str) -> None:
    """Save what a page shows."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)


def picture_dashboard(browser: Browser, project: Project) -> None:
    """Save pages of the dashboard, in each language."""
    (port,) = free_ports(1)
    command = [str(Path(sys.executable).parent / "kedro"), "dashboard", *options_of(port)]
    with running(command, os.environ, project, port) as address:
        for (name, page_name), (end, locale) in product(PAGES.items(), DASHBOARDS.items()):
            size = {"width": 1280, "height": 1190}
            url = f"{address}/{'' if page_name == MAIN_PAGE else page_name}"
            with visit(browser, url, locale=locale, viewport=size) as page:
                wait_for_page(page, page_name)
                expect(page.get_by_test_id("stSkeleton")).to_have_count(0)
                page.evaluate(IS_DRAWN)
                save(page, f"{name}{end}.png")


def picture_lineage(browser: Browser, project: Project) -> None:
    """Save the graph of the lineage."""
    project.kedro("viz", "build", "--include-hooks", "--include-previews")
    with served(project.root / "build") as address:
        page = browser.new_page(viewport={"width": 1000, "height": 1150})
        page.route(re.compile(r"^https:"), lambda route: route.abort())  # its font from elsewhere
        page.add_init_script(f"localStorage.KedroViz = '{json.dumps(GRAPH_ALONE)}'")
        page.goto(address)
        page.locator(".pipeline-node").first.wait_for()
        page.wait_for_timeout(3_000)  # the graph moves into its place
        save(page, "lineage.png")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback; its address."""
    handler = partial(SilentHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class SilentHandler(SimpleHTTPRequestHandler):
    """Serves files and logs no request."""

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Make all pictures."""
    if not CHROMIUM:
        raise SystemExit("The pictures need Chromium: install the package chromium.")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        Path(folder).chmod(0o755)  # the server of a root's run enters it as another user
        with project_copy(Path(folder)) as project:
            project.run()
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            picture_dashboard(browser, project)
            picture_lineage(browser, project)


if __name__ == "__main__":
    main()
