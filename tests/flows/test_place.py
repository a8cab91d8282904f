"""A run works in any folder, for any user, and whatever its output is written to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from capstone_metrics.serving.embedded import EmbeddedServer
from tests.support.lakes import LAKE_PIPELINES
from tests.support.project import NOW, Project, project_copy
from tests.support.selection import sample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.support.project import Completed

LAKE = f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}"
VIDEO = {
    "faculdade": "Escola Ação",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "likes": 0,
    "comentarios": 0,
}
LINES = [
    {**VIDEO, "video_id": "az-1", "views": "x", "titulo_video": "🎬 → ok"},
    {**VIDEO, "video_id": "az-2", "views": 7, "titulo_video": "Título"},
]
NAMELESS, SOMEBODY = 12345, 65534
KEDRO = str(Path(sys.executable).parent / "kedro")


def as_user(user: int, group: int) -> list[str]:
    """Return the start of a command that a user runs."""
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


@cache
def may_become_others() -> bool:
    """Return whether this process may run the project as another user."""
    if not (sys.platform == "linux" and os.geteuid() == 0 and shutil.which("setpriv")):
        return False
    command = [*as_user(NAMELESS, NAMELESS), KEDRO, "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


only_root = pytest.mark.skipif(
    "not may_become_others()", reason="only root may become another user, who has to find Python"
)


def export(project: Project, lines: Iterable[Mapping[str, Any]] = LINES) -> None:
    """Write the export of a project."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    (project.root / "export.jsonl").write_text(text, encoding="utf-8")


def declare(project: Project) -> None:
    """Give a project an export with a good and a bad line."""
    export(project)
    source = {"type": "files", "format": "jsonl", "path": "export.jsonl"}
    project.configure("parameters_sources.yml", sources={"mine": source})


@pytest.fixture(scope="module")
def small(open_folder: Path) -> Iterator[Project]:
    """A project with an export, its lake filled."""
    with project_copy(open_folder) as copy:
        declare(copy)
        copy.run(LAKE)
        yield copy


def kedro(
    root: Path,
    *arguments: str,
    user: int | None = None,
    group: int | None = None,
    **environment: str | None,
) -> Completed:
    """Run a kedro command in a process, as a user of a group; no variable is None."""
    every = {**os.environ, "COLUMNS": "200", **environment}
    start = as_user(user, group or user) if user else []
    done = subprocess.run(
        [*start, KEDRO, *arguments],
        cwd=root,
        capture_output=True,
        check=False,
        env={name: value for name, value in every.items() if value is not None},
        umask=0o002 if user else -1,
    )
    out, err = (each.decode(errors="replace") for each in (done.stdout, done.stderr))
    assert "Traceback" not in out + err
    return subprocess.CompletedProcess(arguments, done.returncode, out, err)


