"""The quality page: where the figures come from, whether the tables match, and definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import marts, queries, runs
from capstone_metrics.dashboard.definitions import read_definitions

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.queries import Query
    from capstone_metrics.dashboard.runs import LineCounts
    from capstone_metrics.dashboard.view import View

LATEST_PUBLICATIONS: Query = (
    "SELECT publication, published_at, rows_changed, rows_deleted "
    "FROM serving.publications ORDER BY publication DESC LIMIT 20",
    [],
)


def show_method(view: View) -> None:
    """Show the page "Data quality and method"."""
    texts = view.texts
    st.header(texts("provenance"))
    st.markdown(texts("provenance_text"))
    if line_counts := runs.latest_line_counts(view.transaction):
        show_line_counts(view, line_counts)
        show_quarantine(view, line_counts)
    else:
        st.info(texts("no_line_counts"))
    st.header(texts("checks"))
    st.caption(texts("checks_text"))
    for mart in view.marts:
        show_mart_check(view, mart)
    show_agreement_of_totals(view)
    st.header(texts("definitions"))
    st.markdown(texts("definitions_text"))
    show_changes_of_definition(view)
    show_latest(view, "publications", view.query(LATEST_PUBLICATIONS))
    show_latest(view, "runs", runs.latest_runs(view.transaction))


def show_line_counts(view: View, line_counts: LineCounts) -> None:
    """Show how many lines of Bronze have each outcome, and if they add up."""
    texts = view.texts
    is_balanced = line_counts.is_balanced
    with st.container(border=True):
        show_badge(view, "accounted" if is_balanced else "unaccounted", is_ok=is_balanced)
        counts = {"lines": line_counts.lines, **line_counts.outcomes}
        for (name, count), column in zip(counts.items(), st.columns(len(counts)), strict=True):
            column.metric(texts(name), texts.number(count))
        if line_counts.counted_at:
            moment = texts.date_and_time(line_counts.counted_at, view.zone)
            st.caption(texts("counted_at", moment=moment))


def show_quarantine(view: View, line_counts: LineCounts) -> None:
    """Show how many lines broke each rule."""
    texts = view.texts
    st.header(texts("quarantine"))
    if not line_counts.reasons:
        st.caption(f":material/check: {texts('no_quarantine')}")
        return
    st.markdown(texts("quarantine_text"))
    rules = sorted(line_counts.reasons.items(), key=lambda each: (-each[1], each[0]))
    table = pd.DataFrame(rules, columns=[texts("rule"), texts("lines_of_rule")])
    view.show_table(table, texts("quarantine"))


def show_changes_of_definition(view: View) -> None:
    """Show when each network changed what it counts; nothing if no change is declared."""
    texts = view.texts
    if not (definitions := read_definitions(view.transaction, texts.locale)):
        return
    st.header(texts("changes_of_definition"))
    st.markdown(texts("changes_of_definition_text"))
    rows = {
        texts("from_day"): [each.date for each in definitions],
        marts.NETWORK: [each.rede_social for each in definitions],
        texts("measure"): [texts.label(each.measure) for each in definitions],
        texts("counted_from_then"): [each.text for each in definitions],
    }
    view.show_table(pd.DataFrame(rows), texts("changes_of_definition"))


def show_latest(view: View, name: str, rows: pd.DataFrame) -> None:
    """Show the latest publications or runs, newest first; nothing if there are none.

    Args:
        view: the view.
        name: the key of the heading in the texts; the key of the caption is `<name>_text`.
        rows: the rows; their columns are keys of the texts.
    """
    texts = view.texts
    if rows.empty:
        return
    st.header(texts(name))
    st.caption(texts(f"{name}_text"))
    labelled = rows.rename(columns={column: texts(column) for column in rows})
    formats = {texts("state"): texts.label, texts("seconds"): texts.seconds}
    formats_used = {column: format_ for column, format_ in formats.items() if column in labelled}
    view.show_table(labelled, texts(name), formats_used)


def show_mart_check(view: View, mart: PublishedMart) -> None:
    """Show the rows and totals of a mart, as published and as the table has them now."""
    texts = view.texts
    # not through the cache, which would hide a change made by hand
    counted = view.transaction.query(*queries.rows_and_totals(mart)).iloc[0]
    published = {"rows": mart.rows, **mart.totals}
    names = ["rows", *(name for name in mart.column_types if name in mart.totals)]
    table = pd.DataFrame(
        {
            texts("measure"): [texts.label(name) for name in names],
            texts("aggregate"): [_aggregate(mart, name) for name in names],
            texts("published_total"): [published[name] for name in names],
            texts("counted_total"): [int(counted[name]) for name in names],
        }
    )
    is_equal = all(published[name] == int(counted[name]) for name in names)
    with st.container(border=True):
        st.markdown(f"**{mart.name}**  \n{texts('key')}: {', '.join(mart.key)}")
        show_badge(view, "matches" if is_equal else "differs", is_ok=is_equal)
        view.show_table(table, mart.name)


def show_agreement_of_totals(view: View) -> None:
    """Show whether each measure, such as `sum(views)`, has the same total in all its marts.

    Over the days of observation it is another total than over the videos.
    """
    totals_by_measure: dict[tuple[bool, str], set[int]] = {}
    for mart in view.marts:
        is_of_days = mart.source == "observacao_dia"
        for name, total in mart.totals.items():
            measure = is_of_days, str(sorted(mart.measures[name].items()))
            totals_by_measure.setdefault(measure, set()).add(total)
    if all(len(totals) == 1 for totals in totals_by_measure.values()):
        st.caption(f":material/check: {view.texts('totals_agree')}")
    else:
        st.warning(view.texts("totals_disagree"))


def show_badge(view: View, name: str, *, is_ok: bool) -> None:
    """Show a text as a badge, green or orange."""
    icon = ":material/check:" if is_ok else ":material/warning:"
    st.badge(view.texts(name), icon=icon, color="green" if is_ok else "orange")


def _aggregate(mart: PublishedMart, name: str) -> str:
    """Return a measure's declaration, such as `sum(views)`; empty for the number of rows."""
    declared = mart.measures.get(name, {})
    return ", ".join(f"{function}({column})" for function, column in declared.items())
