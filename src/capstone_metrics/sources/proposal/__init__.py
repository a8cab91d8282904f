"""Propose the declaration of a file that is no known export, from its names and values."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import SourceError, unknown_name
from capstone_metrics.sources.proposal.columns import (
    link_of,
    matches_of,
    names_of,
    network_rule,
    no_video_conditions,
    rule_of,
)
from capstone_metrics.sources.proposal.reading import reading_options
from capstone_metrics.sources.readers import Reading
from capstone_metrics.sources.readers.xlsx import BROKEN
from capstone_metrics.sources.records import first_records, lines_of, record_of
from capstone_metrics.validation.conditions import ONE_VALUE
from capstone_metrics.validation.fields import TABLES
from capstone_metrics.validation.silver import REQUIRED
from capstone_metrics.validation.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

SAMPLE_RECORDS = 200
KEYS = ("video_id", "data_postagem")
"""The columns of which a row of sums has none."""

TOTALS = (
    *("Total", "Totals", "Grand total", "Subtotal", "Sum"),
    *(
        "Total geral",
        "Soma",
        "Totais",
        "Total general",
        "Suma",
        "Totales",
        "Total général",
        "Somme",
    ),
    *("Gesamt", "Gesamtsumme", "Gesamtergebnis", "Insgesamt", "Summe", "Totale", "Totaal", "合計"),
)
"""The words of a row of sums."""


@dataclass(frozen=True)
class Proposal:
    """A declaration that was guessed.

    Attributes:
        declaration: the options of the source, without what is missing.
        missing: the required columns for which no field was found.
        names: the fields of the file.
        networks: the values that the field for `rede_social` may give.
    """

    declaration: dict[str, Any]
    missing: tuple[str, ...]
    names: tuple[str, ...]
    networks: tuple[str, ...]


def propose(
    path: Path, given: Iterable[str], named: Mapping[str, str], columns: Mapping[str, str]
) -> Proposal:
    """Propose how a file is read.

    Args:
        path: of the file.
        given: the columns whose values are given otherwise.
        named: the columns whose field in the file is known.
        columns: the types of the columns of Silver.

    Raises:
        CapstoneError: if the file has no records, or nothing is known of what it is.
    """
    try:
        return _propose(path, given, named, columns)
    except (*BROKEN, RecursionError, csv.Error) as error:
        raise SourceError(
            f"{path}: is incomplete or broken; copy it again, or export it again as CSV, JSON, "
            "Parquet or Excel."
        ) from error


def _propose(
    path: Path, given: Iterable[str], named: Mapping[str, str], columns: Mapping[str, str]
) -> Proposal:
    options = reading_options(path, set(named.values()))
    reading = Reading.of("proposal", options)
    records = list(filter(None, first_records(path, reading, SAMPLE_RECORDS)))
    if not records:
        raise SourceError(
            f"{path}: has no complete record from which its fields could be guessed; if it should "
            "have one, copy or export it again."
        )
    names = names_of(records)
    fields: dict[str, Any] = {}
    if unknown := [name for name in named.values() if name not in names]:
        raise unknown_name("--field", unknown[0], names)
    matches = matches_of(names, records, columns.keys() - {*given, *named})
    for column, name in {**matches, **named}.items():
        rule = rule_of(column, columns[column], name, records, is_csv=options["format"] == "csv")
        if rule is not None:
            fields[column] = rule
    if "video_id" not in {*fields, *given} and (link := link_of(names, records)):
        fields["video_id"] = link
    missing = [column for column in REQUIRED if column not in {*fields, *given}]
    declaration = {"type": "files", **options, "fields": fields}
    if options["format"] in TABLES:
        keys = [name for column, name in {**matches, **named}.items() if column in KEYS]
        of_totals = dict.fromkeys(_total_columns(path, reading, keys)) or names[:1]
        declaration["ignore"] = [*({name: list(TOTALS)} for name in of_totals), ONE_VALUE]
    if others := list(no_video_conditions(names, records)):
        declaration["ignore"] = [*others, *declaration.get("ignore", [])]
    networks: tuple[str, ...] = ()
    if network := fields.get("rede_social"):
        fields["rede_social"], networks = network_rule(network, records)
    return Proposal(declaration, tuple(missing), names, networks)


def _total_columns(path: Path, reading: Reading, keys: Sequence[str]) -> Iterator[str]:
    """Yield the columns that say of a row that it is one of sums.

    Such a row has no id or no date, so that a video with this title is none.
    """
    words = {word.casefold() for word in TOTALS}
    for record in map(record_of, lines_of(path, reading)):
        texts = {name: (text_of(value) or "").strip() for name, value in record.items()}
        names = [name for name, text in texts.items() if text.casefold() in words]
        if any(not texts.get(key) or key in names for key in keys):
            yield from names
