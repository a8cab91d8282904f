"""The types of sources, each of which yields the objects that Bronze lacks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from capstone_metrics.config_schema import ANYTHING, LIST, MAPPING, TEXT, check
from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.sources import faker, files
from capstone_metrics.sources.presets import with_preset
from capstone_metrics.sources.readers import Reading
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.silver import SILVER

if TYPE_CHECKING:
    from collections.abc import Collection

    from capstone_metrics.schedule import Calendar
    from capstone_metrics.sources.objects import NewObjects

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


class Declarations(NamedTuple):
    """The declarations of sources.

    Attributes:
        valid: those that can be read, by name, each with the options of its preset.
        errors: why the others cannot.
    """

    valid: dict[str, dict[str, Any]]
    errors: dict[str, ConfigError]

    @property
    def of_files(self) -> dict[str, dict[str, Any]]:
        """The valid declarations of sources of files."""
        return {name: each for name, each in self.valid.items() if each.get("type") == "files"}

    @classmethod
    def of(
        cls,
        sources: Mapping[str, Any],
        networks: Collection[str] | None = None,
        columns: Mapping[str, str] = SILVER,
    ) -> Declarations:
        """Parse the declarations of sources; the fault of one is not one of the others.

        Args:
            sources: the declarations, by name.
            networks: the known values of `rede_social`; None to take any.
            columns: the types of the columns of Silver.
        """
        valid, errors = {}, {}
        for name, declaration in sources.items():
            try:
                declared = with_preset(name, declaration, columns)
                contract_of(name, declared, "UTC", columns)  # no zone makes it invalid
                if declared.get("type") == "files":
                    _check_options(name, declared)
                    Reading.of(name, declared)
                if networks is not None:
                    check_networks(name, declaration, networks)
            except ConfigError as error:
                errors[name] = error
            else:
                valid[name] = declared
        return cls(valid, errors)


def check_source(
    name: str, declaration: Mapping[str, Any], columns: Mapping[str, str] = SILVER
) -> None:
    """Check the names and types of what a source declares.

    Args:
        name: the name of the source.
        declaration: its declaration.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: if the declaration is invalid.
    """
    _check_options(name, declaration)
    contract_of(name, declaration, "UTC", columns)


def _check_options(name: str, declaration: Mapping[str, Any]) -> None:
    """Check the name of a source, and the names and types of its options."""
    if not isinstance(name, str):
        raise ConfigError(f"sources.{name}: the name of a source is a text; write it in quotes.")
    if not name.replace("_", "").replace("-", "").isalnum():
        raise ConfigError(f"sources.{name}: name a source by letters, digits, - and _.")
    type_name = declaration.get("type") if isinstance(declaration, Mapping) else None
    if not isinstance(type_name, str) or type_name not in TYPES:
        raise ConfigError(f"sources.{name}.type: {type_name!r} is not one of {', '.join(TYPES)}.")
    check(f"sources.{name}", declaration, {**OPTIONS, **TYPE_OPTIONS[type_name]})


def new_objects(  # noqa: PLR0913, PLR0917 - a run needs all of it
    name: str,
    declaration: Mapping[str, Any],
    calendar: Calendar,
    existing: Collection[str],
    last_contents: Mapping[str, str] | None = None,
    columns: Mapping[str, str] = SILVER,
) -> NewObjects:
    """Return the objects of a source that Bronze lacks.

    Args:
        name: the name of the source; it becomes `fonte=<name>` in the lake.
        declaration: the `type` of the source, and the options of that type.
        calendar: the windows that are due at the instant of the run.
        existing: the names of the objects in Bronze.
        last_contents: the content that each file of the source last had, by its path.
        columns: the types of the columns of Silver.

    Raises:
        ConfigError: if the declaration is invalid.
        SourceError: if the source has no file.
    """
    check_source(name, declaration, columns)
    return TYPES[declaration["type"]](name, declaration, calendar, existing, last_contents or {})


def check_networks(name: str, declaration: Any, networks: Collection[str]) -> None:
    """Check that each value that a source declares for `rede_social` is a known network.

    Of the table of a preset, which has the networks of every user, this is not required.

    Raises:
        ConfigError: for the first one that is not.
    """
    merged, own = map(_network_rule, (with_preset(name, declaration), declaration))
    for network in (*_constants(merged), *_replacements(own)):
        if network not in networks:
            setting = f"sources.{name}.fields.rede_social"
            raise unknown_name(setting, network, networks, declared_in="networks")


def _network_rule(declaration: Any) -> Any:
    fields = declaration.get("fields") if isinstance(declaration, Mapping) else None
    return fields.get("rede_social") if isinstance(fields, Mapping) else None


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


def warn_of_shared_files(sources: Mapping[str, Any], columns: Mapping[str, str] = SILVER) -> None:
    """Log a warning for each two sources that read the same records.

    What the ingestion refuses is left out.
    """
    for names, paths in files.shared(Declarations.of(sources, columns=columns).of_files).items():
        log.warning(
            "sources.%s and sources.%s both read %s, so its records are in Bronze twice; narrow "
            "the path of one of them.",
            *names,
            paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more",
        )
