"""A copy of the project that a test may run, in this process or in one of its own."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.cli.hooks import manager as command_hooks

from capstone_metrics.serving.embedded import ADMIN, EmbeddedServer
from capstone_metrics.serving.provision import connect
from capstone_metrics.validation.silver import columns_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
COLUMNS = columns_of(
    yaml.safe_load((ROOT / "conf/base/parameters/columns.yml").read_text())["columns"]
)
"""The columns of Silver as the project declares them."""

NOW = "2026-01-31T20:05"

Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Project:
    """A copy of the project's configuration and example data, with a lake of its own."""

    root: Path

    def kedro(self, *arguments: str, check: bool = True, width: int = 200) -> Completed:
        """Run a kedro command in this process, which saves the start of another one."""
        # Kedro wraps the calls of its one manager of hooks anew for each command, so after some
        # hundreds of commands in a process a call of a hook would nest too deep.
        command_hooks._cli_hook_manager = None
        with _entered(self.root, width):
            result = CliRunner().invoke(KedroCLI(self.root), arguments, prog_name="kedro")
        errors = result.stderr
        if not isinstance(result.exception, SystemExit | None):
            errors += "".join(traceback.format_exception(result.exception))
        completed = Completed(arguments, result.exit_code, result.stdout, errors)
        assert not (check and completed.returncode), completed.stdout + completed.stderr
        return completed

    def process(self, *arguments: str, check: bool = True) -> Completed:
        """Run a kedro command in a process of its own, as a user does."""
        completed = subprocess.run(
            [str(Path(sys.executable).parent / "kedro"), *arguments],
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "COLUMNS": "200", "DO_NOT_TRACK": "1"},
        )
        assert not (check and completed.returncode), completed.stdout + completed.stderr
        return completed

    def run(self, *arguments: str, now: str = NOW, more: str = "", check: bool = True) -> Completed:
        """`kedro run` at an instant, with more parameters such as `,plan=true`."""
        return self.kedro("run", f"--params=now={now}{more}", *arguments, check=check)

    def psql(self, statement: str, role: str = ADMIN) -> str:
        """Return the rows that a role of the embedded server gets, as text."""
        server = EmbeddedServer(self.root / "data/postgres", port=0)
        with closing(connect(server.start(), "capstone", role)) as database, database:
            cursor = database.cursor()
            cursor.execute(statement)
            return str(cursor.fetchall()) if cursor.description else ""

    def configure(self, name: str, **changes: Any) -> None:
        """Override top-level entries of a file of `conf/base` in `conf/local`."""
        (self.root / "conf/local" / name).write_text(yaml.safe_dump(changes, sort_keys=False))

    def ingest_nothing(self) -> None:
        """Have runs find Bronze as the test fills it."""
        declared = self.parameters("sources.yml")
        declared["sources"]["faker"]["channels"] = []
        self.configure("parameters_sources.yml", **declared)

    def parameters(self, name: str) -> dict[str, Any]:
        """Return the content of a file of `conf/base/parameters`."""
        text = (self.root / "conf/base/parameters" / name).read_text()
        content: dict[str, Any] = yaml.safe_load(text)
        return content

    def files(self, top: str = "data") -> Mapping[str, tuple[bytes, int]]:
        """Return the bytes of every file of the lake, and when it was written (ns)."""
        layers = ("bronze", "silver", "gold")
        return {
            path.relative_to(self.root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
            for layer in layers
            for path in sorted((self.root / top / layer).rglob("*"))
            if path.is_file()
        }


@contextmanager
def project_copy(folder: Path) -> Iterator[Project]:
    """Make a fresh copy of the project; its PostgreSQL is stopped at the end."""
    root = Path(tempfile.mkdtemp(dir=folder))
    root.chmod(0o755)
    for part in ("conf", "data/examples"):
        shutil.copytree(ROOT / part, root / part)
    for part in ("pyproject.toml", ".telemetry", "Makefile"):
        shutil.copy(ROOT / part, root / part)
    shutil.rmtree(root / "conf/local")
    (root / "conf/local").mkdir()
    (root / "src").mkdir()  # the installed package is the code
    settings = root / "conf/base/globals.yml"
    # a port of its own: on the default one, the servers of two tests at once would meet
    settings.write_text(settings.read_text().replace("port: null", "port: 0   "))
    yield Project(root)
    for cluster in root.rglob("cluster"):
        EmbeddedServer(cluster.parent, port=0).stop()
    shutil.rmtree(root)


@contextmanager
def _entered(root: Path, width: int) -> Iterator[None]:
    """Enter the folder of a project, and leave logging as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COLUMNS", str(width))
        yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
