"""The charts: told apart by colour and by form, in light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altair as alt

if TYPE_CHECKING:
    import pandas as pd

    from capstone_metrics.dashboard.texts import Texts

Drawn = alt.Chart | alt.LayerChart | alt.FacetChart

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6BB1", "#A6761D"]
"""Told apart with any common colour blindness; each has a contrast of 3 or more on both grounds."""

DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
HEIGHT, BAR = 300, 34
DAY_FORMAT = "%-d %b"


def lines(table: pd.DataFrame, value: str, title: str, parts: list[str], texts: Texts) -> Drawn:
    """A line for each `part` over `day`, with its name and values on a hover.

    Args:
        table: `day`, `part` and the value.
        value: the column to draw.
        title: what it is.
        parts: all that there may be, so that each keeps its colour when others are left out.
        texts: of the reader's language.
    """
    series = alt.Legend(
        title=None,
        orient="top",
        columns=2,
        symbolType="stroke",
        symbolSize=400,
        symbolStrokeWidth=3,
        values=sorted(set(table["part"])),
    )
    base = alt.Chart(table).encode(
        x=alt.X("day:T", title=None, axis=alt.Axis(format=DAY_FORMAT, labelOverlap=True)),
        y=alt.Y(f"{value}:Q", title=title, axis=alt.Axis(labelExpr=texts.short_axis)),
        color=alt.Color("part:N", scale=alt.Scale(domain=parts, range=COLOURS), legend=series),
        tooltip=_tips(value, title, texts),
    )
    drawn = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash(
            "part:N", scale=alt.Scale(domain=parts, range=DASHES), legend=series
        )
    )
    points = base.mark_circle(size=90, opacity=0)
    return _in_language(alt.layer(drawn, points).properties(height=HEIGHT), texts)


def spark(table: pd.DataFrame, title: str, form: str, texts: Texts) -> Drawn:
    """`value` over `day`, as small as a word; the form is that of its numbers."""
    drawn = (
        alt.Chart(table)
        .mark_line(color=COLOURS[0], strokeWidth=2)
        .encode(
            x=alt.X("day:T", axis=None),
            y=alt.Y("value:Q", axis=None),
            tooltip=[
                alt.Tooltip("day:T", title=texts("day"), format="%x"),
                alt.Tooltip("value:Q", title=title, format=form),
            ],
        )
    )
    return _in_language(drawn.properties(height=60), texts)


def heat(table: pd.DataFrame, title: str, texts: Texts) -> Drawn:
    """`views` as the shade of a cell of `day` by `part`."""
    parts = table["part"].nunique()
    drawn = (
        alt.Chart(table)
        .mark_rect(stroke=None)
        .encode(
            x=alt.X(
                "yearmonthdate(day):O",
                title=None,
                axis=alt.Axis(format=DAY_FORMAT, labelOverlap=True, labelAngle=0),
            ),
            y=alt.Y("part:N", title=None, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
            color=alt.Color(
                "views:Q",
                scale=alt.Scale(scheme="cividis"),
                legend=alt.Legend(
                    title=title, orient="top", labelExpr=texts.short_axis, gradientLength=180
                ),
            ),
            tooltip=_tips("views", title, texts),
        )
    )
    return _in_language(drawn.properties(height=140 + BAR * parts), texts)


def bars(table: pd.DataFrame, value: str, title: str, texts: Texts) -> Drawn:
    """A bar for each `part`, in the table's order."""
    drawn = (
        alt.Chart(table)
        .mark_bar(color=COLOURS[0], cornerRadiusEnd=3)
        .encode(
            x=alt.X(
                f"{value}:Q", title=title, axis=alt.Axis(labelExpr=texts.short_axis, tickCount=4)
            ),
            y=alt.Y("part:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)),
            tooltip=[
                alt.Tooltip("part:N", title=" "),
                alt.Tooltip(f"{value}:Q", title=title, format=",.0f"),
            ],
        )
    )
    return _in_language(drawn.properties(height=80 + BAR * len(table)), texts)


def line(table: pd.DataFrame, title: str, texts: Texts) -> Drawn:
    """`value` over the days that are `part`."""
    drawn = (
        alt.Chart(table)
        .mark_line(color=COLOURS[0], point=alt.OverlayMarkDef(size=25, color=COLOURS[0]))
        .encode(
            x=alt.X("part:T", title=None, axis=alt.Axis(format=DAY_FORMAT, labelOverlap=True)),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(labelExpr=texts.short_axis)),
            tooltip=[
                alt.Tooltip("part:T", title=texts("day"), format="%x"),
                alt.Tooltip("value:Q", title=title, format=",.0f"),
            ],
        )
    )
    return _in_language(drawn.properties(height=HEIGHT), texts)


def _tips(value: str, title: str, texts: Texts) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("day:T", title=texts("day"), format="%x"),
        alt.Tooltip("part:N", title=" "),
        alt.Tooltip(f"{value}:Q", title=title, format=",.0f"),
    ]


def _in_language(chart: Drawn, texts: Texts) -> Drawn:
    configured: Drawn = chart.configure(locale=texts.chart_locale)
    return configured
