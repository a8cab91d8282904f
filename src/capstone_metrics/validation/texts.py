"""How texts are compared: Unicode writes one text in several ways, and people leave blanks."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


def composed(text: str) -> str:
    """Return a text in which an accent is part of its letter (NFC), so that it has one spelling."""
    return unicodedata.normalize("NFC", text)


REPLACED = "\N{REPLACEMENT CHARACTER}"
"""What is shown for bytes that are not UTF-8."""


def shown_name(name: str) -> str:
    """Return the name of a file with its bytes that are not UTF-8 replaced, so it can be stored."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def text_of(value: Any) -> str | None:
    """Return a value as a text; None if it is nested or there is none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


def name_of(text: str) -> str:
    """Return a text without blanks around it, composed."""
    return composed(text.strip())


def folded(text: str) -> str:
    """Return a text such that those which differ by case, or as names do not, are equal."""
    return name_of(text).casefold()


def names_alike(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of different names that are equal once they are folded."""
    groups: dict[str, dict[str, None]] = {}
    for name in names:
        groups.setdefault(folded(name), {})[name] = None
    return [list(group) for group in groups.values() if len(group) > 1]
