"""Check the names and types of what is declared, so that a mistake is one sentence."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from capstone_metrics.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SUFFIXES = {".yml", ".yaml", ".json"}
READ_NAMES = ("catalog", "credentials", "globals", "logging", "parameters")
"""How the names begin of the files that are read, or of the folder that they are in."""


@dataclass(frozen=True)
class Kind:
    """A kind of value: its name, and whether a value is of it."""

    name: str
    includes: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_engine(entry: Mapping[str, Any]) -> bool:
    is_known = str(entry.get("name")) in {"duckdb", "spark"}
    return is_known and set(entry) <= {"name", "options"}


ANYTHING = Kind("anything", lambda _: True)
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
INTEGER = Kind("a whole number", _is_integer)
NUMBER = Kind("a number", _is_number)
TEXT = Kind("text", lambda value: isinstance(value, str))
LIST = Kind("a list", lambda value: isinstance(value, list | tuple))
MAPPING = Kind("a mapping of names to values", lambda value: isinstance(value, Mapping))
INSTANT = Kind("an instant", lambda value: isinstance(value, str | dt.date))
TEXTS = Kind(
    "a list of texts",
    lambda value: isinstance(value, list | tuple) and all(isinstance(each, str) for each in value),
)
PORT = Kind("a port from 0 to 65535", lambda value: _is_integer(value) and 0 <= value < 1 << 16)
ENGINE = Kind(
    "duckdb or spark, or a mapping with one of these as name, and options",
    lambda value: _is_engine(dict(value) if isinstance(value, Mapping) else {"name": value}),
)


def optional(kind: Kind) -> Kind:
    """Return a kind of which null is a value, too."""
    return Kind(f"{kind.name}, or null", lambda value: value is None or kind.includes(value))


Schema = Kind | Mapping[str, Any] | list[Any]
"""A kind; a list with the schema of its elements; or a mapping with the schema of each name.

