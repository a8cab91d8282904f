"""What every page has: the data of one publication, the reader's language, tables and notes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import marts
from capstone_metrics.dashboard.database import Mart, Snapshot, snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from capstone_metrics.dashboard.marts import Filter, Query
    from capstone_metrics.dashboard.texts import Texts

SHOWN_ROWS, FILE_ROWS = 1_000, 1_000_000
NO_VALUE = "–"  # noqa: RUF001 - as it is printed


@dataclass(frozen=True)
class View:
    """One publication as one reader sees it.

    Attributes:
        zone: of the instants that are shown.
    """

    snapshot: Snapshot
    texts: Texts
    zone: dt.tzinfo

    @property
    def marts(self) -> list[Mart]:
        """The published marts."""
        return list(self.snapshot.publication.marts.values())

    def ask(self, query: Query) -> pd.DataFrame:
        """What the database answers; asked once for each publication."""
        statement, values = query
        return _answer(self.snapshot.publication.identity, statement, values, self.snapshot)

    def table(self, rows: pd.DataFrame, alt: str, **formats: Any) -> None:
        """Show rows: columns by their labels, numbers and dates as the reader writes them.

        Args:
            rows: what to show.
            alt: what the table has, for who does not see it.
            formats: how to write the values of a column, where it is not by their type.
        """
        texts = self.texts
        chosen = {name: formats.get(name) or self._format(name, rows[name]) for name in rows}
        named = rows.rename(columns=texts.label)
        written = {texts.label(name): form for name, form in chosen.items() if form}
        st.dataframe(named.style.format(written, na_rep=NO_VALUE), hide_index=True, alt=alt)

    def behind(self, mart: Mart, wanted: Filter | None) -> None:
        """The rows of a mart, and all of them as a file."""
        texts = self.texts
        count = int(self.ask(marts.count(mart, wanted))["count"][0])
        rows = self.ask(marts.rows(mart, wanted, SHOWN_ROWS))
        told = texts(
            "rows_text", shown=texts.number(len(rows)), count=texts.number(count), mart=mart.name
        )
        self.table(rows, texts("table_alt", mart=mart.name))
        st.caption(told)
        st.download_button(
            texts("download"),
            lambda: _file(mart, wanted),
            file_name=_file_name(mart, wanted),
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
            key=f"file_{mart.name}",
        )
        if count > FILE_ROWS:
            st.caption(texts("download_most", most=texts.number(FILE_ROWS)))

    def note_ignored(self, columns: Iterable[str]) -> None:
        """Say which filters do not apply to what follows."""
        if named := ", ".join(self.texts.label(column) for column in sorted(columns)):
            st.caption(f":material/filter_alt_off: {self.texts('not_filtered', columns=named)}")

    def _format(self, name: str, column: pd.Series[Any]) -> Any:
        if name == marts.NETWORK:
            return self.texts.label
        first = next((value for value in column if not pd.isna(value)), None)
        if isinstance(first, dt.datetime):
            return lambda value: self.texts.moment(value, self.zone)
        if isinstance(first, dt.date):
            return self.texts.date
        return self.texts.number if pd.api.types.is_number(first) else None


@st.cache_data(show_spinner=False, max_entries=1_000)
def _answer(publication: str, statement: str, values: list[Any], _from: Snapshot) -> pd.DataFrame:
    """What is asked, by the publication that it is asked of; Streamlit keeps it by these."""
    return _from.ask(statement, values)


def _file(mart: Mart, wanted: Filter | None) -> bytes:
    with snapshot() as taken:
        return taken.csv(*marts.rows(mart, wanted, FILE_ROWS))


def _file_name(mart: Mart, wanted: Filter | None) -> str:
    period = f"_{wanted.first}_{wanted.last}" if wanted else ""
    return f"{mart.name}{period}.csv"
