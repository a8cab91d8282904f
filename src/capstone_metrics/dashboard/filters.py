"""The filter widgets. Their state is in the URL, which can be shared and reopened."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from capstone_metrics.dashboard import marts, queries
from capstone_metrics.dashboard.marts import INSTITUTION, NETWORK
from capstone_metrics.dashboard.queries import Filter

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.view import View

PERIOD, LANGUAGE = "period", "lang"
URL_PARAMETERS = {NETWORK: "network", INSTITUTION: "institution"}
"""The columns that can be filtered, and the URL parameter of each."""

DEFAULT_DAYS = 14
FITTED_PERIOD = "fitted_period"
"""The key in the session of two periods: one outside of the data, and the one shown instead."""


def period_filter(view: View, days: tuple[dt.date, dt.date]) -> Filter:
    """Show the period widget, and return the selected days.

    The page stops here while the period has no end.
    """
    texts = view.texts
    first, last = days
    default = default_period(view, days)
    _fit_period(days, default)
    selected = st.date_input(
        texts("period"),
        value=default,
        min_value=first,
        max_value=last,
        format=texts.date_input_format,
        key=PERIOD,
        bind="query-params",
    )
    st.caption(texts("available_period", period=texts.period(first, last)))
    if len(selected) < len(default):
        st.info(texts("incomplete_period"))
        st.stop()
    return Filter(*selected)


def value_filters(view: View, marts_by_column: Mapping[str, PublishedMart]) -> dict[str, list[str]]:
    """Show the widget of each column that can be filtered, and return what is selected.

    Args:
        view: the view.
        marts_by_column: the mart that has the values of each column.
    """
    texts = view.texts
    selected = {}
    for column, mart in marts_by_column.items():
        values = view.query(queries.distinct_values(mart, column))["value"]
        selected[column] = st.multiselect(
            texts.label(column),
            values.tolist(),
            format_func=texts.label,
            placeholder=texts("all"),
            key=URL_PARAMETERS[column],
            bind="query-params",
        )
    return selected


def sidebar_filter(view: View, days: tuple[dt.date, dt.date], *others: PublishedMart) -> Filter:
    """Show a page's filter widgets, and return the selection.

    Args:
        view: the view.
        days: the first and last day that can be selected.
        others: marts that have the values of columns which no mart by day has.
    """
    with st.sidebar:
        st.header(view.texts("filters"))
        period = period_filter(view, days)
        marts_by_column = {
            column: mart
            for column in URL_PARAMETERS
            if (mart := _mart_of_values(view, column, others))
        }
        return replace(period, values=value_filters(view, marts_by_column))


def show_no_match(view: View, days: tuple[dt.date, dt.date]) -> None:
    """Show that no row matches the filters, and a button that resets them."""
    texts = view.texts
    st.info(texts("empty"), title=texts("empty_title"), icon=":material/filter_alt:")
    period = default_period(view, days)
    st.button(texts("reset"), on_click=reset_filters, args=(period,))


def show_fitted_period(view: View, days: tuple[dt.date, dt.date]) -> None:
    """Tell the reader that the requested period is outside of the data, and which one is shown.

    The message stays until the reader selects another period.
    """
    requested, shown = st.session_state.get(FITTED_PERIOD, (None, None))
    if shown is None or shown != st.session_state.get(PERIOD):
        st.session_state.pop(FITTED_PERIOD, None)
        return
    texts = view.texts
    periods = {"requested": requested, "available": days, "shown": shown}
    sentences = {name: texts.period(*each) for name, each in periods.items()}
    st.info(texts("period_outside", **sentences))


def default_period(view: View, days: tuple[dt.date, dt.date]) -> tuple[dt.date, dt.date]:
    """Return the first and last day of the default period: the latest two complete weeks."""
    first, last = days
    if view.complete_end and first <= view.complete_end:
        last = min(last, view.complete_end)
    return max(first, last - dt.timedelta(days=DEFAULT_DAYS - 1)), last


def url_choice(view: View, label: str, names: Sequence[str], key: str) -> str:
    """Show a choice whose state is in the URL in every language alike, and return it.

    Streamlit itself would write the labels into the URL.

    Args:
        view: the view.
        label: what is chosen.
        names: the options in the URL, which have labels in the texts; the first is the default.
        key: the parameter of the URL.
    """
    requested = st.query_params.get(key)
    chosen: str = st.selectbox(
        label,
        names,
        index=names.index(requested) if requested in names else 0,
        format_func=view.texts.label,
        key=f"{key}_{view.texts.locale}",
    )
    if chosen != names[0]:
        st.query_params[key] = chosen
    elif requested is not None:
        del st.query_params[key]
    return chosen


def keep_selection() -> None:
    """Keep what is selected when another page is opened; Streamlit forgets it with its widgets."""
    for key in (PERIOD, *URL_PARAMETERS.values()):
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]


def reset_filters(period: tuple[dt.date, dt.date]) -> None:
    """Clear all filters, and set the period."""
    for parameter in URL_PARAMETERS.values():
        st.session_state[parameter] = []
    st.session_state[PERIOD] = period
    st.session_state.pop(FITTED_PERIOD, None)


def _mart_of_values(
    view: View, column: str, others: Iterable[PublishedMart]
) -> PublishedMart | None:
    by_day = marts.select_mart(view.marts, marts.SO_FAR, [column])
    return by_day or next((mart for mart in others if column in mart.labels), None)


def _fit_period(days: tuple[dt.date, dt.date], default: tuple[dt.date, dt.date]) -> None:
    """Replace a requested period that is outside of the data by its part in them, or the default.

    Streamlit itself would show the default without a word.
    """
    requested, (first, last) = _requested_period(), days
    if not requested or first <= requested[0] <= requested[-1] <= last:
        return
    start, end = max(requested[0], first), min(requested[-1], last)
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