A name that may be missing ends in `?`; `*` stands for every name.
"""

LAYER = {"starts": LIST, "minutes?": INTEGER}
PARAMETERS: Mapping[str, Schema] = {
    "now": INSTANT,
    "from": optional(INSTANT),
    "to": optional(INSTANT),
    "full": BOOLEAN,
    "plan": BOOLEAN,
    "allow_shrink": BOOLEAN,
    "allow_findings": BOOLEAN,
    "networks": TEXTS,
    "sources": MAPPING,
    "marts": MAPPING,
    "quality": optional(MAPPING),
    "publication": {"max_shrink_pct": NUMBER, "changes_kept_days": INTEGER},
    "operations": {
        "kept_days": INTEGER,
        "prometheus_file?": optional(TEXT),
        "listeners?": TEXTS,
    },
    "schedule": {
        "timezone": TEXT,
        "layers": {"bronze": LAYER, "silver?": LAYER, "gold?": LAYER, "publication?": LAYER},
    },
}
"""The parameters. What sources, marts and quality may have is checked where they are parsed."""


def _is_lake(value: Any) -> bool:
    options = {"url", "region", "endpoint_url"}
    return isinstance(value, str) or (
        isinstance(value, Mapping) and {"url"} <= set(value) <= options
    )


LAKE = Kind("a path, or a mapping with url, region and endpoint_url", _is_lake)
GLOBALS: Mapping[str, Schema] = {
    "lake": LAKE,
    "engine": ENGINE,
    "database": TEXT,
    "postgres": TEXT,
    "port?": optional(PORT),
}
"""The settings of an environment."""


def check(setting: str, value: Any, schema: Schema) -> None:
    """Check that a value has the names and types of a schema.

    Args:
        setting: the name of the value, for messages.
        value: what is declared.
        schema: what may be.

    Raises:
        CapstoneError: for the first name or value that is not as the schema has it.
    """
    if isinstance(schema, Kind):
        if not schema.includes(value):
            raise ConfigError(f"{setting}: {value!r} must be {schema.name}.")
    elif isinstance(schema, list):
        check(setting, value, LIST)
        for number, each in enumerate(value, 1):
            check(f"{setting}, number {number}", each, schema[0])
    elif "*" in schema:
        check(setting, value, MAPPING)
        _check_mapping(setting, value, dict.fromkeys(value, schema["*"]))
    else:
        _check_mapping(setting, value, schema)


def _check_mapping(setting: str, value: Any, schema: Mapping[str, Any]) -> None:
    names = {name.rstrip("?"): kind for name, kind in schema.items()}
    if not isinstance(value, Mapping):
        raise ConfigError(f"{setting}: {value!r} must be a mapping with {', '.join(names)}.")
    for name in value:
        if name not in names:
            raise unknown_name(setting, name, names)
    for name in schema:
        if not name.endswith("?") and name not in value:
            raise ConfigError(f"{setting}: {name} is missing.")
    for name, each in value.items():
        check(f"{setting}.{name}", each, names[name])


@dataclass(frozen=True)
class Configuration:
    """The files of a configuration, to say where something is declared.

    Attributes:
        source: the folder `conf`; an archive has no files here.
        environments: `base`, and the environment that overrides it.
        params: the parameters of the command line.
    """

    source: Path
    environments: tuple[str, ...]
    params: Mapping[str, Any]

    def check(self, kind: str, values: Mapping[str, Any], schema: Mapping[str, Schema]) -> None:
        """Check the parameters, or the globals; those that only `base` declares are a user's own.

        Args:
            kind: `parameters` or `globals`.
            values: what is declared, by name.
            schema: what may be, by name.

        Raises:
            CapstoneError: for the first name or value that is not as the schema has it.
        """
        known = {name.rstrip("?"): each for name, each in schema.items()}
        for name in schema:
            if not name.endswith("?") and name not in values:
                raise ConfigError(f"conf/{self.environments[0]}/{kind}: {name} is missing.")
        for name in [name for name in known if name in values]:
            try:
                check(name, values[name], known[name])
            except ConfigError as error:
                raise ConfigError(f"{self.location(kind, name)}: {error}") from None
        own = set(values) - set(known)
        if own and (base := self._declared(kind, self.environments[0])):
            for name in sorted(own - base):
                raise unknown_name(self.location(kind, name), name, [*known, *base])

    def check_files(self) -> None:
        """Check that no file declares parameters under a name of which files are not read.

        Raises:
            CapstoneError: for the first such file.
        """
        for environment in self.environments:
            for path in self._files(environment):
                names = path.relative_to(self.source / environment).parts
                if names[0].startswith(READ_NAMES) or names[-1].startswith(READ_NAMES):
                    continue
                if declared := [name for name in _content(path) if name in PARAMETERS]:
                    raise ConfigError(
                        f"{self._name(path)}: declares {', '.join(declared)}, but a file of this "
                        f"name is not read; name it parameters_{path.name}."
                    )

    def broken_file(self) -> str | None:
        """Return where a file is not a mapping in valid YAML, and why; None if all are."""
        for environment in self.environments:
            for path in self._files(environment):
                try:
                    content = yaml.safe_load(path.read_text(encoding="utf-8"))
                    if isinstance(content, list):
                        return f"{self._name(path)}: must be a mapping of names to values."
                except yaml.MarkedYAMLError as error:
                    mark = error.problem_mark or error.context_mark
                    line = f", line {mark.line + 1}" if mark else ""
                    problem = " ".join(filter(None, (error.problem, error.context)))
                    return f"{self._name(path)}{line}: {problem}."
                except (yaml.YAMLError, UnicodeDecodeError) as error:
                    return f"{self._name(path)}: {' '.join(str(error).split())}."
        return None

    def location(self, kind: str, name: str) -> str:
        """Return the file that declares a name, the last that does; the kind if none does."""
        if kind == "parameters" and name in self.params:
            return "--params"
        for environment in reversed(self.environments):
            for path in self._files(environment):
                parts = path.relative_to(self.source / environment).parts
                is_of_kind = any(part.startswith(kind) for part in parts)
                if is_of_kind and name in _content(path):
                    return self._name(path)
        return kind

    def _declared(self, kind: str, environment: str) -> set[str]:
        files = (path for path in self._files(environment) if kind in path.as_posix())
        return {str(name) for path in files for name in _content(path)}

    def _files(self, environment: str) -> Iterator[Path]:
        paths: Iterable[Path] = sorted((self.source / environment).rglob("*"))
        yield from (path for path in paths if path.suffix in SUFFIXES and path.is_file())

    def _name(self, path: Path) -> str:
        return f"{self.source.name}/{path.relative_to(self.source).as_posix()}"


def _content(path: Path) -> Mapping[Any, Any]:
    """Return what a file declares by name; nothing if it is not valid YAML."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, Mapping) else {}
