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
FITTED_PERIOD = "fitted_period"
"""The key in the session of two periods: one outside of the data, and the one shown instead."""


def period_filter(view: View, mart: PublishedMart) -> Filter:
    """Show the period widget, and return the selected days.

    The page stops here if the mart has no day, or the period has no end yet.
    """
    texts = view.texts
    day_range = view.day_range(mart)
    if day_range is None:
        st.info(texts("empty"), title=texts("empty_title"))
        st.stop()
    first, last = day_range
    default = default_period(first, last)
    _fit_period(first, last)
    days = st.date_input(
        texts("period"),
        value=default,
        min_value=first,
        max_value=last,
        format=texts.date_input_format,
        key=PERIOD,
        bind="query-params",
    )
    st.caption(texts("available_period", period=texts.period(first, last)))
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


def show_fitted_period(view: View, mart: PublishedMart) -> None:
    """Tell the reader that the requested period is outside of the data, and which one is shown.

    The message stays until the reader selects another period.
    """
    requested, shown = st.session_state.get(FITTED_PERIOD, (None, None))
    day_range = view.day_range(mart)
    if day_range is None or shown is None or shown != st.session_state.get(PERIOD):
        st.session_state.pop(FITTED_PERIOD, None)
        return
    texts = view.texts
    periods = {"requested": requested, "available": day_range, "shown": shown}
    sentences = {name: texts.period(*days) for name, days in periods.items()}
    st.info(texts("period_outside", **sentences))


def default_period(first: dt.date, last: dt.date) -> tuple[dt.date, dt.date]:
    """Return the first and last day of the default period: the latest four weeks of the data."""
    return max(first, last - dt.timedelta(days=DEFAULT_DAYS - 1)), last


def reset_filters(period: tuple[dt.date, dt.date]) -> None:
    """Clear all filters, and set the period."""
    for parameter in URL_PARAMETERS.values():
        st.session_state[parameter] = []
    st.session_state[PERIOD] = period
    st.session_state.pop(FITTED_PERIOD, None)


def has_day(mart: PublishedMart) -> bool:
    """Return whether the key of a mart has the day."""
    return DAY in mart.key


def _fit_period(first: dt.date, last: dt.date) -> None:
    """Replace a requested period that is outside of the data by its part in them, or the default.

    Streamlit itself would show the default without a word.
    """
    requested = _requested_period()
    if not requested or first <= requested[0] <= requested[-1] <= last:
        return
    start, end = max(requested[0], first), min(requested[-1], last)
    default = default_period(first, last)
    shown = (start, end) if start < end else default  # Streamlit reads a URL's equal days as one
    st.session_state[FITTED_PERIOD] = (requested[0], requested[-1]), shown
    if PERIOD in st.session_state:
        st.session_state[PERIOD] = shown
        return
    if shown == default:
        del st.query_params[PERIOD]
    else:
        st.query_params[PERIOD] = [day.isoformat() for day in shown]
    st.rerun()


def _requested_period() -> list[dt.date]:
    """Return the days in the session, or else in the URL, sorted; none if they are no dates."""
    if PERIOD in st.session_state:
        return sorted(st.session_state[PERIOD])
    try:
        return sorted(map(dt.date.fromisoformat, st.query_params.get_all(PERIOD)))
    except ValueError:
        return []
