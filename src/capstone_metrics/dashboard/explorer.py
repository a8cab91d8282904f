"""The explorer page: any published mart by any of its columns, without code for new marts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import charts, filters, marts, queries

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.view import View

MAX_BARS = 30
MAX_DAYS = 4_000


def _place(mart: PublishedMart) -> int:
    """Return where a mart stands: first those of known kinds, last the large one of videos."""
    kind = marts.kind_of(mart)
    return (kind is None) + 2 * (kind is marts.VIDEO)


def show_explorer(view: View) -> None:
    """Show a mart by one of its columns, as a chart and as rows; the reader chooses both."""
    texts = view.texts
    st.caption(texts("explorer_text"))
    marts_by_name = {mart.name: mart for mart in sorted(view.marts, key=_place)}
    if not marts_by_name:
        st.info(texts("no_mart"))
        return
    cells = [*st.columns(2), *st.columns(2)]
    name = cells[0].selectbox(texts("mart"), list(marts_by_name), key="mart", bind="query-params")
    mart = marts_by_name[name]
    measures = [column for column in mart.column_types if column in mart.measures]
    measures.sort(key=lambda name: name not in mart.totals)
    with cells[2]:
        by = filters.url_choice(view, texts("by"), mart.labels, "by")
    with cells[3]:
        measure = filters.url_choice(view, texts("measure"), measures, "measure")
    with cells[1]:
        days = view.day_range(mart) if mart.day else None
        if mart.day and days is None:
            st.info(texts("empty"), title=texts("empty_title"))
            return
        criteria = filters.period_filter(view, days) if days else None
    if days and criteria:
        filters.show_fitted_period(view, days)
        columns = {column: mart for column in filters.URL_PARAMETERS if column in mart.labels}
        criteria = replace(criteria, values=filters.value_filters(view, columns))
    is_time = mart.column_types[by] == "date"
    limit = MAX_DAYS if is_time else MAX_BARS
    table = view.query(queries.measure_by(mart, by, measure, criteria, limit))
    if table.empty:
        st.info(texts("empty"), title=texts("empty_title"), icon=":material/filter_alt:")
        return
    if table["value"].isna().all() and not mart.combining(measure):
        st.info(texts("not_additive", measure=texts.label(measure)), icon=":material/info:")
        view.show_source_rows(mart, criteria)
        return
    label = texts.label(measure)
    if is_time:
        table = table.assign(segment=pd.to_datetime(table["segment"]))
        chart = charts.line_chart(table, label, texts)
    else:
        table = table.assign(segment=[texts.label(str(value)) for value in table["segment"]])
        chart = charts.bar_chart(table, "value", label, texts)
    st.altair_chart(chart, alt=texts("explorer_alt", measure=label, by=texts.label(by)))
    if marts.NETWORK in mart.labels and mart.combining(measure):
        networks = view.query(queries.measure_by(mart, marts.NETWORK, measure, criteria, MAX_BARS))
        if unknown := set(networks["segment"][networks["value"].isna()]):
            st.caption(view.unknown_networks(unknown, [measure]))
    if len(table) == limit:
        st.caption(texts("explorer_limited", limit=texts.number(limit), by=texts.label(by)))
    view.show_source_rows(mart, criteria)
