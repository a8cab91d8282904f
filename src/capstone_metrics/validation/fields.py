"""The origin of each field of Silver: where in a record its value is, and how it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property

from capstone_metrics.validation.numerals import NumberFormat
from capstone_metrics.validation.silver import COUNTERS, NAMES, SILVER
from capstone_metrics.validation.texts import folded
from capstone_metrics.validation.times import ISO, UNITS_PER_SECOND, TimeFormat

DURATION = "duration"
TABLES = ("csv", "xlsx")
"""The formats whose records are the rows of a table."""


@dataclass(frozen=True)
class Origin:
    """One place of a record from which a value may come, and how it is written there.

    The names of these attributes are part of the digest of a contract, which the lake stores.

    Attributes:
        paths: of the values, which are joined by a blank if there are several.
        pattern: a regular expression; its first group that matches is the value. Empty for none.
        values: what is read instead of some values, as pairs.
        missing: the texts that mean that there is no value.
        empty: what is read instead of a blank; None for no value.
        numbers: how numbers are written.
        formats: `iso`, the formats of dates or times, of which the first that fits counts, or
            `duration`.
        languages: of the names of months.
        timezone: the zone of times without an offset.
        near: where the moment is found near which a date without a year is.
    """

    paths: tuple[str, ...] = ()
    pattern: str = ""
    values: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    empty: str | None = None
    numbers: NumberFormat = field(default_factory=NumberFormat)
    formats: tuple[str, ...] = (ISO,)
    languages: tuple[str, ...] = ("en",)
    timezone: str = "UTC"
    near: Origin | None = None

    @cached_property
    def time_formats(self) -> tuple[TimeFormat | str, ...]:
        """The parsed formats; those without tokens by their name."""
        names = {ISO, DURATION, *UNITS_PER_SECOND}
        return tuple(
            text if text in names else TimeFormat.of(text, "format", self.languages)
            for text in self.formats
        )

    @cached_property
    def regex(self) -> re.Pattern[str] | None:
        """The parsed pattern; None without one."""
        return re.compile(self.pattern) if self.pattern else None

    @cached_property
    def replacements(self) -> dict[str, str]:
        """What is read instead of a value, by the value without case and blanks around it."""
        return {folded(value): read for value, read in self.values}

    @cached_property
    def missing_words(self) -> frozenset[str]:
        """The words for no value, without case and blanks around them."""
        return frozenset(folded(word) for word in self.missing)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the value is that of one field as it stands, so that the scanner can read it."""
        return (
            len(self.paths) <= 1
            and not (self.pattern or self.values or self.missing or self.near)
            and self.empty is None
            and self.numbers.is_plain
            and all(form == ISO or getattr(form, "parts", {}) for form in self.time_formats)
            and len(self.formats) == 1
        )


@dataclass(frozen=True)
class Field:
    """The origins of a field of Silver.

    The names of these attributes are part of the digest of a contract, which the lake stores.

    Attributes:
        name: the name of the field in Silver.
        origins: the places from which it may come; the first with a value counts.
        constant: the value of the field in every line, if it has no origin.
        zone: the zone in which dates and local times are kept.
        quoted: whether every value is written as text, as in CSV; true of a constant.
        is_required: whether an accepted line has a value.
        is_of_table: whether its origins are columns of a table, and no paths.
        same_day_as: another field, on whose day the value must be, or else is left empty.
        kind: the type of the field in Silver.
        is_daily: whether its values are increments, which may be negative.
    """

    name: str
    origins: tuple[Origin, ...] = ()
    constant: str | None = None
    zone: str = "UTC"
    quoted: bool = False
    is_required: bool = False
    is_of_table: bool = False
    same_day_as: str = ""
    kind: str = field(default="string", repr=False)  # the digest is of what is declared
    is_daily: bool = field(default=False, repr=False)

    @property
    def is_counter(self) -> bool:
        """Whether its values are never negative."""
        if self.is_daily:
            return False
        return self.name in COUNTERS or (self.kind == "int64" and self.name not in SILVER)

    @property
    def paths(self) -> list[str]:
        """The paths that values are read from."""
        nears = (origin.near for origin in self.origins if origin.near)
        return [path for origin in (*self.origins, *nears) for path in origin.paths]

    @property
    def is_plain(self) -> bool:
        """Whether the scanner can read the field: its origins differ in their names alone."""
        if self.name in NAMES or self.same_day_as:
            return False
        if not all(origin.is_plain for origin in self.origins):
            return False
        return len({replace(origin, paths=()) for origin in self.origins}) == 1

    @property
    def origin(self) -> Origin:
        """How the values are written, if the field is plain."""
        return self.origins[0]
