"""What a file would give: its rows, and which records are ignored or rejected, and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import pyarrow as pa

from capstone_metrics.errors import CapstoneError, SourceError, unknown_name
from capstone_metrics.sources.absent_fields import has_none
from capstone_metrics.sources.presets import (
    Preset,
    all_presets,
    has_field,
    recognised,
    why_refused,
    with_preset,
)
from capstone_metrics.sources.proposal import propose
from capstone_metrics.sources.proposal.columns import names_of
from capstone_metrics.sources.proposal.reading import USUAL, text_options
from capstone_metrics.sources.readers import Reading
from capstone_metrics.sources.readers.content import shown
from capstone_metrics.sources.records import lines_of, record_of
from capstone_metrics.validation.contract import Contract, contract_of
from capstone_metrics.validation.lines import row_schema
from capstone_metrics.validation.objects import BronzeObject
from capstone_metrics.validation.observations import Observations
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.rules import validate_line
from capstone_metrics.validation.silver import SILVER, required_columns
from capstone_metrics.validation.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

SOURCE = "preview"
SETTABLE = ("faculdade", "rede_social", "categoria")
"""The columns that may have one value for all records of a file."""

SETTABLE_DEFAULTS = ("timezone", "thousands", "decimal")
"""The options that may be given for all fields of a file."""


@dataclass
class Preview:
    """What becomes of the records of files.

    Attributes:
        rows: the latest observation of each video, by the names of the columns of Silver.
        superseded: the other observations.
        ignored: the records that are no observations, with the rule that says so.
        rejected: the records that broke rules, with the names of these and the values to blame.
        refused: for each file that gives no rows, why.

    An entry has the name of its `file` and the number of its `record`, from 1.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    superseded: list[dict[str, Any]] = field(default_factory=list)
    ignored: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the preview as JSON values."""
        return asdict(self)


class Arrival(NamedTuple):
    """Where and when a file would arrive.

    Attributes:
        networks: the known values of `rede_social`.
        moment: when it would arrive.
        timezone: the zone in which times are kept.
        columns: the types of the columns of Silver.
    """

    networks: Collection[str]
    moment: dt.datetime
    timezone: str
    columns: Mapping[str, str] = SILVER


def preview(path: Path, declaration: Mapping[str, Any], arrival: Arrival) -> Preview:
    """Return what the records of a file would become.

    Args:
        path: of the file.
        declaration: of its source.
        arrival: where it would arrive.

    Raises:
        CapstoneError: if the declaration is invalid.
    """
    declared = with_preset(SOURCE, declaration, arrival.columns)
    contract = contract_of(SOURCE, declared, arrival.timezone, arrival.columns)
    reading = Reading.of(SOURCE, declared)
    try:
        lines = list(lines_of(path, reading))
        _require_fields(lines, contract)
    except CapstoneError as error:
        return Preview(refused={path.name: str(error)})
    window = arrival.moment.astimezone(ZoneInfo(arrival.timezone)).strftime("%Y-%m-%dT%H")
    origin = BronzeObject(f"fonte={SOURCE}/janela={window}/file.jsonl", arrival.timezone)
    result = Preview()
    accepted: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        place = {"file": path.name, "record": number}
        outcome = validate_line(line, contract, origin, arrival.networks)
        if outcome.ignored:
            result.ignored.append({**place, "rule": outcome.ignored})
        elif outcome.broken:
            values = _values_of(outcome.broken, contract, record_of(line))
            text = line.decode(errors="replace")
            rejected = {"rules": list(outcome.broken), "values": values, "text": text}
            result.rejected.append({**place, **rejected})
        else:
            accepted.append({**outcome.row, "linha": number})
    batch = pa.RecordBatch.from_pylist(accepted, row_schema(contract.columns))
    if contract.is_daily:
        is_latest = [True] * len(accepted)  # increments of a day are summed
    else:
        is_latest = Observations([(origin, batch)]).latest()[0].tolist()
    for row, is_current in zip(accepted, is_latest, strict=True):
        place = {"file": path.name, "record": row.pop("linha")}
        if is_current:
            result.rows.append({**place, **{name: _json(value) for name, value in row.items()}})
        else:
            result.superseded.append({**place, "video_id": row["video_id"]})
    return result


def _values_of(
    rules: Iterable[str], contract: Contract, record: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of a record that broke rules, by the names of its fields."""
    columns = (rule.partition(".")[0] for rule in rules)
    fields = [contract.fields[column] for column in columns if column in contract.fields]
    values = {path: find(record, path) for field in fields for path in field.paths}
    return {path: value for path, value in values.items() if text_of(value) is not None}


def _require_fields(lines: list[bytes], contract: Contract) -> None:
    """Raise an error if no record has a field for a required column."""
    records = list(filter(None, map(record_of, lines)))
    if not records:
        return
    missing = [
        name
        for name in contract.required
        if contract.fields[name].constant is None and has_none(records, contract.fields[name].paths)
    ]
    if missing:
        raise SourceError(
            f"it has no field for {', '.join(missing)}; its fields are {shown(records[0])}; "
            f"{_how_to_give(missing)}"
        )


