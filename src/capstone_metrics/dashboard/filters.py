"""What the reader chooses. It is in the URL, which can be shared and opened again."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import streamlit as st

from capstone_metrics.dashboard import marts
from capstone_metrics.dashboard.marts import DAY, INSTITUTION, NETWORK, Filter

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import Mart
    from capstone_metrics.dashboard.view import View

PERIOD, LANGUAGE, MEAN = "period", "lang", "mean"
PARAMETERS = {NETWORK: "network", INSTITUTION: "institution"}
"""The columns that can be filtered, and what each is called in the URL."""

DEFAULT_DAYS = 28


def period(view: View, mart: Mart) -> Filter:
    """The days that the reader chooses, of those that a mart has; the page ends while one lacks."""
    texts = view.texts
    first, last = _extent(view, mart)
    if first is None:
        st.info(texts("empty"), title=texts("empty_title"))
        st.stop()
    default = default_days(view, mart)
    chosen = st.date_input(
        texts("period"),
        value=default,
        min_value=first,
        max_value=last,
        format=texts.date_format,
        key=PERIOD,
        bind="query-params",
        help=texts("data_text", first=texts.date(first), last=texts.date(last)),
    )
    if len(chosen) < len(default):
        st.info(texts("half_period"))
        st.stop()
    return Filter(*chosen)


def overview(view: View, mart: Mart) -> Filter:
    """All filters of the overview."""
    texts = view.texts
    with st.sidebar:
        st.header(texts("filters"))
        days = period(view, mart)
        chosen = {}
        for column, parameter in PARAMETERS.items():
            found = marts.answering(view.marts, [column], frozenset())
            if found is None:
                continue
            chosen[column] = st.multiselect(
                texts.label(column),
                view.ask(marts.values(found[0], column))["value"].tolist(),
                format_func=texts.label,
                placeholder=texts("every"),
                key=parameter,
                bind="query-params",
            )
    return Filter(days.first, days.last, chosen)


def default_days(view: View, mart: Mart) -> tuple[dt.date, dt.date]:
    """The first and the last day where the reader chose none: the latest four weeks."""
    first, last = _extent(view, mart)
    return max(first, last - dt.timedelta(days=DEFAULT_DAYS - 1)), last


def clear(days: tuple[dt.date, dt.date]) -> None:
    """Choose nothing but these days."""
    for parameter in PARAMETERS.values():
        st.session_state[parameter] = []
    st.session_state[PERIOD] = days


def _extent(view: View, mart: Mart) -> tuple[dt.date, dt.date]:
    extent = view.ask(marts.extent(mart)).iloc[0]
    return extent["first"], extent["last"]


def has_day(mart: Mart) -> bool:
    """Whether the rows of a mart are of days."""
    return DAY in mart.key
