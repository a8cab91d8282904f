"""Where the figures come from, whether the database still has them, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import marts, runs

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import Mart
    from capstone_metrics.dashboard.marts import Query
    from capstone_metrics.dashboard.runs import Accounts
    from capstone_metrics.dashboard.view import View

PUBLICATIONS: Query = (
    "SELECT publication, published_at, rows_changed, rows_deleted "
    "FROM serving.publications ORDER BY publication DESC LIMIT 20",
    [],
)


def method(view: View) -> None:
    """The whole page."""
    texts = view.texts
    st.header(texts("identity"))
    st.markdown(texts("identity_text"))
    if found := runs.accounts(view.snapshot):
        accounts(view, found)
        quarantine(view, found)
    else:
        st.info(texts("no_accounts"))
    st.header(texts("checks"))
    st.caption(texts("checks_text"))
    for mart in view.marts:
        check(view, mart)
    agreement(view)
    st.header(texts("definitions"))
    st.markdown(texts("definitions_text"))
    listed(view, "publications", view.ask(PUBLICATIONS))
    listed(view, "runs", runs.latest(view.snapshot))


def accounts(view: View, found: Accounts) -> None:
    """Where every line of Bronze is."""
    texts = view.texts
    with st.container(border=True):
        badge(view, "accounted" if found.holds else "unaccounted", is_well=found.holds)
        kinds = ("lines", "current", "superseded", "quarantined")
        for kind, place in zip(kinds, st.columns(4), strict=True):
            place.metric(texts(kind), texts.number(getattr(found, kind)))
        if found.made_at:
            st.caption(texts("accounts_of", moment=texts.moment(found.made_at, view.zone)))


def quarantine(view: View, found: Accounts) -> None:
    """How many lines broke which rule."""
    texts = view.texts
    st.header(texts("quarantine"))
    if not found.reasons:
        st.caption(f":material/check: {texts('no_quarantine')}")
        return
    st.markdown(texts("quarantine_text"))
    broken = sorted(found.reasons.items(), key=lambda each: (-each[1], each[0]))
    table = pd.DataFrame(broken, columns=[texts("rule"), texts("lines_of_rule")])
    view.table(table, texts("quarantine"))


def listed(view: View, name: str, found: pd.DataFrame) -> None:
    """The latest of something, the newest first."""
    texts = view.texts
    if found.empty:
        return
    st.header(texts(name))
    st.caption(texts(f"{name}_text"))
    renamed = found.rename(columns={column: texts(column) for column in found})
    named = {texts("state"): texts.label, texts("seconds"): texts.seconds}
    formats = {column: form for column, form in named.items() if column in renamed}
    view.table(renamed, texts(name), **formats)


def check(view: View, mart: Mart) -> None:
    """The totals of a mart as published, and as the table has them."""
    texts = view.texts
    counted = view.snapshot.ask(*marts.totals(mart)).iloc[0]  # now, and no answer that was kept
    noted = {"rows": mart.rows, **mart.totals}
    names = ["rows", *(name for name in mart.kinds if name in mart.measures)]
    table = pd.DataFrame(
        {
            texts("measure"): [texts.label(name) for name in names],
            texts("made"): [_made(mart, name) for name in names],
            texts("published_total"): [noted[name] for name in names],
            texts("counted_total"): [int(counted[name]) for name in names],
        }
    )
    holds = all(noted[name] == int(counted[name]) for name in names)
    with st.container(border=True):
        st.markdown(f"**{mart.name}**  \n{texts('keys')}: {', '.join(mart.key)}")
        badge(view, "holds" if holds else "differs", is_well=holds)
        view.table(table, mart.name)


def agreement(view: View) -> None:
    """Whether marts that sum the same have the same sum."""
    sums: dict[str, set[int]] = {}
    for mart in view.marts:
        for name, made in mart.measures.items():
            sums.setdefault(str(sorted(made.items())), set()).add(mart.totals[name])
    if all(len(found) == 1 for found in sums.values()):
        st.caption(f":material/check: {view.texts('agree')}")
    else:
        st.warning(view.texts("disagree"))


def badge(view: View, name: str, *, is_well: bool) -> None:
    """A verdict."""
    icon = ":material/check:" if is_well else ":material/warning:"
    st.badge(view.texts(name), icon=icon, color="green" if is_well else "orange")


def _made(mart: Mart, name: str) -> str:
    return ", ".join(f"{how}({of})" for how, of in mart.measures.get(name, {}).items())
