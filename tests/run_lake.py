"""Runs pipelines on a lake, for tests that hurt the process: run_lake.py ROOT PIPELINE…

With `--env=E`, it runs in that environment; with `--s3fs`, as where httpfs is not installed. With
`--die-at=N`, the process is gone just before its N-th call that changes the lake.

Some options take a guard out. `--in-place`: files are written under their own names.
`--at-once`: objects are put into place as they are made, and no commit is written down.
`--unconditional`: the writes to a bucket name no condition.
"""

import itertools
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.errors import reason
from capstone_metrics.lake import remote
from capstone_metrics.lake.bucket import Bucket
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
    Commit.size = lambda *_: 0  # type: ignore[method-assign]
    Commit.finish = lambda *_: None  # type: ignore[method-assign]


def write_at_once() -> None:
    def put(self: Commit, key: str, _: object = None) -> bool:
        self.storage.put({key: self.workspace / key})
        return True

    Commit.put = put  # type: ignore[method-assign]
    Commit.size = lambda *_: 0  # type: ignore[method-assign]
    Commit.delete = lambda self, key: self.storage.delete([key])  # type: ignore[method-assign]
    Commit.finish = lambda *_: None  # type: ignore[method-assign]


def write_unconditionally() -> None:
    write = Bucket.write
    Bucket.write = lambda self, key, body, **_: write(self, key, body)  # type: ignore[method-assign]
    Bucket.check_conditions = lambda _: None  # type: ignore[method-assign]


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


GUARDS = {
    "--in-place": write_in_place,
    "--at-once": write_at_once,
    "--unconditional": write_unconditionally,
}


def run(arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # its parent may not have heard it
    options, (root, *pipelines) = (
        [word for word in arguments if word.startswith("--")],
        [word for word in arguments if not word.startswith("--")],
    )
    env = None
    for option in options:
        if option in GUARDS:
            GUARDS[option]()
        elif option == "--s3fs":
            remote.PACKAGED = "no_such_package"
        elif option.startswith("--env="):
            env = option.removeprefix("--env=")
        elif option.startswith("--die-at="):
            die_at(int(option.removeprefix("--die-at=")), Path(root) / "data")
    bootstrap_project(Path(root))
    try:
        with KedroSession.create(project_path=root, env=env) as session:
            session.run(pipeline_names=pipelines)
    except Exception as error:
        sys.exit(str(reason(error) or repr(error)))


if __name__ == "__main__":
    run(sys.argv[1:])
