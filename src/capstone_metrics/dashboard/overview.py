"""The overview page: what was gained in a period, and how its posts do."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import charts, figures, filters, marts, queries
from capstone_metrics.dashboard.cards import show_cards
from capstone_metrics.dashboard.figures import Totals
from capstone_metrics.dashboard.headline import headline
from capstone_metrics.dashboard.marts import (
    AT_7_DAYS,
    GAINED,
    INSTITUTION,
    KINDS,
    NETWORK,
    SO_FAR,
    Kind,
)
from capstone_metrics.dashboard.view import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from capstone_metrics.dashboard.definitions import Definition
    from capstone_metrics.dashboard.figures import Figure, Measure
    from capstone_metrics.dashboard.queries import Filter
    from capstone_metrics.dashboard.view import View

GROWING_AGE = dt.timedelta(days=7)
"""The age up to which the counters of a video grow most."""

MIN_POSTS = 5
"""The fewest posts of a weekday for a mean."""

MAX_RANKS = 20
CHARTS_IN_A_ROW = 3


def show_overview(view: View) -> None:
    """Show what was gained in the selected period, its posts, and the rows behind the figures."""
    has_mart = any(kind.has(mart) for kind in KINDS for mart in view.marts)
    if view.days is None or not has_mart:
        st.info(view.texts("empty" if has_mart else "no_mart"))
        return
    criteria = filters.sidebar_filter(view, view.days)
    filters.show_fitted_period(view, view.days)
    totals = {kind.name: each for kind in KINDS if (each := read_totals(view, kind, criteria))}
    if not totals:
        view.show_left_out(criteria.columns)
        return
    if not any(len(each.current) for each in totals.values()):
        filters.show_no_match(view, view.days)
        return
    figures_by_name = compute_figures(totals)
    gained = figures_by_name.get("views_ganhas")
    is_gained = gained is not None and gained.value is not None
    kind = GAINED if is_gained else SO_FAR
    ranking = read_ranking(view, criteria, kind)
    show_headline(view, figures_by_name, totals, criteria, ranking)
    if is_gained:
        show_gained(view, figures_by_name, totals[GAINED.name], criteria)
    else:
        st.info(view.texts("nothing_gained"))
    # posts of two periods differ in age, and of what nobody observed nothing is known
    has_change = kind is GAINED and totals[kind.name].previous is not None
    show_share(view, criteria, kind, ranking, has_change=has_change)
    show_posts(view, figures_by_name, totals, criteria)
    show_weekdays(view, criteria)
    show_rows(view, criteria)


def read_totals(view: View, kind: Kind, criteria: Filter) -> Totals | None:
    """Return the sums of a period and of the one before; None if no mart has the filters."""
    columns = criteria.columns
    mart = marts.select_mart(view.marts, kind, {NETWORK, *columns}) or marts.select_mart(
        view.marts, kind, columns
    )
    day_range = view.day_range(mart) if mart else None
    if mart is None or day_range is None:
        return None
    first, last = day_range
    if kind is GAINED:  # on the first day nothing is known of what older videos gained
        first += dt.timedelta(days=1)
    before = criteria.before
    current = view.query(queries.totals_by_day(mart, kind, criteria))
    previous = (
        view.query(queries.totals_by_day(mart, kind, before)) if before.first >= first else None
    )
    is_growing = kind is not AT_7_DAYS and criteria.last > (view.complete_end or last)
    return Totals(current, previous, kind.videos, is_growing)


def compute_figures(totals: Mapping[str, Totals]) -> dict[str, Figure]:
    """Return the figures of the page by the names of their measures."""
    measures: list[tuple[Kind, Measure]] = [
        *((GAINED, measure) for measure in figures.GAINED),
        (SO_FAR, figures.POSTED),
        (AT_7_DAYS, figures.AT_7_DAYS),
        *((SO_FAR, measure) for measure in figures.SO_FAR),
    ]
    return {
        measure.name: totals[kind.name].figure(measure)
        for kind, measure in measures
        if kind.name in totals
    }


def show_headline(
    view: View,
    figures_by_name: Mapping[str, Figure],
    totals: Mapping[str, Totals],
    criteria: Filter,
    ranking: pd.DataFrame | None,
) -> None:
    """Show what happened in sentences, and which days are compared, if any are."""
    texts = view.texts
    leader = None
    if ranking is not None and len(ranking) > 1 and not pd.isna(ranking["share"][0]):
        leader = (str(ranking["segment"][0]), float(ranking["share"][0]))
    st.markdown(headline(texts, figures_by_name, leader, criteria.days))
    before = criteria.before
    periods = {
        "period": texts.period(criteria.first, criteria.last),
        "before": texts.period(before.first, before.last),
    }
    is_compared = any(each.previous is not None for each in totals.values())
    sentences = [texts("periods_text" if is_compared else "period_text", **periods)]
    if any(figure.is_growing for figure in figures_by_name.values()):
        sentences.append(texts("incomplete_text"))
    if gained := totals.get(GAINED.name):
        sentences += unknown_networks(view, figures.GAINED, gained, read_networks(view, criteria))
    st.caption(" ".join(sentences))
    networks = criteria.values.get(NETWORK)
    for each in view.definitions:
        is_within = before.first < each.date <= criteria.last
        if is_within and (not networks or each.rede_social in networks):
            st.warning(texts("definition_changed", **_definition_texts(view, each)))


def read_networks(view: View, criteria: Filter) -> set[str]:
    """Return the selected networks that have a post up to the last day: each may have gained."""
    mart = marts.select_mart(view.marts, SO_FAR, {NETWORK, *criteria.columns})
    if mart is None:
        return set()
    ever = replace(criteria, first=dt.date.min)
    return set(view.query(queries.distinct_values(mart, NETWORK, ever))["value"])


def unknown_networks(
    view: View, measures: Iterable[Measure], totals: Totals, networks: set[str]
) -> list[str]:
    """Return a sentence for each group of networks that the same measures leave out."""
    days = totals.current
    if NETWORK not in days:
        return []
    measures_of: dict[frozenset[str], list[str]] = {}
    for measure in measures:
        known = set(measure.known(days)[NETWORK])
        unknown = networks.union(days[NETWORK]) - known
        if known and unknown:  # a measure that is known of no network has no value
            measures_of.setdefault(frozenset(unknown), []).append(measure.name)
    return [view.unknown_networks(*each) for each in measures_of.items()]


def _definition_texts(view: View, definition: Definition) -> dict[str, str]:
    """Return the parts of the sentence that a network changed what it counts."""
    texts = view.texts
    return {
        "network": texts.label(definition.rede_social),
        "day": texts.date(definition.date),
        "measure": texts.label(definition.measure).lower(),
        "text": definition.text,
    }


def show_gained(
    view: View, figures_by_name: Mapping[str, Figure], totals: Totals, criteria: Filter
) -> None:
    """Show what the videos gained: the figures, and the views of each day and network."""
    texts = view.texts
    st.header(texts("gained"))
    names = [measure.name for measure in figures.GAINED]
    show_cards(view, [(figures_by_name[name], totals.current) for name in names], criteria)
    show_by_network(view, criteria, GAINED)


def show_posts(
    view: View,
    figures_by_name: Mapping[str, Figure],
    totals: Mapping[str, Totals],
    criteria: Filter,
) -> None:
    """Show the posts of the period: how many, how they did in 7 days, and what they have so far."""
    texts = view.texts
    st.header(texts("posts"))
    so_far, at_7_days = totals.get(SO_FAR.name), totals.get(AT_7_DAYS.name)
    if so_far is None or so_far.current.empty:
        st.caption(texts("no_posts"))
        return
    cards = [(figures_by_name[figures.POSTED.name], so_far.current)]
    if at_7_days:
        cards.append((figures_by_name[figures.AT_7_DAYS.name], at_7_days.current))
    cards += [(figures_by_name[measure.name], so_far.current) for measure in figures.SO_FAR]
    show_cards(view, cards, criteria)
    networks = set(so_far.current.get(NETWORK, ()))
    sentences = unknown_networks(view, figures.SO_FAR, so_far, networks)
    if at_7_days:
        sentences += unknown_networks(view, [figures.AT_7_DAYS], at_7_days, networks)
        count, known = so_far.current["total_videos"].sum(), at_7_days.current["videos_7d"].sum()
        if young := int(count) - int(known):
            numbers = {"young": texts.number(young), "count": texts.number(int(count))}
            sentences.append(texts("too_young", **numbers))
    if sentences:
        st.caption(" ".join(sentences))
    show_by_network(view, criteria, SO_FAR)


def show_by_network(view: View, criteria: Filter, kind: Kind) -> None:
    """Show the views by day, in a chart for each network with a scale of its own."""
    texts, measure = view.texts, kind.views
    mart = marts.select_mart(view.marts, kind, {NETWORK, *criteria.columns})
    if mart is None:
        view.show_left_out([NETWORK, *criteria.columns])
        return
    if kind is GAINED and (known := view.day_range(mart, measure)):
        # what came after the last observation is not 0, but unknown
        criteria = replace(criteria, last=min(criteria.last, known[1]))
    rows = view.query(queries.measure_by_day(mart, measure, NETWORK, criteria))
    label = texts.label(measure)
    is_so_far = kind is SO_FAR
    growing_after = view.data_end - GROWING_AGE if is_so_far and view.data_end else None
    texts_of = "so_far_chart" if is_so_far else "gained_chart"
    st.subheader(texts(texts_of))
    if growing_after and growing_after < criteria.last:
        st.caption(texts("growing", day=texts.date(growing_after)))
    cells = st.columns(CHARTS_IN_A_ROW)
    for number, (network, table) in enumerate(rows.groupby("segment")):
        with cells[number % CHARTS_IN_A_ROW]:
            name = texts.label(str(network))
            st.markdown(f"**{name}**")
            marks = {
                each.date: each.text
                for each in view.definitions
                if (each.rede_social, each.measure) == (network, "views")
                and criteria.first <= each.date <= criteria.last
            }
            chart = charts.days_chart(table, label, growing_after, marks, texts)
            alt = texts("days_alt", measure=label, network=name)
            st.altair_chart(chart, alt=alt, key=f"{measure}_{network}")


def read_ranking(view: View, criteria: Filter, kind: Kind) -> pd.DataFrame | None:
    """Return the institutions by views; None if no mart has the filters."""
    mart = marts.select_mart(view.marts, kind, {INSTITUTION, *criteria.columns})
    if mart is None:
        return None
    return view.query(queries.ranking(mart, kind.views, INSTITUTION, criteria, MAX_RANKS))


def show_share(
    view: View, criteria: Filter, kind: Kind, ranking: pd.DataFrame | None, *, has_change: bool
) -> None:
    """Show the share of each institution, and how it changed if that can be said."""
    texts = view.texts
    st.header(texts("share_of_voice"))
    if ranking is None:
        view.show_left_out([INSTITUTION, *criteria.columns])
        return
    if ranking.empty:
        st.caption(texts("empty"))
        return
    label = texts.label(kind.views)
    table = pd.DataFrame(
        {
            texts("rank"): ranking["rank"],
            texts.label(INSTITUTION): ranking["segment"],
            label: ranking["value"],
            texts("share"): ranking["share"],
        }
    )
    if has_change:
        table[texts("change")] = [
            texts.points(now - before) if not pd.isna(now) and not pd.isna(before) else NO_VALUE
            for now, before in zip(ranking["share"], ranking["previous_share"], strict=True)
        ]
    left, right = st.columns([2, 3])
    with left:
        chart = charts.bar_chart(ranking, "share", texts("share"), texts, is_share=True)
        st.altair_chart(chart, alt=texts("share_alt"), key="share")
    with right:
        view.show_table(table, texts("share_of_voice"), {texts("share"): texts.percent})
    if (count := int(ranking["segments"][0])) > len(ranking):
        counts = {"shown": texts.number(len(ranking)), "count": texts.number(count)}
        st.caption(texts("ranking_limited", **counts))


def show_weekdays(view: View, criteria: Filter) -> None:
    """Show on which days of the week posts do best; nothing if no weekday has enough posts."""
    texts = view.texts
    mart = marts.select_mart(view.marts, AT_7_DAYS, criteria.columns)
    if mart is None:
        return
    rows = view.query(queries.totals_by_weekday(mart, AT_7_DAYS, criteria)).set_index("weekday")
    enough = rows[rows["videos_7d"].fillna(0) >= MIN_POSTS]
    if enough.empty:
        return
    means = {
        day: int(enough["views_7d"][day]) / int(enough["videos_7d"][day]) for day in enough.index
    }
    table = pd.DataFrame(
        {
            "segment": [texts.weekday(day) for day in range(1, 8)],
            "value": [means.get(day) for day in range(1, 8)],
        }
    )
    st.header(texts("weekdays"))
    st.caption(texts("weekdays_text", least=MIN_POSTS))
    label = texts.label(figures.AT_7_DAYS.name)
    chart = charts.bar_chart(table, "value", label, texts)
    st.altair_chart(chart, alt=texts("weekdays_alt"), key="weekdays")


def show_rows(view: View, criteria: Filter) -> None:
    """Show the rows behind the figures, and their files."""
    st.header(view.texts("source_rows"))
    finest = [marts.finest_mart(view.marts, kind, criteria.columns) for kind in KINDS]
    sources = [mart for mart in finest if mart]
    for tab, mart in zip(st.tabs([view.title(mart) for mart in sources]), sources, strict=True):
        with tab:
            view.show_source_rows(mart, criteria)
