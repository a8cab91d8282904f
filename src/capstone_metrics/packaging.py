"""The configuration on its way to another machine: packed, and read from there."""

from __future__ import annotations

import gzip
import mimetypes
import os
import tarfile
from typing import TYPE_CHECKING

import fsspec
import yaml
from kedro.framework.project import LOGGING

if TYPE_CHECKING:
    from pathlib import Path, PurePath

ARCHIVES = {"application/x-tar": "tar", "application/zip": "zip"}


def pack_configuration(conf: Path, archive: Path) -> None:
    """Pack a folder of configuration: the same bytes from the same files, on any machine.

    What a user keeps in `local`, what is hidden and whatever is named after credentials stays.
    """
    with (
        gzip.GzipFile(archive, "wb", mtime=0) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(conf.rglob("*")):
            name = path.relative_to(conf)
            if _stays(name):
                continue
            entry = tarfile.TarInfo(f"conf/{name.as_posix()}")
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(entry, content)


def _stays(name: PurePath) -> bool:
    """Whether a file of the configuration is of this machine, or may be a secret."""
    is_own = name.parts[:1] == ("local",) and len(name.parts) > 1
    return is_own or any(part.startswith(".") or "credentials" in part for part in name.parts)


def configure_logging(source: str) -> None:
    """Log as a configuration says that lies elsewhere: Kedro has looked in `./conf` alone.

    Args:
        source: a folder or an archive, as in `--conf-source`.
    """
    if "KEDRO_LOGGING_CONFIG" in os.environ:
        return
    kind = ARCHIVES.get(mimetypes.guess_type(source)[0] or "")
    place = f"{kind}://conf/logging.yml::{source}" if kind else f"{source}/logging.yml"
    try:
        with fsspec.open(place) as file:
            LOGGING.configure(yaml.safe_load(file))
    except FileNotFoundError:
        return
