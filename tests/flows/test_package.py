"""The package runs where there is no checkout, and has nothing of the machine that built it."""

from __future__ import annotations

import io
import logging
import re
import shutil
import sys
import tarfile
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from capstone_metrics.__main__ import main
from capstone_metrics.packaging import pack_configuration
from tests.support.package import SECRET
from tests.support.project import NOW, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.package import Package
    from tests.support.project import Project

    Runs = Callable[[Package, Path, str, list[str]], tuple[int, str, str]]

PIPELINES = ["ingest_bronze", "bronze_to_silver", "silver_to_gold"]

# the entry of the wheel as a job of Databricks calls it, once for each of its tasks
JOB = """
import sys
from importlib.metadata import distribution
(entry,) = (e for e in distribution("capstone-metrics").entry_points if e.name == sys.argv[1])
for task in sys.argv[2:]:
    if task == "notebook":
        exec(NOTEBOOK)
        continue
    sys.argv = ["python", *task.split()]
    entry.load()()
    print("returned")
"""


def arguments(package: Package, pipeline: str, **params: str) -> list[str]:
    given = ",".join(f"{name}={value}" for name, value in params.items())
    options = ["--env=local", f"--conf-source={package.archive}", f"--pipelines={pipeline}"]
    return [*options, f"--params={given}"]


def run_in_process(
    package: Package, folder: Path, program: str, words: list[str]
) -> tuple[int, str, str]:
    """Run a program in this process, whose package is the checkout that the wheel is built from."""
    handlers = logging.getLogger().handlers[:]
    output, errors = io.StringIO(), io.StringIO()
    code = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(errors):
        patch.chdir(folder)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", ["-c", *words])
        try:
            exec(program, {})
        except SystemExit as end:
            code = end.code
    logging.getLogger().handlers[:] = handlers
    return code, output.getvalue(), errors.getvalue()


def run_wheel(
    package: Package, folder: Path, program: str, words: list[str]
) -> tuple[int, str, str]:
    """Run a program in a process that has the installed wheel, and no checkout."""
    done = package.python(folder, "-c", program, *words)
    return done.returncode, done.stdout, done.stderr


in_process_and_from_the_wheel = pytest.mark.parametrize(
    "runs", [run_in_process, pytest.param(run_wheel, marks=pytest.mark.slow)]
)


