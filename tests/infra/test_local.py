"""The examples for cron and systemd follow the schedule, and run commands that exist."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from capstone_metrics import cli
from tests.infra.planted import Copy, each_fault
from tests.support.project import ROOT

if TYPE_CHECKING:
    from tests.infra.planted import Check

HOME = "/srv/capstone-metrics"
CRONTAB, UNITS = "infra/local/crontab", "infra/local/systemd"
SCHEDULE = "conf/base/parameters/schedule.yml"
LAYERS = {
    "ingest_bronze": "bronze",
    "bronze_to_silver": "silver",
    "silver_to_gold": "gold",
    "publish_gold": "publication",
}
CALENDAR = re.compile(r"\*-\*-\* ([\d,]+):(\d\d):00 (\S+)")


@pytest.fixture
def local(tmp_path: Path) -> Copy:
    return Copy.of(tmp_path, "infra/local", SCHEDULE)


def layers_of(command: str) -> list[str]:
    """Return the layers that a command of kedro runs, by its own parser; none of `status`."""
    program, verb, *options = shlex.split(command)
    assert (Path(program).name, verb in {"run", "status"}) == ("kedro", True)
    parsed = getattr(cli, verb).make_context(verb, options).params
    return [LAYERS[name] for name in parsed.get("pipelines", ())]


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


def check_starts(local: Copy, starts: list[tuple[str, str, list[str]]]) -> None:
    """Each layer starts at its hours, and `status` is asked at each deadline.

    Args:
        local: the files.
        starts: the hours and the minute of each start, and the layers that it runs.
    """
    layers = local.read(SCHEDULE)["schedule"]["layers"]
    actual: dict[str, list[str]] = {}
    for hours, minute, names in starts:
        for name in names or ["status"]:
            actual[name] = [f"{int(hour):02}:{int(minute):02}" for hour in hours.split(",")]
    deadlines = {
        f"{start[:2]}:{int(start[3:]) + layer['minutes']:02}"
        for layer in layers.values()
        for start in layer["starts"]
    }
    assert set(actual.pop("status")) == deadlines
    assert actual == {name: layer["starts"] for name, layer in layers.items()}


def check_cron(local: Copy) -> None:
    lines = (local.root / CRONTAB).read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    assert variables["CRON_TZ"] == local.read(SCHEDULE)["schedule"]["timezone"]
    assert variables["CAPSTONE"] == HOME
    starts = []
    for line in lines:
        if line[:1].isdigit():
            minute, hours, *days, command = line.split(maxsplit=5)
            assert days == ["*", "*", "*"]
            (kedro,) = re.findall(r"\.venv/bin/kedro [^>|]*?(?= >>| 2>&1)", command)
            starts.append((hours, minute, layers_of(kedro)))
    check_starts(local, starts)


def check_systemd(local: Copy) -> None:
    schedule = local.read(SCHEDULE)["schedule"]
    starts = []
    for path in (local.root / UNITS).glob("*.timer"):
        timer, service = unit(path)["Timer"], unit(path.with_suffix(".service"))["Service"]
        calendar = CALENDAR.fullmatch(timer["OnCalendar"])
        assert calendar
        assert (calendar[3], timer["Persistent"]) == (schedule["timezone"], "yes")
        names = layers_of(service["ExecStart"])
        for name in names:
            assert service["TimeoutStartSec"] == f"{schedule['layers'][name]['minutes']}min"
        starts.append((calendar[1], calendar[2], names))
    check_starts(local, starts)
    services = list((local.root / UNITS).glob("*.service"))
    assert len(services) == 5
    for path in services:
        service = unit(path)["Service"]
        assert (service["ProtectSystem"], service["NoNewPrivileges"]) == ("strict", "yes")
        assert (service["ReadWritePaths"], service["User"]) == (f"{HOME}/data", "capstone")


FAULTS = {
    check_cron: [
        (CRONTAB, "0 8,20", "0 8,21"),
        (CRONTAB, "0 22 ", "30 22 "),
        (CRONTAB, "Sao_Paulo\nCAPSTONE", "Bahia\nCAPSTONE"),
        (CRONTAB, "silver_to_gold", "silver_to_golden"),
        (CRONTAB, "--env=local --pipelines=publish", "--environment=local --p=publish"),
        (CRONTAB, "30 8,20,22,23", "30 8,20,22"),
    ],
    check_systemd: [
        (f"{UNITS}/capstone-gold.timer", "22:00:00", "21:00:00"),
        (f"{UNITS}/capstone-gold.timer", "America/Sao_Paulo", "UTC"),
        (f"{UNITS}/capstone-publication.service", "30min", "60min"),
        (f"{UNITS}/capstone-status.service", "=strict", "=full"),
    ],
}


def test_the_examples_follow_the_schedule(local: Copy) -> None:
    for check in FAULTS:
        check(local)
    pipelines = (ROOT / "src/capstone_metrics/pipelines").glob("*/pipeline.py")
    assert {path.parent.name for path in pipelines} == set(LAYERS)


@each_fault(FAULTS)
def test_a_planted_fault_is_noticed(
    local: Copy, check: Check, name: str, old: str, new: str
) -> None:
    local.replace(name, old, new)

    with pytest.raises((AssertionError, click.UsageError, KeyError, ValueError)):
        check(local)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_accepts_the_units(local: Copy) -> None:
    folder, kedro = local.root / UNITS, str(Path(sys.executable).parent / "kedro")
    for path in folder.iterdir():
        text = path.read_text().replace(f"{HOME}/.venv/bin/kedro", kedro)
        path.write_text(text.replace(HOME, str(local.root)))

    def verify() -> list[str]:
        command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(folder.iterdir()))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in done.stderr.splitlines() if str(local.root) in line]
        return lines or [done.stderr] * done.returncode

    assert verify() == []
    local.replace(f"{UNITS}/capstone-gold.timer", "22:00:00", "25:00:00")
    assert "Failed to parse calendar" in str(verify())
