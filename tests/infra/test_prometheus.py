"""The rules of Prometheus say what they are there for, by its own tool."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "infra/prometheus"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
ALERTS = [rule["alert"] for group in RULES["groups"] for rule in group["rules"]]
PROMTOOL = shutil.which("promtool")


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A copy of them and of their tests."""
    if not PROMTOOL:
        pytest.skip("no promtool")
    return shutil.copytree(FOLDER, tmp_path / "prometheus")


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(PROMTOOL), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_rules_hold(rules: Path) -> None:
    checked = promtool("check", "rules", rules / "rules.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", rules / "rules_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("expression", ["vector(1) == 0", "vector(1)"], ids=["never", "always"])
@pytest.mark.parametrize("alert", ALERTS)
def test_a_rule_that_does_not_is_noticed(rules: Path, alert: str, expression: str) -> None:
    changed = yaml.safe_load((rules / "rules.yml").read_text())
    for rule in changed["groups"][0]["rules"]:
        if rule["alert"] == alert:
            rule["expr"] = expression
    (rules / "rules.yml").write_text(yaml.safe_dump(changed))
    assert promtool("check", "rules", rules / "rules.yml").returncode == 0
    assert promtool("test", "rules", rules / "rules_test.yml").returncode == 1
