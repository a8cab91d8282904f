"""The examples for cron and systemd follow the schedule, and run what the command line knows."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from capstone_metrics import cli
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

HOME = "/srv/capstone-metrics"
LAYERS = {
    "ingest_bronze": "bronze",
    "bronze_to_silver": "silver",
    "silver_to_gold": "gold",
    "publish_gold": "publication",
}
CALENDAR = re.compile(r"\*-\*-\* ([\d,]+):(\d\d):00 (\S+)")

Starts = dict[str, list[str]]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """A copy, to plant faults in."""
    return Path(shutil.copytree(ROOT / "infra/local", tmp_path / "local"))


def schedule() -> dict[str, Any]:
    text = (ROOT / "conf/base/parameters/schedule.yml").read_text()
    read: dict[str, Any] = yaml.safe_load(text)["schedule"]
    return read


def starts(hours: str, minute: str) -> list[str]:
    return [f"{int(hour):02}:{int(minute):02}" for hour in hours.split(",")]


def layers_of(command: str) -> list[str]:
    """The layers that a command of kedro runs; the command line reads it."""
    program, verb, *options = shlex.split(command)
    assert Path(program).name == "kedro"
    if verb == "status":
        cli.status.make_context("status", options)
        return []
    assert verb == "run"
    names = cli.run.make_context("run", options).params["pipelines"]
    return [LAYERS[name] for name in names]


def unit(path: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read(path)
    return read


def of_cron(local: Path) -> tuple[Starts, list[str]]:
    """When each layer starts, and when it is asked whether all is well."""
    lines = [line for line in (local / "crontab").read_text().splitlines() if line[:1].isdigit()]
    variables = dict(
        line.split("=", 1)
        for line in (local / "crontab").read_text().splitlines()
        if re.match(r"[A-Z_]+=", line)
    )
    assert variables["CRON_TZ"] == schedule()["timezone"]
    assert variables["CAPSTONE"] == HOME
    found: Starts = {}
    asked: list[str] = []
    for line in lines:
        minute, hours, *days, command = line.split(maxsplit=5)
        assert days == ["*", "*", "*"]
        (kedro,) = re.findall(r"\.venv/bin/kedro [^>|]*?(?= >>| 2>&1)", command)
        layers = layers_of(kedro)
        found |= dict.fromkeys(layers, starts(hours, minute))
        asked += [] if layers else starts(hours, minute)
    return found, asked


def of_systemd(local: Path) -> tuple[Starts, list[str]]:
    """The same, by the timers."""
    found: Starts = {}
    asked: list[str] = []
    for path in (local / "systemd").glob("*.timer"):
        timer, service = unit(path)["Timer"], unit(path.with_suffix(".service"))["Service"]
        match = CALENDAR.fullmatch(timer["OnCalendar"])
        assert match
        assert match[3] == schedule()["timezone"]
        assert timer["Persistent"] == "yes"
        layers = layers_of(service["ExecStart"])
        found |= dict.fromkeys(layers, starts(match[1], match[2]))
        asked += [] if layers else starts(match[1], match[2])
        minutes = {schedule()["layers"][layer]["minutes"] for layer in layers}
        assert not layers or minutes == {int(service["TimeoutStartSec"].removesuffix("min"))}
    return found, asked


def test_the_pipelines_are_those_of_the_project() -> None:
    folders = (ROOT / "src/capstone_metrics/pipelines").glob("*/pipeline.py")

    assert {path.parent.name for path in folders} == set(LAYERS)


KINDS = [of_cron, of_systemd]


def check(local: Path, kind: Callable[[Path], tuple[Starts, list[str]]]) -> None:
    found, asked = kind(local)
    declared = schedule()["layers"]
    assert found == {layer: said["starts"] for layer, said in declared.items()}
    deadlines = {
        f"{start[:2]}:{int(start[3:]) + said['minutes']:02}"
        for said in declared.values()
        for start in said["starts"]
    }
    assert set(asked) == deadlines


@pytest.mark.parametrize("kind", KINDS)
def test_they_follow_the_schedule(local: Path, kind: Any) -> None:
    check(local, kind)


@pytest.mark.parametrize(
    ("name", "old", "new", "kind"),
    [
        ("crontab", "0 8,20", "0 8,21", of_cron),
        ("crontab", "0 22 ", "30 22 ", of_cron),
        ("crontab", "Sao_Paulo\nCAPSTONE", "Bahia\nCAPSTONE", of_cron),
        ("crontab", "silver_to_gold", "silver_to_golden", of_cron),
        ("crontab", "--env=local --pipelines=publish", "--environment=local --p=publish", of_cron),
        ("crontab", "30 8,20,22,23", "30 8,20,22", of_cron),
        ("systemd/capstone-gold.timer", "22:00:00", "21:00:00", of_systemd),
        ("systemd/capstone-gold.timer", "America/Sao_Paulo", "UTC", of_systemd),
        ("systemd/capstone-gold.service", "silver_to_gold", "publish_gold", of_systemd),
        ("systemd/capstone-publication.service", "30min", "60min", of_systemd),
        ("systemd/capstone-status.timer", "08,20,22,23", "08,20,22", of_systemd),
    ],
)
def test_a_planted_fault_is_found(local: Path, name: str, old: str, new: str, kind: Any) -> None:
    text = (local / name).read_text()
    assert old in text
    (local / name).write_text(text.replace(old, new))

    with pytest.raises((AssertionError, click.UsageError, KeyError, ValueError)):
        check(local, kind)


def verify(local: Path) -> str:
    """What systemd says of the units, with this environment's kedro in place."""
    units = sorted((local / "systemd").iterdir())
    for path in units:
        kedro = str(Path(sys.executable).parent / "kedro")
        text = path.read_text().replace(f"{HOME}/.venv/bin/kedro", kedro)
        path.write_text(text.replace(HOME, str(local)))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = "\n".join(line for line in done.stderr.splitlines() if str(local) in line)
    return said or ("" if done.returncode == 0 else done.stderr)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_units(local: Path) -> None:
    assert verify(local) == ""

    timer = local / "systemd/capstone-gold.timer"
    timer.write_text(timer.read_text().replace("22:00:00", "25:00:00"))
    assert "Failed to parse calendar" in verify(local)


def test_no_unit_may_write_beside_its_data(local: Path) -> None:
    services = list((local / "systemd").glob("*.service"))

    assert len(services) == 5
    for path in services:
        said = unit(path)["Service"]
        assert (said["ProtectSystem"], said["NoNewPrivileges"]) == ("strict", "yes")
        assert said["ReadWritePaths"] == f"{HOME}/data"
        assert said["User"] == "capstone"
