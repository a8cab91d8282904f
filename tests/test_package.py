"""What `kedro package` makes runs where there is no checkout, and tells nothing of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from capstone_metrics.packaging import pack_configuration
from tests.conftest import NOW, ROOT

if TYPE_CHECKING:
    from tests.conftest import Project

LAKE = ["ingest_bronze", "bronze_to_silver", "silver_to_gold"]
SECRET = "canário-7c1e"
OF_A_USER = ("local/globals.yml", "local/more.yaml", "prod/credentials.yml", "local/.env")

# what a job of Databricks does with a wheel, once for each of its tasks
JOB = """
import sys
from importlib.metadata import distribution
(entry,) = (e for e in distribution("capstone-metrics").entry_points if e.name == sys.argv[1])
for task in sys.argv[2:]:
    sys.argv = ["python", *task.split()]
    entry.load()()
    print("went on")
"""


@dataclass(frozen=True)
class Package:
    """What was built, and the wheel installed into a folder."""

    wheel: Path
    archive: Path
    site: Path

    def python(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with the installed package, somewhere else, and as if for the first time."""
        environment = {k: v for k, v in os.environ.items() if k != "DO_NOT_TRACK"}
        environment |= {"PYTHONPATH": str(self.site), "COLUMNS": "200"}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """Built from a copy of the checkout, in which a user has worked, with a history of two days."""
    root = tmp_path_factory.mktemp("checkout")
    for part in ("src", "conf"):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("*.egg-info"))
    for part in ("README.md", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / part, root)
    sources = root / "conf/base/parameters/sources.yml"
    sources.write_text(sources.read_text().replace("history_days: 30", "history_days: 2"))
    for name in OF_A_USER:
        (root / "conf" / name).write_text(f"postgres: {SECRET}\n")
    for stale in ("build/lib/capstone_metrics/stale.py", "dist/capstone_metrics-0.0.1-stale.whl"):
        (root / stale).parent.mkdir(parents=True, exist_ok=True)
        (root / stale).touch()
    programs = Path(sys.executable).parent
    subprocess.run([programs / "kedro", "package"], cwd=root, check=True, capture_output=True)
    (wheel,) = root.glob("dist/*.whl")
    site = root / "site"
    install = [programs / "uv", "pip", "install", "--python", sys.executable, "--offline"]
    subprocess.run(
        [*install, "--no-deps", "--target", site, wheel], check=True, capture_output=True
    )
    return Package(wheel, root / "dist/conf-capstone_metrics.tar.gz", site)


def arguments(package: Package, pipeline: str, **params: str) -> list[str]:
    given = ",".join(f"{name}={value}" for name, value in params.items())
    options = ["--env=local", f"--conf-source={package.archive}", f"--pipelines={pipeline}"]
    return [*options, f"--params={given}"]


