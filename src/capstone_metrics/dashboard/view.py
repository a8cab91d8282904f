"""The data and texts that every page shares, and the widgets for tables and source rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import marts, queries
from capstone_metrics.dashboard.database import PublishedMart, ReadTransaction, read_transaction
from capstone_metrics.dashboard.definitions import Definition, read_definitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.dashboard.queries import Filter, Query
    from capstone_metrics.dashboard.texts import Texts

MAX_TABLE_ROWS = 1_000
MAX_FILE_ROWS = 1_000_000
NO_VALUE = "–"  # noqa: RUF001 - as it is printed


@dataclass(frozen=True)
class View:
    """One publication in one reader's language.

    Attributes:
        transaction: the transaction in which the publication is read.
        texts: the texts and formats in the reader's language.
        zone: the time zone in which times are shown.
    """

    transaction: ReadTransaction
    texts: Texts
    zone: dt.tzinfo

    @property
    def marts(self) -> list[PublishedMart]:
        """The published marts."""
        return list(self.transaction.publication.marts.values())

    def day_range(
        self, mart: PublishedMart, measure: str | None = None
    ) -> tuple[dt.date, dt.date] | None:
        """Return the first and last day of a mart, on which a measure is known; None for none."""
        first, last = self.query(queries.day_range(mart, measure)).iloc[0]
        return (first, last) if first else None

    @cached_property
    def days(self) -> tuple[dt.date, dt.date] | None:
        """The first and last day of the data; None if there are none.

        They are days of posting, and those on which something is known to be gained: the data in a
        file that arrived today, and not before, may end a year ago.
        """
        gained, so_far, videos = (
            marts.select_mart(self.marts, kind, ())
            for kind in (marts.GAINED, marts.SO_FAR, marts.VIDEO)
        )
        ranges = [
            day_range
            for mart, measure in ((gained, "views_ganhas"), (so_far or videos, None))
            if mart and (day_range := self.day_range(mart, measure))
        ]
        if not ranges:
            return None
        return min(first for first, _ in ranges), max(last for _, last in ranges)

    @property
    def data_end(self) -> dt.date | None:
        """The last day of the data; None if there are none."""
        return self.days[1] if self.days else None

    @cached_property
    def definitions(self) -> list[Definition]:
        """When networks changed what they count, oldest first."""
        return read_definitions(self.transaction, self.texts.locale)

    @property
    def complete_end(self) -> dt.date | None:
        """The last day of the data to which no later run adds; None if there are no data.

        An evening's post is first seen in the morning after it.
        """
        if self.data_end is None:
            return None
        yesterday = dt.datetime.now(self.zone).date() - dt.timedelta(days=1)
        return self.data_end - dt.timedelta(days=int(self.data_end >= yesterday))

    def title(self, mart: PublishedMart) -> str:
        """Return a title of the rows of a mart, such as: so far, by day of posting and network."""
        labels = [self.texts.label(column).lower() for column in mart.key]
        kind = marts.kind_of(mart)
        name = kind.name if kind else "by_columns"
        return self.texts(name, columns=self.texts.enumeration(labels))

    def query(self, query: Query) -> pd.DataFrame:
        """Return the rows of a query, which is run once for each publication."""
        statement, parameters = query
        cache_key = self.transaction.publication.cache_key
        return _cached_query(cache_key, statement, parameters, self.transaction)

    def show_table(
        self,
        rows: pd.DataFrame,
        alt: str,
        formats: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
    ) -> None:
        """Show rows, with localised labels, numbers and dates.

        Args:
            rows: the rows.
            alt: the description for a screen reader.
            formats: functions that format the values of a column, to override those by type.
            columns: the configuration of columns in Streamlit.
        """
        texts = self.texts
        by_type = {name: self._format(name, rows[name]) for name in rows}
        chosen = {**by_type, **(formats or {})}
        labelled = rows.rename(columns=texts.label)
        by_label = {texts.label(name): format_ for name, format_ in chosen.items() if format_}
        config = {texts.label(name): each for name, each in (columns or {}).items()}
        st.dataframe(
            labelled.style.format(by_label, na_rep=NO_VALUE),
            hide_index=True,
            alt=alt,
            column_config=config,
            placeholder=NO_VALUE,
        )

    def show_source_rows(self, mart: PublishedMart, criteria: Filter | None) -> None:
        """Show the first rows of a mart, and a button to download them all."""
        texts = self.texts
        count = int(self.query(queries.count_rows(mart, criteria))["count"][0])
        rows = self.query(queries.select_rows(mart, criteria, MAX_TABLE_ROWS))
        self.show_table(rows, texts("table_alt", mart=mart.name))
        caption = texts(
            "rows_text", shown=texts.number(len(rows)), count=texts.number(count), mart=mart.name
        )
        st.caption(f"{caption}. {self.title(mart)}.")
        st.download_button(
            texts("download"),
            lambda: _csv(mart, criteria),
            file_name=_file_name(mart, criteria),
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
            key=f"file_{mart.name}",
        )
        if count > MAX_FILE_ROWS:
            st.caption(texts("download_limited", limit=texts.number(MAX_FILE_ROWS)))

    def show_left_out(self, columns: Iterable[str]) -> None:
        """Show that something is left out, since no mart has some columns together."""
        labels = [self.texts.label(column) for column in sorted(set(columns))]
        text = self.texts("left_out", columns=self.texts.enumeration(labels))
        st.caption(f":material/filter_alt_off: {text}")

    def unknown_networks(self, networks: Iterable[str], measures: Iterable[str]) -> str:
        """Return the sentence that networks are left out of measures that are not known of them."""
        texts = self.texts
        names = texts.enumeration([texts.label(each) for each in sorted(networks)])
        labels = texts.enumeration([texts.label(each).lower() for each in measures])
        return texts("unknown_networks", measures=labels, networks=names)

    def _format(self, name: str, column: pd.Series[Any]) -> Any:
        """Return the function that formats the values of a column; None if none has to."""
        if name == marts.NETWORK:
            return self.texts.label
        first = next((value for value in column if not pd.isna(value)), None)
        if isinstance(first, dt.datetime):
            return lambda value: self.texts.date_and_time(value, self.zone)
        if isinstance(first, dt.date):
            return self.texts.date
        return self.texts.number if pd.api.types.is_number(first) else None


@st.cache_data(show_spinner=False, max_entries=1_000)
def _cached_query(
    cache_key: str, statement: str, parameters: list[Any], _transaction: ReadTransaction
) -> pd.DataFrame:
    """Return the rows of a query; Streamlit leaves arguments that begin with _ out of the key."""
    return _transaction.query(statement, parameters)


def _csv(mart: PublishedMart, criteria: Filter | None) -> bytes:
    with read_transaction() as transaction:
        return transaction.to_csv(*queries.select_rows(mart, criteria, MAX_FILE_ROWS))


def _file_name(mart: PublishedMart, criteria: Filter | None) -> str:
    period = f"_{criteria.first}_{criteria.last}" if criteria else ""
    return f"{mart.name}{period}.csv"