@pytest.mark.parametrize(
    "name", sample(["Área de João d'Água $HOME `x`", "A\u0301rea\u00a0; & | #", "100% (1)"], 1)
)
def test_the_whole_path_runs_in_a_folder_of_any_name(open_folder: Path, name: str) -> None:
    folder = open_folder / name
    folder.mkdir(mode=0o755)
    with project_copy(folder) as copy:
        declare(copy)
        output = copy.process("run", f"--params=now={NOW}").stdout
        assert "2 lines in Bronze = 1 current in Silver" in output
        (command,) = [line for line in output.splitlines() if line.startswith("PostgreSQL")]
        shell = command.removeprefix("PostgreSQL").strip()
        query = "select total_views from serving.gold_video_views_dia_faculdade"
        psql = EmbeddedServer(copy.root / "data/postgres").program_path("psql")
        shell = shell.replace(" psql ", f" '{psql}' ", 1)
        done = subprocess.run(
            ["/bin/sh", "-c", f'{shell} -At -c "{query}"'],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == "7\n"
        copy.kedro("serving", "check")
        copy.kedro("verify", "--full")
        assert "Stopped." in copy.kedro("serving", "stop").stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", sample(["Projeto [2026]", "o que?", "tudo*"], 1))
def test_a_folder_whose_name_is_a_pattern_is_refused(open_folder: Path, name: str) -> None:
    (open_folder / name).mkdir()
    with project_copy(open_folder / name) as copy:
        done = copy.process("run", f"--params=now={NOW}", check=False)
        assert done.returncode == 1
        assert re.search(r"must not contain \* \? or \[, .* rename (it|the folder)\.", done.stderr)
    with project_copy(open_folder) as copy:
        copy.configure("globals.yml", lake=name)
        done = copy.run(LAKE, check=False)
        assert done.returncode == 1
        assert f"{name}: must not contain * ? or [, which engines read as a pattern" in done.stderr
        assert not (copy.root / name).exists()


COMMANDS = {
    ("quarantine", "--lines=5"): 0,
    ("status", "--now=2026-01-31T20:06"): 1,  # of two lines, one is rejected
    ("source", "inspect", "export.jsonl"): 0,
    ("runs",): 0,
}


@pytest.mark.slow
@pytest.mark.parametrize("encoding", sample(["cp1252", "ascii", "latin-1", "utf-16"], 1))
def test_output_of_another_encoding_loses_a_character_and_no_command(
    small: Project, encoding: str
) -> None:
    for command, code in sample(list(COMMANDS.items()), 2):
        done = kedro(small.root, *command, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert done.returncode == code, command
        if command[0] == "quarantine" and encoding == "cp1252":
            assert '"titulo_video": "? ? ok"' in done.stdout


def test_what_an_environment_chooses_itself_is_left(small: Project) -> None:
    rejected = kedro(
        small.root, "quarantine", "--lines=5", PYTHONIOENCODING="cp1252:backslashreplace"
    )
    assert r'"titulo_video": "\U0001f3ac \u2192 ok"' in rejected.stdout


LOCALES: dict[str, Mapping[str, str | None]] = {
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": None, "PYTHONCOERCECLOCALE": None},
    "unknown": {"LC_ALL": "xx_XX.UTF-9", "PYTHONUTF8": None, "PYTHONCOERCECLOCALE": None},
}


@pytest.mark.slow
@pytest.mark.parametrize("locale", sample(list(LOCALES), 1))
def test_the_whole_path_runs_in_any_locale(open_folder: Path, locale: str) -> None:
    folder = open_folder / f"{'Acao' if locale == 'ASCII' else 'Ação'} {locale}"
    folder.mkdir(mode=0o755)
    with project_copy(folder) as copy:
        declare(copy)
        done = kedro(copy.root, "run", f"--params=now={NOW}", **LOCALES[locale])
        assert done.returncode == 0, done.stderr
        gold = copy.root / "data/gold/gold_video_views_dia_faculdade.csv"
        assert gold.read_text(encoding="utf-8").splitlines()[1] == "2026-01-30,Escola Ação,7,0,0,1"
        assert kedro(copy.root, "serving", "check", **LOCALES[locale]).returncode == 0
        assert "Stopped." in kedro(copy.root, "serving", "stop", **LOCALES[locale]).stdout


def owned_copy(copy: Project, user: int) -> None:
    """Give a project to a user and a group, whose members may write to it."""
    for path in (copy.root, *copy.root.rglob("*")):
        os.chown(path, user, user)
        if path.is_dir():
            path.chmod(0o2775)


@pytest.mark.slow
@only_root
def test_a_user_without_a_name_gets_gold_and_a_way_to_publish_it(project: Project) -> None:
    declare(project)
    owned_copy(project, NAMELESS)
    run = ("run", f"--params=now={NOW}")
    done = kedro(project.root, *run, user=NAMELESS, HOME="/nowhere")
    assert done.returncode == 1
    assert "PostgreSQL needs a name for the user id 12345, which has none; add the" in done.stderr
    assert (project.root / "data/gold/gold_video_views_dia_faculdade.csv").exists()
    (way_out,) = [word.rstrip(".") for word in done.stderr.split() if word.startswith("--pipe")]
    assert kedro(project.root, *run, way_out, user=NAMELESS, HOME="/nowhere").returncode == 0


@pytest.mark.slow
@only_root
@pytest.mark.parametrize("home", sample(["read-only", "none", "missing", "a file"], 1))
def test_the_whole_path_needs_no_home(project: Project, tmp_path: Path, home: str) -> None:
    tmp_path.chmod(0o555)
    homes = {"none": None, "missing": "/nowhere", "read-only": str(tmp_path), "a file": "/dev/null"}
    declare(project)
    owned_copy(project, SOMEBODY)
    for command in (("run", f"--params=now={NOW}"), ("serving", "check"), ("serving", "stop")):
        done = kedro(project.root, *command, user=SOMEBODY, HOME=homes[home])
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@only_root
def test_two_users_of_a_group_have_one_lake_and_each_their_database(project: Project) -> None:
    declare(project)
    owned_copy(project, SOMEBODY)
    first = kedro(project.root, "run", f"--params=now={NOW}", user=SOMEBODY)
    assert first.returncode == 0, first.stderr
    export(project, [{**line, "video_id": f"{line['video_id']}-later"} for line in LINES])

    second = partial(kedro, project.root, user=1, group=SOMEBODY)
    later = "--params=now=2026-02-01T08:05"
    done = second("run", LAKE, later)
    assert done.returncode == 0, done.stderr
    assert "4 lines in Bronze = 2 current in Silver" in done.stdout
    refused = second("run", later)
    assert refused.returncode == 1
    assert "the PostgreSQL in it is of another user, who alone may start it" in refused.stderr
    health = second("status", "--now=2026-02-01T08:06")
    assert "the PostgreSQL in it is of another user" in health.stdout

    settings = project.root / "conf/local/globals.yml"
    settings.write_text(yaml.safe_dump({"postgres": "data/postgres-of-second"}))
    done = second("run", later)
    assert done.returncode == 0, done.stderr
    assert second("serving", "stop").returncode == 0
    settings.unlink()
    assert kedro(project.root, "run", later, user=SOMEBODY).returncode == 0
    assert kedro(project.root, "serving", "stop", user=SOMEBODY).returncode == 0
