"""Check the files of a configuration, so that a mistake is one sentence with its place."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from capstone_metrics.config_schema import KNOWN_GLOBALS, PARAMETERS, Schema, check
from capstone_metrics.errors import (
    ConfigError,
    environment_option,
    os_error_message,
    unknown_name,
)
from capstone_metrics.yaml_text import Loader, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SUFFIXES = {".yml", ".yaml", ".json"}
READ_NAMES = ("catalog", "credentials", "logging", "parameters")
"""How the names begin of the files that are read, or of the folder that they are in."""

TEXT_OPTIONS = ("fields", "defaults", "only", "ignore")
"""The options of a source whose values are compared with texts of its files."""

GLOBALS_FILE = "globals.yml"
"""The only file of globals that is read."""

SETTING_END = re.compile(r": |, ")
"""What is after the setting that the message of an error begins with."""

READABLE = "make the configuration readable for this user"


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
                raise ConfigError(f"{self.location(kind, str(error))}: {error}") from None
        own = set(values) - set(known)
        for name in sorted(own, key=str):
            if section := _section_of(name, values[name]):
                raise ConfigError(
                    f"{self.location(kind, name)}: {name} stands beside {section}, so it is none "
                    f"of them; indent it below {section}."
                )
        if own and (base := self._declared(kind, self.environments[0])):
            for name in sorted(own - base):
                raise unknown_name(self.location(kind, name), name, [*known, *base])

    def check_files(self) -> None:
        """Check that no file declares parameters or globals under a name that is not read.

        Raises:
            CapstoneError: for the first such file, or a folder that cannot be read.
        """
        for environment in self.environments:
            folder = self.source / environment
            for each in (folder, *folder.rglob("*/")):
                if each.exists() and not os.access(each, os.R_OK | os.X_OK):
                    raise ConfigError(f"{each}: permission denied; {READABLE}.")
            for path in self._files(environment):
                names = path.relative_to(self.source / environment).parts
                if names[0].startswith(READ_NAMES) or names[-1].startswith(READ_NAMES):
                    continue
                if names == (GLOBALS_FILE,):
                    continue
                content = _content(path)
                parameters = [name for name in content if name in PARAMETERS]
                settings = [name for name in content if name in KNOWN_GLOBALS]
                if declared := parameters or settings:
                    name = f"parameters_{path.name}" if parameters else GLOBALS_FILE
                    raise ConfigError(
                        f"{self._name(path)}: declares {', '.join(declared)}, but a file of this "
                        f"name is not read; name it {name}."
                    )

    def check_scalars(self) -> None:
        """Check that YAML takes numbers and names of parameters as they are written.

        YAML takes 010 for 8, 12:30 for 750, 1_000 for 1000, and NO for false. Where texts are
        meant, as in `fields` of a source, 1.50 is not to be 1.5 either.

        Raises:
            ConfigError: for the first text that it takes for something else.
        """
        for environment in self.environments:
            for path in self._files(environment):
                if path.suffix == ".json" or not self._is_of_kind(path, "parameters"):
                    continue
                root = yaml.compose(path.read_text(encoding="utf-8"), Loader)
                for scalar, place, is_name in _plain_scalars(root, set()):
                    value = _taken_for(scalar, is_name=is_name, is_text=_has_texts(place))
                    if value is not None:
                        line = scalar.start_mark.line + 1
                        raise ConfigError(
                            f"{self._name(path)}, line {line}: YAML takes {scalar.value} for "
                            f"{value}; write it in quotes, if it is a text."
                        )

    def _is_of_kind(self, path: Path, kind: str) -> bool:
        environments = (self.source / environment for environment in self.environments)
        folder = next(folder for folder in environments if folder in path.parents)
        return any(part.startswith(kind) for part in path.relative_to(folder).parts)

    def check_sources(self, default_environment: str) -> None:
        """Check that an environment with a lake of its own says which sources fill it.

        Args:
            default_environment: the one that has the sources of `conf/base` wherever its lake is.

        Raises:
            ConfigError: if it has those of `conf/base` without saying so.
        """
        base, environment = self.environments
        settings = self._declared("globals", environment)
        declares = "sources" in settings | self._declared("parameters", environment)
        is_of_base = environment in {base, default_environment} or "lake" not in settings
        if is_of_base or declares or "sources" in self.params:
            return
        folder = f"{self.source.name}/{environment}"
        raise ConfigError(
            f"{folder}: has a lake of its own, but declares no sources for it. Run 'kedro source "
            f"add FILE{environment_option(environment)}', or declare them in "
            f"{folder}/parameters_sources.yml; or write 'sources: base' in "
            f"{folder}/globals.yml, to fill it from those of {self.source.name}/{base}."
        )

    def broken_file(self) -> str | None:
        """Return where a file is no mapping in valid YAML, or cannot be read, and why; or None."""
        for environment in self.environments:
            for path in self._files(environment):
                try:
                    text = path.read_text(encoding="utf-8")
                    yaml.safe_load(text)
                    content = read_yaml(text)  # which refuses half of a surrogate pair, too
                    if isinstance(content, list):
                        return f"{self._name(path)}: must be a mapping of names to values."
                    if isinstance(content, Mapping):
                        for name in content:
                            if not isinstance(name, str):
                                return f"{self._name(path)}: {name} is no text; write it in quotes."
                        with contextlib.suppress(OmegaConfBaseException):
                            OmegaConf.create(text)  # which refuses a name that is given twice
                except yaml.MarkedYAMLError as error:
                    mark = error.problem_mark or error.context_mark
                    line = f", line {mark.line + 1}" if mark else ""
                    problem = " ".join(filter(None, (error.problem, error.context)))
                    return f"{self._name(path)}{line}: {problem}."
                except (yaml.YAMLError, UnicodeDecodeError) as error:
                    return f"{self._name(path)}: {' '.join(str(error).split())}."
                except OSError as error:
                    return f"{os_error_message(error, path)}; {READABLE}."
        return None

    def location(self, kind: str, setting: str) -> str:
        """Return the file that declares a setting, the last that does; the kind if none does.

        Args:
            kind: `parameters` or `globals`; empty for any.
            setting: the name of a parameter or a setting, with those below it after dots; or a
                message that begins with that.
        """
        setting = SETTING_END.split(setting)[0]
        if kind == "parameters" and _is_in(self.params, setting):
            return "--params"
        name = setting.partition(".")[0]
        for environment in reversed(self.environments):
            for path in self._files(environment):
                if self._is_of_kind(path, kind) and name in _content(path):
                    return self._name(path)
        return kind

    def declared_networks(self) -> set[str]:
        """Return the networks that `base` or the environment declares; none of an archive."""
        return {
            network
            for environment in self.environments
            for path in self._files(environment)
            if self._is_of_kind(path, "parameters")
            for network in _content(path).get("networks") or ()
        }

    def _declared(self, kind: str, environment: str) -> set[str]:
        files = (path for path in self._files(environment) if self._is_of_kind(path, kind))
        return {str(name) for path in files for name in _content(path)}

    def _files(self, environment: str) -> Iterator[Path]:
        paths: Iterable[Path] = sorted((self.source / environment).rglob("*"))
        yield from (path for path in paths if path.suffix in SUFFIXES and path.is_file())

    def _name(self, path: Path) -> str:
        return f"{self.source.name}/{path.relative_to(self.source).as_posix()}"


def _section_of(name: Any, value: Any) -> str | None:
    """Return the parameter below which a mart, or a source, was meant to be; None for another."""
    options = value if isinstance(value, Mapping) else {}
    if str(name).startswith("gold_") or "measures" in options:
        return "marts"
    return "sources" if options.get("type") in ("files", "faker") else None


def _is_in(params: Any, setting: str) -> bool:
    """Return whether the parameters of the command line give a setting."""
    name, _, rest = setting.partition(".")
    if not setting or not isinstance(params, Mapping):
        return True
    return name in params and _is_in(params[name], rest)


def _content(path: Path) -> Mapping[Any, Any]:
    """Return what a file declares by name; nothing if it cannot be read as YAML."""
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _has_texts(path: Sequence[str]) -> bool:
    """Return whether the values at a path of the parameters are compared with texts."""
    is_of_source = path[:1] == ("sources",) and len(path) > len(("sources", "name"))
    return path[:1] == ("networks",) or (is_of_source and path[2] in TEXT_OPTIONS)


def _plain_scalars(
    node: yaml.Node | None, visited: set[int], path: tuple[str, ...] = (), *, is_name: bool = False
) -> Iterator[tuple[yaml.ScalarNode, tuple[str, ...], bool]]:
    """Yield the texts of a document that are not in quotes, their paths, and which are names."""
    if node is None or id(node) in visited:  # an alias
        return
    visited.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if not node.style:
            yield node, path, is_name
    elif isinstance(node, yaml.SequenceNode):
        for each in node.value:
            yield from _plain_scalars(each, visited, path)
    elif isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            yield from _plain_scalars(name, visited, path, is_name=True)
            yield from _plain_scalars(value, visited, (*path, str(name.value)))


def _taken_for(scalar: yaml.ScalarNode, *, is_name: bool, is_text: bool) -> str | None:
    """Return what YAML takes a text for, if that is not what is written; None if it is."""
    kind, text = scalar.tag.rpartition(":")[2], scalar.value
    if kind == "int":
        value = str(yaml.SafeLoader("").construct_yaml_int(scalar))
        return None if value == text else value
    if kind == "float":
        value = str(read_yaml(text))
        return value if set("_:") & set(text) or (is_text and value != text) else None
    is_spelt = kind == "bool" and text.casefold() in {"true", "false"}
    if kind in {"bool", "null"} and (is_name or (is_text and kind == "bool" and not is_spelt)):
        return {"bool": "true or false", "null": "no value"}[kind]
    return None
