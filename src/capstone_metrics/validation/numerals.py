"""How a source writes its numbers: digits, with separators, abbreviated, or in percent."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property

from babel import Locale

SPACES = " \u00a0\u2009\u202f"
"""A blank between thousands may be any of these."""

INTEGER = re.compile("-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
DURATION = re.compile(
    r"P(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?|(?:(?:(\d+):(?=[0-5]\d:))?(\d{1,3}):)([0-5]\d)(?:\.\d+)?",
    re.ASCII,
)
SECONDS = (86_400, 3_600, 60, 1, 3_600, 60, 1)
"""The seconds of each group of `DURATION`."""


@dataclass(frozen=True)
class NumberFormat:
    """How numbers are written.

    Attributes:
        text: whether a number may also be a text of digits.
        thousands: the character between groups of three digits; empty for none.
        decimal: the character before decimals; empty for a point, and whole numbers without any.
        compact: the languages of abbreviations such as `1.2M` or `1,5 mil`; empty for none.
        percent: whether `4.5%` is read as 4.5 hundredths.
    """

    text: bool = False
    thousands: str = ""
    decimal: str = ""
    compact: tuple[str, ...] = ()
    percent: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether numbers are written as JSON and CSV have them."""
        return self == NumberFormat()

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        integer = r"\d+"
        if self.thousands:
            separator = f"[{re.escape(self.thousands)}{SPACES}]"
            integer = rf"(?:[1-9]\d{{0,2}}(?:{separator}\d{{3}})+|\d+)"
        suffix = rf"(?:[{SPACES}]?([^\W\d_]+)\.?)?" if self.compact else "()"
        percent = rf"([{SPACES}]?%)?" if self.percent else "()"
        point = re.escape(self.decimal or ".")
        return re.compile(rf"(-?{integer})(?:{point}(\d+))?{suffix}{percent}")

    def normalized(self, text: str) -> str:
        """Return a written number as digits with a point before decimals.

        Raises:
            ValueError: if it is not written so.
        """
        match = self._pattern.fullmatch(text)
        if match is None:
            if NUMBER.fullmatch(text) and not self.thousands and self.decimal in {"", "."}:
                return text  # with an exponent
            raise ValueError(text)
        integer, decimals, suffix, percent = match.groups()
        integer = re.sub(r"[^\d-]", "", integer)
        if self.decimal and decimals in {"0", "00"}:  # and not 000, which may be a thousand
            decimals = None
        number = f"{integer}.{decimals}" if decimals else integer
        if not suffix and not percent:
            return number
        factor = compact_factors(self.compact).get(suffix.casefold()) if suffix else 1
        if factor is None:
            raise ValueError(text)
        value = Decimal(number) * factor / (100 if percent else 1)
        return f"{value:.0f}" if value == value.to_integral_value() else f"{value:f}"


@cache
def compact_factors(languages: tuple[str, ...]) -> dict[str, int]:
    """Return what each abbreviation stands for, such as 1 000 for `mil`.

    One that stands for two numbers in the languages is left out.
    """
    factors: dict[str, set[int]] = {}
    for language in languages:
        for forms in Locale.parse(language).compact_decimal_formats["short"].values():
            for number, form in forms.items():
                zeros = form.pattern.count("0")
                suffix = re.sub(rf"[0'{SPACES}.]", "", form.pattern).casefold()
                if suffix:
                    factors.setdefault(suffix, set()).add(int(number) // 10 ** (zeros - 1))
    return {suffix: next(iter(each)) for suffix, each in factors.items() if len(each) == 1}


def read_duration(text: str) -> int:
    """Return a duration in whole seconds: `PT1M5S`, `1:05`, `0:01:05` or `65.4`.

    Raises:
        ValueError: if it is none of these.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return int(text.partition(".")[0])
    match = DURATION.fullmatch(text)
    if match is None or text in {"P", "PT"}:
        raise ValueError(text)
    return sum(int(part or 0) * unit for part, unit in zip(match.groups(), SECONDS, strict=True))
