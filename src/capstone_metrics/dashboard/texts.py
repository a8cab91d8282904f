"""Words, numbers and dates in the reader's language."""

from __future__ import annotations

import functools
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml
from babel import Locale, dates, numbers

if TYPE_CHECKING:
    import datetime as dt

LANGUAGES = {"PT": "pt_BR", "EN": "en"}
"""What the reader chooses, and the locale that it stands for."""

COMPACT_FROM = 100_000

UNITS = {"pt_BR": {"k": " mil", "M": " mi", "G": " bi"}, "en": {"k": "K", "G": "B"}}
"""The ends of short numbers, beside those of the SI, which Vega writes."""


class Texts:
    """The texts of one language.

    Args:
        locale: `pt_BR` or `en`.
    """

    def __init__(self, locale: str) -> None:
        self.locale = locale
        self._texts = _read(locale)

    def __call__(self, name: str, **values: Any) -> str:
        """A text by its name, with values in it."""
        said: str = self._texts["texts"][name]
        return said.format(**values)

    def label(self, name: str) -> str:
        """What a column, mart or value of the data is called; itself if it has no other name."""
        known: dict[str, str] = self._texts["labels"]
        return known.get(name, name)

    def number(self, value: float) -> str:
        """1.234.567."""
        return numbers.format_decimal(value, locale=self.locale)

    def compact(self, value: float) -> str:
        """1,23 mi; in full where that is short."""
        if abs(value) < COMPACT_FROM:
            return self.number(value)
        return numbers.format_compact_decimal(value, locale=self.locale, fraction_digits=1)

    def percent(self, share: float, *, signed: bool = False) -> str:
        """5,2%; with its sign if asked."""
        form = "+#,##0.0%;-#,##0.0%" if signed else "#,##0.0%"
        return numbers.format_percent(share, format=form, locale=self.locale)

    def seconds(self, value: float) -> str:
        """17,5 s."""
        return f"{numbers.format_decimal(value, format='#,##0.0', locale=self.locale)} s"

    def date(self, day: dt.date) -> str:
        """31 de jan. de 2026."""
        return dates.format_date(day, "medium", locale=self.locale)

    def moment(self, instant: dt.datetime, zone: dt.tzinfo) -> str:
        """31 de jan. de 2026, 23:05, in a zone."""
        local = instant.astimezone(zone)
        time = dates.format_time(local, "short", locale=self.locale)
        return f"{self.date(local.date())}, {time}"

    def ago(self, age: dt.timedelta) -> str:
        """Há 3 horas."""
        return dates.format_timedelta(-age, add_direction=True, locale=self.locale)

    @property
    def date_format(self) -> str:
        """How a field for a date has it, of the few ways that Streamlit knows."""
        return "DD/MM/YYYY" if self.locale == "pt_BR" else "YYYY-MM-DD"

    @property
    def short_axis(self) -> str:
        """The expression by which Vega writes the numbers of an axis: 0, 500 mil, 2 mi."""
        written = "format(datum.value, '.3~s')"
        for si, unit in UNITS[self.locale].items():
            written = f"replace({written}, '{si}', '{unit}')"
        return written

    @functools.cached_property
    def chart_locale(self) -> dict[str, Any]:
        """The locale in the form of Vega."""
        said = Locale.parse(self.locale)
        symbols = said.number_symbols["latn"]
        months = said.months["stand-alone"]
        days = said.days["stand-alone"]
        sunday_first = (6, *range(6))
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


def language_of(browser: str | None) -> str:
    """Which language a browser prefers: `PT` or `EN`."""
    return "PT" if (browser or "").lower().startswith("pt") else "EN"


@functools.cache
def _read(locale: str) -> dict[str, Any]:
    path = resources.files(__package__).joinpath(f"texts_{locale}.yml")
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read
