"""What tests share: a copy of the project to run, a real PostgreSQL, and a lake in a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ibis
import pytest
import yaml
from click.testing import CliRunner
from infra.s3.seaweed import SeaweedFS
from kedro.framework.startup import bootstrap_project

from capstone_metrics.cli import cli
from capstone_metrics.serving.embedded import EmbeddedServer
from tests import engines
from tests.s3 import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from click.testing import Result

    from capstone_metrics.serving.embedded import Address

ROOT = Path(__file__).parent.parent
NOW = "2026-01-31T20:05"
POSTGRESQL_15 = Path("/usr/lib/postgresql/15/bin")

os.environ["DO_NOT_TRACK"] = "1"
for name in ("CAPSTONE_DSN", "CAPSTONE_READER_DSN"):  # the tests have servers of their own
    os.environ.pop(name, None)
    os.environ.pop(f"{name}_SECRET", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the tests of the expressions run on another engine."""
    parser.addoption("--engine", choices=engines.CHOICES, default=engines.chosen)


def pytest_configure(config: pytest.Config) -> None:
    """Take the engine that was asked for."""
    engines.chosen = config.getoption("--engine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: begun late, it would keep one core busy and the others not."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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


@pytest.fixture(scope="session", params=["packaged", "15"])
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
    """Where it listens."""
    return server.start()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server of S3. From its start on, the environment has programs find it."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
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
    """The same, where the environment has programs find it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty.endpoint)
    return faulty


@dataclass(frozen=True)
class Project:
    """A copy of the project's configuration and example data, with a lake of its own."""

    root: Path

    def kedro(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a kedro command in it, as a user would."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "kedro"), *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "DO_NOT_TRACK": "1"},
        )
        assert not (check and done.returncode), done.stdout + done.stderr
        return done

    def run(
        self, *arguments: str, now: str = NOW, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """`kedro run` at an instant."""
        return self.kedro("run", f"--params=now={now}", *arguments, check=check)

    def configure(self, name: str, **changes: Any) -> None:
        """Override top-level entries of a file of `conf/base` in `conf/local`."""
        (self.root / "conf/local" / name).write_text(yaml.safe_dump(changes, sort_keys=False))

    def ingest_nothing(self) -> None:
        """Have runs find Bronze as the test fills it."""
        declared = self.parameters("sources.yml")
        declared["sources"]["faker"]["channels"] = []
        self.configure("parameters_sources.yml", **declared)

    def parameters(self, name: str) -> dict[str, Any]:
        """A file of `conf/base/parameters`, read."""
        text = (self.root / "conf/base/parameters" / name).read_text()
        read: dict[str, Any] = yaml.safe_load(text)
        return read

    def files(self, top: str = "data") -> Mapping[str, tuple[bytes, int]]:
        """Every file of the lake: its bytes and when it was written (ns)."""
        layers = ("bronze", "silver", "gold")
        return {
            path.relative_to(self.root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for layer in layers
            for path in sorted((self.root / top / layer).rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def project(open_folder: Path) -> Iterator[Project]:
    """A fresh copy of the project, for one test."""
    with project_copy(open_folder) as copy:
        yield copy


@pytest.fixture(scope="module")
def shared(open_folder: Path) -> Iterator[Project]:
    """A copy for the tests of a module, whose lakes they fill by hand."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        yield copy


@contextmanager
def project_copy(open_folder: Path) -> Iterator[Project]:
    """A fresh copy of the project; its server is stopped at the end."""
    root = Path(tempfile.mkdtemp(dir=open_folder))
    root.chmod(0o755)
    for part in ("conf", "data/examples"):
        shutil.copytree(ROOT / part, root / part)
    for part in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / part, root / part)
    shutil.rmtree(root / "conf/local")
    (root / "conf/local").mkdir()
    (root / "src").mkdir()  # the installed package is the code
    yield Project(root)
    for cluster in root.rglob("cluster"):
        EmbeddedServer(cluster.parent, port=0).stop()
    shutil.rmtree(root)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command of the project, in this process."""

    def command(project: Project, *arguments: str, width: int = 200) -> Result:
        monkeypatch.chdir(project.root)
        monkeypatch.setenv("COLUMNS", str(width))
        bootstrap_project(project.root)
        done = CliRunner().invoke(cli, arguments)
        assert isinstance(done.exception, SystemExit | None), done.exc_info
        return done

    return command
