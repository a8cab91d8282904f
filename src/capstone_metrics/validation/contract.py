"""The contract of a source: which of its fields Silver reads, and which others it may have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from capstone_metrics.errors import CapstoneError
from capstone_metrics.validation.silver import REQUIRED, SILVER, TIMES

ISO = "iso"
FORMAT_TOKENS = {
    "%Y": (4, r"[12]\d{3}"),
    "%y": (2, r"\d{2}"),
    "%m": (2, r"(?:0[1-9]|1[0-2])"),
    "%d": (2, r"(?:0[1-9]|[12]\d|3[01])"),
    "%H": (2, r"(?:[01]\d|2[0-3])"),
    "%M": (2, r"[0-5]\d"),
    "%S": (2, r"[0-5]\d"),
}
"""The tokens of a date format, with the width of each and the pattern of its values."""


@dataclass(frozen=True)
class TimeFormat:
    """A format of dates or times, in which each part has a fixed width.

    Attributes:
        pattern: what a text in this format matches; it may still be no date, as 30 February.
        parts: the position of each token in such a text.
        literals: the texts between the tokens, with the offset of each.
        length: the number of characters of such a text.
    """

    pattern: re.Pattern[str]
    parts: dict[str, slice]
    literals: tuple[tuple[int, str], ...]
    length: int

    @classmethod
    def of(cls, text: str, setting: str) -> TimeFormat:
        """Parse a format.

        Args:
            text: the format, such as `%d/%m/%Y`.
            setting: the setting that an error names.

        Raises:
            CapstoneError: for an unknown or repeated token, or without a year, month and day.
        """
        pattern, parts, literals, start = "", {}, [], 0
        for part in re.findall(r"%.?|[^%]+", text):
            width, part_pattern = FORMAT_TOKENS.get(part, (len(part), re.escape(part)))
            if not part.startswith("%"):
                literals.append((start, part))
            elif part in FORMAT_TOKENS and part not in parts:
                parts[part] = slice(start, start + width)
            else:
                raise CapstoneError(
                    f"{setting}: {text!r} must be made of {', '.join(FORMAT_TOKENS)}, each at most "
                    "once, and text between them."
                )
            pattern, start = pattern + part_pattern, start + width
        if not {"%m", "%d"} <= set(parts) or len({"%Y", "%y"} & set(parts)) != 1:
            raise CapstoneError(f"{setting}: {text!r} must have a year, a month and a day.")
        return cls(re.compile(pattern, re.ASCII | re.DOTALL), parts, tuple(literals), start)


@dataclass(frozen=True)
class Field:
    """The origin of a field of Silver.

    The names of these attributes are part of the digest of a contract, which the lake stores.

    Attributes:
        name: the name of the field in Silver.
        origins: the fields of the source; the first of them that a line has is read.
        constant: the value of the field in every line, if it has no origin.
        format: `iso`, or the format of its dates.
        timezone: the zone of times without an offset.
        quoted: whether every value is written as text, as in CSV; true of a constant.
    """

    name: str
    origins: tuple[str, ...] = ()
    constant: str | None = None
    format: str = ISO
    timezone: str = "UTC"
    quoted: bool = False

    @cached_property
    def time_format(self) -> TimeFormat:
        """The parsed `format`, if it is not `iso`."""
        return TimeFormat.of(self.format, f"{self.name}.format")

    @property
    def is_time(self) -> bool:
        """Whether the field is a date or a time, to which `format` and `timezone` apply."""
        return SILVER[self.name] in TIMES


@dataclass(frozen=True)
class Contract:
    """The fields that the lines of a source may have.

    Attributes:
        fields: the origin of each field of Silver, by its name.
        other_fields: further fields of the source, which Silver does not read.
        is_frozen: whether a line with any other field is rejected.
        shape_rules: the rules that a row of a table broke, by the field that says so.
    """

    fields: dict[str, Field]
    other_fields: frozenset[str] = frozenset()
    is_frozen: bool = False
    shape_rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def source_fields(self) -> list[str]:
        """The fields of the source that Silver reads, sorted."""
        return sorted({origin for field in self.fields.values() for origin in field.origins})

    @cached_property
    def known_fields(self) -> frozenset[str]:
        """The fields of the source that the contract names."""
        return self.other_fields.union(self.source_fields)

    def digest(self, *context: Any) -> str:
        """Return a hash of the contract, and of the context that validation also depends on."""
        content = (sorted(self.fields.items()), sorted(self.other_fields), self.is_frozen, context)
        return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


TABLES = ("csv", "xlsx")
SHAPE_RULES = {"_extra": "line.extra_values", "_missing": "line.too_few_values"}
"""The rule that each field stands for, by which a row says that it does not fit its header."""

DRIFT = {"evolve": False, "freeze": True}
"""Whether the fields of a source are frozen, by the value of `schema_drift`."""


def contract_of(name: str, declaration: Any, timezone: str) -> Contract:
    """Parse the `fields`, `other_fields` and `schema_drift` of a source.

    Args:
        name: the name of the source.
        declaration: the declaration of the source.
        timezone: the zone of times without one.

    Raises:
        CapstoneError: if one of the three is invalid.
    """
    if not isinstance(declaration, Mapping):
        raise CapstoneError(f"sources.{name}: declare its type and the options of that type.")
    drift, other_fields = (
        declaration.get("schema_drift", "evolve"),
        declaration.get("other_fields", []),
    )
    if drift not in DRIFT:
        raise CapstoneError(f"sources.{name}.schema_drift: {drift!r} must be {' or '.join(DRIFT)}.")
    if not isinstance(other_fields, list | tuple):
        raise CapstoneError(
            f"sources.{name}.other_fields: {other_fields!r} must be a list of fields."
        )
    fields = _fields(name, declaration, timezone)
    shape_rules = SHAPE_RULES if declaration.get("format") in TABLES else {}
    return Contract(fields, frozenset(map(str, other_fields)), DRIFT[drift], shape_rules)


def _fields(name: str, declaration: Mapping[str, Any], timezone: str) -> dict[str, Field]:
    """Parse the `fields` of a source; without any, its fields have the names of Silver."""
    setting = f"sources.{name}.fields"
    base = Field("", timezone=timezone, quoted=declaration.get("format") == "csv")
    declared = declaration.get("fields") or {column: column for column in SILVER}
    unknown = [column for column in declared if column not in SILVER]
    if unknown:
        raise CapstoneError(
            f"{setting}: {', '.join(unknown)} is not a field of Silver; choose from "
            f"{', '.join(SILVER)}."
        )
    missing = [column for column in REQUIRED if column not in declared]
    if missing:
        raise CapstoneError(f"{setting}: declare where {', '.join(missing)} comes from.")
    return {
        column: _field(setting, replace(base, name=column), rule)
        for column, rule in declared.items()
    }


def _field(setting: str, base: Field, rule: Any) -> Field:
    """Parse the rule of one field; what it does not set is as in a base."""
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
            f"{setting}.{base.name}: {rule!r} is not the name of a field or a list of names, nor "
            f"{{field: name}} or {{constant: value}}{allowed}."
        )
    origins = options.get("field", [])
    origins = origins if isinstance(origins, list | tuple) else [origins]
    texts = {option: str(value) for option, value in options.items()}
    field = replace(
        base,
        origins=tuple(map(str, origins)),
        constant=texts.get("constant"),
        quoted=base.quoted or "constant" in texts,
        format=texts.get("format", base.format),
        timezone=texts.get("timezone", base.timezone),
    )
    try:
        ZoneInfo(field.timezone)
    except (OSError, ValueError, ZoneInfoNotFoundError) as error:
        raise CapstoneError(
            f"{setting}.{base.name}.timezone: {field.timezone!r} is not a known time zone; use a "
            "name such as America/Sao_Paulo."
        ) from error
    if field.format != ISO:
        TimeFormat.of(field.format, f"{setting}.{base.name}.format")
    return field
