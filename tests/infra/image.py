"""A Dockerfile's steps without Docker: in a folder in place of `/capstone`, as an ordinary user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TOP = "/capstone"
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$", re.DOTALL)
SAID = {"CMD", "ENTRYPOINT", "EXPOSE", "HEALTHCHECK", "USER"}
"""Instructions that do nothing while an image is built."""


@dataclass
class Stage:
    """A stage of a Dockerfile: what it is made from, and its instructions."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """What is said last by an instruction."""
        return [what for name, what in self.steps if name == instruction][-1]


def stages_of(dockerfile: Path) -> dict[str, Stage]:
    """The stages of a Dockerfile, by their names, in order."""
    lines = (line for line in dockerfile.read_text().splitlines() if not line.startswith("#"))
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        found = INSTRUCTION.match(line)
        assert found, line
        name, what = found.groups()
        if name == "FROM":
            base, _, stage = what.split()
            stages[stage] = Stage(base, stage)
        else:
            stages[next(reversed(stages))].steps.append((name, what.strip()))
    return stages


@dataclass(frozen=True)
class Builder:
    """Builds stages as an ordinary user.

    Args:
        stages: of the Dockerfile.
        context: the folder that `COPY` copies from.
        root: where each stage has a folder, in place of `/capstone`.
        python: what the base image has as `python3`; its user must be able to run it.
        uid: of the ordinary user, if whoever tests is root.
    """

    stages: Mapping[str, Stage]
    context: Path
    root: Path
    python: str
    uid: int | None

    def folder(self, stage: str) -> Path:
        """What is in place of `/capstone`. A stage that is made from another goes on in its own."""
        base = self.stages[stage].base
        return self.folder(base) if base in self.stages and base != "base" else self.root / stage

    def build(self, name: str) -> None:
        """Do what the Dockerfile says, up to a stage."""
        stage = self.stages[name]
        if stage.base in self.stages:
            self.build(stage.base)
        folder = self.folder(name)
        self._own(folder)
        for instruction, what in stage.steps:
            if instruction == "RUN":
                self._do(name, what)
            elif instruction == "COPY":
                self._copy(folder, what.split())
            elif instruction == "ADD":
                self._unpack(folder, what.split())
            elif instruction == "WORKDIR":
                self._own(folder / Path(what).relative_to(TOP))
            else:
                assert instruction in SAID | {"ENV"}, instruction

    def environment(self, name: str) -> dict[str, str]:
        """What the Dockerfile's ENV says, up to a stage."""
        stage, folder = self.stages[name], self.folder(name)
        if stage.base in self.stages:
            said = self.environment(stage.base)
            said["PATH"] = said["PATH"].replace(str(self.folder(stage.base)), str(folder))
        else:
            said = {"PATH": f"{folder}/bin:/usr/bin:/bin"}
        for instruction, what in stage.steps:
            if instruction == "ENV":
                for pair in what.replace(f"{TOP}/", f"{folder}/").split():
                    variable, value = pair.split("=", 1)
                    said[variable] = value.replace("$PATH", said["PATH"])
        return said

    def command(self, name: str, *arguments: str) -> list[str]:
        """What a container of a stage runs, with other arguments than its own if they are given."""
        stage = self.stages[name]
        said = arguments or json.loads(stage.last("CMD"))
        return [*json.loads(stage.last("ENTRYPOINT")), *said]

    def run(
        self, name: str, command: list[str], uid: int | None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command where a stage is, with its environment and no other."""
        return subprocess.run(
            command,
            cwd=self.folder(name),
            env={"HOME": "/nonexistent", **self.environment(name), **variables},
            capture_output=True,
            text=True,
            check=False,
            **user(uid),
        )

    def _do(self, name: str, step: str) -> None:
        """A step of RUN. Where packages are from, pip takes from the environment of the tests."""
        programs = self.folder(name) / "bin"
        if not programs.exists():
            self._own(programs)
            (programs / "python3").symlink_to(self.python)
        self._own(self.root / "tmp")
        index = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        done = self.run(name, ["sh", "-ec", step], self.uid, **index, TMPDIR=str(self.root / "tmp"))
        assert not done.returncode, done.stdout + done.stderr

    def _copy(self, folder: Path, words: list[str]) -> None:
        source = self.context
        if words[0].startswith("--from="):
            name = words.pop(0).removeprefix("--from=")
            self.build(name)
            source = self.folder(name)
            words = [word.removeprefix(f"{TOP}/") for word in words]
        *patterns, target = words
        for pattern in patterns:
            found = list(source.glob(pattern))
            assert found, pattern
            for path in found:
                _copy(path, folder / path.name if target == "./" else folder / target)
        self._give([folder, *folder.rglob("*")])

    def _unpack(self, folder: Path, words: list[str]) -> None:
        archive, target = words
        with tarfile.open(self.context / archive) as packed:
            packed.extractall(folder / target, filter="data")
        self._give([folder, *folder.rglob("*")])

    def _own(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._give([folder])

    def _give(self, paths: Iterable[Path]) -> None:
        if self.uid is not None:
            for path in paths:
                os.chown(path, self.uid, self.uid, follow_symlinks=False)


def _copy(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True)
    else:
        shutil.copy(path, target)


def user(uid: int | None) -> dict[str, Any]:
    """Of a process: that it runs as another user than this one."""
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def python_for(uid: int | None) -> str | None:
    """A Python that an ordinary user can make an environment with; None if there is none."""
    for program in (Path(sys.base_prefix) / "bin/python3", Path("/usr/bin/python3")):
        try:
            subprocess.run([program, "-c", "import ensurepip, venv"], check=True, **user(uid))
        except (OSError, subprocess.CalledProcessError):
            continue
        return str(program)
    return None
