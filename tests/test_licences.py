"""No package that a run or an image installs is under a licence that forbids its use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from tests.conftest import ROOT

PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)
NAMELESS = "cookiecutter"
"""Its metadata name no licence."""


def locked() -> set[str]:
    locks = [ROOT / "requirements.lock", *(ROOT / "infra/docker").glob("*.lock")]
    return {name for lock in locks for name in PIN.findall(lock.read_text())}


def allowed() -> list[str]:
    """What the Makefile allows."""
    (said,) = re.findall(r"^LICENCES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return said.split(";")


def licences(allow: list[str]) -> tuple[int, str]:
    command = [Path(sys.executable).parent / "pip-licenses", "--from=mixed", "--format=json"]
    options = ["--with-system", "--partial-match", f"--allow-only={';'.join(allow)}"]
    done = subprocess.run(
        [*command, *options, "--ignore-packages", NAMELESS, "--packages", *sorted(locked())],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_licence_is_one_that_is_allowed_and_told() -> None:
    code, listed = licences(allowed())
    assert code == 0, listed
    names = {normal(entry["Name"]) for entry in json.loads(listed)}
    assert locked() - names <= {NAMELESS, "colorama"}  # of Windows

    page = (ROOT / "docs/third-party.md").read_text()
    told = {normal(name) for name in re.findall(r"^\| ([\w.-]+) ", page, re.MULTILINE)} - {"name"}
    assert told == names, "run 'make licences'"


def test_another_licence_is_noticed() -> None:
    code, _ = licences([licence for licence in allowed() if licence != "Lesser General Public"])

    assert code == 1


def test_the_package_that_names_none_has_a_file() -> None:
    (file,) = (path for path in distribution(NAMELESS).files or () if path.name == "LICENSE")

    assert "Redistribution and use in source and binary forms" in file.read_text()
