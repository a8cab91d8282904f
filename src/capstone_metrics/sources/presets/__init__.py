"""Presets: the declarations of known exports, one YAML file each, which a source can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import CapstoneError, ConfigError, unknown_name
from capstone_metrics.sources.readers import Reading
from capstone_metrics.sources.readers.options import OPTIONS as READING
from capstone_metrics.sources.records import first_records
from capstone_metrics.validation.paths import find
from capstone_metrics.validation.silver import SILVER, columns_for
from capstone_metrics.yaml_text import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = Path(__file__).parent
SAMPLE_RECORDS = 50
"""How many records are looked at to recognise a file."""

ABOUT = ("description", "networks", "recognised_by", "lacks", "also")
"""What a file of a preset has besides the options of a source."""


@dataclass(frozen=True)
class Preset:
    """The declaration of a known export.

    Attributes:
        name: the name of its file.
        description: what the export is, and where one gets it.
        networks: the values that `rede_social` may have.
        recognised_by: sets of fields; a record of the export has all of one set.
        lacks: the required columns that the export does not have, so that it gives no rows.
        also: the names of presets that read other columns or members of the same file.
        options: the options of the source.
    """

    name: str
    description: str
    networks: tuple[str, ...]
    recognised_by: tuple[tuple[str, ...], ...]
    lacks: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, content: Mapping[str, Any]) -> Preset:
        """Parse the content of the file of a preset."""
        return cls(
            name=name,
            description=content["description"],
            networks=tuple(content.get("networks", ())),
            recognised_by=tuple(
                map(tuple, content.get("recognised_by") or content.get("header") or ())
            ),
            lacks=tuple(content.get("lacks", ())),
            also=tuple(content.get("also", ())),
            options={key: value for key, value in content.items() if key not in ABOUT},
        )

    def matched_fields(self, path: Path, overrides: Mapping[str, Any]) -> int:
        """Return how many fields of a file tell that it is this export; 0 if it is none.

        One without records is known by the header, or the list, that it has; one field is said to
        tell.

        Args:
            path: of the file.
            overrides: options by which it is read instead of those of the preset.
        """
        options = {**self.options, **overrides}
        records = _first_records(path, Reading.of(self.name, options))
        if records == []:
            return 1 if isinstance(options.get("header"), list) or self._has_list(path) else 0
        return max(
            (
                len(fields)
                for fields in self.recognised_by
                for record in records or ()
                if all(has_field(record, name) for name in fields)
            ),
            default=0,
        )

    def _has_list(self, path: Path) -> bool:
        """Return whether a file is a document that has the list of records of this export."""
        options = {k: v for k, v in self.options.items() if k not in {"records", "envelope"}}
        paths = self.options.get("records", [])
        documents = _first_records(path, Reading.of(self.name, options)) if paths else None
        return any(
            find(document, each) is not None
            for document in documents or ()
            for each in ([paths] if isinstance(paths, str) else paths)
        )

    def first_records(self, path: Path, overrides: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the first records of a file of this export."""
        own = {key: value for key, value in overrides.items() if key in READING}
        return _first_records(path, Reading.of(self.name, {**self.options, **own})) or []


def has_field(record: Mapping[str, Any], path: str) -> bool:
    """Return whether a record has a field, by its name or its path."""
    return path in record or find(record, path) is not None


def _first_records(path: Path, reading: Reading) -> list[dict[str, Any]] | None:
    """Return the first records of a file; None if it cannot be read in this way."""
    try:
        return first_records(path, reading, SAMPLE_RECORDS)
    except CapstoneError:
        return None


@cache
def all_presets() -> dict[str, Preset]:
    """Return the presets by name."""
    paths = sorted(FOLDER.glob("*.yml"))
    return {path.stem: Preset.of(path.stem, _content(path)) for path in paths}


def _content(path: Path) -> Mapping[str, Any]:
    content: Mapping[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    return content


def recognised(
    path: Path, presets: Iterable[Preset], overrides: Mapping[str, Any] | None = None
) -> Preset | None:
    """Return the preset of a file; None if it is no such export.

    Args:
        path: of the file.
        presets: those that it may be.
        overrides: options of a CSV by which it is read instead of those of a preset.
    """
    matches = [
        (preset.matched_fields(path, overrides or {}), preset)
        for preset in presets
        if overrides is None or preset.options["format"] == "csv"
    ]
    fields, best = max(matches, key=lambda match: match[0], default=(0, None))
    return best if fields else None


def with_preset(name: str, declaration: Any, columns: Mapping[str, str] = SILVER) -> Any:
    """Return a declaration with the options of the preset that it names, and its own before them.

    Args:
        name: the name of the source.
        declaration: its declaration. Under `fields` and `defaults` it overrides single entries.
        columns: the types of the columns of Silver; others of the preset are left out.

    Raises:
        CapstoneError: for an unknown preset.
    """
    if not isinstance(declaration, Mapping) or "preset" not in declaration:
        return declaration
    presets = all_presets()
    preset = presets.get(str(declaration["preset"]))
    if preset is None:
        raise unknown_name(f"sources.{name}.preset", declaration["preset"], presets)
    if preset.lacks:
        raise ConfigError(f"sources.{name}.preset: {preset.name} {why_refused(preset)}.")
    counters = declaration.get("counters", preset.options.get("counters"))
    allowed = columns_for(counters, columns)
    known = {k: v for k, v in preset.options["fields"].items() if k in allowed}
    options = {**preset.options, "fields": known}
    if declaration.get("format", options["format"]) != options["format"]:
        options = {key: value for key, value in options.items() if key not in READING}
    merged = {**options, **{k: v for k, v in declaration.items() if k != "preset"}}
    for part in ("fields", "defaults"):
        both = [each.get(part, {}) for each in (options, declaration)]
        if all(isinstance(each, Mapping) for each in both) and any(both):
            merged[part] = {**both[0], **both[1]}
    return merged


def why_refused(preset: Preset) -> str:
    """Return why an export gives no rows, as a part of a sentence."""
    way_out = "".join(f"; name the preset {name} to read what it has" for name in preset.also)
    return f"has no field for {', '.join(preset.lacks)} ({preset.description}){way_out}"
