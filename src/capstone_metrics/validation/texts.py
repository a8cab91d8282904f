"""How texts are compared: Unicode writes one text in several ways, and people leave blanks."""

from __future__ import annotations

import unicodedata


def name_of(text: str) -> str:
    """Return a text without blanks around it, composed (NFC), so that one name has one spelling."""
    return unicodedata.normalize("NFC", text.strip())


def folded(text: str) -> str:
    """Return a text such that those which differ by case, or as names do not, are equal."""
    return name_of(text).casefold()
