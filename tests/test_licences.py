"""No package that a run or an image installs is under a licence that forbids its use."""

from __future__ import annotations

import re
from importlib.metadata import distribution

import piplicenses
import pytest

from tests.support.project import ROOT

PIN = re.compile(r"^([\w.-]+)==", re.MULTILINE)
NAMELESS = "cookiecutter"
"""Its metadata name no licence."""


def locked() -> set[str]:
    locks = [ROOT / "requirements.lock", *(ROOT / "infra/docker").glob("*.lock")]
    return {name for lock in locks for name in PIN.findall(lock.read_text())}


def allowed() -> list[str]:
    """Return the licences that the Makefile allows."""
    (text,) = re.findall(r"^LICENCES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return text.split(";")


def packages(names: set[str], allow: list[str]) -> set[str]:
    """Return which packages are installed; exit with 1 if a licence is not allowed."""
    options = ["--with-system", "--partial-match", f"--allow-only={';'.join(allow)}"]
    chosen = ["--ignore-packages", NAMELESS, "--packages", *sorted(names)]
    arguments = piplicenses.create_parser().parse_args(["--from=mixed", *options, *chosen])
    return {normal(str(each["name"])) for each in piplicenses.get_packages(arguments)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_licence_is_allowed_and_on_the_page() -> None:
    names = packages(locked(), allowed())
    assert locked() - names == {NAMELESS}

    page = (ROOT / "docs/third-party.md").read_text()
    on_page = {normal(name) for name in re.findall(r"^\| ([\w.-]+) ", page, re.MULTILINE)} - {
        "name"
    }
    assert on_page == names, "run 'make licences'"


def test_another_licence_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    without = [licence for licence in allowed() if licence != "Lesser General Public"]

    with pytest.raises(SystemExit) as end:
        packages({"psycopg2-binary"}, without)
    assert end.value.code == 1
    assert "psycopg2-binary" in capsys.readouterr().err


def test_the_package_without_a_licence_in_its_metadata_has_a_file() -> None:
    (file,) = (path for path in distribution(NAMELESS).files or () if path.name == "LICENSE")

    assert "Redistribution and use in source and binary forms" in file.read_text()
