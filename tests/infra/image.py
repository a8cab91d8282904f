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
    from collections.abc import Mapping

TOP = "/capstone"
INSTRUCTION = re.compile(r"^([A-Z]+)\s+(.*)$", re.DOTALL)
METADATA = {"CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "USER"}
"""Instructions that do nothing while an image is built."""


@dataclass
class Stage:
    """A stage of a Dockerfile: its base and its instructions."""

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        """Return the arguments of the last instruction of a name."""
        return [text for name, text in self.steps if name == instruction][-1]


def stages_of(dockerfile: Path) -> dict[str, Stage]:
    """Return the stages of a Dockerfile by their names, in order."""
    lines = (line for line in dockerfile.read_text().splitlines() if not line.startswith("#"))
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            match = INSTRUCTION.match(line)
            assert match, line
            name, text = match.groups()
            if name == "FROM":
                base, _, stage = text.split()
                stages[stage] = Stage(base)
            else:
                stages[next(reversed(stages))].steps.append((name, text.strip()))
    return stages


@dataclass(frozen=True)
class Builder:
    """Builds stages as an ordinary user.

    Args:
        stages: of the Dockerfile.
        context: the folder that `COPY` copies from.
        root: where each stage has a folder, in place of `/capstone`.
        python: the `python3` of the base image; its user must be able to run it.
        uid: of the ordinary user, if the tests run as root.
    """

    stages: Mapping[str, Stage]
    context: Path
    root: Path
    python: str
    uid: int | None

    def folder(self, stage: str) -> Path:
        """Return the folder of a stage, which is its base's if that was built before it."""
        base = self.stages[stage].base
        return self.folder(base) if base in self.stages and base != "base" else self.root / stage

    def build(self, name: str) -> None:
        """Execute the instructions up to a stage."""
        stage, folder = self.stages[name], self.folder(name)
        if stage.base in self.stages:
            self.build(stage.base)
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (self.root / "tmp").mkdir(exist_ok=True)
        if not (folder / "bin/python3").exists():
            (folder / "bin/python3").symlink_to(self.python)
        for instruction, text in stage.steps:
            if instruction == "RUN":
                self._execute(name, text)
            elif instruction == "COPY":
                self._copy(folder, text.split())
            elif instruction == "ADD":
                archive, target = text.split()
                with tarfile.open(self.context / archive) as packed:
                    packed.extractall(folder / target, filter="data")
            elif instruction == "WORKDIR":
                (folder / Path(text).relative_to(TOP)).mkdir(exist_ok=True)
            else:
                assert instruction in METADATA, instruction

    def environment(self, name: str) -> dict[str, str]:
        """Return the variables of ENV up to a stage."""
        stage, folder = self.stages[name], self.folder(name)
        if stage.base in self.stages:
            variables = self.environment(stage.base)
            variables["PATH"] = variables["PATH"].replace(str(self.folder(stage.base)), str(folder))
        else:
            variables = {"PATH": f"{folder}/bin:/usr/bin:/bin"}
        for instruction, text in stage.steps:
            if instruction == "ENV":
                for pair in text.replace(f"{TOP}/", f"{folder}/").split():
                    variable, value = pair.split("=", 1)
                    variables[variable] = value.replace("$PATH", variables["PATH"])
        return variables

    def command(self, name: str) -> list[str]:
        """Return the command of a container of a stage."""
        stage = self.stages[name]
        return [*json.loads(stage.last("ENTRYPOINT")), *json.loads(stage.last("CMD"))]

    def run(
        self, name: str, command: list[str], uid: int | None, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a stage, with its environment and no other."""
        return subprocess.run(
            command,
            cwd=self.folder(name),
            env={"HOME": "/nonexistent", **self.environment(name), **variables},
            capture_output=True,
            text=True,
            check=False,
            **user(uid),
        )

    def _execute(self, name: str, step: str) -> None:
        """Execute a step of RUN; pip takes its index from the environment of the tests."""
        for path in (self.root / "tmp", *self.folder(name).rglob("*"), self.folder(name)):
            if self.uid is not None:
                os.chown(path, self.uid, self.uid, follow_symlinks=False)
        index = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        done = self.run(name, ["sh", "-ec", step], self.uid, **index, TMPDIR=f"{self.root}/tmp")
        assert not done.returncode, done.stdout + done.stderr

    def _copy(self, folder: Path, words: list[str]) -> None:
        source = self.context
        if words[0].startswith("--from="):
            stage = words.pop(0).removeprefix("--from=")
            self.build(stage)
            source = self.folder(stage)
            words = [word.removeprefix(f"{TOP}/") for word in words]
        *patterns, target = words
        for pattern in patterns:
            paths = list(source.glob(pattern))
            assert paths, pattern
            for path in paths:
                copy = folder / path.name if target == "./" else folder / target
                copy_file_or_folder = shutil.copytree if path.is_dir() else shutil.copy
                copy_file_or_folder(path, copy, **({"symlinks": True} if path.is_dir() else {}))


def user(uid: int | None) -> dict[str, Any]:
    """Return the options by which a process runs as another user."""
    return {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}


def python_for(uid: int | None) -> str | None:
    """Return a Python with which an ordinary user can make an environment, if there is one."""
    for program in (Path(sys.base_prefix) / "bin/python3", Path("/usr/bin/python3")):
        try:
            subprocess.run([program, "-c", "import ensurepip, venv"], check=True, **user(uid))
        except (OSError, subprocess.CalledProcessError):
            continue
        return str(program)
    return None
