"""The package of the project for another machine: the wheel and the configuration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from capstone_metrics.cli.package import package as command
from tests.support.project import ROOT, Completed

PROGRAMS = Path(sys.executable).parent
SECRET = "canário-7c1e"
USER_FILES = ("local/globals.yml", "local/more.yaml", "prod/credentials.yml", "local/.env")
"""Files of the configuration that a user has added, with a secret in each."""


@dataclass(frozen=True)
class Package:
    """A package, and the folders that it was built from and installed into."""

    checkout: Path
    wheel: Path
    archive: Path
    site: Path

    def python(self, folder: Path, *arguments: str) -> Completed:
        """Run Python with the installed package in another folder, as on a new machine."""
        environment = {k: v for k, v in os.environ.items() if k != "DO_NOT_TRACK"}
        environment |= {"PYTHONPATH": str(self.site), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )


def build_package(root: Path) -> Package:
    """Build it from a copy of the checkout with files of a user and of older builds."""
    for part in ("src", "conf", "infra/docker"):
        ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
        shutil.copytree(ROOT / part, root / part, ignore=ignored)
    for part in ("LICENSE", "README.md", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / part, root)
    sources = root / "conf/base/parameters/sources.yml"
    sources.write_text(sources.read_text().replace("history_days: 30", "history_days: 2"))
    for name in USER_FILES:
        (root / "conf" / name).write_text(f"postgres: {SECRET}\n")
    for stale in ("build/lib/capstone_metrics/stale.py", "dist/capstone_metrics-0.0.1-stale.whl"):
        (root / stale).parent.mkdir(parents=True, exist_ok=True)
        (root / stale).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        built = CliRunner().invoke(command)
    assert built.exit_code == 0, built.output
    (wheel,) = root.glob("dist/*.whl")
    install = [PROGRAMS / "uv", "pip", "install", "--quiet", "--offline", "--no-deps"]
    target = [f"--python={sys.executable}", f"--target={root / 'site'}", wheel]
    subprocess.run([*install, *target], check=True)
    return Package(root, wheel, root / "dist/conf-capstone_metrics.tar.gz", root / "site")
