"""What is declared of a source's fields: which of them is which of ours, and what else it has."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import REQUIRED, SILVER

ISO = "iso"
TOKENS = {
    "%Y": (4, r"[12]\d{3}"),
    "%y": (2, r"\d{2}"),
    "%m": (2, r"(?:0[1-9]|1[0-2])"),
    "%d": (2, r"(?:0[1-9]|[12]\d|3[01])"),
    "%H": (2, r"(?:[01]\d|2[0-3])"),
    "%M": (2, r"[0-5]\d"),
    "%S": (2, r"[0-5]\d"),
}
"""What a date format is written with: the width of each token, and what fits it."""


@dataclass(frozen=True)
class Field:
    """Where one of our fields comes from: the first of some fields that is there, or a constant."""

    name: str
    origins: tuple[str, ...] = ()
    constant: str | None = None
    format: str = ISO
    timezone: str = "UTC"
    quoted: bool = False
    """Whether every value is written as text, as CSV does; so is a constant."""

    @property
    def is_time(self) -> bool:
        """Whether `format` and `timezone` apply."""
        return bool(SILVER[self.name].is_date() or SILVER[self.name].is_timestamp())


@dataclass(frozen=True)
class Contract:
    """What a source may hold.

    Attributes:
        fields: where each of our fields comes from, by its name.
        others: the fields that it has besides, which Silver does not read.
        is_frozen: whether a line with any other field is refused.
    """

    fields: dict[str, Field]
    others: frozenset[str] = frozenset()
    is_frozen: bool = False

    @property
    def read(self) -> list[str]:
        """The fields of the source that Silver reads, in order."""
        return sorted({origin for field in self.fields.values() for origin in field.origins})

    def digest(self, *more: Any) -> str:
        """What tells it, and what else verdicts depend on, from another one."""
        said = (sorted(self.fields.items()), sorted(self.others), self.is_frozen, more)
        return hashlib.sha256(repr(said).encode()).hexdigest()[:16]


DRIFT = {"evolve": False, "freeze": True}
"""What `schema_drift` may say, and whether the fields of the source are frozen then."""


def contract_of(name: str, declaration: Any, timezone: str) -> Contract:
    """Read the `fields`, `other_fields` and `schema_drift` of a source.

    Args:
        name: of the source.
        declaration: its declaration.
        timezone: the zone of times that have none.

    Raises:
        CapstoneError: if one of them does not hold.
    """
    if not isinstance(declaration, Mapping):
        raise CapstoneError(f"sources.{name}: declare its type, and what that needs.")
    drift, others = declaration.get("schema_drift", "evolve"), declaration.get("other_fields", [])
    if drift not in DRIFT:
        raise CapstoneError(f"sources.{name}.schema_drift: {drift!r} is not {' or '.join(DRIFT)}.")
    if not isinstance(others, list | tuple):
        raise CapstoneError(f"sources.{name}.other_fields: {others!r} is not a list of fields.")
    fields = _fields(name, declaration, timezone)
    return Contract(fields, frozenset(map(str, others)), DRIFT[drift])


def _fields(name: str, declaration: Mapping[str, Any], timezone: str) -> dict[str, Field]:
    """The `fields` of a source; without any, its fields have our names."""
    where = f"sources.{name}.fields"
    base = Field("", timezone=timezone, quoted=declaration.get("format") == "csv")
    declared = declaration.get("fields") or {column: column for column in SILVER}
    strange = [column for column in declared if column not in SILVER]
    if strange:
        raise CapstoneError(
            f"{where}: {', '.join(strange)} is not a field of Silver; choose from "
            f"{', '.join(SILVER)}."
        )
    missing = [column for column in REQUIRED if column not in declared]
    if missing:
        raise CapstoneError(f"{where}: declare where {', '.join(missing)} comes from.")
    return {column: _field(where, replace(base, name=column), r) for column, r in declared.items()}


def _field(where: str, base: Field, rule: Any) -> Field:
    options = {"field": rule} if isinstance(rule, str | list | tuple) else rule
    times = {"format", "timezone"} if base.is_time else set()
    if (
        not isinstance(options, dict)
        or len({"field", "constant"} & set(options)) != 1
        or options.get("field") in ([], "")
        or set(options) - {"field", "constant"} - times
    ):
        allowed = ", format and timezone" if base.is_time else ""
        raise CapstoneError(
            f"{where}.{base.name}: {rule!r} is not the name of a field or a list of names, nor "
            f"{{field: name}} or {{constant: value}}{allowed}."
        )
    origins = options.get("field", [])
    origins = origins if isinstance(origins, list | tuple) else [origins]
    said = {option: str(value) for option, value in options.items()}
    field = replace(
        base,
        origins=tuple(map(str, origins)),
        constant=said.get("constant"),
        quoted=base.quoted or "constant" in said,
        format=said.get("format", base.format),
        timezone=said.get("timezone", base.timezone),
    )
    try:
        ZoneInfo(field.timezone)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise CapstoneError(
            f"{where}.{base.name}.timezone: {field.timezone!r} is not known."
        ) from error
    if field.format != ISO:
        layout_of(where, field)
    return field


def layout_of(where: str, field: Field) -> tuple[str, dict[str, int]]:
    """The pattern of a date format, and at which character each of its tokens starts.

    Raises:
        CapstoneError: for a token that is not known, or a format without a year, month and day.
    """
    pattern, places, at = "", {}, 0
    for part in re.findall(r"%.?|[^%]+", field.format):
        width, fits = TOKENS.get(part, (len(part), re.escape(part)))
        if part.startswith("%"):
            if part not in TOKENS or part in places:
                raise CapstoneError(
                    f"{where}.{field.name}.format: {field.format!r} must be made of "
                    f"{', '.join(TOKENS)}, each once, and of what stands between them."
                )
            places[part] = at
        pattern, at = pattern + fits, at + width
    if not {"%m", "%d"} <= set(places) or len({"%Y", "%y"} & set(places)) != 1:
        raise CapstoneError(
            f"{where}.{field.name}.format: {field.format!r} must have a year, a month and a day."
        )
    return rf"^{pattern}\z", places
