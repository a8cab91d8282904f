"""Runs pipelines on a lake, for tests that hurt the process: run_lake.py ROOT PIPELINE…

With `--in-place`, the guard is taken out: files are written under their own names. With
`--die-at=N`, the process is gone just before its N-th call that changes the lake.
"""

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.cli import reason
from capstone_metrics.lake.commit import Commit

CHANGES = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}


def write_in_place() -> None:
    @contextmanager
    def stage(self: Commit, key: str) -> Iterator[Path]:
        path = self.storage.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path

    Commit.stage = stage  # type: ignore[method-assign]
    Commit.put = lambda *_: True  # type: ignore[method-assign]
    Commit.finish = lambda *_: None  # type: ignore[method-assign]


def die_at(number: int, lake: Path) -> None:
    calls = itertools.count(1)

    def hook(event: str, about: tuple[Any, ...]) -> None:
        if not changes(event, about):
            return
        # shutil.rmtree gives a name within an open folder
        path = Path(os.fsdecode(about[0]))
        if (not path.is_absolute() or lake in path.parents) and next(calls) == number:
            os._exit(137)

    sys.addaudithook(hook)


def changes(event: str, about: tuple[Any, ...]) -> bool:
    """Whether what Python is about to do makes, moves or removes something."""
    if event == "open" and isinstance(about[0], str | bytes):
        return bool(about[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES


if __name__ == "__main__":
    options, (root, *pipelines) = (
        [word for word in sys.argv[1:] if word.startswith("--")],
        [word for word in sys.argv[1:] if not word.startswith("--")],
    )
    if "--in-place" in options:
        write_in_place()
    for option in options:
        if option.startswith("--die-at="):
            die_at(int(option.removeprefix("--die-at=")), Path(root) / "data")
    bootstrap_project(Path(root))
    try:
        with KedroSession.create(project_path=root) as session:
            session.run(pipeline_names=pipelines)
    except Exception as error:
        sys.exit(str(reason(error) or repr(error)))
