"""`kedro dashboard` where it does not serve; test_browser.py has it serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.support.project import Project


def test_it_does_not_read_as_the_one_who_publishes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = project.parameters("schedule.yml")["schedule"]
    del schedule["layers"]["publication"]  # which a configuration may omit
    project.configure("parameters_schedule.yml", schedule=schedule)
    monkeypatch.setenv("CAPSTONE_DSN", "host=127.0.0.1 port=1 user=loader password=canary")
    monkeypatch.delenv("CAPSTONE_READER_DSN", raising=False)

    done = project.kedro("dashboard", check=False)

    assert done.returncode == 1
    example = "such as 'host=… user=bi_reader'"
    assert f"set CAPSTONE_READER_DSN to the role that reads, {example}" in done.stderr
    assert "canary" not in done.stdout + done.stderr
