"""Runs pipelines on a lake, for tests that hurt the process; its arguments: ROOT PIPELINE…

With `--env=E` it runs in that environment, with `--now=T` at that instant, with `--s3fs` as where
httpfs is not installed. With `--no-heartbeats` it writes nothing that only time has it write. With
`--die-at=N` the process ends just before its N-th call that changes the lake. With
`--stop-while-staging` it stops, as by SIGSTOP, when it has staged one file of Silver and begins the
next. With `--as-nobody` it runs as another user, who may read every file as root does and write
none of another's.

Some options take a guard out. `--in-place`: files are written under their own names.
`--at-once`: objects are put into place as they are written, and no commit is recorded.
`--unconditional`: the writes to a bucket name no condition.
"""

import ctypes
import itertools
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.engines import duckdb_s3
from capstone_metrics.errors import user_message
from capstone_metrics.lake.transaction import Transaction
from capstone_metrics.operations import record
from capstone_metrics.storage import lease
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.documents import format_document

NOBODY = 65534
PR_SET_KEEPCAPS = 8
CAPABILITIES_VERSION = 0x20080522
DAC_READ_SEARCH = 1 << 2
FOREVER = 1e6
CHANGES = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}


def write_in_place() -> None:
    def write(self: Transaction, key: str, content: bytes) -> bool:
        path = self.storage.path(key)  # type: ignore[attr-defined] - the lake is a folder
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return True

    Transaction.write = write  # type: ignore[method-assign]
    Transaction.commit = write_head  # type: ignore[method-assign]


def write_at_once() -> None:
    def write(self: Transaction, key: str, content: bytes) -> bool:
        self.storage.promote({key: self.storage.stage(self.prefix, content)})
        return True

    Transaction.write = write  # type: ignore[method-assign]
    Transaction.delete = lambda self, key: self.storage.delete([key])  # type: ignore[method-assign]
    Transaction.commit = write_head  # type: ignore[method-assign]


def write_head(changes: Transaction, head: Mapping[str, Any]) -> None:
    content = format_document({**head, "generation": changes.generation + 1})
    changes.write(changes.layer.head, content)


def write_unconditionally() -> None:
    write, copy = Bucket.write, Bucket._copy_object
    Bucket.write = lambda self, key, body, **_: write(self, key, body)  # type: ignore[method-assign]
    Bucket._copy_object = lambda self, key, source, **_: copy(self, key, source)  # type: ignore[method-assign]
    Bucket.check_conditions = lambda _: None  # type: ignore[method-assign]
    Bucket._honours_conditional_copies = True  # type: ignore[assignment]


def write_no_heartbeats() -> None:
    lease.EXPIRY_SECONDS = FOREVER  # type: ignore[assignment]
    record.HEARTBEAT_SECONDS = FOREVER  # type: ignore[assignment]


def read_by_s3fs() -> None:
    duckdb_s3.HTTPFS_PACKAGE = "no_such_package"


def become_nobody() -> None:
    system = ctypes.CDLL(None, use_errno=True)
    system.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    effective = permitted = DAC_READ_SEARCH
    capabilities = (ctypes.c_uint32 * 6)(effective, permitted, 0, 0, 0, 0)
    if system.capset(header, capabilities):
        raise OSError(ctypes.get_errno(), "capset")


def die_at(number: int, lake: Path) -> None:
    calls = itertools.count(1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not changes(event, arguments):
            return
        if lake in Path(os.fsdecode(arguments[0])).parents and next(calls) == number:
            os._exit(137)

    sys.addaudithook(hook)


def stop_while_staging() -> None:
    write, stops = Transaction.write, iter([signal.SIGSTOP])

    def write_or_stop(self: Transaction, key: str, content: bytes) -> bool:
        has_one = any(staged.startswith("silver/criacao/") for staged in self.puts)
        if has_one and key.startswith("silver/criacao/") and (number := next(stops, None)):
            signal.raise_signal(number)
        return write(self, key, content)

    Transaction.write = write_or_stop  # type: ignore[method-assign]


def changes(event: str, arguments: tuple[Any, ...]) -> bool:
    """Return whether Python is about to create, rename or remove something."""
    if event == "open" and isinstance(arguments[0], str | bytes):
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES


OPTIONS = {
    "--in-place": write_in_place,
    "--at-once": write_at_once,
    "--unconditional": write_unconditionally,
    "--no-heartbeats": write_no_heartbeats,
    "--s3fs": read_by_s3fs,
    "--as-nobody": become_nobody,
    "--stop-while-staging": stop_while_staging,
}


def run(arguments: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # its parent may ignore it
    root, *pipelines = [word for word in arguments if not word.startswith("--")]
    options = [word.partition("=") for word in arguments if word.startswith("--")]
    values = {name: value for name, _, value in options}
    for name in values:
        if name in OPTIONS:
            OPTIONS[name]()
    if "--die-at" in values:
        die_at(int(values["--die-at"]), Path(root) / "data")
    params = {"now": values["--now"]} if "--now" in values else None
    bootstrap_project(Path(root))
    try:
        with KedroSession.create(
            project_path=root, env=values.get("--env"), runtime_params=params
        ) as session:
            session.run(pipeline_names=pipelines)
    except Exception as error:
        sys.exit(str(user_message(error) or repr(error)))
