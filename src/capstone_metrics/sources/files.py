"""Ingest a user's own exports, raw: each distinct file content becomes one Bronze object."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from functools import partial
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.configuration import TEXT
from capstone_metrics.errors import CapstoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from capstone_metrics.schedule import Calendar

OPTIONS = {"path?": TEXT, "format?": TEXT, "encoding?": TEXT, "delimiter?": TEXT}
CHUNK_BYTES = 1 << 20
EXTRA_VALUES = "_extra"
"""The field with the values of a CSV row beyond its header."""


def objects(
    name: str, declaration: Mapping[str, Any], calendar: Calendar, existing: Collection[str]
) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Return an object for each file at `path` (a glob) whose content Bronze lacks.

    The objects belong to the latest due window; there are none if a backfill leaves it out.

    Raises:
        CapstoneError: if the `format` is unknown, or no file matches the `path`.
    """
    reader = READERS.get(declaration.get("format", ""))
    if reader is None:
        raise CapstoneError(
            f"sources.{name}.format: {declaration.get('format')!r} is not one of "
            f"{', '.join(READERS)}."
        )
    matches = glob(str(declaration.get("path", "")), recursive=True)
    paths = sorted(path for path in map(Path, matches) if path.is_file())
    if not paths:
        raise CapstoneError(
            f"sources.{name}.path: no file at {declaration.get('path')!r}, relative to "
            f"{Path.cwd()}; put the export there or correct the path."
        )
    window = calendar.arrival_window()
    if window is None:
        return {}
    prefix = f"fonte={name}/"
    ingested = {each.rpartition("/")[2] for each in existing if each.startswith(prefix)}
    paths_by_content = {f"{_digest(path)}.jsonl": path for path in paths}
    return {
        f"{prefix}janela={window}/{file_name}": partial(reader, path, declaration)
        for file_name, path in paths_by_content.items()
        if file_name not in ingested
    }


def _digest(path: Path) -> str:
    with _translate_errors(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _csv_lines(path: Path, declaration: Mapping[str, Any]) -> Iterator[bytes]:
    encoding = declaration.get("encoding", "utf-8-sig")
    delimiter = declaration.get("delimiter", ",")
    try:
        with _translate_errors(path), path.open(encoding=encoding, newline="") as file:
            rows = csv.DictReader(file, restkey=EXTRA_VALUES, delimiter=delimiter, strict=True)
            if len(set(rows.fieldnames or ())) < len(rows.fieldnames or ()):
                raise CapstoneError(f"{path}: two columns have the same name in its header.")
            for row in rows:
                yield _json_line({key: value for key, value in row.items() if value is not None})
    except (ValueError, LookupError, TypeError, csv.Error) as error:
        raise CapstoneError(
            f"{path}: cannot be read as CSV ({error}); declare its encoding or delimiter, "
            "or correct the file."
        ) from error


def _json_lines(path: Path, _: Mapping[str, Any]) -> Iterator[bytes]:
    with _translate_errors(path), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _parquet_lines(path: Path, _: Mapping[str, Any]) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415 - a run without a Parquet export does not need it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                yield _json_line(row)
    except (OSError, pa.ArrowException) as error:
        detail = " ".join(str(error).split())
        raise CapstoneError(
            f"{path}: cannot be read as Parquet ({detail}); export it again."
        ) from error


@contextlib.contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        detail = (error.strerror or str(error)).lower()
        raise CapstoneError(f"{path}: {detail}; make the export readable for this user.") from error


def _json_line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "surrogatepass") + b"\n"


READERS: dict[str, Callable[[Path, Mapping[str, Any]], Iterator[bytes]]] = {
    "csv": _csv_lines,
    "jsonl": _json_lines,
    "parquet": _parquet_lines,
}