def layers(root: Path) -> dict[str, bytes]:
    """Return the bytes of the layers, without the records of commits, which name a process."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for layer in ("bronze", "silver", "gold")
        for path in (root / "data" / layer).rglob("*")
        if path.is_file() and "commits" not in path.parts
    }


@in_process_and_from_the_wheel
def test_a_job_writes_the_same_bytes_as_kedro_run_and_its_failure_is_one_sentence(
    runs: Runs, package: Package, project: Project, tmp_path: Path
) -> None:
    unset = dict.fromkeys(("from", "to", "full", "plan"), "null")
    backfill = {"from": "2026-01-31", "to": "2026-01-30"}
    tasks = [" ".join(arguments(package, name, now=NOW, **unset)) for name in PIPELINES]
    failing = " ".join(arguments(package, "ingest_bronze", **backfill))
    page = (ROOT / "docs/databricks.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (archive,) = re.findall(r'"(/Workspace/.*?)"', snippet)
    notebook = snippet.replace(archive, str(package.archive)).replace('"prod"', '"local"')
    program = f"NOTEBOOK = {notebook!r}\n{JOB}"

    code, output, errors = runs(
        package, tmp_path, program, ["capstone-metrics", *tasks, "notebook", failing, tasks[0]]
    )

    assert code == 1, output + errors
    assert errors.startswith("Error: to: 2026-01-30 is before from:")
    assert output.count("returned\n") == len(tasks)
    (rows,) = set(re.findall(r"= (\d+) current", output))
    assert output.endswith(f"\n{rows}\n")  # of the notebook
    for text in ("Traceback", "make viz", "Kedro project capstone_metrics"):
        assert text not in output + errors
    assert {path.name for path in tmp_path.iterdir()} == {"data"}

    declared = project.parameters("sources.yml")
    declared["sources"]["faker"]["history_days"] = 2
    project.configure("parameters_sources.yml", **declared)
    project.run(f"--pipelines={','.join(PIPELINES)}")
    assert layers(tmp_path) == layers(project.root)
    assert len(layers(tmp_path)) > 10


@in_process_and_from_the_wheel
def test_the_log_is_as_the_given_configuration_wants_it(
    runs: Runs, package: Package, tmp_path: Path
) -> None:
    with tarfile.open(package.archive) as packed:
        packed.extractall(tmp_path, filter="data")
    path = tmp_path / "conf/logging.yml"
    changed = yaml.safe_load(path.read_text())
    changed["loggers"]["kedro"]["level"] = "INFO"
    path.write_text(yaml.safe_dump(changed))
    pack_configuration(tmp_path / "conf", tmp_path / "loud.tar.gz")
    (tmp_path / "empty").mkdir()

    code, output, errors = runs(
        package,
        tmp_path / "empty",
        "from capstone_metrics.__main__ import main; main()",
        ["--env=locl", f"--conf-source={tmp_path / 'loud.tar.gz'}"],
    )

    assert code == 1
    assert errors.startswith("Error: Given configuration path either")
    assert "Traceback" not in output + errors
    assert "Kedro project capstone_metrics" in output
    assert list((tmp_path / "empty").iterdir()) == []  # and no word to Kedro


def test_a_command_that_is_wrong_ends_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for option, code, sentence in (
        ("--env=locl", 1, "Error: --env: 'locl' is not one of local, "),
        ("--pipelinse=x", 2, "Usage:"),
    ):
        monkeypatch.setattr(sys, "argv", ["python", f"--conf-source={ROOT / 'conf'}", option])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
        assert capsys.readouterr().err.startswith(sentence)


def test_a_plan_writes_nothing(
    package: Package,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    planned = arguments(package, "ingest_bronze", now="null", plan="true")  # by the clock
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["python", *planned])

    main()

    assert "bronze  4 objects to ingest" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_package_has_the_source_and_the_configuration_and_no_secret(package: Package) -> None:
    with zipfile.ZipFile(package.wheel) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist()}
    with tarfile.open(package.archive) as archive:
        entries = archive.getmembers()
        packed |= {e.name: archive.extractfile(e).read() for e in entries if e.isfile()}  # type: ignore[union-attr]

    source = {
        path.relative_to(ROOT / "src").as_posix(): path.read_bytes()
        for path in (ROOT / "src/capstone_metrics").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    conf = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yml")}
    conf = {name for name in conf if not name.startswith("conf/local/")}
    metadata = {name for name in packed if ".dist-info/" in name}
    assert set(packed) - metadata == set(source) | conf
    assert {name: packed[name] for name in source} == source
    (license_file,) = (name for name in metadata if name.endswith("/licenses/LICENSE"))
    assert packed[license_file] == (ROOT / "LICENSE").read_bytes()
    assert b"\ncapstone-metrics = capstone_metrics.__main__:main\n" in b"".join(
        content for name, content in packed.items() if name.endswith("entry_points.txt")
    )
    assert not {name for name, content in packed.items() if SECRET.encode() in content}
    paths = [str(path).encode() for path in (ROOT, package.checkout, Path.home())]
    assert not {name for name, content in packed.items() if any(path in content for path in paths)}
    owners = {(e.uname, e.gname, e.uid, e.gid, e.mtime) for e in entries}
    assert owners == {("", "", 0, 0, 0)}


def test_the_same_configuration_gives_the_same_archive(tmp_path: Path) -> None:
    archives = []
    for name in ("one", "other"):
        shutil.copytree(ROOT / "conf", tmp_path / name, copy_function=shutil.copyfile)
        pack_configuration(tmp_path / name, tmp_path / "conf.tar.gz")
        archives.append((tmp_path / "conf.tar.gz").read_bytes())

    assert archives[0] == archives[1]
    (tmp_path / "one/base/globals.yml").write_text("lake: elsewhere\n")
    pack_configuration(tmp_path / "one", tmp_path / "conf.tar.gz")
    assert archives[0] != (tmp_path / "conf.tar.gz").read_bytes()
