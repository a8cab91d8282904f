"""The page of videos: those with the most views, and those far above the rest of their channel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from capstone_metrics.dashboard import charts, filters, marts, queries
from capstone_metrics.dashboard.marts import (
    HOUR,
    INSTITUTION,
    NETWORK,
    POSTED,
    VIDEO_ID,
    VIDEO_TITLE,
)

if TYPE_CHECKING:
    import pandas as pd

    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.queries import Filter
    from capstone_metrics.dashboard.view import View

MEASURES = ("total_views", "views_ganhas_7d", "views_7d")
MAX_VIDEOS, MAX_OUTLIERS = 50, 20
LEAST_FACTOR = 3
"""How many times the median of its channel an outlier has at least."""

TITLE_WIDTH = 220
"""In pixels: a long title leaves room for the other columns."""

YOUTUBE = ("youtube", "youtube_shorts")
YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""An id of YouTube: that of another source may be none, and makes no address."""


def show_videos(view: View) -> None:
    """Show the top videos of the selected period, its outliers, and all of its videos."""
    texts = view.texts
    mart = marts.select_mart(view.marts, marts.VIDEO, [NETWORK, INSTITUTION, VIDEO_ID, VIDEO_TITLE])
    if mart is None:
        st.info(texts("no_video_mart"))
        return
    if view.days is None:
        st.info(texts("empty"))
        return
    criteria = filters.sidebar_filter(view, view.days, mart)
    filters.show_fitted_period(view, view.days)
    if not view.query(queries.count_rows(mart, criteria))["count"][0]:
        filters.show_no_match(view, view.days)
        return
    show_top_videos(view, mart, criteria)
    show_outliers(view, mart, criteria)
    if HOUR in mart.column_types:
        show_hours(view, mart, criteria)
    st.header(texts("video_rows"))
    view.show_source_rows(mart, criteria)


def show_top_videos(view: View, mart: PublishedMart, criteria: Filter) -> None:
    """Show the videos with the most views, in the sense that the reader chooses."""
    texts = view.texts
    st.header(texts("top_videos"))
    measure = filters.url_choice(view, texts("top_by"), MEASURES, "top")
    rows = view.query(queries.top_videos(mart, measure, criteria, MAX_VIDEOS))
    if rows.empty:
        st.caption(texts("top_none"))
        return
    show_table(view, rows, "top_videos", measure)
    assert view.data_end
    text = texts("top_videos_text", limit=MAX_VIDEOS, day=texts.date(view.data_end))
    st.caption(f"{text} {texts('median_text', videos=queries.MIN_VIDEOS)}")


def show_outliers(view: View, mart: PublishedMart, criteria: Filter) -> None:
    """Show the videos that did far better in 7 days than the others of their channel."""
    texts = view.texts
    st.header(texts("outliers"))
    rows = view.query(queries.outliers(mart, LEAST_FACTOR, criteria, MAX_OUTLIERS))
    limits = {"least": LEAST_FACTOR, "videos": queries.MIN_VIDEOS, "limit": MAX_OUTLIERS}
    st.caption(texts("outliers_text", **limits))
    if rows.empty:
        is_compared = view.query(queries.count_medians(mart, criteria))["count"][0]
        st.markdown(texts("no_outliers" if is_compared else "no_medians", **limits))
        return
    show_table(view, rows, "outliers", texts("against_median"))


def show_hours(view: View, mart: PublishedMart, criteria: Filter) -> None:
    """Show the hours at which posts do best; nothing if no hour has enough of them."""
    texts = view.texts
    rows = view.query(queries.views_by_hour(mart, criteria))
    if rows.empty:
        return
    st.header(texts("hours"))
    st.caption(texts("hours_text", least=queries.MIN_VIDEOS))
    table = rows.assign(segment=[texts("hour", hour=hour) for hour in rows["hour"]])
    chart = charts.bar_chart(table, "value", texts.label("views_7d_mean"), texts)
    st.altair_chart(chart, alt=texts("hours_alt"), key="hours")


def show_table(view: View, rows: pd.DataFrame, name: str, ranked: str) -> None:
    """Show videos, with their ages, factors and links.

    Args:
        view: the view.
        rows: the rows of a query of videos.
        name: the key of the description in the texts.
        ranked: the column by which they are ranked; it is the one after the title.
    """
    texts = view.texts
    addresses = list(map(address, rows[NETWORK], rows[VIDEO_ID]))
    age, factor, link = texts("age_days"), texts("against_median"), texts("link")
    table = rows[[VIDEO_TITLE, NETWORK, INSTITUTION, POSTED]].assign(
        **{
            age: [(view.data_end - day).days for day in rows[POSTED]],
            **{measure: rows[measure].astype("Int64") for measure in MEASURES},
            factor: rows["factor"].astype("Float64"),
        }
    )
    if any(addresses):
        table[link] = addresses
    first = [VIDEO_TITLE, ranked]
    ordered = table[[*first, *table.columns.difference(first, sort=False)]]
    columns = {
        VIDEO_TITLE: st.column_config.Column(width=TITLE_WIDTH),
        link: st.column_config.LinkColumn(display_text=texts("open")),
    }
    view.show_table(ordered, texts(name), {factor: texts.factor}, columns)


def address(network: str, video_id: str) -> str | None:
    """Return the address of a video; None if it cannot be made for sure."""
    if network not in YOUTUBE or not YOUTUBE_ID.fullmatch(video_id):
        return None
    return f"https://www.youtube.com/watch?v={video_id}"
