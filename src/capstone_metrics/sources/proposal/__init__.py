"""Propose the declaration of a file that is no known export, from its names and values."""

from __future__ import annotations

import csv
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import SourceError, unknown_name
from capstone_metrics.sources.proposal.columns import link_of, matches_of, paths_of, rule_of
from capstone_metrics.sources.proposal.reading import reading_options
from capstone_metrics.sources.readers import Reading
from capstone_metrics.sources.readers.xlsx import BROKEN
from capstone_metrics.sources.records import first_records
from capstone_metrics.validation.conditions import ONE_VALUE, text_of
from capstone_metrics.validation.fields import TABLES
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.silver import REQUIRED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SAMPLE_RECORDS = 200
TOTALS = ("Total", "Total geral", "Grand total")


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
    options = reading_options(path, set(named.values()))
    sample = first_records(path, Reading.of("proposal", options), SAMPLE_RECORDS)
    records = list(filter(None, sample))
    if not records:
        raise SourceError(f"{path}: has no records from which its fields could be guessed.")
    names = tuple(dict.fromkeys(itertools.chain.from_iterable(map(paths_of, records))))
    fields: dict[str, Any] = {}
    if unknown := [name for name in named.values() if name not in names]:
        raise unknown_name("--field", unknown[0], names)
    matches = matches_of(names, records, skipped={*given, *named})
    for column, name in {**matches, **named}.items():
        rule = rule_of(column, name, records, is_csv=options["format"] == "csv")
        if rule is not None:
            fields[column] = rule
    if "video_id" not in {*fields, *given} and (link := link_of(names, records)):
        fields["video_id"] = link
    missing = [column for column in REQUIRED if column not in {*fields, *given}]
    declaration = {"type": "files", **options, "fields": fields}
    if options["format"] in TABLES:
        declaration["ignore"] = [{names[0]: list(TOTALS)}, ONE_VALUE]
    network = fields.get("rede_social")
    values = {text_of(find(record, network)) for record in records} if network else ()
    networks = sorted(value.strip() for value in values if value and value.strip())
    return Proposal(declaration, tuple(missing), names, tuple(networks))
