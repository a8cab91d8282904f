"""Guess how a file is read: its format, and the options of this format."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError, SourceError
from capstone_metrics.sources.proposal.columns import column_of
from capstone_metrics.sources.readers import Reading, members
from capstone_metrics.sources.readers.content import BYTE_ORDER_MARKS, ZIP, opened
from capstone_metrics.sources.readers.table import HEADER_ROWS
from capstone_metrics.sources.readers.xlsx import BROKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
HEAD_BYTES = 1 << 20
SAMPLE_LINES = 200
DELIMITERS = (",", ";", "\t", "|")
USUAL = {"encoding": "utf-8", "delimiter": ","}
"""The options of a CSV that need not be declared."""


def reading_options(path: Path, names: set[str]) -> dict[str, Any]:
    """Guess the format of a file, and the options of this format.

    Args:
        path: of the file.
        names: some of its fields that are known.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == OLD_WORKBOOK:
        raise SourceError(f"{path}: is an old workbook, which is not read; save it as .xlsx.")
    if magic == b"PAR1":
        return {"format": "parquet"}
    if magic == ZIP and path.suffix.lower() in {".xlsx", ".xlsm"}:
        return {"format": "xlsx", **_sheet_options(path, names)}
    options: dict[str, Any] = {}
    if magic == ZIP:
        try:
            members(path, Reading("csv"))
        except CapstoneError:
            options["member"] = "*.csv"
    member = members(path, Reading("csv", member=tuple(options.values())))[0]
    with opened(path, member) as file:
        head = file.read(HEAD_BYTES)
    text, encoding = _decoded(head)
    if encoding:
        options["encoding"] = encoding
    start = text.lstrip()[:1]
    if start in {"{", "["}:
        return {"format": "json", **options, **_json_options(text)}
    if "\0" in text:
        raise SourceError(
            f"{path}: is no CSV, JSON, Parquet or Excel file; export it again as one of these."
        )
    return {"format": "csv", **options, **_csv_options(text, names)}


def text_options(path: Path) -> dict[str, str]:
    """Return the encoding and the delimiter of a CSV, as a spreadsheet may have saved it again.

    Without any if the file is none.
    """
    try:
        options = reading_options(path, set())
    except (CapstoneError, OSError, *BROKEN, RecursionError, csv.Error):
        return {}
    if options["format"] != "csv" or "member" in options:
        return {}
    return {option: options.get(option, usual) for option, usual in USUAL.items()}


def _sheet_options(path: Path, known: set[str]) -> dict[str, Any]:
    """Guess the sheet of a workbook, and which row has the names of its columns."""
    from openpyxl import load_workbook  # noqa: PLC0415 - slow, and only for workbooks

    workbook = load_workbook(path, read_only=True)
    for sheet in (each for each in workbook.worksheets if hasattr(each, "iter_rows")):
        rows = sheet.iter_rows(max_row=HEADER_ROWS, values_only=True)
        for row in rows:
            names = [str(name).strip() for name in row if name is not None]
            if _known(names) or known & set(names):
                header = [name for name in names if column_of(name) or name in known][:3]
                return {"sheet": sheet.title, "header": header}
    return {}


def _decoded(head: bytes) -> tuple[str, str]:
    """Return the beginning of a text, and its encoding unless the text itself tells it."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return head[len(mark) :].decode(encoding, errors="ignore"), ""
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(head), ""
    except UnicodeDecodeError:
        return head.decode("cp1252", errors="replace"), "cp1252"


def _json_options(text: str) -> dict[str, Any]:
    """Guess where the records of a document are: in the list with the most known fields."""
    try:
        document, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError:
        return {}
    best = max(_lists(document), key=lambda each: each[1], default=("", (0, 0)))
    return {"records": best[0]} if best[0] else {}


def _lists(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the path of each list of objects, its number of known columns, and its length."""
    if isinstance(value, list):
        if value and all(isinstance(each, dict) for each in value):
            names = (name.rpartition(".")[2] for name in _document_paths(value[0]))
            yield path, (len({column_of(name) for name in names} - {None}), len(value))
            for name, each in value[0].items():
                yield from _lists(each, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, dict) and depth < 4:  # noqa: PLR2004 - deeper ones belong to a record
        for name, each in value.items():
            yield from _lists(each, f"{path}.{name}" if path else name, depth + 1)


def _document_paths(value: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the paths of the values of an object of a document that are not in a list."""
    for name, each in value.items():
        if isinstance(each, dict):
            yield from _document_paths(each, f"{prefix}{name}.")
        elif not isinstance(each, list):
            yield f"{prefix}{name}"


def _csv_options(text: str, known: set[str]) -> dict[str, Any]:
    """Guess the delimiter of a CSV, and which line has the names of its columns."""
    lines = text.splitlines()[:SAMPLE_LINES]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == len("sep=,"):
        delimiter, declared = lines[0][-1], True
    else:
        delimiter, declared = max(DELIMITERS, key=lambda each: _regularity(lines, each)), False
    csv.field_size_limit(sys.maxsize)
    rows = list(
        itertools.islice(csv.reader(io.StringIO(text, newline=None), delimiter=delimiter), 50)
    )
    width = Counter(len(row) for row in rows).most_common(1)[0][0] if rows else 0
    wide = [row for row in rows if len(row) >= width and _may_be_header(row, width)]
    header = next((row for row in wide if _known(row) or known & set(row)), None)
    header = header or next(iter(wide), None)
    options: dict[str, Any] = {}
    if delimiter != "," and not declared:
        options["delimiter"] = {"\t": "tab"}.get(delimiter, delimiter)
    first = next((row for row in rows if any(cell.strip() for cell in row)), None)
    if header and header != first and not declared:
        options["header"] = [name.strip() for name in header if name.strip()][:3]
    return options


def _may_be_header(row: Sequence[str], width: int) -> bool:
    """Return whether a row has a name, and another one, for most of the columns."""
    names = [cell for cell in row if cell.strip()]
    return len(names) > width // 2 and len(set(names)) == len(names)


def _regularity(lines: Sequence[str], delimiter: str) -> int:
    """Return in how many lines a delimiter stands as often as in most of them."""
    counts = Counter(line.count(delimiter) for line in lines if line.strip())
    return max((n * min(count, 3) for count, n in counts.items() if count), default=0)


def _known(row: Sequence[str]) -> bool:
    return sum(1 for name in row if column_of(name)) > 1