def test_tasks_run_the_wheel_where_there_is_nothing_else_into_the_same_bytes(
    package: Package, project: Project, tmp_path: Path
) -> None:
    empty = {"from": "", "to": "", "full": "", "plan": ""}
    tasks = [" ".join(arguments(package, name, now=NOW, **empty)) for name in LAKE]

    done = package.python(tmp_path, "-c", JOB, "capstone-metrics", *tasks)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("went on\n") == len(tasks)
    assert "make viz" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"data"}  # and no word to Kedro
    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["history_days"] = 2
    project.configure("parameters_sources.yml", **declared)
    project.run(f"--pipelines={','.join(LAKE)}")
    assert lake(tmp_path) == lake(project.root)
    assert len(lake(tmp_path)) > 10

    (snippet,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/databricks.md").read_text(), re.S)
    place = re.search(r'"(/Workspace/.*?)"', snippet)
    assert place
    looked = snippet.replace(place[1], str(package.archive)).replace('"prod"', '"local"')
    rows = re.search(r"= (\d+) current", done.stdout)
    assert rows
    assert package.python(tmp_path, "-c", looked).stdout.endswith(f"\n{rows[1]}\n")


def lake(root: Path) -> dict[str, bytes]:
    """The bytes of its layers; of a commit's record, which names its process, there are none."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for layer in ("bronze", "silver", "gold")
        for path in (root / "data" / layer).rglob("*")
        if path.is_file() and "commits" not in path.parts
    }


def test_a_run_that_fails_says_one_sentence_and_ends_with_its_code(
    package: Package, tmp_path: Path
) -> None:
    backfill = arguments(package, "ingest_bronze", **{"from": "2026-01-31", "to": "2026-01-30"})
    elsewhere = [word.replace("--env=local", "--env=locl") for word in backfill]

    for command, code, sentence in (
        (["-m", "capstone_metrics", *backfill], 1, "Error: to: 2026-01-30 is before from:"),
        (["-m", "capstone_metrics", *elsewhere], 1, "Error: Given configuration path either"),
        ([str(package.site / "bin/capstone-metrics"), *backfill], 1, "Error: to: 2026-01-30 is"),
        (["-c", JOB, "capstone-metrics", " ".join(backfill)], 1, "Error: to: 2026-01-30 is"),
        (["-m", "capstone_metrics", "--pipelinse=x"], 2, "Usage:"),
    ):
        done = package.python(tmp_path, *command)
        assert done.returncode == code
        assert done.stderr.startswith(sentence)
        assert "Traceback" not in done.stdout + done.stderr
        assert "went on" not in done.stdout


def test_a_plan_is_said_and_nothing_is_written(package: Package, tmp_path: Path) -> None:
    planned = arguments(package, "ingest_bronze", now="", plan="true")  # by the clock

    done = package.python(tmp_path, "-m", "capstone_metrics", *planned)

    assert "bronze  4 windows missing" in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_packed_is_the_package_and_its_configuration(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(package.archive) as archive:
        entries = archive.getmembers()
        packed |= {e.name: archive.extractfile(e).read() for e in entries if e.isfile()}  # type: ignore[union-attr]

    source = {
        path.relative_to(ROOT / "src").as_posix()
        for path in (ROOT / "src/capstone_metrics").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    conf = {p.relative_to(ROOT).as_posix() for p in (ROOT / "conf").rglob("*.yml")}
    shared = {name for name in conf if not name.startswith("conf/local/")}
    about = {name for name in packed if ".dist-info/" in name}
    assert set(packed) - about == source | shared
    assert not {name for name, content in packed.items() if SECRET.encode() in content}
    here = [str(path).encode() for path in (ROOT, package.wheel.parents[1], Path.home())]
    assert not {name for name, content in packed.items() if any(path in content for path in here)}
    owners = {(e.uname, e.gname, e.uid, e.gid, e.mtime) for e in entries}
    assert owners == {("", "", 0, 0, 0)}


def test_the_same_configuration_gives_the_same_archive(tmp_path: Path) -> None:
    packed = []
    for name in ("one", "other"):
        shutil.copytree(ROOT / "conf", tmp_path / name, copy_function=shutil.copyfile)
        pack_configuration(tmp_path / name, tmp_path / "conf.tar.gz")
        packed.append((tmp_path / "conf.tar.gz").read_bytes())

    assert packed[0] == packed[1]
    (tmp_path / "one/base/globals.yml").write_text("lake: elsewhere\n")
    pack_configuration(tmp_path / "one", tmp_path / "conf.tar.gz")
    assert packed[0] != (tmp_path / "conf.tar.gz").read_bytes()


def test_the_log_is_as_the_configuration_says(package: Package, tmp_path: Path) -> None:
    with tarfile.open(package.archive) as packed:
        packed.extractall(tmp_path / "of", filter="data")
    conf, empty = tmp_path / "of/conf", tmp_path / "empty"
    empty.mkdir()
    logging = yaml.safe_load((conf / "logging.yml").read_text())
    logging["loggers"]["kedro"]["level"] = "INFO"
    (conf / "logging.yml").write_text(yaml.safe_dump(logging))
    pack_configuration(conf, tmp_path / "loud.tar.gz")

    said = {
        source.name: package.python(
            empty, "-m", "capstone_metrics", "--env=locl", f"--conf-source={source}"
        ).stdout
        for source in (package.archive, tmp_path / "loud.tar.gz", conf)
    }

    loud = {name for name, text in said.items() if "Kedro project capstone_metrics" in text}
    assert loud == {"loud.tar.gz", "conf"}
