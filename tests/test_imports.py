from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

FORBIDDEN = {
    "sources/faker.py": "import capstone_metrics.cli",
    "storage/base.py": "def later(): import capstone_metrics.storage.folder",
    "pipelines/publish_gold/nodes.py": "import capstone_metrics.pipelines.silver_to_gold",
    "lake/transaction.py": "import capstone_metrics.sources",
    "validation/lines.py": "import ibis",
    "pipelines/bronze_to_silver/validate.py": "import duckdb",
    "pipelines/silver_to_gold/build.py": "import kedro",
    "dashboard/marts.py": "import capstone_metrics.lake",
    "hooks.py": "import capstone_metrics.dashboard.marts",
}
"""An import that breaks each contract."""


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "lint-imports"
    return subprocess.run(
        [program, "--no-cache", "--config", "../pyproject.toml"],
        cwd=root / "src",
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_import_in_one_direction() -> None:
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.slow
def test_every_contract_notices_a_forbidden_import(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "src/capstone_metrics", tmp_path / "src/capstone_metrics")
    for path, statements in FORBIDDEN.items():
        with (tmp_path / "src/capstone_metrics" / path).open("a") as module:
            module.write(statements)

    done = lint_imports(tmp_path)

    assert done.returncode == 1
    assert " 0 kept" in done.stdout, done.stdout
