"""The READMEs are true: their commands run, their paths exist, their links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.markdown import (
    README,
    READMES,
    TRANSLATIONS,
    blocks,
    commands,
    missing_output,
    paths,
    read,
    script,
)
from tests.support.project import NOW, ROOT

if TYPE_CHECKING:
    from tests.support.project import Project

LINK = re.compile(r"\]\(([^)#]+)\)")
WRITTEN_BY_RUNS = {"data", "build"}
"""Top folders that the commands write, in the copy."""

DEPLOYED = {"dist", ".databricks"}
"""Top folders that commands of a page write, which are not run here."""

MAKE_VARIABLES = {"ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
"""Set where make runs the tests."""


def exists(path: str, copy: Path) -> bool:
    """Whether the repository has a path, or a run made it in some lake of the copy."""
    top, _, rest = path.partition("/")
    if top not in WRITTEN_BY_RUNS:
        return any(ROOT.glob(path))
    return any(copy.glob(path)) or any(copy.glob(f"{top}/*/{rest}"))


def equip(root: Path) -> None:
    """Give a copy of the project what make needs, and nothing to install."""
    environment = Path(sys.prefix)
    assert (environment / "bin/uv").exists(), "run the tests by 'make test'"
    for part in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / part, root / part)
    shutil.copytree(ROOT / "infra", root / "infra", ignore=shutil.ignore_patterns(".terraform"))
    (root / ".venv").mkdir()
    for path in environment.iterdir():
        if path.name not in {".run", ".dev"}:
            (root / ".venv" / path.name).symlink_to(path)
    for stamp in (".run", ".dev"):
        (root / ".venv" / stamp).touch()


def shell(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, one who runs at the instant of the README's table."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in MAKE_VARIABLES and not name.startswith("AWS_")
    }
    return subprocess.run(
        ["bash", "-exc", text],
        cwd=root,
        env={**inherited, "ARGS": f"--params=now={NOW}", "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.long
def test_the_commands_of_the_readme_run_and_print_its_output(project: Project) -> None:
    equip(project.root)

    done = shell(project.root, script(read(README)))

    assert done.returncode == 0, done.stdout + done.stderr
    for readme in READMES:
        assert missing_output(readme, done.stdout) == []
        named = paths(read(readme))
        assert len(named) > 10
        assert [path for path in named if not exists(path, project.root)] == []


def test_a_failing_command_is_detected(project: Project) -> None:
    equip(project.root)
    text = "```sh\ntrue\nfalse    # fails\ntrue\n```\n"

    assert shell(project.root, script(text)).returncode == 1


@pytest.mark.parametrize("translation", TRANSLATIONS)
def test_a_translation_has_the_same_commands_and_declarations(translation: str) -> None:
    original, translated = read(README), read(translation)

    assert commands(translated) == commands(original)
    declared = [yaml.safe_load(block) for _, block in blocks(original, "yaml")]
    assert [yaml.safe_load(block) for _, block in blocks(translated, "yaml")] == declared


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    links = LINK.findall(read(readme))

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_the_paths_that_a_page_names_exist(page: Path) -> None:
    named = paths(page.read_text(encoding="utf-8"))

    missing = [path for path in named if not any(ROOT.glob(path))]
    assert [path for path in missing if path.partition("/")[0] not in DEPLOYED] == []


def test_every_fault_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", read("tests/README.md"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 25))
    for _, row in rows:
        path = ""
        for name, test in re.findall(r"`([\w/…]+(?:\.py)?)(?:::(\w+))?`", row):
            path = path if name == "…" else name
            if path.endswith(".py"):
                text = (ROOT / "tests" / path).read_text(encoding="utf-8")
                assert not test or f"def {test}(" in text, (path, test)
