"""Propose the declaration of a file that is no known export, from its names and values."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
import re
import sys
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError, SourceError, unknown_name
from capstone_metrics.sources.presets import all_presets
from capstone_metrics.sources.readers import Reading, members, read
from capstone_metrics.sources.readers.content import BYTE_ORDER_MARKS, ZIP, opened
from capstone_metrics.sources.readers.table import HEADER_ROWS
from capstone_metrics.sources.readers.xlsx import BROKEN
from capstone_metrics.validation.conditions import ONE_VALUE, text_of
from capstone_metrics.validation.fields import NUMBERS, TABLES, fields_of
from capstone_metrics.validation.json_object import Number, parse_object
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.rules import read_field
from capstone_metrics.validation.silver import REQUIRED, SILVER, TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    Record = Mapping[str, Any]

SOURCE = "proposal"
OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
HEAD_BYTES = 1 << 20
SAMPLE_RECORDS = 200
DELIMITERS = (",", ";", "\t", "|")
TOTALS = ("Total", "Total geral", "Grand total")
MIN_ID_LENGTH = 5
VAGUE_NAMES = frozenset(
    ("date", "data", "fecha", "datum", "dia", "day", "impressions", "impressoes", "impresiones")
)
"""Names that may be of something else: a day of a report, and views that are none."""

READABLE = 0.5
"""Of the values of a field, the part that a proposed format has to read."""

LINK = r"(?:/(?:video|videos|shorts|reel|reels|p|live|status)/|youtu\.be/|watch\?v=)([\w-]{5,})"
"""The id of a video in a link to it."""

ZONE = "America/Sao_Paulo"
DATE_FORMATS = (
    "iso",
    "epoch",
    "epoch_ms",
    *("%d/%m/%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y", "%d/%m/%y", "%d-%m-%Y", "%d.%m.%Y"),
    *("%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y", "%m/%d/%Y %-I:%M %p"),
    *("%-d/%-m/%Y %-H:%M", "%-d/%-m/%Y", "%-m/%-d/%Y %-H:%M", "%-m/%-d/%Y"),
    *("%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y%m%d", "%d-%b-%y", "%-d-%b-%y"),
    *("%b %-d, %Y", "%b %-d, %Y %-I:%M %p", "%B %-d, %Y", "%-d %b %Y", "%-d %B %Y"),
    *("%-d de %b de %Y", "%-d de %B de %Y", "%-d. %B %Y", "%-d. %b %Y"),
)
LANGUAGES = ("en", "pt", "es", "fr", "de", "it")
NUMBER_OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"text": True},
    {"thousands": "."},
    {"thousands": ","},
    {"compact": "en", "thousands": ","},
    {"compact": "pt", "thousands": ".", "decimal": ","},
    {"percent": True},
    {"percent": True, "decimal": ","},
)
"""What is tried in this order; the first that reads most values is proposed."""


@dataclass(frozen=True)
class Proposal:
    """A declaration that was guessed.

    Attributes:
        declaration: the options of the source, without what is missing.
        missing: the required columns for which no field was found.
        names: the fields of the file.
        networks: the values of the field for `rede_social`.
    """

    declaration: dict[str, Any]
    missing: tuple[str, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]


def propose(path: Path, given: Iterable[str], named: Mapping[str, str]) -> Proposal:
    """Propose how a file is read.

    Args:
        path: of the file.
        given: the columns whose values are given otherwise.
        named: the columns whose field in the file is known.

    Raises:
        CapstoneError: if the file has no records, or nothing is known of what it is.
    """
    try:
        return _propose(path, given, named)
    except (*BROKEN, RecursionError, csv.Error) as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"{path}: is none of CSV, JSON, Parquet and Excel that can be read ({detail}); save it "
            "again as one of these."
        ) from error


def _propose(path: Path, given: Iterable[str], named: Mapping[str, str]) -> Proposal:
    options = _reading_options(path, set(named.values()))
    records = _records(path, options)
    if not records:
        raise SourceError(f"{path}: has no records from which its fields could be guessed.")
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(map(_paths, records))))
    fields: dict[str, Any] = {}
    if unknown := [name for name in named.values() if name not in names]:
        raise unknown_name("--field", unknown[0], names)
    matches = _matches(names, records, skipped={*given, *named})
    for column, name in {**matches, **named}.items():
        rule = _rule(column, name, records, is_csv=options["format"] == "csv")
        if rule is not None:
            fields[column] = rule
    if "video_id" not in {*fields, *given} and (link := _link(names, records)):
        fields["video_id"] = link
    missing = [column for column in REQUIRED if column not in {*fields, *given}]
    declaration = {"type": "files", **options, "fields": fields}
    if options["format"] in TABLES:
        declaration["ignore"] = [{names[0]: list(TOTALS)}, ONE_VALUE]
    network = fields.get("rede_social")
    values = {text_of(find(record, network)) for record in records} if network else ()
    networks = sorted(value.strip() for value in values if value and value.strip())
    return Proposal(declaration, tuple(missing), names, tuple(networks))


def _reading_options(path: Path, names: set[str]) -> dict[str, Any]:
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
        raise SourceError(f"{path}: is no CSV, JSON, Parquet or Excel file.")
    return {"format": "csv", **options, **_csv_options(text, names)}


def _sheet_options(path: Path, known: set[str]) -> dict[str, Any]:
    """Guess the sheet of a workbook, and which row has the names of its columns."""
    from openpyxl import load_workbook  # noqa: PLC0415 - slow, and only for workbooks

    workbook = load_workbook(path, read_only=True)
    for sheet in (each for each in workbook.worksheets if hasattr(each, "iter_rows")):
        rows = sheet.iter_rows(max_row=HEADER_ROWS, values_only=True)
        for row in rows:
            names = [str(name).strip() for name in row if name is not None]
            if _known(names) or known & set(names):
                header = [name for name in names if _column_of(name) or name in known][:3]
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
            yield path, (len({_column_of(name) for name in names} - {None}), len(value))
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
    lines = text.splitlines()[:SAMPLE_RECORDS]
    if lines and lines[0].lower().startswith("sep=") and len(lines[0]) == len("sep=,"):
        delimiter, declared = lines[0][-1], True
    else:
        delimiter, declared = max(DELIMITERS, key=lambda each: _regularity(lines, each)), False
    csv.field_size_limit(sys.maxsize)
    rows = list(
        itertools.islice(csv.reader(io.StringIO(text, newline=None), delimiter=delimiter), 50)
    )
    width = Counter(len(row) for row in rows).most_common(1)[0][0] if rows else 0
    wide = [row for row in rows if len(row) >= width and sum(map(bool, row)) > width // 2]
    header = next((row for row in wide if _known(row) or known & set(row)), None)
    header = header or next(iter(wide), None)
    options: dict[str, Any] = {}
    if delimiter != "," and not declared:
        options["delimiter"] = {"\t": "tab"}.get(delimiter, delimiter)
    first = next((row for row in rows if any(cell.strip() for cell in row)), None)
    if header and header != first and not declared:
        options["header"] = [name.strip() for name in header if name.strip()][:3]
    return options


def _regularity(lines: Sequence[str], delimiter: str) -> int:
    """Return in how many lines a delimiter stands as often as in most of them."""
    counts = Counter(line.count(delimiter) for line in lines if line.strip())
    return max((n * min(count, 3) for count, n in counts.items() if count), default=0)


def _known(row: Sequence[str]) -> bool:
    return sum(1 for name in row if _column_of(name)) > 1


def _records(path: Path, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    reading = Reading.of(SOURCE, options)
    member = members(path, reading)[0]
    lines = (line for chunk in read(path, reading, member) for line in chunk.split(b"\n"))
    parsed = (parse_object(line.decode(errors="replace")) for line in lines if line.strip())
    return [dict(pairs) for pairs in itertools.islice(filter(None, parsed), SAMPLE_RECORDS)]


def _paths(record: Record, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the values of a record that are not nested."""
    for name, value in record.items():
        path = f"{prefix}{name}"
        if isinstance(value, tuple):
            yield from _paths(dict(value), f"{path}.")
        elif not isinstance(value, list):
            yield path


