"""The types of sources, each of which yields the objects that Bronze lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from capstone_metrics.configuration import ANYTHING, LIST, MAPPING, TEXT, check
from capstone_metrics.errors import ConfigError
from capstone_metrics.sources import faker, files
from capstone_metrics.sources.presets import with_preset
from capstone_metrics.validation.contract import contract_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from capstone_metrics.schedule import Calendar

    Objects = dict[str, Callable[[], Iterator[bytes]]]

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


def withdrawn_objects(sources: Mapping[str, Any], names: Iterable[str]) -> frozenset[str]:
    """Return the objects of Bronze whose file was read anew in the way that is declared now.

    Args:
        sources: the declarations of the sources, by name.
        names: the names of the objects.
    """
    declared = with_presets(sources)
    return files.withdrawn(
        {name: each for name, each in declared.items() if each.get("type") == "files"}, names
    )
