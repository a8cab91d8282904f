"""How a source writes its dates and times: ISO 8601, a format of tokens, or seconds since 1970."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from babel import Locale

from capstone_metrics.errors import ConfigError

ISO, EPOCH, EPOCH_MS, TIKTOK_ID = "iso", "epoch", "epoch_ms", "tiktok_id"
UNITS_PER_SECOND = {EPOCH: 1, EPOCH_MS: 1_000, TIKTOK_ID: 1 << 32}
"""The formats that are a number, and how many units of it are a second since 1970."""

FIRST_INSTANT, LAST_INSTANT = 946_684_800, 4_102_444_800
"""A number of seconds outside 2000 to 2099 is in another unit than the declared one."""

FIXED_TOKENS = {
    "%Y": (4, r"[12]\d{3}"),
    "%y": (2, r"\d{2}"),
    "%m": (2, r"(?:0[1-9]|1[0-2])"),
    "%d": (2, r"(?:0[1-9]|[12]\d|3[01])"),
    "%H": (2, r"(?:[01]\d|2[0-3])"),
    "%M": (2, r"[0-5]\d"),
    "%S": (2, r"[0-5]\d"),
}
"""The tokens of a format that have a fixed width, with this width and the pattern of a value."""

OTHER_TOKENS = {
    "%I": r"(?:0[1-9]|1[0-2])",
    "%-m": r"(?:0?[1-9]|1[0-2])",
    "%-d": r"(?:0?[1-9]|[12]\d|3[01])(?:º|ª|°|er|st|nd|rd|th)?",
    "%-H": r"(?:[01]?\d|2[0-3])",
    "%-I": r"(?:0?[1-9]|1[0-2])",
    "%p": r"[ap]\.?[ \u00a0\u202f]?m\.?",
    "%b": r"[^\W\d_]+\.?",
    "%B": r"[^\W\d_]+\.?",
    "%z": r"(?:Z|[+-]\d{2}(?::?\d{2})?)",
}
"""The other tokens: unpadded numbers, the hour of a half of a day and which half, names of months
in a declared language, and the offset from UTC."""

PATTERNS = {**{token: pattern for token, (_, pattern) in FIXED_TOKENS.items()}, **OTHER_TOKENS}
SAME_PART = {"%y": "%Y", "%-m": "%m", "%b": "%m", "%B": "%m", "%-d": "%d"}
SAME_PART |= {"%-H": "%H", "%-I": "%H", "%I": "%H"}
"""The token of the same part of a time, for tokens that are other ways to write it."""

BLANK = r"[ \u00a0\u202f]"
"""A blank of a format: spreadsheets and browsers write others, which look the same."""

ISO_TIME = re.compile(
    r"(?P<date>[12]\d{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))"
    r"(?:[T ](?P<minute>(?:[01]\d|2[0-3]):[0-5]\d)"
    r"(?::(?P<second>[0-5]\d)(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?: ?(?P<utc>Z|UTC)|(?P<offset>[+-](?:0\d|1[0-4])(?::?[0-5]\d)?))?)?",
    re.ASCII | re.IGNORECASE,
)
BASIC_TIME = re.compile(r"([12]\d{3})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(.*))?", re.ASCII)
"""ISO 8601 without hyphens and colons."""

CENTURY_STARTS = 69
"""Years of two digits from this one on are in the 20th century, as for strptime of POSIX."""

NOON = 12


class Moment(NamedTuple):
    """A date or time as it is written.

    Attributes:
        time: has a zone only if it is written with an offset.
        has_clock: whether it has a time of day.
    """

    time: dt.datetime
    has_clock: bool


@dataclass(frozen=True)
class TimeFormat:
    """A format of dates or times.

    Attributes:
        tokens: the tokens in their order.
        pattern: what a text in this format matches, a group for each token; it may still be no
            date, as 30 February.
        parts: the position of each token in such a text; empty if some token has no fixed width.
        literals: the texts between the tokens, with the offset of each.
        length: the number of characters of such a text, if each token has a fixed width.
        languages: of the names of months.
    """

    tokens: tuple[str, ...]
    pattern: re.Pattern[str]
    parts: dict[str, slice]
    literals: tuple[tuple[int, str], ...]
    length: int
    languages: tuple[str, ...]

    @classmethod
    def of(cls, text: str, setting: str, languages: tuple[str, ...] = ("en",)) -> TimeFormat:
        """Parse a format.

        Args:
            text: the format, such as `%d/%m/%Y`.
            setting: the setting that an error names.
            languages: of the names of months.

        Raises:
            ConfigError: for an unknown or repeated token, or without a month and a day.
        """
        tokens: list[str] = []
        pattern, parts, literals, start = "", {}, [], 0
        for part in re.findall(r"%-?.?|[^%]+", text):
            if not part.startswith("%"):
                literals.append((start, part))
                pattern += "".join(BLANK if c == " " else re.escape(c) for c in part)
                start += len(part)
                continue
            if part not in PATTERNS:
                raise ConfigError(
                    f"{setting}: {text!r} has {part!r}; a format is made of {', '.join(PATTERNS)} "
                    f"and text between them, or is one of {', '.join((ISO, *UNITS_PER_SECOND))}."
                )
            width, _ = FIXED_TOKENS.get(part, (0, ""))
            parts[part] = slice(start, start + width)
            pattern, start = f"{pattern}({PATTERNS[part]})", start + width
            tokens.append(part)
        names = [SAME_PART.get(token, token) for token in tokens]
        if len(set(names)) < len(names):
            raise ConfigError(f"{setting}: {text!r} has a part of the time twice.")
        if not {"%m", "%d"} <= set(names):
            raise ConfigError(f"{setting}: {text!r} must have a month and a day.")
        if ({"%I", "%-I"} & set(tokens) != set()) != ("%p" in tokens):
            raise ConfigError(f"{setting}: {text!r} must have %I or %-I with %p, or neither.")
        is_fixed = set(tokens) <= set(FIXED_TOKENS)
        flags = re.DOTALL | (re.ASCII if is_fixed else re.IGNORECASE)
        return cls(
            tuple(tokens),
            re.compile(pattern, flags),
            parts if is_fixed else {},
            tuple(literals),
            start,
            languages,
        )

    @property
    def has_year(self) -> bool:
        """Whether a text in this format has its year."""
        return bool({"%Y", "%y"} & set(self.tokens))

    def read(self, text: str, near: dt.date | None) -> Moment:
        """Read a text in this format.

        Args:
            text: the text.
            near: the day near which a date without a year is.

        Raises:
            ValueError: if the text is not in this format, or there is no such date.
        """
        match = self.pattern.fullmatch(text)
        if match is None:
            raise ValueError(text)
        part = dict(zip(self.tokens, match.groups(), strict=True))
        month = self._month(part)
        day = _leading_number(part.get("%d") or part["%-d"])
        hour = _hour(part)
        clock = dt.time(hour, int(part.get("%M", 0)), int(part.get("%S", 0)))
        date = _date(_year(part), month, day, near)
        time = dt.datetime.combine(date, clock, _offset(part.get("%z")))
        return Moment(time, bool({"%H", "%-H", "%I", "%-I"} & set(self.tokens)))

    def _month(self, part: dict[str, str]) -> int:
        if number := part.get("%m") or part.get("%-m"):
            return int(number)
        name = _normalized(part.get("%b") or part["%B"])
        number_of = month_names(self.languages)
        return number_of[name] if name in number_of else _no(name)


def _no(text: object) -> int:
    raise ValueError(text)


def _year(part: dict[str, str]) -> int | None:
    if "%y" in part:
        year = int(part["%y"])
        return year + (1900 if year >= CENTURY_STARTS else 2000)
    return int(part["%Y"]) if "%Y" in part else None


def _hour(part: dict[str, str]) -> int:
    hour = int(next((part[token] for token in ("%H", "%-H", "%I", "%-I") if token in part), 0))
    if "%p" not in part:
        return hour
    return hour % NOON + (NOON if part["%p"][0] in "pP" else 0)


def _leading_number(text: str) -> int:
    digits = re.match(r"\d+", text)
    return int(digits[0]) if digits else _no(text)


def _date(year: int | None, month: int, day: int, near: dt.date | None) -> dt.date:
    """Return a date; without a year, the one nearest to a day."""
    if year is not None:
        return dt.date(year, month, day)
    if near is None:
        raise ValueError(month, day)
    dates = []
    for candidate in (near.year - 1, near.year, near.year + 1):
        try:
            dates.append(dt.date(candidate, month, day))
        except ValueError:  # 29 February
            continue
    return min(dates, key=lambda date: abs(date - near))


def _offset(text: str | None) -> dt.timezone | None:
    if text is None:
        return None
    if text in "Zz":
        return dt.UTC
    hours, minutes = int(text[1:3]), int(text[3:].strip(":") or 0)
    span = dt.timedelta(hours=hours, minutes=minutes)
    return dt.timezone(-span if text[0] == "-" else span)


@cache
def month_names(languages: tuple[str, ...]) -> dict[str, int]:
    """Return the number of each name of a month that means one month in all of some languages."""
    names: dict[str, set[int]] = {}
    for language in languages:
        locales = [language, *(("en_GB",) if language == "en" else ())]
        for locale in map(Locale.parse, locales):
            for kind in ("format", "stand-alone"):
                for width in ("wide", "abbreviated"):
                    for number, name in locale.months[kind][width].items():
                        names.setdefault(_normalized(name), set()).add(number)
    return {name: next(iter(months)) for name, months in names.items() if len(months) == 1}


def _normalized(name: str) -> str:
    """Return a name without case, accents and points."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c != "." and not unicodedata.combining(c))


