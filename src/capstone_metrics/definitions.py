"""When a network changed what it counts: before and after, its figures are not comparable."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

from capstone_metrics.config_schema import DATE, TEXT, check
from capstone_metrics.errors import ConfigError, unknown_name
from capstone_metrics.validation.silver import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Collection

ENTRY = {"date": DATE, "rede_social": TEXT, "measure": TEXT, "en": TEXT, "pt": TEXT}


class Definition(NamedTuple):
    """What a network counts from a day on.

    Attributes:
        date: the first day.
        rede_social: the network.
        measure: the counter of Silver.
        text_en: what is counted, in a sentence in English.
        text_pt: the sentence in Portuguese.
    """

    date: dt.date
    rede_social: str
    measure: str
    text_en: str
    text_pt: str


def definitions_of(declared: Any, networks: Collection[str] | None = None) -> list[Definition]:
    """Parse the parameters `definitions`.

    Args:
        declared: the entries; None for none.
        networks: the known values of `rede_social`; None to take any.

    Raises:
        ConfigError: for an invalid entry, or one that repeats another.
    """
    entries = [] if declared is None else declared
    check("definitions", entries, [ENTRY])
    numbers: dict[tuple[Any, ...], int] = {}
    definitions = []
    for number, entry in enumerate(entries, 1):
        setting = f"definitions, number {number}"
        for name, choices in (("rede_social", networks), ("measure", COUNTERS)):
            if choices is not None and entry[name] not in choices:
                raise unknown_name(f"{setting}.{name}", entry[name], choices)
        day = dt.date.fromisoformat(str(entry["date"]))
        definition = Definition(
            day, entry["rede_social"], entry["measure"], entry["en"], entry["pt"]
        )
        first = numbers.setdefault(definition[:3], number)
        if first != number:
            raise ConfigError(f"{setting}: is of the same change as number {first}; remove one.")
        definitions.append(definition)
    return definitions