def _normalized(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalnum())


@cache
def _synonyms() -> dict[str, str]:
    """Return the column of each name that a known export has for it."""
    names: dict[str, str] = {_normalized(column): column for column in SILVER}
    for preset in all_presets().values():
        for column, rule in preset.options.get("fields", {}).items():
            for name in _names(rule):
                names.setdefault(_normalized(name), column)
                names.setdefault(_normalized(name.rpartition(".")[2]), column)
    return names


def _names(rule: Any) -> Iterator[str]:
    if isinstance(rule, str):
        yield rule
    elif isinstance(rule, list):
        for each in rule:
            yield from _names(each)
    elif isinstance(rule, dict) and "pattern" not in rule:  # a link is no id
        yield from _names(rule.get("field", []))


def _column_of(name: str) -> str | None:
    return _synonyms().get(_normalized(name))


def _matches(names: Sequence[str], records: Sequence[Record], skipped: set[str]) -> dict[str, str]:
    """Return a field for each column, the likeliest of those that have a name for it."""
    candidates: dict[str, list[str]] = {}
    for name in names:
        column = _column_of(name) or _column_of(name.rpartition(".")[2])
        if column and column not in skipped:
            candidates.setdefault(column, []).append(name)
    columns = {
        column: min(each, key=lambda name: _unlikeliness(column, name, records))
        for column, each in candidates.items()
    }
    if "data_postagem" in columns and "posted_at" not in {*columns, *skipped}:
        columns["posted_at"] = columns["data_postagem"]
    if "posted_at" in columns and "data_postagem" not in columns:
        columns["data_postagem"] = columns["posted_at"]
    return columns


