"""The rules of Prometheus raise their alerts, and nothing else, by its own tool."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.infra.planted import Copy

if TYPE_CHECKING:
    from pathlib import Path

RULES, TESTS = "infra/prometheus/rules.yml", "infra/prometheus/rules_test.yml"


def promtool(*arguments: str | Path) -> tuple[int, str]:
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_each_rule_raises_its_alert_and_one_that_does_not_is_noticed(tmp_path: Path) -> None:
    copy = Copy.of(tmp_path, RULES, TESTS)
    assert promtool("check", "rules", tmp_path / RULES)[0] == 0
    code, output = promtool("test", "rules", tmp_path / TESTS)
    assert code == 0, output

    changed = copy.read(RULES)
    rules = [rule for group in changed["groups"] for rule in group["rules"]]
    for expression in ("vector(1) == 0", "vector(1)"):  # never, and always
        for rule in rules:
            rule["expr"] = expression
        (tmp_path / RULES).write_text(yaml.safe_dump(changed))
        _, output = promtool("test", "rules", tmp_path / TESTS)
        failed = set(re.findall(r"alertname: ?(\w+)", output))
        assert failed == {rule["alert"] for rule in rules}, output
