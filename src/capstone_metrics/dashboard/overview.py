"""The page for everyone: the figures of a period, beside those of the equal one before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import charts, filters, marts
from capstone_metrics.dashboard.marts import INSTITUTION, MEASURES, NETWORK, Filter
from capstone_metrics.dashboard.view import NO_VALUE

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import Mart
    from capstone_metrics.dashboard.view import View

ENGAGEMENT = "engagement"
MOST_RANKS = 20
UP, DOWN = "▲", "▼"


def overview(view: View) -> None:
    """The whole page."""
    found = marts.answering(view.marts, [], frozenset())
    if found is None:
        st.info(view.texts("no_mart"))
        return
    wanted = filters.overview(view, found[0])
    if not figures(view, wanted):
        empty(view, found[0])
        return
    behind = {}
    if over_time := _answering(view, NETWORK, wanted):
        by_network(view, *over_time)
        behind[over_time[0].name] = over_time
    if ranked := _answering(view, INSTITUTION, wanted):
        by_institution(view, *ranked)
        behind[ranked[0].name] = ranked
    st.header(view.texts("behind"))
    for tab, (mart, applied, _) in zip(st.tabs(list(behind)), behind.values(), strict=True):
        with tab:
            view.behind(mart, applied)


def figures(view: View, wanted: Filter) -> bool:
    """The measures of the period, their change and their days; say whether there is any."""
    texts = view.texts
    mart, ignored = marts.answering(view.marts, [], wanted.columns) or (None, frozenset())
    assert mart is not None  # one without filters was found before
    applied = wanted.only(mart.key)
    now = _with_engagement(view.ask(marts.totals_by_day(mart, applied)))
    if now.empty:
        return False
    earlier = _before(view, mart, applied)
    before = _with_engagement(view.ask(marts.totals_by_day(mart, earlier))) if earlier else None
    period = texts(
        "period_text",
        first=texts.date(wanted.first),
        last=texts.date(wanted.last),
        days=texts.number(wanted.days),
    )
    st.caption(period)
    view.note_ignored(ignored)
    places = [*st.columns(3), *st.columns(2)]
    for name, place in zip([*MEASURES, ENGAGEMENT], places, strict=True):
        with place.container(border=True):
            figure(view, name, now, before, applied)
    return True


def figure(
    view: View, name: str, now: pd.DataFrame, before: pd.DataFrame | None, applied: Filter
) -> None:
    """One measure: its value, its change, and its days as a small line.

    Streamlit's own small line has parts without a name, which a screen reader meets.
    """
    texts = view.texts
    value = _total(now, name)
    was = 0.0 if before is None else _total(before, name)
    change = value / was - 1 if was else None
    against = texts("against", days=texts.number(applied.days))
    label, is_rate = texts.label(name), name == ENGAGEMENT
    st.metric(
        label,
        texts.percent(value) if is_rate else texts.compact(value),
        None if change is None else texts.percent(change, signed=True) if change else 0,
        delta_description=texts("not_before") if change is None else against,
        help=texts("engagement_help") if is_rate else texts.number(value),
    )
    days = pd.date_range(applied.first, applied.last, name="day")
    daily = now.set_index(pd.to_datetime(now["day"]))[name].reindex(days, fill_value=0)
    table = pd.DataFrame({"day": days, "value": daily.astype(float).to_numpy()})
    drawn = charts.spark(table, label, ".1%" if is_rate else ",.0f", texts)
    st.altair_chart(drawn, alt=texts("spark_alt", measure=label), key=f"spark_{name}")


def by_network(view: View, mart: Mart, applied: Filter, ignored: frozenset[str]) -> None:
    """Views over time, and the days beside one another."""
    texts = view.texts
    days = {"first": texts.date(applied.first), "last": texts.date(applied.last)}
    table = view.ask(marts.views_by_day(mart, NETWORK, applied))
    table = table.assign(day=pd.to_datetime(table["day"]), part=table["part"].map(texts.label))
    st.header(texts("over_time"))
    view.note_ignored(ignored)
    is_mean = st.toggle(
        texts("mean"), key=filters.MEAN, bind="query-params", help=texts("mean_help")
    )
    value, title = ("mean", "views_mean") if is_mean else ("views", "views_daily")
    everyone = view.ask(marts.values(mart, NETWORK))["value"].map(texts.label).tolist()
    shown = table.dropna(subset=[value])
    drawn = charts.lines(shown, value, texts(title), everyone, texts)
    st.altair_chart(drawn, alt=texts("over_time_alt", **days))
    st.header(texts("heat"))
    heat = charts.heat(table, texts("views_daily"), texts)
    st.altair_chart(heat, alt=texts("heat_alt", **days))


def by_institution(view: View, mart: Mart, applied: Filter, ignored: frozenset[str]) -> None:
    """Who has most views, and who rose or fell."""
    texts = view.texts
    found = view.ask(marts.ranking(mart, INSTITUTION, applied, MOST_RANKS))
    st.header(texts("ranking"))
    view.note_ignored(ignored)
    if found.empty:
        st.caption(texts("empty"))
        return
    views, is_whole = texts.label("total_views"), _before(view, mart, applied) is not None
    table = pd.DataFrame(
        {
            texts("rank"): found["rank"],
            texts.label(INSTITUTION): found["part"],
            views: found["views"],
            texts("share"): found["share"],
            texts("change"): [
                _moved(view, row.rank, row.before) if is_whole else NO_VALUE
                for row in found[["rank", "before"]].itertuples(index=False)
            ],
        }
    )
    alt = texts("ranking_alt", count=texts.number(len(found)))
    beside = st.columns([2, 3])
    with beside[0]:
        st.altair_chart(charts.bars(found, "views", views, texts), alt=alt)
    with beside[1]:
        view.table(table, texts("ranking"), **{texts("share"): texts.percent})
    if (count := int(found["parts"][0])) > len(found):
        shown = {"shown": texts.number(len(found)), "count": texts.number(count)}
        st.caption(texts("ranking_most", **shown))


def empty(view: View, mart: Mart) -> None:
    """That the filter leaves nothing, and the way back."""
    st.info(view.texts("empty"), title=view.texts("empty_title"), icon=":material/filter_alt:")
    st.button(view.texts("clear"), on_click=filters.clear, args=(filters.default_days(view, mart),))


def _answering(
    view: View, column: str, wanted: Filter
) -> tuple[Mart, Filter, frozenset[str]] | None:
    """A mart by day and this column, what of the filter applies to it, and what does not."""
    found = marts.answering(view.marts, [column], wanted.columns)
    return (found[0], wanted.only(found[0].key), found[1]) if found else None


def _before(view: View, mart: Mart, applied: Filter) -> Filter | None:
    """The same for the equal period before, if the mart has all of its days."""
    first = applied.first - dt.timedelta(days=applied.days)
    if first < view.ask(marts.extent(mart))["first"][0]:
        return None
    return replace(applied, first=first, last=applied.first - dt.timedelta(days=1))


def _with_engagement(days: pd.DataFrame) -> pd.DataFrame:
    views = days["total_views"].where(days["total_views"] > 0)
    rates = (days["total_likes"] + days["total_comentarios"]) / views
    return days.assign(engagement=rates.fillna(0))


def _total(days: pd.DataFrame, name: str) -> float:
    """Of a measure its sum; of the engagement that of the sums."""
    if name != ENGAGEMENT:
        return int(days[name].sum())
    views = days["total_views"].sum()
    return float((days["total_likes"] + days["total_comentarios"]).sum() / views) if views else 0.0


def _moved(view: View, rank: int, before: float | None) -> str:
    """By how many places an institution rose or fell."""
    if before is None or pd.isna(before):
        return view.texts("new")
    moved = int(before) - int(rank)
    return f"{UP if moved > 0 else DOWN} {abs(moved)}" if moved else view.texts("same")
