"""Fixtures of all tests: a project to run, its lake, a real PostgreSQL and a real S3 server."""

from __future__ import annotations

import gc
import inspect
import os
import shutil
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ibis
import pytest
from hypothesis import settings
from infra.s3.seaweed import SeaweedFS

from capstone_metrics.serving.embedded import ADMIN, EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.support import engines, selection
from tests.support.lakes import clear
from tests.support.package import Package, build_package
from tests.support.project import Project, project_copy
from tests.support.s3_proxy import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving.embedded import Address

POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")

os.environ["DO_NOT_TRACK"] = "1"
sys.modules.setdefault("rfc3987_syntax", None)  # for IRIs in jsonschema: slow to import
# each command asks for its stack; the source lines of it cost a tenth of a second in a test
inspect.stack = partial(inspect.stack, context=0)
os.environ["PGCTLTIMEOUT"] = "600"  # seconds for a PostgreSQL to stop, where the disk is busy
for name in ("CAPSTONE_DSN", "CAPSTONE_READER_DSN"):  # the tests have servers of their own
    os.environ.pop(name, None)
    os.environ.pop(f"{name}_SECRET", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that choose what runs, and on which engine."""
    parser.addoption("--all", action="store_true", help="run the slow tests and every case, too")
    parser.addoption("--engine", choices=engines.NEEDED, default=engines.chosen)


def pytest_configure(config: pytest.Config) -> None:
    """Take the options before test modules are imported, which choose their cases by them."""
    engines.chosen = config.getoption("--engine")
    selection.runs_everything = config.getoption("--all")
    settings.register_profile("few", max_examples=20, deadline=None)
    settings.register_profile("many", max_examples=100, deadline=None)
    settings.load_profile("many" if selection.runs_everything else "few")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests and cases out unless all are wanted, and begin with the longest.

    A long test that is begun late keeps one core busy while the others have nothing left to do.
    """
    if not config.getoption("--all"):
        left_out = {item.nodeid for item in items if item.get_closest_marker("slow")}
        left_out |= selection.cases_beyond_few(i for i in items if i.nodeid not in left_out)
        config.hook.pytest_deselected(items=[each for each in items if each.nodeid in left_out])
        items[:] = [item for item in items if item.nodeid not in left_out]
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Have the garbage collector pass over what was imported: it costs a twentieth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session")
def on_engine() -> None:
    """Have expressions run on the engine that was asked for, without naming it."""
    ibis.set_backend(engines.engine().connection)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, as the server of a root's run needs; pytest's are not."""
    folder = Path(tempfile.mkdtemp(prefix="capstone-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session", params=["packaged", pytest.param("15", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest, open_folder: Path) -> Iterator[EmbeddedServer]:
    """A PostgreSQL of the tests' own: the one of the package, and Debian's of version 15."""
    programs = None if request.param == "packaged" else POSTGRESQL_15
    if programs and not programs.exists():
        pytest.skip(f"no {programs}")
    server = EmbeddedServer(open_folder / f"postgres {request.param}", 0, programs)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def address(server: EmbeddedServer) -> Address:
    """Where it listens. It leaves its writes to the operating system, which nothing here ends."""
    address = server.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        for setting in ("fsync = off", "full_page_writes = off"):
            admin.cursor().execute(f"ALTER SYSTEM SET {setting}")
        admin.cursor().execute("SELECT pg_reload_conf()")
    return address


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server of S3. From its start on, the environment has programs find it."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"), secret_key="c4nary's/of+the=store")
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in server.environment().items():
            patch.setenv(name, value)
        yield server
    server.stop()


@pytest.fixture
def faulty(seaweed: SeaweedFS) -> Iterator[Faulty]:
    """A proxy before the server, which passes everything on until it is told otherwise."""
    proxy = Faulty(seaweed.endpoint)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def proxy(faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> Faulty:
    """That proxy, with the environment pointing at it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty.endpoint)
    return faulty


@pytest.fixture
def project(open_folder: Path) -> Iterator[Project]:
    """A fresh copy of the project, for one test."""
    with project_copy(open_folder) as copy:
        yield copy


@pytest.fixture(scope="module")
def empty_project(open_folder: Path) -> Iterator[Project]:
    """A copy for the tests of a module, whose source brings nothing: tests fill its lake."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


@pytest.fixture
def lake(empty_project: Project) -> Path:
    """The folder of that project's lake, with nothing in it."""
    clear(empty_project.root / "data")
    return empty_project.root / "data"


@pytest.fixture(scope="session")
def package(open_folder: Path) -> Package:
    """The package of the project, built and installed into a folder."""
    return build_package(Path(tempfile.mkdtemp(dir=open_folder)))
