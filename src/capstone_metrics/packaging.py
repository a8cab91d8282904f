"""Pack the configuration for another machine, and configure logging from a packed one."""

from __future__ import annotations

import gzip
import mimetypes
import os
import tarfile
import zipfile
from typing import TYPE_CHECKING

import fsspec
from kedro.framework.project import LOGGING

from capstone_metrics.errors import ConfigError
from capstone_metrics.yaml_text import read_yaml

if TYPE_CHECKING:
    from pathlib import Path, PurePath

ARCHIVES = {"application/x-tar": "tar", "application/zip": "zip"}


def pack_configuration(conf: Path, archive: Path) -> None:
    """Write a configuration folder to an archive, reproducibly: equal files give equal bytes.

    Files in `local`, hidden files and files with `credentials` in their name are left out.
    """
    with (
        gzip.GzipFile(archive, "wb", mtime=0) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(conf.rglob("*")):
            name = path.relative_to(conf)
            if _is_excluded(name):
                continue
            entry = tarfile.TarInfo(f"conf/{name.as_posix()}")
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            entry.size = path.stat().st_size
            with path.open("rb") as content:
                tar.addfile(entry, content)


def _is_excluded(name: PurePath) -> bool:
    """Return whether a file belongs to this machine alone, or may contain a secret."""
    is_local = name.parts[:1] == ("local",) and len(name.parts) > 1
    return is_local or any(part.startswith(".") or "credentials" in part for part in name.parts)


def configure_logging(source: str) -> None:
    """Configure logging from another configuration source; Kedro itself reads `./conf` alone.

    Args:
        source: a folder or an archive, as in `--conf-source`.
    """
    if "KEDRO_LOGGING_CONFIG" in os.environ:
        return
    kind = ARCHIVES.get(mimetypes.guess_type(source)[0] or "")
    url = f"{kind}://conf/logging.yml::{source}" if kind else f"{source}/logging.yml"
    try:
        with fsspec.open(url) as file:
            LOGGING.configure(read_yaml(file.read()))
    except FileNotFoundError:
        return
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise ConfigError(
            f"--conf-source: {source} is not an archive that can be read ({error}); 'make package' "
            "writes one."
        ) from error