def _unlikeliness(column: str, name: str, records: Sequence[Record]) -> tuple[bool, bool, int, int]:
    """Return a key by which the likeliest field for a column sorts first.

    It has the column's own name, no name for something else as well, distinct values if it is an
    id, and no object around it.
    """
    plain = _normalized(name.rpartition(".")[2])
    texts = {text_of(find(record, name)) for record in records} if column == "video_id" else ()
    is_counted = all(text and text.isdigit() and len(text) < MIN_ID_LENGTH for text in texts)
    return (
        plain != _normalized(column),
        plain in VAGUE_NAMES or (bool(texts) and is_counted),
        -len(texts),
        name.count("."),
    )


def _link(names: Sequence[str], records: Sequence[Record]) -> dict[str, str] | None:
    """Return the rule by which an id is read from links to videos; None if there are none."""
    for name in names:
        links = (text_of(find(record, name)) for record in records)
        matches = sum(1 for link in links if link and re.search(LINK, link))
        if matches >= READABLE * len(records):
            return {"field": name, "pattern": LINK}
    return None


def _rule(column: str, name: str, records: Sequence[Record], *, is_csv: bool) -> Any:
    """Return the rule by which most values of a field are read; None if there is none."""
    values = [record for record in records if _has_value(find(record, name))]
    if not values:
        return {"field": name, "optional": True} if column in {"likes", "comentarios"} else name
    candidates = [{"field": name, **options} for options in _options(column, values, name)]
    scores = [_score(column, rule, values, is_csv=is_csv) for rule in candidates]
    best = candidates[scores.index(max(scores))]
    if max(scores) < READABLE * len(values) and column not in REQUIRED:
        return None
    if column in {"likes", "comentarios"}:
        best["optional"] = True
    return best if len(best) > 1 else name


def _has_value(value: Any) -> bool:
    text = text_of(value)
    return text is not None and bool(text.strip())


def _options(column: str, records: Sequence[Record], name: str) -> Iterator[dict[str, Any]]:
    """Yield the options of a field that are tried."""
    if SILVER[column] in TIMES:
        for form in DATE_FORMATS:
            if "%b" not in form.lower():
                yield {} if form == "iso" else {"format": form}
                continue
            for language in LANGUAGES:
                yield {"format": form, **({} if language == "en" else {"language": language})}
    elif column == "duracao_seg":
        yield from ({}, {"format": "duration"})
    elif SILVER[column] in NUMBERS:
        is_number = all(isinstance(find(record, name), Number) for record in records)
        is_rate = SILVER[column] == "float64"
        options = NUMBER_OPTIONS[:1] if is_number else NUMBER_OPTIONS
        yield from (each for each in options if is_rate or "percent" not in each)
    else:
        yield {}


def _score(column: str, rule: dict[str, Any], records: Sequence[Record], *, is_csv: bool) -> int:
    """Return how many values a rule reads."""
    declaration = {"fields": {column: rule}, **({"format": "csv"} if is_csv else {})}
    field = fields_of(SOURCE, declaration, ZONE)[column]
    outcomes = (read_field(field, record) for record in records)
    return sum(1 for _, broken in outcomes if broken is None)
