"""Any published mart, by any column of its key. A new one needs nothing here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import charts, filters, marts

if TYPE_CHECKING:
    from capstone_metrics.dashboard.view import View

MOST_BARS, MOST_DAYS = 30, 4_000


def explorer(view: View) -> None:
    """The whole page."""
    texts = view.texts
    st.caption(texts("explorer_text"))
    published = {mart.name: mart for mart in view.marts}
    if not published:
        st.info(texts("no_mart"))
        return
    places = [*st.columns(2), *st.columns(2)]
    name = places[0].selectbox(texts("mart"), list(published), key="mart", bind="query-params")
    mart = published[name]
    measures = [column for column in mart.kinds if column in mart.measures]
    by = places[2].selectbox(texts("by"), list(mart.key), key="by", bind="query-params")
    measure = places[3].selectbox(texts("measure"), measures, key="measure", bind="query-params")
    with places[1]:
        wanted = filters.period(view, mart) if filters.has_day(mart) else None

    is_time = mart.kinds[by] == "date"
    most = MOST_DAYS if is_time else MOST_BARS
    table = view.ask(marts.by(mart, by, measure, wanted, most))
    if table.empty:
        st.info(texts("empty"), title=texts("empty_title"), icon=":material/filter_alt:")
        return
    label = texts.label(measure)
    if is_time:
        drawn = charts.line(table.assign(part=pd.to_datetime(table["part"])), label, texts)
    else:
        drawn = charts.bars(table.assign(part=table["part"].map(str)), "value", label, texts)
    st.altair_chart(drawn, alt=texts("explorer_alt", measure=label, by=texts.label(by)))
    if len(table) == most:
        st.caption(texts("explorer_most", most=texts.number(most), by=texts.label(by)))
    view.behind(mart, wanted)
