"""The filter widgets. Their state is in the URL, which can be shared and reopened."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import streamlit as st

from capstone_metrics.dashboard import marts
from capstone_metrics.dashboard.marts import DAY, INSTITUTION, NETWORK, Filter

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.view import View

PERIOD, LANGUAGE, MEAN = "period", "lang", "mean"
URL_PARAMETERS = {NETWORK: "network", INSTITUTION: "institution"}
"""The columns that can be filtered, and the URL parameter of each."""

DEFAULT_DAYS = 28


def period_filter(view: View, mart: PublishedMart) -> Filter:
    """Show the period widget, and return the selected days.

    The page stops here if the mart has no day, or the period has no end yet.
    """
    texts = view.texts
    first, last = _day_range(view, mart)
    if first is None:
        st.info(texts("empty"), title=texts("empty_title"))
        st.stop()
    default = default_period(view, mart)
    days = st.date_input(
        texts("period"),
        value=default,
        min_value=first,
        max_value=last,
        format=texts.date_input_format,
        key=PERIOD,
        bind="query-params",
        help=texts("available_period", first=texts.date(first), last=texts.date(last)),
    )
    if len(days) < len(default):
        st.info(texts("incomplete_period"))
        st.stop()
    return Filter(*days)


def overview_filter(view: View, mart: PublishedMart) -> Filter:
    """Show the overview's filter widgets, and return the selection."""
    texts = view.texts
    with st.sidebar:
        st.header(texts("filters"))
        period = period_filter(view, mart)
        selected = {}
        for column, parameter in URL_PARAMETERS.items():
            selection = marts.select_mart(view.marts, [column], frozenset())
            if selection is None:
                continue
            values = view.query(marts.distinct_values(selection[0], column))["value"]
            selected[column] = st.multiselect(
                texts.label(column),
                values.tolist(),
                format_func=texts.label,
                placeholder=texts("all"),
                key=parameter,
                bind="query-params",
            )
    return Filter(period.first, period.last, selected)


def default_period(view: View, mart: PublishedMart) -> tuple[dt.date, dt.date]:
    """Return the first and last day of the default period: the latest four weeks."""
    first, last = _day_range(view, mart)
    return max(first, last - dt.timedelta(days=DEFAULT_DAYS - 1)), last


def reset_filters(period: tuple[dt.date, dt.date]) -> None:
    """Clear all filters, and set the period."""
    for parameter in URL_PARAMETERS.values():
        st.session_state[parameter] = []
    st.session_state[PERIOD] = period


def has_day(mart: PublishedMart) -> bool:
    """Return whether a mart is by day."""
    return DAY in mart.key


def _day_range(view: View, mart: PublishedMart) -> tuple[dt.date, dt.date]:
    row = view.query(marts.day_range(mart)).iloc[0]
    return row["first"], row["last"]