def read_iso(text: str) -> Moment:
    """Read a date or time in ISO 8601.

    Raises:
        ValueError: if it is none.
    """
    if basic := BASIC_TIME.fullmatch(text):
        year, month, day, hour, minute, second, rest = basic.groups()
        clock = f"T{hour}:{minute}:{second or '00'}{rest}" if hour else ""
        text = f"{year}-{month}-{day}{clock}"
    match = ISO_TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    date = dt.date.fromisoformat(match["date"])
    if match["minute"] is None:
        return Moment(dt.datetime.combine(date, dt.time()), has_clock=False)
    hour_text, minute_text = match["minute"].split(":")
    micros = int((match["part"] or "0").ljust(6, "0")[:6])
    clock_time = dt.time(int(hour_text), int(minute_text), int(match["second"] or 0), micros)
    zone = dt.UTC if match["utc"] else _offset(match["offset"])
    return Moment(dt.datetime.combine(date, clock_time, zone), has_clock=True)


def read_number(text: str, form: str) -> Moment:
    """Read a number that counts from the beginning of 1970 on.

    Args:
        text: the digits; seconds may have decimals.
        form: one of `UNITS_PER_SECOND`.

    Raises:
        ValueError: if it is no number, or outside of 2000 to 2099.
    """
    match = re.fullmatch(r"(\d{1,20})(?:\.(\d{1,9}))?", text, re.ASCII)
    if match is None:
        raise ValueError(text)
    micros = int(match[1]) * 1_000_000 // UNITS_PER_SECOND[form]
    if form == TIKTOK_ID:
        micros -= micros % 1_000_000
    elif match[2]:
        micros += int(match[2].ljust(9, "0")) // (1_000 * UNITS_PER_SECOND[form])
    if not FIRST_INSTANT <= micros // 1_000_000 < LAST_INSTANT:
        raise ValueError(text)
    time = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
    return Moment(time, has_clock=True)