def _json(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, dt.date) else value


@dataclass(frozen=True)
class Declared:
    """How a file is declared as a source.

    Attributes:
        declaration: the options of the source.
        preset: the name of the known export that it is; None if the options are guessed.
        description: of this export.
        networks: the values that `rede_social` may have.
        missing: the required columns that neither the file nor the user gives.
        names: the fields of a file whose declaration is guessed.
        also: the names of presets that read something else of the file.
    """

    declaration: dict[str, Any]
    preset: str | None = None
    description: str = ""
    networks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


def declared_of(
    file: Path,
    preset_name: str | None,
    overrides: Mapping[str, Any],
    path: str,
    columns: Mapping[str, str] = SILVER,
) -> Declared:
    """Return how a file is declared: by a preset, or else as it is guessed.

    Args:
        file: the file.
        preset_name: the name of its preset; None to recognise it.
        overrides: the options that the user gives.
        path: of the file, as a source declares it.
        columns: the types of the columns of Silver.

    Raises:
        CapstoneError: for an unknown preset, or a file that cannot be read at all.
    """
    presets = all_presets()
    if preset_name is not None and preset_name not in presets:
        raise unknown_name("--preset", preset_name, presets)
    candidates = [presets[preset_name]] if preset_name is not None else list(presets.values())
    preset, resaved = _known_export(file, candidates)
    overrides = {**resaved, **overrides}
    if preset is None and preset_name is not None:
        preset = presets[preset_name]
    given = overrides.get("fields", {})
    named = {column: rule for column, rule in given.items() if isinstance(rule, str)}
    if preset is None:
        proposal = propose(file, given.keys() - named.keys(), named, columns)
        fields = {**given, **proposal.declaration["fields"]}
        in_order = {column: fields[column] for column in columns if column in fields}
        declaration = {"path": path, **proposal.declaration, **overrides, "fields": in_order}
        return Declared(
            declaration,
            networks=_networks(given, proposal.networks),
            missing=proposal.missing,
            names=proposal.names,
        )
    if named:
        _require_named(preset.first_records(file, overrides), named.values())
    fields = {**preset.options.get("fields", {}), **given}
    required = required_columns(overrides.get("counters", preset.options.get("counters")))
    return Declared(
        {"type": "files", "preset": preset.name, "path": path, **overrides},
        preset.name,
        preset.description,
        _networks(given, preset.networks),
        preset.lacks or tuple(column for column in required if column not in fields),
        also=preset.also,
    )


def _require_named(records: Sequence[Mapping[str, Any]], names: Iterable[str]) -> None:
    """Raise an error for a field that a user names and no record has."""
    for name in names:
        if records and not any(has_field(record, name) for record in records):
            raise unknown_name("--field", name, names_of(records))


def _networks(given: Mapping[str, Any], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the network that the user gives for all records, or else the known ones."""
    rule = given.get("rede_social")
    return (rule["constant"],) if isinstance(rule, dict) and "constant" in rule else known


def _known_export(file: Path, candidates: Sequence[Preset]) -> tuple[Preset | None, dict[str, str]]:
    """Return the preset of a file, with the options of a CSV that a spreadsheet saved otherwise."""
    if preset := recognised(file, candidates):
        return preset, {}
    options = text_options(file)
    preset = recognised(file, candidates, options) if options else None
    if preset is None:
        return None, {}
    usual = {**USUAL, **preset.options}
    return preset, {key: value for key, value in options.items() if value != usual[key]}


def preview_declared(file: Path, declared: Declared, arrival: Arrival) -> Preview:
    """Return what the records of a file would become as it is declared."""
    preset = all_presets()[declared.preset] if declared.preset else None
    if preset and preset.lacks and not preset.first_records(file, declared.declaration):
        return Preview()
    if preset and preset.lacks:
        return Preview(refused={file.name: f"it {why_refused(preset)}."})
    if declared.missing:
        return Preview(refused={file.name: _missing(declared)})
    networks = {*arrival.networks, *declared.networks}
    return preview(file, declared.declaration, arrival._replace(networks=networks))


def _missing(declared: Declared) -> str:
    """Return which required columns a file has no field for, and how to give them."""
    if declared.declaration.get("format") == "csv" and len(declared.names) == 1:
        return (
            f"it has one column, {shown(declared.names)}: no comma, semicolon, tab or | divides "
            "its lines; save it again with one of these, or declare its delimiter."
        )
    fields = f"; its fields are {shown(declared.names)}" if declared.names else ""
    missing = ", ".join(declared.missing)
    return f"it has no field for {missing}{fields}; {_how_to_give(declared.missing)}"


def _how_to_give(missing: Iterable[str]) -> str:
    """Return how columns are given that a file has no field for."""
    hints = [
        f"--set {column}='…'" if column in SETTABLE else f"--field {column}='…'"
        for column in missing
    ]
    return f"give the value, or name the field: {' '.join(hints)}."
