"""The types of sources, each of which yields the objects that Bronze lacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capstone_metrics.configuration import ANYTHING, LIST, MAPPING, TEXT, check
from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.sources import faker, files
from capstone_metrics.sources.presets import with_preset
from capstone_metrics.validation.contract import contract_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from capstone_metrics.schedule import Calendar

    Objects = dict[str, Callable[[], Iterator[bytes]]]

log = logging.getLogger(__name__)

TYPES = {"faker": faker.objects, "files": files.objects}
OPTIONS = {
    "type": TEXT,
    "fields?": MAPPING,
    "defaults?": MAPPING,
    "other_fields?": LIST,
    "schema_drift?": TEXT,
    "only?": MAPPING,
    "ignore?": ANYTHING,
    "counters?": TEXT,
}
"""The options of every source; those of its type are beside them."""

TYPE_OPTIONS: dict[str, Mapping[str, Any]] = {"faker": faker.OPTIONS, "files": files.OPTIONS}


def new_objects(
    name: str, declaration: Mapping[str, Any], calendar: Calendar, existing: Collection[str]
) -> Objects:
    """Return the objects of a source that Bronze lacks.

    Args:
        name: the name of the source; it becomes `fonte=<name>` in the lake.
        declaration: the `type` of the source, and the options of that type.
        calendar: the windows that are due at the instant of the run.
        existing: the names of the objects in Bronze.

    Returns:
        For each new object its name, `fonte=…/janela=…/….jsonl`, and a function that yields its
        bytes in chunks.

    Raises:
        ConfigError: if the declaration is invalid.
    """
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"sources.{name}: name a source by letters, digits, - and _.")
    type_name = declaration.get("type") if isinstance(declaration, Mapping) else None
    if type_name not in TYPES:
        raise ConfigError(f"sources.{name}.type: {type_name!r} is not one of {', '.join(TYPES)}.")
    check(f"sources.{name}", declaration, {**OPTIONS, **TYPE_OPTIONS[type_name]})
    contract_of(name, declaration, str(calendar.zone))  # so that a mistake stops a run at its start
    return TYPES[type_name](name, declaration, calendar, existing)


def with_presets(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declarations of sources, each with the options of the preset that it names.

    Raises:
        ConfigError: if one names an unknown preset.
    """
    if not isinstance(sources, Mapping):
        raise ConfigError("sources: declare at least one source, by its type.")
    return {name: with_preset(name, declaration) for name, declaration in sources.items()}


def check_networks(sources: Mapping[str, Any], networks: Collection[str]) -> None:
    """Check that each value that a source declares for `rede_social` is a known network.

    Of the table of a preset, which has the networks of every user, this is not required.

    Raises:
        ConfigError: for the first one that is not.
    """
    for name, declaration in with_presets(sources).items():
        rules = [each.get("fields") for each in (declaration, sources[name])]
        merged, own = (
            rule.get("rede_social") if isinstance(rule, Mapping) else None for rule in rules
        )
        for network in (*_constants(merged), *_replacements(own)):
            if network not in networks:
                setting = f"sources.{name}.fields.rede_social"
                unknown = str(unknown_name(setting, network, networks)).removesuffix(".")
                raise ConfigError(f"{unknown}; correct it, or add it to networks.")


def _constants(rule: Any) -> list[str]:
    return [str(rule["constant"])] if isinstance(rule, Mapping) and "constant" in rule else []


def _replacements(rule: Any) -> list[str]:
    """Return what a rule reads instead of values, also in its alternatives."""
    if isinstance(rule, list | tuple):
        return [value for part in rule for value in _replacements(part)]
    if not isinstance(rule, Mapping):
        return []
    values = rule.get("values")
    own = list(map(str, values.values())) if isinstance(values, Mapping) else []
    return own + _replacements(rule.get("field"))


def warn_of_shared_files(sources: Mapping[str, Any]) -> None:
    """Log a warning for each two sources that read the same records.

    Raises:
        CapstoneError: if a declaration is invalid, or one of the files cannot be read.
    """
    for names, paths in files.shared(_of_files(sources)).items():
        log.warning(
            "sources.%s and sources.%s both read %s, so its records are in Bronze twice; narrow "
            "the path of one of them.",
            *names,
            paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more",
        )


def withdrawn_objects(sources: Mapping[str, Any], names: Iterable[str]) -> frozenset[str]:
    """Return the objects of Bronze whose file was read anew in the way that is declared now.

    Args:
        sources: the declarations of the sources, by name.
        names: the names of the objects.
    """
    return files.withdrawn(_of_files(sources), names)


def files_of(sources: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Return the file that objects of Bronze were read from, of those whose file is at its path.

    Args:
        sources: the declarations of the sources, by name.
        names: the names of the objects.
    """
    return files.files_of(_of_files(sources), names)


def _of_files(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declarations of the sources of files, each with the options of its preset."""
    return {
        name: declaration
        for name, declaration in with_presets(sources).items()
        if isinstance(declaration, Mapping) and declaration.get("type") == "files"
    }
