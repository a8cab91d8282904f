"""What the READMEs say is so: their commands run, their output is real, their paths exist."""

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

from tests.conftest import NOW, ROOT

if TYPE_CHECKING:
    from tests.conftest import Project

README, *TRANSLATIONS = READMES = ("README.md", "README.pt-BR.md")

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+# .*")
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#]+)\)")
PATH = re.compile(r"[\w.*…=-]+(/[\w.*…=-]*)+")
SECONDS = re.compile(r"\d+\.\d │$")

LEFT_OUT = {"make test"}  # it runs this test, and so would never end
MADE = {"data", "build"}  # by the commands, in the copy
DEPLOYED = {"dist", ".databricks"}  # by commands of which a page tells
OF_THE_CALLER = {"ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}  # when make runs the tests


def read(readme: str) -> str:
    return (ROOT / readme).read_text(encoding="utf-8")


def blocks(text: str, *languages: str) -> list[tuple[str, str]]:
    return [found for found in BLOCK.findall(text) if found[0] in languages]


def commands(text: str) -> list[str]:
    lines = (line for _, block in blocks(text, "sh") for line in block.splitlines())
    return [COMMENT.sub("", line) for line in lines]


def script(text: str) -> str:
    """All commands in their order, and the YAML blocks written to the files that they name."""
    parts = []
    for language, block in blocks(text, "sh", "yaml"):
        if language == "yaml":
            name, _, content = block.removeprefix("# ").partition("\n")
            parts += [f"mkdir -p {Path(name).parent}", f"cat >> {name} <<'YAML'", content + "YAML"]
        else:
            lines = block.splitlines()
            parts += [line for line in lines if COMMENT.sub("", line) not in LEFT_OUT]
    return "\n".join(parts)


def paths(text: str) -> list[str]:
    """The paths in code spans; a part that varies, `…`, matches anything."""
    prose = BLOCK.sub("", text)
    return [found.replace("…", "*") for found in CODE.findall(prose) if PATH.fullmatch(found)]


def is_there(path: str, copy: Path) -> bool:
    """Whether the repository has a path, or a run made it in some lake of the copy."""
    top, _, rest = path.partition("/")
    if top not in MADE:
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
        if name not in OF_THE_CALLER and not name.startswith("AWS_")
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


@pytest.mark.long
def test_the_commands_run_and_do_what_the_readmes_say(project: Project) -> None:
    equip(project.root)

    done = shell(project.root, script(read(README)))

    assert done.returncode == 0, done.stdout + done.stderr
    printed = {SECONDS.sub("", line.rstrip()) for line in done.stdout.splitlines()}
    for readme in READMES:
        ((_, output),) = blocks(read(readme), "console")
        lines = [line for line in output.splitlines() if not line.startswith("PostgreSQL")]
        assert [line for line in lines if SECONDS.sub("", line) not in printed] == []

        named = paths(read(readme))
        assert len(named) > 10
        assert [path for path in named if not is_there(path, project.root)] == []


def test_a_command_that_fails_is_noticed(project: Project) -> None:
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
