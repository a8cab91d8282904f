"""Read a sheet of a workbook: each row becomes the object of its cells, by their types."""

from __future__ import annotations

import datetime as dt
import warnings
import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any

from openpyxl import load_workbook
from openpyxl.styles.numbers import is_datetime

from capstone_metrics.errors import SourceError
from capstone_metrics.sources.readers import table
from capstone_metrics.sources.readers.content import check_file_name, seekable
from capstone_metrics.sources.readers.objects import to_line
from capstone_metrics.sources.readers.table import Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from capstone_metrics.sources.readers.options import Reading

BROKEN = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),
    *(AttributeError, IndexError, KeyError, SyntaxError, TypeError, ValueError),
)
"""What openpyxl raises for a file that is no workbook, or a broken one."""

CHUNK_ROWS = 4096
SIGNIFICANT_DIGITS = 15
"""The digits of a number that a workbook keeps."""


def records(path: Path, file: IO[bytes], reading: Reading) -> Iterator[bytes]:
    """Yield the lines of JSON of a sheet, in chunks.

    Raises:
        SourceError: if it is no workbook, or has no such sheet or header.
    """
    with seekable(file) as content, warnings.catch_warnings(action="ignore"):
        try:
            workbook = load_workbook(content, read_only=True, data_only=True)
            chunk: list[bytes] = []
            for row in _rows(path, workbook, reading):
                chunk.append(to_line(row))
                if len(chunk) == CHUNK_ROWS:
                    yield b"".join(chunk)
                    chunk = []
            if chunk:
                yield b"".join(chunk)
        except BROKEN as error:
            detail = " ".join(str(error).split())
            raise SourceError(
                f"{path}: cannot be read as a workbook ({detail}); save it again as .xlsx."
            ) from error


def _rows(path: Path, workbook: Any, reading: Reading) -> Iterator[dict[str, Any]]:
    """Yield the rows with a value below the header of a sheet."""
    sheet, header_row = _table(path, workbook, reading)
    if sheet is None:
        return
    rows = _values(sheet)
    header: Header | None = None
    for number, values in enumerate(rows, 1):
        if number == header_row:
            names = ["" if value is None else str(value) for value in values]
            check_file_name(path, reading, names)
            header = Header.of(path, names, keep_one_unnamed=False)
        elif header and any(value is not None for value in values):
            padded = [*values, *[None] * (len(header.names) - len(values))]
            yield header.to_object(_without_blank_end(padded, len(header.names)))
        elif header and reading.until:
            return


def _table(path: Path, workbook: Any, reading: Reading) -> tuple[Any, int]:
    """Return the sheet that is read, and the row of its header."""
    names = [sheet.title for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
    if reading.sheet and reading.sheet not in workbook.sheetnames:
        raise SourceError(
            f"{path}: has no sheet {reading.sheet!r}; choose from {', '.join(names)}."
        )
    candidates = [reading.sheet] if reading.sheet else names
    has_names = isinstance(reading.header, tuple) and bool(reading.header)
    if len(candidates) > 1 and not has_names:
        raise SourceError(f"{path}: has several sheets; declare sheet: {' or '.join(names)}.")
    first: Sequence[Any] | None = None
    for name in candidates:
        sheet = workbook[name]
        head = [values for values, _ in zip(_values(sheet), range(table.HEADER_ROWS), strict=False)]
        first = first or next((v for v in head if any(map(table.is_present, v))), None)
        header_row = table.find_header(enumerate(head, 1), reading.header)
        if header_row:
            return sheet, header_row[0] + 1
    if reading.header:
        raise table.no_header(path, reading, [v for v in first or [] if v is not None])
    return None, 0


def _values(sheet: Any) -> Iterator[list[Any]]:
    """Yield the values of each row, as JSON has them, without empty cells at its end."""
    sheet.reset_dimensions()  # what a file says of its size is often wrong
    for row in sheet.iter_rows():
        yield _without_blank_end([_value(cell) for cell in row], 0)


def _without_blank_end(values: list[Any], width: int) -> list[Any]:
    while len(values) > width and values[-1] is None:
        values.pop()
    return values


def _value(cell: Any) -> Any:
    """Return the value of a cell: times as ISO 8601, durations as `hh:mm:ss`, errors as text.

    A number of more digits than a workbook keeps stays a number with an exponent or a fraction,
    by which a spoilt id is known.
    """
    value = cell.value
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        is_exact = value == value // 1 and abs(value) < 10**SIGNIFICANT_DIGITS
        return int(value) if is_exact else float(value)
    if isinstance(value, dt.datetime):
        is_day = value.time() == dt.time() and not _has_time(cell.number_format)
        return value.date().isoformat() if is_day else value.isoformat()
    if isinstance(value, dt.timedelta):
        return _duration(value)
    return value.isoformat() if isinstance(value, dt.date | dt.time) else value or None


def _has_time(number_format: str) -> bool:
    return str(is_datetime(number_format)) != "date"


def _duration(value: dt.timedelta) -> str:
    seconds, fraction = divmod(abs(value), dt.timedelta(seconds=1))
    sign = "-" if value < dt.timedelta() else ""
    part = f".{fraction.microseconds:06}".rstrip("0") if fraction else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{part}"
