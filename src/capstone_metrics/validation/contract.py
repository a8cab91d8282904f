"""The contract of a source: which of its fields Silver reads, and which others it may have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.validation.conditions import Selection, selection_of
from capstone_metrics.validation.field_declarations import fields_of
from capstone_metrics.validation.fields import TABLES, Field
from capstone_metrics.validation.silver import (
    DAILY,
    KINDS_OF_COUNTERS,
    LIFETIME,
    PERIOD,
    SILVER,
    columns_for,
    required_columns,
)
from capstone_metrics.validation.texts import composed


@dataclass(frozen=True)
class Contract:
    """The fields that the lines of a source may have.

    Attributes:
        fields: the origin of each field of Silver, by its name.
        other_fields: further fields of the source, which Silver does not read; `*` stands for any
            characters.
        is_frozen: whether a line with any other field is rejected.
        shape_rules: the rules that a row of a table broke, by the field that says so.
        selection: which records are no observations.
        counters: whether counters count since the posting (`lifetime`), in a period (`period`), or
            on a day (`daily`).
        columns: the types of the columns of a row, in order: those of Silver, or of an increment.
    """

    fields: dict[str, Field]
    other_fields: frozenset[str] = frozenset()
    is_frozen: bool = False
    shape_rules: Mapping[str, str] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    counters: str = LIFETIME
    columns: Mapping[str, str] = field(default_factory=lambda: SILVER)

    @property
    def is_daily(self) -> bool:
        """Whether counters are increments by day."""
        return self.counters == DAILY

    @property
    def day(self) -> str:
        """The column of the day that a row is of, which is not after its observation."""
        return "data_observacao" if self.is_daily else "data_postagem"

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every accepted line has a value for."""
        return required_columns(self.counters)

    @cached_property
    def source_fields(self) -> list[str]:
        """The fields of the source that are read, sorted."""
        paths = (path for field in self.fields.values() for path in field.paths)
        return sorted({*paths, *self.selection.paths})

    @cached_property
    def _known_fields(self) -> frozenset[str]:
        paths = self.source_fields
        return self.other_fields.union(
            paths, (re.split(r"[.\[]", path)[0] for path in paths), self.shape_rules
        )

    def is_known(self, name: str) -> bool:
        """Return whether the contract names a field of the source."""
        return name in self._known_fields or any(
            fnmatchcase(name, pattern) for pattern in self._patterns
        )

    @cached_property
    def _patterns(self) -> list[str]:
        return [name for name in self.other_fields if "*" in name]

    def digest(self, *context: Any) -> str:
        """Return a hash of the contract, and of the context that validation also depends on."""
        content = (
            sorted(self.fields.items()),
            sorted(self.other_fields),
            self.is_frozen,
            self.selection,
            self.counters,
            context,
        )
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


SHAPE_RULES = {"_extra": "line.extra_values", "_missing": "line.too_few_values"}
"""The rule that each field stands for, by which a row says that it does not fit its header."""

DRIFT = {"evolve": False, "freeze": True}
"""Whether the fields of a source are frozen, by the value of `schema_drift`."""


def contract_of(
    name: str, declaration: Any, timezone: str, columns: Mapping[str, str] = SILVER
) -> Contract:
    """Parse what a source declares of its records.

    Args:
        name: the name of the source.
        declaration: the declaration of the source.
        timezone: the zone in which times are kept.
        columns: the types of the columns of Silver, in order.

    Raises:
        ConfigError: if an option is invalid, or a required field is not declared.
    """
    if not isinstance(declaration, Mapping):
        raise ConfigError(f"sources.{name}: declare its type and the options of that type.")
    drift, other_fields = (
        declaration.get("schema_drift", "evolve"),
        declaration.get("other_fields", []),
    )
    if drift not in tuple(DRIFT):
        raise ConfigError(f"sources.{name}.schema_drift: {drift!r} must be {' or '.join(DRIFT)}.")
    if not isinstance(other_fields, list | tuple) or not all(
        isinstance(each, str | int) and not isinstance(each, bool) for each in other_fields
    ):
        raise ConfigError(
            f"sources.{name}.other_fields: {other_fields!r} must be a list of fields, each in "
            "quotes if YAML would take it for something else."
        )
    counters = declaration.get("counters", LIFETIME)
    if counters not in KINDS_OF_COUNTERS:
        raise unknown_name(f"sources.{name}.counters", counters, KINDS_OF_COUNTERS)
    if counters == DAILY and declaration.get("type") == "faker":
        raise ConfigError(
            f"sources.{name}.counters: a synthetic source has the counters of videos; declare "
            f"{LIFETIME} or {PERIOD}."
        )
    columns = columns_for(counters, columns)
    fields = fields_of(name, declaration, timezone, columns)
    if missing := [column for column in required_columns(counters) if column not in fields]:
        raise ConfigError(f"sources.{name}.fields: declare where {', '.join(missing)} comes from.")
    is_table = declaration.get("format") in TABLES
    return Contract(
        fields,
        frozenset(composed(str(each)) for each in other_fields),
        DRIFT[drift],
        SHAPE_RULES if is_table else {},
        selection_of(name, declaration, is_table=is_table),
        counters,
        columns,
    )
