"""The READMEs and the manual are true: their commands run, their paths and links exist."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from capstone_metrics.schemas import silver_tables
from capstone_metrics.sources.presets import all_presets
from capstone_metrics.validation.silver import REQUIRED, SILVER, required_columns
from tests.support.markdown import (
    PAGES,
    README,
    READMES,
    TRANSLATIONS,
    blocks,
    commands,
    headings,
    missing_output,
    paths,
    read,
    script,
)
from tests.support.project import ROOT

if TYPE_CHECKING:
    from tests.support.project import Project

OTHERS = [page for page in PAGES if page not in READMES]
LINK = re.compile(r"\]\(([^)#]+)\)")
WORDS = 1_200
"""Of a README, at most."""

IMAGE_BYTES = 150_000
LOADED = re.compile(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=\"?([^\"> ]+)")
"""What a page of the manual loads."""

LANGUAGES = {"console", "json", "python", "sh", "sql", "text", "yaml"}
"""Of code blocks. The commands are in blocks of `sh`, what they print in blocks of `console`."""

WRITTEN_BY_RUNS = {"data", "build"}
"""Top folders that the commands write, in the copy."""

MADE = (
    "data/",
    "dist",
    ".databricks/",
    "build/",
    *(f"conf/{n}" for n in ("agencia", "estudio", "laptop")),
)
"""How paths begin that a page has its reader make."""

STAMPS = (".run", ".dev", ".spark")
"""Files by which make knows what is installed; `make test-all` installs all of it."""

MAKE_VARIABLES = {"ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
"""Set where make runs the tests."""


def exists(path: str, copy: Path) -> bool:
    """Whether the repository has a path, or the commands made it in a lake of the copy."""
    top, _, rest = path.partition("/")
    if any(copy.glob(path)):
        return True
    return any(copy.glob(f"{top}/*/{rest}") if top in WRITTEN_BY_RUNS else ROOT.glob(path))


def equip(root: Path) -> None:
    """Give a copy of the project what make needs, and nothing to install."""
    environment = Path(sys.prefix)
    assert (environment / "bin/uv").exists(), "run the tests by 'make test'"
    for part in ("Makefile", *(lock.name for lock in ROOT.glob("*.lock"))):
        shutil.copy(ROOT / part, root / part)
    shutil.copytree(ROOT / "infra", root / "infra", ignore=shutil.ignore_patterns(".terraform"))
    (root / ".venv").mkdir()
    for path in environment.iterdir():
        if path.name not in STAMPS:
            (root / ".venv" / path.name).symlink_to(path)
    for stamp in STAMPS:
        (root / ".venv" / stamp).touch()


def shell(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would who has activated the environment."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in MAKE_VARIABLES and not name.startswith("AWS_")
    }
    path = f"{root / '.venv/bin'}{os.pathsep}{inherited['PATH']}"
    return subprocess.run(
        ["bash", "-exc", text],
        cwd=root,
        env={**inherited, "PATH": path, "COLUMNS": "200"},
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
        assert named
        assert [path for path in named if not exists(path, project.root)] == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("page", [page for page in OTHERS if script(read(page))])
def test_the_commands_of_a_page_run(project: Project, page: str) -> None:
    equip(project.root)
    project.run()

    done = shell(project.root, script(read(page)))

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failing_command_is_detected(project: Project) -> None:
    equip(project.root)
    text = "```sh\ntrue\nfalse    # fails\ntrue\n```\n"

    assert shell(project.root, script(text)).returncode == 1


def test_a_command_is_run_unless_the_page_says_that_it_is_not() -> None:
    block = "```sh\nfalse\n```\n"

    assert script(f"{block}<!-- not run: it fails -->\n{block}") == "false"
    assert script(f"<!-- not run: -->\n{block}") == "false"  # without a reason
    assert not script(f"# Page\n\n**What was tested.** Nothing.\n\n{block}")


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_a_command_or_something_else(page: str) -> None:
    assert read(page).count("```") == 2 * len(blocks(read(page), *LANGUAGES))


@pytest.mark.parametrize("translation", TRANSLATIONS)
def test_a_translation_has_the_same_commands_and_declarations(translation: str) -> None:
    original, translated = read(README), read(translation)

    assert commands(translated) == commands(original)
    for language in ("yaml", "console"):
        assert blocks(translated, language) == blocks(original, language)
    assert sorted(set(paths(translated))) == sorted(set(paths(original)))
    assert headings(translated) == headings(original)


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_short(readme: str) -> None:
    assert len(read(readme).split()) <= WORDS


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    folder = (ROOT / page).parent
    links = [link for link in LINK.findall(read(page)) if not link.startswith("https://")]

    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize("page", OTHERS)
def test_the_paths_that_a_page_names_exist(page: str) -> None:
    missing = [path for path in paths(read(page)) if not any(ROOT.glob(path))]

    assert [path for path in missing if not path.startswith(MADE)] == []


def test_the_manual_is_built_without_a_warning_and_loads_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"))
    build(config)

    site = tmp_path / "site"
    assert {path.stem for path in site.glob("*.html")} > {"index", "sources", "start-over"}
    loaded = [tag for page in site.rglob("*.html") for tag in LOADED.findall(page.read_text())]
    assert loaded
    assert [url for url in loaded if re.match(r"(https?:)?//", url)] == []


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[Nothing](nothing.md)\n")
    (tmp_path / "mkdocs.yml").write_text("site_name: Test\nstrict: true\n")

    with pytest.raises(Abort):
        build(load_config(str(tmp_path / "mkdocs.yml"), site_dir=str(tmp_path / "site")))


def test_the_page_of_the_lake_has_the_columns_of_silver() -> None:
    section = read("docs/lake.md").partition("## Columns of Silver")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+`) \| (\w+)\S* .*?\| (yes|if declared)? *\|", section, re.MULTILINE)
    columns = [(name, *row) for names, *row in rows for name in re.findall(r"`(\w+)`", names)]

    assert [name for name, *_ in columns] == list(SILVER)
    assert {name for name, _, required in columns if required == "yes"} == set(REQUIRED)
    schema = silver_tables(SILVER)["criacao"]
    for name, kind, _ in columns:
        assert str(schema[name]).startswith(kind)


def test_the_page_of_sources_names_each_preset_and_what_its_files_lack() -> None:
    page = read("docs/sources.md")
    rows = dict(re.findall(r"^\| `(\w+)` \| .+ \| (.*) \|$", page, re.MULTILINE))
    for name, preset in all_presets().items():
        if preset.lacks:
            assert name not in rows
            continue
        required = required_columns(preset.options.get("counters"))
        lacking = [column for column in required if column not in preset.options["fields"]]
        assert re.findall(r"`(\w+)`", rows[name]) == lacking


def test_pictures_are_small() -> None:
    images = list((ROOT / "docs/images").iterdir())

    assert len(images) >= 4
    assert [path.name for path in images if path.stat().st_size > IMAGE_BYTES] == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed here")
def test_the_pictures_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests import pictures  # noqa: PLC0415 - Playwright is slow to import

    monkeypatch.setattr(pictures, "IMAGES", tmp_path)
    pictures.main()

    made = {path.name for path in tmp_path.iterdir()}
    assert made == {path.name for path in (ROOT / "docs/images").glob("*.png")}


def test_git_ignores_own_environments_and_nothing_else_in_conf(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    shipped = ["conf/logging.yml", "conf/local/.gitkeep"]
    for name in ("base", "prod", "s3", "youtube"):
        files = (path for path in (ROOT / "conf" / name).rglob("*") if path.is_file())
        shipped += [path.relative_to(ROOT).as_posix() for path in files]
    own = ["conf/escola/globals.yml", "conf/local/globals.yml", "conf/s3/credentials.yml"]
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "--quiet"], check=True)

    ignored = [*git, "check-ignore", *shipped, *own]
    done = subprocess.run(ignored, capture_output=True, text=True, check=True)

    assert done.stdout.split() == own


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
