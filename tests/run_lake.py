"""Runs pipelines on a lake, for tests that hurt the process: run_lake.py ROOT PIPELINE…

With `--in-place`, the guard is taken out: files are written under their own names.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.cli import reason
from capstone_metrics.lake.commit import Commit


def write_in_place() -> None:
    @contextmanager
    def stage(self: Commit, key: str) -> Iterator[Path]:
        path = self.storage.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path

    Commit.stage = stage  # type: ignore[method-assign]
    Commit.put = lambda *_: True  # type: ignore[method-assign]
    Commit.finish = lambda *_: None  # type: ignore[method-assign]


if __name__ == "__main__":
    options, (root, *pipelines) = (
        [word for word in sys.argv[1:] if word.startswith("--")],
        [word for word in sys.argv[1:] if not word.startswith("--")],
    )
    if "--in-place" in options:
        write_in_place()
    bootstrap_project(Path(root))
    try:
        with KedroSession.create(project_path=root) as session:
            session.run(pipeline_names=pipelines)
    except Exception as error:
        sys.exit(str(reason(error) or repr(error)))
