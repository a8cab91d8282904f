"""The cards: a figure, its change since the period before, and its days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from capstone_metrics.dashboard import charts
from capstone_metrics.dashboard.figures import MAX_FACTOR
from capstone_metrics.dashboard.view import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from capstone_metrics.dashboard.figures import Figure
    from capstone_metrics.dashboard.queries import Filter
    from capstone_metrics.dashboard.view import View

CARDS_IN_A_ROW = 4


def show_cards(view: View, cards: Sequence[tuple[Figure, pd.DataFrame]], period: Filter) -> None:
    """Show figures, each with the sums of its days."""
    cells = st.columns(CARDS_IN_A_ROW)
    for (figure, days), cell in zip(cards, cells, strict=False):
        with cell.container(border=True, height="stretch"):
            show_card(view, figure, days, period)


def show_card(view: View, figure: Figure, days: pd.DataFrame, period: Filter) -> None:
    """Show one figure: its value, its change, and its days as a sparkline.

    Streamlit's own sparkline has parts without a name, which a screen reader stops at.
    """
    texts, measure = view.texts, figure.measure
    label = texts.label(measure.name)
    st.metric(label, _text(view, figure), help=_help(view, figure), **_change(view, figure))
    table = measure.by_day(days, period)
    chart = charts.sparkline(table, label, texts, is_share=measure.is_share)
    st.altair_chart(
        chart, alt=texts("sparkline_alt", measure=label), key=f"sparkline_{measure.name}"
    )


def _help(view: View, figure: Figure) -> str:
    """Return the number in full, and how it is computed where it is no plain sum."""
    texts, measure = view.texts, figure.measure
    number = texts.number(figure.value) if figure.value is not None and not measure.per else None
    return ". ".join(filter(None, [number, texts.help(measure.name)]))


def _text(view: View, figure: Figure) -> str:
    if figure.value is None:
        return NO_VALUE
    is_share = figure.measure.is_share
    return view.texts.percent(figure.value) if is_share else view.texts.compact(figure.value)


def _change(view: View, figure: Figure) -> dict[str, Any]:
    """Return the options of `st.metric` that show the change since the period before.

    Green and red are for changes that are complete.
    """
    texts = view.texts
    if not figure.measure.is_comparable:
        return {"delta_description": texts("not_comparable")}
    if figure.value is None:
        return {"delta_description": texts("not_known")}
    if figure.base is None:
        return {"delta_description": texts("no_previous_period")}
    if figure.factor is None:
        count = texts.number(figure.base)
        return {"delta_description": texts("small_base", count=count)}
    change = figure.factor - 1
    has_direction = round(change, 3) != 0
    return {
        "delta": texts("large_change", factor=MAX_FACTOR)
        if figure.factor > MAX_FACTOR
        else texts.percent(change, signed=has_direction),
        "delta_color": "normal" if has_direction and not figure.is_growing else "off",
        "delta_arrow": "auto" if has_direction else "off",
        "delta_description": texts("partial") if figure.is_growing else None,
    }
