"""Texts, numbers and dates in the reader's language."""

from __future__ import annotations

import datetime as dt
import functools
import math
from importlib import resources
from typing import TYPE_CHECKING, Any

from babel import Locale, dates, lists, numbers

from capstone_metrics.yaml_text import read_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCALES = {"PT": "pt_BR", "EN": "en"}
"""The locale of each language that the reader can choose."""

COMPACT_THRESHOLD = 100_000
"""Smaller numbers are written in full."""

NUMBER_SUFFIXES = {"pt_BR": {"k": " mil", "M": " mi", "G": " bi"}, "en": {"k": "K", "G": "B"}}
"""The suffixes that replace Vega's SI suffixes, by locale; the other SI suffixes stay."""


class Texts:
    """The texts and formats of one locale.

    Args:
        locale: `pt_BR` or `en`.
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale
        self._entries = _load_entries(locale)

    def __call__(self, name: str, **values: Any) -> str:
        """Return a text by its key, with its placeholders filled in."""
        template: str = self._entries["texts"][name]
        return template.format(**values)

    def label(self, name: str) -> str:
        """Return the label of a column or value of the data; the name itself if it has none."""
        labels: dict[str, str] = self._entries["labels"]
        return labels.get(name, name)

    def help(self, name: str) -> str | None:
        """Return how a figure is computed, where it is no plain sum."""
        texts: dict[str, str] = self._entries["texts"]
        return texts.get(f"{name}_help")

    def weekday(self, number: int) -> str:
        """Return the name of a day of the week, 1 (Monday) to 7."""
        return str(Locale.parse(self.locale).days["stand-alone"]["wide"][number - 1])

    def points(self, difference: float) -> str:
        """Format a difference of two shares in percentage points: +1,2 p.p."""
        text = numbers.format_decimal(
            100 * difference, format="+#,##0.0;-#,##0.0", locale=self.locale
        )
        return f"{text} {self('points')}"

    def number(self, value: float) -> str:
        """Format a number in full: 1.234.567; a fraction with three digits: 0,000812."""
        pattern = "@##" if 0 < abs(value) < 1 else None
        return numbers.format_decimal(value, pattern, locale=self.locale)

    def compact(self, value: float) -> str:
        """Format a number with a suffix if it is large: 1,2 mi."""
        if abs(value) < COMPACT_THRESHOLD:
            return self.number(value)
        return numbers.format_compact_decimal(value, locale=self.locale, fraction_digits=1)

    def percent(self, ratio: float, *, signed: bool = False) -> str:
        """Format a ratio as a percentage: 5,2%, or +5,2% if signed."""
        pattern = "+#,##0.0%;-#,##0.0%" if signed else "#,##0.0%"
        return numbers.format_percent(ratio, format=pattern, locale=self.locale)

    def factor(self, ratio: float) -> str:
        """Format how many times something is another: 2,3 after the sign of times."""
        return self("times", factor=numbers.format_decimal(ratio, "#,##0.0", locale=self.locale))

    def seconds(self, value: float) -> str:
        """Format a duration: 17,5 s."""
        return f"{numbers.format_decimal(value, format='#,##0.0', locale=self.locale)} s"

    def date(self, day: dt.date) -> str:
        """Format a date: 31 de jan. de 2026."""
        return dates.format_date(day, "medium", locale=self.locale)

    def period(self, first: dt.date, last: dt.date) -> str:
        """Format a period: 1 de jan. de 2026 a 31 de jan. de 2026."""
        return self("first_to_last", first=self.date(first), last=self.date(last))

    def date_and_time(self, instant: dt.datetime, zone: dt.tzinfo) -> str:
        """Format an instant in a time zone: 31 de jan. de 2026, 23:05."""
        local = instant.astimezone(zone)
        time = dates.format_time(local, "short", locale=self.locale)
        return f"{self.date(local.date())}, {time}"

    def relative_time(self, age: dt.timedelta) -> str:
        """Format the time since an instant: há 3 horas."""
        return dates.format_timedelta(-age, add_direction=True, locale=self.locale)

    def duration(self, value: dt.timedelta) -> str:
        """Format a duration roughly: 10 meses."""
        return dates.format_timedelta(value, locale=self.locale)

    def days(self, count: int) -> str:
        """Format a number of days: 1 dia."""
        return dates.format_timedelta(
            dt.timedelta(count), granularity="day", threshold=math.inf, locale=self.locale
        )

    def enumeration(self, items: Sequence[str]) -> str:
        """Join items to a list in a sentence: dia, rede social e instituição."""
        return lists.format_list(items, locale=self.locale)

    @property
    def date_input_format(self) -> str:
        """The format of a date input, one of the few that Streamlit supports."""
        return "DD/MM/YYYY" if self.locale == "pt_BR" else "YYYY-MM-DD"

    @property
    def axis_label_expression(self) -> str:
        """The Vega expression that formats the numbers of an axis: 0, 0,2, 500 mil, 2 mi."""
        expression = "format(datum.value, '.3~s')"
        for si_suffix, suffix in NUMBER_SUFFIXES[self.locale].items():
            expression = f"replace({expression}, '{si_suffix}', '{suffix}')"
        return f"abs(datum.value) < 1 ? format(datum.value, '.3~r') : {expression}"

    @functools.cached_property
    def vega_locale(self) -> dict[str, Any]:
        """The locale in Vega's format."""
        locale = Locale.parse(self.locale)
        symbols = locale.number_symbols["latn"]
        months = locale.months["stand-alone"]
        days = locale.days["stand-alone"]
        sunday_first = (6, *range(6))  # Babel counts from Monday, and Vega from Sunday
        return {
            "number": {
                "decimal": symbols["decimal"],
                "thousands": symbols["group"],
                "grouping": [3],
                "currency": ["", ""],
            },
            "time": {
                "dateTime": "%x, %X",
                "date": "%d/%m/%Y" if self.locale == "pt_BR" else "%Y-%m-%d",
                "time": "%H:%M:%S",
                "periods": ["AM", "PM"],
                "days": [days["wide"][day] for day in sunday_first],
                "shortDays": [days["abbreviated"][day] for day in sunday_first],
                "months": [months["wide"][month] for month in range(1, 13)],
                "shortMonths": [months["abbreviated"][month] for month in range(1, 13)],
            },
        }


def preferred_language(browser_locale: str | None) -> str:
    """Return the language for a browser's locale: `PT` if it is Portuguese, else `EN`."""
    return "PT" if (browser_locale or "").lower().startswith("pt") else "EN"


@functools.cache
def _load_entries(locale: str) -> dict[str, Any]:
    """Return the `texts` and `labels` of a locale from its YAML file."""
    path = resources.files(__package__).joinpath(f"texts_{locale}.yml")
    entries: dict[str, Any] = read_yaml(path.read_text(encoding="utf-8"))
    return entries
