"""Parse how the files of a source are read: options that are known, or refused by name."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable

    Parser = Callable[[str, Any], Any]

DOCUMENT = "."
"""The path of a document that is a record itself."""

NAMED_CHARACTERS = {"tab": "\t", "space": " ", "none": ""}


@dataclass(frozen=True)
class Reading:
    """How the files of a source are read. An option that a format lacks has its default.

    Attributes:
        format: the form of the files, once they are out of a zip or gz.
        member: patterns of the members of a zip that are read, of which the first that one has
            counts; empty for its only one.
        file_name: the field that each record gets with the name of its file; empty for none.
        encoding: of text without a byte order mark; empty for UTF-8.
        delimiter: between the values of a CSV; empty for the one of its `sep=` line, or a comma.
        quote: around values of a CSV; empty for none.
        escape: before a quote within a value of a CSV; empty where quotes are doubled.
        header: the number of the line that has the names of the columns, or sets of names, of which
            that line has every one of one set; empty for the first line with values.
        until: `blank` if the table ends at the first blank line below its header.
        sheet: of a workbook; empty for its only one, or the one that has the header.
        records: paths to the list of records in a JSON document; the first that exists counts. An
            empty path is the document itself.
        envelope: the fields that each record gets from around the list: their names and paths.
    """

    format: str
    member: tuple[str, ...] = ()
    file_name: str = ""
    encoding: str = ""
    delimiter: str = ""
    quote: str = '"'
    escape: str = ""
    header: int | tuple[tuple[str, ...], ...] = ()
    until: str = ""
    sheet: str = ""
    records: tuple[tuple[str, ...], ...] = ()
    envelope: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, name: str, declaration: Mapping[str, Any]) -> Reading:
        """Parse the options of a source of files.

        Raises:
            ConfigError: for an unknown format, an option of another one, or an invalid value.
        """
        setting = f"sources.{name}"
        form = declaration.get("format", "")
        if not isinstance(form, str) or form not in FORMATS:
            raise unknown_name(f"{setting}.format", form, FORMATS)
        parsers = COMMON | FORMATS[form]
        for option in sorted(OPTIONS.keys() & declaration.keys() - parsers.keys()):
            owners = " and ".join(name for name, own in FORMATS.items() if option in own)
            raise ConfigError(
                f"{setting}.{option}: is an option of format {owners}, not of {form}; remove it."
            )
        if "envelope" in declaration and "records" not in declaration:
            raise ConfigError(
                f"{setting}.envelope: say where the records are too, such as records: items."
            )
        values = {
            option: parse(f"{setting}.{option}", declaration[option])
            for option, parse in parsers.items()
            if option in declaration
        }
        reading = cls(form, **values)
        marks = [reading.delimiter or ",", *filter(None, (reading.quote, reading.escape))]
        if len(set(marks)) < len(marks):
            raise ConfigError(
                f"{setting}: delimiter, quote and escape must differ, but are "
                f"{', '.join(map(repr, marks))}."
            )
        return reading

    @property
    def digest(self) -> str:
        """A hash of the options, by which an object of Bronze is told from another reading."""
        defaults = {field.name: field.default for field in fields(self)}
        options = {key: value for key, value in asdict(self).items() if value != defaults[key]}
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:8]


def _text(setting: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{setting}: {value!r} is not a text; write it in quotes.")
    return value


def _texts(setting: str, value: Any) -> tuple[str, ...]:
    return tuple(_text(setting, each) for each in (value if _is_list(value) else [value]))


def _encoding(setting: str, value: Any) -> str:
    try:
        name = codecs.lookup(value).name
        "".encode(name)
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{setting}: unknown encoding {value!r}; use a name such as utf-8, cp1252 or utf-16."
        ) from error
    return "" if name in {"utf-8", "utf-8-sig"} else name


def _character(setting: str, value: Any, named: tuple[str, ...]) -> str:
    character = NAMED_CHARACTERS[value] if value in named else value
    is_valid = isinstance(character, str) and (value in named or len(character) == 1)
    if not is_valid or character in {"\r", "\n", "\0"}:
        raise ConfigError(
            f"{setting}: {value!r} is not one character in quotes, such as ';', nor "
            f"{' or '.join(named)}."
        )
    return str(character)


def _delimiter(setting: str, value: Any) -> str:
    return _character(setting, value, ("tab", "space"))


def _quote(setting: str, value: Any) -> str:
    return _character(setting, value, ("none",))


def _header(setting: str, value: Any) -> int | tuple[tuple[str, ...], ...]:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    sets = value if _is_list(value) and any(map(_is_list, value)) else [value]
    if all(_is_list(names) and names and all(map(_is_name, names)) for names in sets):
        return tuple(tuple(name.strip() for name in names) for names in sets)
    raise ConfigError(
        f"{setting}: {value!r} is neither the number of a line, from 1, nor a list of names of "
        "columns, nor a list of such lists."
    )


def _until(setting: str, value: Any) -> str:
    if value != "blank":
        raise ConfigError(f"{setting}: {value!r} is not 'blank', the only way to end a table.")
    return "blank"


def _records(setting: str, value: Any) -> tuple[tuple[str, ...], ...]:
    paths = value if _is_list(value) else [value]
    return tuple(() if path == DOCUMENT else _path(setting, path) for path in paths)


def _envelope(setting: str, value: Any) -> tuple[tuple[str, tuple[str, ...]], ...]:
    is_names = _is_list(value) and all(map(_is_name, value))
    paths = dict(zip(value, value, strict=True)) if is_names else value
    if not isinstance(paths, Mapping) or not paths or not all(map(_is_name, paths)):
        raise ConfigError(
            f"{setting}: {value!r} is neither a list of fields around the records, nor "
            "{name: path} for each."
        )
    return tuple((name, _path(setting, path)) for name, path in paths.items())


def _path(setting: str, value: Any) -> tuple[str, ...]:
    if not _is_name(value):
        raise ConfigError(f"{setting}: {value!r} is not a path of fields, such as data.videos.")
    parts = tuple(part.removesuffix("[]") for part in value.split("."))
    if not all(parts):
        raise ConfigError(f"{setting}: {value!r} has a field without a name.")
    return parts


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


COMMON: dict[str, Parser] = {"member": _texts, "file_name": _text}
FORMATS: dict[str, dict[str, Parser]] = {
    "csv": {
        "encoding": _encoding,
        "delimiter": _delimiter,
        "quote": _quote,
        "escape": _quote,
        "header": _header,
        "until": _until,
    },
    "json": {"encoding": _encoding, "records": _records, "envelope": _envelope},
    "jsonl": {"encoding": _encoding},
    "parquet": {},
    "xlsx": {"sheet": _text, "header": _header, "until": _until},
}
"""The options of each format, with the function that parses each."""

OPTIONS = COMMON | {option: parse for own in FORMATS.values() for option, parse in own.items()}
"""The options of all formats."""
