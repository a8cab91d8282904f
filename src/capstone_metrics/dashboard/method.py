"""What the figures mean, where they come from, and whether the database still has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from capstone_metrics.dashboard import marts

if TYPE_CHECKING:
    from capstone_metrics.dashboard.database import Mart
    from capstone_metrics.dashboard.marts import Query
    from capstone_metrics.dashboard.view import View

RUNS: Query = (
    "SELECT publication, published_at, rows_changed, rows_deleted "
    "FROM serving.publications ORDER BY publication DESC LIMIT 20",
    [],
)


def method(view: View) -> None:
    """The whole page."""
    texts = view.texts
    st.header(texts("checks"))
    st.caption(texts("checks_text"))
    for mart in view.marts:
        check(view, mart)
    agreement(view)
    st.header(texts("definitions"))
    st.markdown(texts("definitions_text"))
    st.header(texts("identity"))
    st.markdown(texts("identity_text"))
    st.header(texts("runs"))
    st.caption(texts("runs_text"))
    runs = view.ask(RUNS)
    view.table(runs.rename(columns={name: texts(name) for name in runs}), texts("runs"))


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
        if holds:
            st.badge(texts("holds"), icon=":material/check:", color="green")
        else:
            st.badge(texts("differs"), icon=":material/warning:", color="orange")
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


def _made(mart: Mart, name: str) -> str:
    return ", ".join(f"{how}({of})" for how, of in mart.measures.get(name, {}).items())
