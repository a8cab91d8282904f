"""Guess which field of a file is which column, and how its values are written."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.sources.presets import all_presets
from capstone_metrics.validation.field_declarations import fields_of
from capstone_metrics.validation.json_object import Number
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.rules import read_field
from capstone_metrics.validation.silver import NUMBERS, REQUIRED, SILVER, TIMES
from capstone_metrics.validation.texts import text_of
from capstone_metrics.yaml_text import read_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    Record = Mapping[str, Any]

NAMES = Path(__file__).with_name("names.yml")
MIN_ID_LENGTH = 5
VAGUE_NAMES = frozenset(
    ("date", "data", "fecha", "datum", "dia", "day", "impressions", "impressoes", "impresiones")
)
"""Names that may be of something else: a day of a report, and views that are none."""

READABLE = 0.5
"""Of the values of a field, the part that a proposed format has to read."""

LINK = r"(?:/(?:video|videos|shorts|reel|reels|p|live|status)/|youtu\.be/|watch\?v=)([\w-]{5,})"
"""The id of a video in a link to it."""

NO_VIDEO = (
    r"(?i)\b(photos?|fotos?|images?|im[aá]ge(m|n|ns|nes)|immagin[ei]|pictures?|bild(er)?|carousels?|"
    r"carross[eé]l|carrusel|carrousel|karussell|carosello|[aá]lbum|slideshow|links?|te?xt[eo]?s?|status|"
    r"stor(y|ies)|hist[oó]rias?)\b"
)
"""The kinds of posts that are no videos."""

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
    {"decimal": "."},
    {"compact": "en", "thousands": ","},
    {"compact": "pt", "thousands": ".", "decimal": ","},
    {"percent": True},
    {"percent": True, "decimal": ","},
)
"""What is tried in this order; the first that reads most values is proposed."""


def paths_of(record: Record, prefix: str = "") -> Iterator[str]:
    """Yield the paths of the values of a record that are not nested."""
    for name, value in record.items():
        path = f"{prefix}{name}"
        if isinstance(value, tuple):
            yield from paths_of(dict(value), f"{path}.")
        elif not isinstance(value, list):
            yield path


def names_of(records: Iterable[Record]) -> tuple[str, ...]:
    """Return the paths of the values of some records, each once."""
    return tuple(dict.fromkeys(path for record in records for path in paths_of(record)))


def _normalized(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalnum())


@cache
def _synonyms() -> dict[str, str]:
    """Return the column of each name that a known export, or people, have for it."""
    columns = [preset.options.get("fields", {}) for preset in all_presets().values()]
    columns.append(read_yaml(NAMES.read_text(encoding="utf-8")))
    names: dict[str, str] = {}
    for column, rule in (each for fields in columns for each in fields.items()):
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


def column_of(name: str, columns: Iterable[str] = SILVER) -> str | None:
    """Return the column of Silver that a field is by its name; None if it is unknown."""
    normalized = _normalized(name)
    own = {_normalized(column): column for column in columns}
    column = own.get(normalized) or _synonyms().get(normalized)
    return column if column in own.values() else None


def matches_of(
    names: Sequence[str], records: Sequence[Record], columns: Collection[str]
) -> dict[str, str]:
    """Return a field for each of some columns, the likeliest of those that have a name for it."""
    candidates: dict[str, list[str]] = {}
    for name in names:
        column = column_of(name, columns) or column_of(name.rpartition(".")[2], columns)
        if column:
            candidates.setdefault(column, []).append(name)
    matches = {
        column: min(each, key=lambda name: _unlikeliness(column, name, records))
        for column, each in candidates.items()
    }
    if "data_postagem" in matches and "posted_at" in columns:
        matches.setdefault("posted_at", matches["data_postagem"])
    if "posted_at" in matches and "data_postagem" not in matches:
        matches["data_postagem"] = matches["posted_at"]
    return matches


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


def link_of(names: Sequence[str], records: Sequence[Record]) -> dict[str, str] | None:
    """Return the rule by which an id is read from links to videos; None if there are none."""
    for name in names:
        links = (text_of(find(record, name)) for record in records)
        matches = sum(1 for link in links if link and re.search(LINK, link))
        if matches >= READABLE * len(records):
            return {"field": name, "pattern": LINK}
    return None


@cache
def _networks() -> dict[str, str]:
    """Return the network that each name stands for in known exports."""
    rules = [
        preset.options.get("fields", {}).get("rede_social") for preset in all_presets().values()
    ]
    return {
        name.casefold(): network
        for rule in rules
        if isinstance(rule, dict)
        for name, network in rule.get("values", {}).items()
    }


def network_rule(name: str, records: Sequence[Record]) -> tuple[Any, tuple[str, ...]]:
    """Return the rule of a field that has networks, and those that it may give.

    A later file may have any known network, by any name of it, or one that only this file names.
    """
    names = dict(sorted(_networks().items()))
    texts = {(text_of(find(record, name)) or "").strip() for record in records} - {""}
    own = {text for text in texts if text.casefold() not in names}
    return {"field": name, "values": names}, tuple(sorted({*names.values(), *own}))


def no_video_conditions(
    names: Sequence[str], records: Sequence[Record]
) -> Iterator[dict[str, dict[str, str]]]:
    """Yield a condition for each field that says of a record that it is no video."""
    for name in names:
        kinds = {text_of(find(record, name)) for record in records}
        is_kind = column_of(name) == "categoria"
        if is_kind and any(kind and re.search(NO_VIDEO, kind) for kind in kinds):
            yield {name: {"pattern": NO_VIDEO}}


def rule_of(column: str, kind: str, name: str, records: Sequence[Record], *, is_csv: bool) -> Any:
    """Return the rule by which most values of a field are read; None if there is none."""
    values = [record for record in records if _has_value(find(record, name))]
    if not values:
        return {"field": name, "optional": True} if column in {"likes", "comentarios"} else name
    candidates = [{"field": name, **options} for options in _options(column, kind, values, name)]
    scores = [_score(column, kind, rule, values, is_csv=is_csv) for rule in candidates]
    best = candidates[scores.index(max(scores))]
    if max(scores) < READABLE * len(values) and column not in REQUIRED:
        return None
    if column in {"likes", "comentarios"}:
        best["optional"] = True
    return best if len(best) > 1 else name


def _has_value(value: Any) -> bool:
    text = text_of(value)
    return text is not None and bool(text.strip())


def _options(
    column: str, kind: str, records: Sequence[Record], name: str
) -> Iterator[dict[str, Any]]:
    """Yield the options of a field that are tried."""
    if kind in TIMES:
        for form in DATE_FORMATS:
            if "%b" not in form.lower():
                yield {} if form == "iso" else {"format": form}
                continue
            for language in LANGUAGES:
                yield {"format": form, **({} if language == "en" else {"language": language})}
    elif column == "duracao_seg":
        yield from ({}, {"format": "duration"})
    elif kind in NUMBERS:
        is_number = all(isinstance(find(record, name), Number) for record in records)
        is_rate = kind == "float64"
        options = NUMBER_OPTIONS[:1] if is_number else NUMBER_OPTIONS
        yield from (each for each in options if is_rate or "percent" not in each)
    else:
        yield {}


def _score(
    column: str, kind: str, rule: dict[str, Any], records: Sequence[Record], *, is_csv: bool
) -> int:
    """Return how many values a rule reads."""
    declaration = {"fields": {column: rule}, **({"format": "csv"} if is_csv else {})}
    field = fields_of("proposal", declaration, ZONE, {column: kind})[column]
    outcomes = (read_field(field, record) for record in records)
    return sum(1 for _, broken in outcomes if broken is None)
