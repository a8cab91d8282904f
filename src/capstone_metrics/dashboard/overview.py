"""The overview page: the figures of a period, compared with the equal period before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import charts, filters, marts
from capstone_metrics.dashboard.comparison import (
    ENGAGEMENT,
    GROWING_AGE,
    MAX_FACTOR,
    MIN_BASE,
    REACTIONS,
    Comparison,
    total,
)
from capstone_metrics.dashboard.marts import INSTITUTION, MEASURES, NETWORK, Filter
from capstone_metrics.dashboard.view import NO_VALUE

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.view import View

MAX_RANKS = 20
UP, DOWN = "▲", "▼"


def show_overview(view: View) -> None:
    """Show the figures of the selected period, by network and by institution, and their rows."""
    selection = marts.select_mart(view.marts, [], frozenset())
    if selection is None:
        st.info(view.texts("no_mart"))
        return
    mart, _ = selection
    criteria = filters.overview_filter(view, mart)
    filters.show_fitted_period(view, mart)
    if not show_figures(view, criteria):
        show_empty(view, mart)
        return
    sources = {}
    if by_network := _select_mart(view, NETWORK, criteria):
        show_by_network(view, *by_network)
        sources[by_network[0].name] = by_network
    if by_institution := _select_mart(view, INSTITUTION, criteria):
        show_by_institution(view, *by_institution)
        sources[by_institution[0].name] = by_institution
    st.header(view.texts("source_rows"))
    titles = [view.title(source) for source, *_ in sources.values()]
    for tab, (source, applied, _) in zip(st.tabs(titles), sources.values(), strict=True):
        with tab:
            view.show_source_rows(source, applied)


def show_figures(view: View, criteria: Filter) -> bool:
    """Show the measures of the period, and return whether it has any rows."""
    texts = view.texts
    selection = marts.select_mart(view.marts, [], criteria.columns)
    assert selection is not None  # show_overview found one without filters
    mart, ignored = selection
    applied = criteria.restricted_to(mart.key)
    current = _with_engagement(view.query(marts.totals_by_day(mart, applied)))
    if current.empty:
        return False
    previous_period = _previous_period(view, mart, applied)
    previous = (
        _with_engagement(view.query(marts.totals_by_day(mart, previous_period)))
        if previous_period
        else None
    )
    period = texts.period(criteria.first, criteria.last)
    days = texts.number(criteria.days)
    sentences = [texts("period_text", period=period, days=days)]
    if previous is not None:
        sentences.append(texts("change_text", days=days))
    st.caption(" ".join(sentences))
    view.show_ignored_filters(ignored)
    cells = [*st.columns(3), *st.columns(2)]
    for name, cell in zip([*MEASURES, ENGAGEMENT], cells, strict=True):
        with cell.container(border=True):
            show_figure(view, name, current, previous, applied)
    return True


def show_figure(
    view: View, name: str, current: pd.DataFrame, previous: pd.DataFrame | None, applied: Filter
) -> None:
    """Show one measure: its value, its change, and its days as a sparkline.

    Streamlit's own sparkline has parts without a name, which a screen reader stops at.
    """
    texts = view.texts
    value = total(current, name)
    label = texts.label(name)
    is_rate = name == ENGAGEMENT
    st.metric(
        label,
        texts.percent(value) if is_rate else texts.compact(value),
        help=texts("engagement_help") if is_rate else texts.number(value),
        **_change(view, name, current, previous, applied),
    )
    days = pd.date_range(applied.first, applied.last, name="day")
    daily = current.set_index(pd.to_datetime(current["day"]))[name].reindex(days, fill_value=0)
    table = pd.DataFrame({"day": days, "value": daily.astype(float).to_numpy()})
    chart = charts.sparkline(table, label, ".1%" if is_rate else ",.0f", texts)
    st.altair_chart(chart, alt=texts("sparkline_alt", measure=label), key=f"sparkline_{name}")


def _change(
    view: View, name: str, current: pd.DataFrame, previous: pd.DataFrame | None, applied: Filter
) -> dict[str, Any]:
    """Return the options of `st.metric` that show the change since the previous period.

    Green and red are for changes that do not come from the age of the videos.
    """
    texts = view.texts
    if previous is None:
        return {"delta_description": texts("no_previous_period")}
    assert view.data_end is not None  # the period has rows
    comparison = Comparison.of(name, current, previous, view.data_end - applied.last)
    if comparison.factor is None:
        return {"delta_description": texts("small_base", count=MIN_BASE)}
    change = comparison.factor - 1
    has_direction = round(change, 3) != 0
    return {
        "delta": texts("large_change", factor=MAX_FACTOR)
        if comparison.factor > MAX_FACTOR
        else texts.percent(change, signed=has_direction),
        "delta_color": "normal" if has_direction and not comparison.is_growing else "off",
        "delta_arrow": "auto" if has_direction else "off",
        "delta_description": texts("still_growing")
        if comparison.is_growing
        else texts("vs_previous_period", days=texts.number(applied.days)),
    }


def show_by_network(
    view: View, mart: PublishedMart, applied: Filter, ignored: frozenset[str]
) -> None:
    """Show the views by day and network, as lines and as a heat map."""
    texts = view.texts
    period = texts.period(applied.first, applied.last)
    table = view.query(marts.views_by_day(mart, NETWORK, applied))
    table = table.assign(
        day=pd.to_datetime(table["day"]), segment=table["segment"].map(texts.label)
    )
    st.header(texts("views_over_time"))
    view.show_ignored_filters(ignored)
    is_mean = st.toggle(
        texts("mean"), key=filters.MEAN, bind="query-params", help=texts("mean_help")
    )
    if view.data_end and view.data_end - applied.last < GROWING_AGE:
        st.caption(texts("growing", day=texts.date(view.data_end - GROWING_AGE)))
    views = texts.label("total_views")
    column, title = ("mean", texts("views_mean")) if is_mean else ("views", views)
    networks = view.query(marts.distinct_values(mart, NETWORK))["value"].map(texts.label).tolist()
    with_value = table.dropna(subset=[column])
    chart = charts.multi_line_chart(with_value, column, title, networks, texts)
    st.altair_chart(chart, alt=texts("views_over_time_alt", period=period))
    st.header(texts("heatmap"))
    heatmap = charts.heatmap(table, views, texts)
    st.altair_chart(heatmap, alt=texts("heatmap_alt", period=period))


def show_by_institution(
    view: View, mart: PublishedMart, applied: Filter, ignored: frozenset[str]
) -> None:
    """Show the institutions ranked by views, and how their ranks changed."""
    texts = view.texts
    ranking = view.query(marts.ranking(mart, INSTITUTION, applied, MAX_RANKS))
    st.header(texts("ranking"))
    view.show_ignored_filters(ignored)
    if ranking.empty:
        st.caption(texts("empty"))
        return
    views = texts.label("total_views")
    has_previous = _previous_period(view, mart, applied) is not None
    table = pd.DataFrame(
        {
            texts("rank"): ranking["rank"],
            texts.label(INSTITUTION): ranking["segment"],
            views: ranking["views"],
            texts("share"): ranking["views_share"],
            texts("change"): [
                _rank_change(view, row.rank, row.previous_rank) if has_previous else NO_VALUE
                for row in ranking[["rank", "previous_rank"]].itertuples(index=False)
            ],
        }
    )
    alt = texts("ranking_alt", count=texts.number(len(ranking)))
    left, right = st.columns([2, 3])
    with left:
        st.altair_chart(charts.bar_chart(ranking, "views", views, texts), alt=alt)
    with right:
        view.show_table(table, texts("ranking"), **{texts("share"): texts.percent})
    if (count := int(ranking["segments"][0])) > len(ranking):
        counts = {"shown": texts.number(len(ranking)), "count": texts.number(count)}
        st.caption(texts("ranking_limited", **counts))


def show_empty(view: View, mart: PublishedMart) -> None:
    """Show that no row matches the filters, and a button that resets them."""
    texts = view.texts
    st.info(texts("empty"), title=texts("empty_title"), icon=":material/filter_alt:")
    if day_range := view.day_range(mart):
        period = filters.default_period(*day_range)
        st.button(texts("reset"), on_click=filters.reset_filters, args=(period,))


def _select_mart(
    view: View, column: str, criteria: Filter
) -> tuple[PublishedMart, Filter, frozenset[str]] | None:
    """Select a mart by day and a column.

    Returns:
        The mart, the part of the filter that applies to it, and the columns whose filter does not.
    """
    selection = marts.select_mart(view.marts, [column], criteria.columns)
    if selection is None:
        return None
    mart, ignored = selection
    return mart, criteria.restricted_to(mart.key), ignored


def _previous_period(view: View, mart: PublishedMart, applied: Filter) -> Filter | None:
    """Return the filter of the equally long period before; None if the mart lacks its start."""
    first = applied.first - dt.timedelta(days=applied.days)
    day_range = view.day_range(mart)
    if day_range is None or first < day_range[0]:
        return None
    return replace(applied, first=first, last=applied.first - dt.timedelta(days=1))


def _with_engagement(days: pd.DataFrame) -> pd.DataFrame:
    """Add the column `engagement`: reactions for each view, and 0 for a day without views."""
    views = days["total_views"].where(days["total_views"] > 0)
    rates = days[REACTIONS].sum(axis="columns") / views
    return days.assign(engagement=rates.fillna(0))


def _rank_change(view: View, rank: int, previous_rank: float | None) -> str:
    """Return how many ranks an institution rose or fell, as text."""
    if previous_rank is None or pd.isna(previous_rank):
        return view.texts("rank_new")
    change = int(previous_rank) - int(rank)
    return f"{UP if change > 0 else DOWN} {abs(change)}" if change else view.texts("rank_same")
