"""The charts. Colour and dashes distinguish segments, on a light and a dark background."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    from capstone_metrics.dashboard.texts import Texts

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8C6BB1", "#A6761D"]
"""Distinct with the common colour blindnesses; a contrast of at least 3:1 on both backgrounds."""

DASHES = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
"""The fifth segment has the first dashes again, but another colour."""

HEIGHT, BAR_HEIGHT, SPARKLINE_HEIGHT = 300, 34, 60  # px
BARS_MARGIN, HEATMAP_MARGIN = 80, 140  # px, for the axis, its title and a legend
MAX_TICKS = 8
NO_TITLE = " "  # for an empty title, Vega-Lite shows the name of the column


def multi_line_chart(
    table: pd.DataFrame, column: str, title: str, segments: list[str], texts: Texts
) -> Chart:
    """Return a chart with a line over `day` for each `segment`, and tooltips.

    Args:
        table: `day`, `segment` and the values.
        column: the column with the values.
        title: the title of the axis.
        segments: all possible segments, so that each keeps its colour when others are left out.
        texts: the texts and formats in the reader's language.
    """
    legend = alt.Legend(
        title=None,
        orient="top",
        columns=2,
        symbolType="stroke",
        symbolSize=400,
        symbolStrokeWidth=3,
        values=sorted(set(table["segment"])),
    )
    base = alt.Chart(table).encode(
        x=alt.X("day:T", title=None, axis=_day_axis(table["day"])),
        y=alt.Y(f"{column}:Q", title=title, axis=alt.Axis(labelExpr=texts.axis_label_expression)),
        color=alt.Color(
            "segment:N", scale=alt.Scale(domain=segments, range=COLOURS), legend=legend
        ),
        tooltip=_tooltips(column, title, texts),
    )
    lines = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash(
            "segment:N", scale=alt.Scale(domain=segments, range=DASHES), legend=legend
        )
    )
    is_one_day = table["day"].nunique() == 1  # one point, which makes no line
    # invisible points make it easier to hit a day with the mouse
    points = base.mark_circle(size=90, opacity=1 if is_one_day else 0)
    return _localised(alt.layer(lines, points).properties(height=HEIGHT), texts)


def sparkline(table: pd.DataFrame, title: str, number_format: str, texts: Texts) -> Chart:
    """Return a small line chart of `value` by `day`, without axes.

    Args:
        table: `day` and `value`.
        title: the label of the value in the tooltip.
        number_format: the D3 format of the value in the tooltip.
        texts: the texts and formats in the reader's language.
    """
    chart = (
        alt.Chart(table)
        .mark_line(color=COLOURS[0], strokeWidth=2)
        .encode(
            x=alt.X("day:T", axis=None),
            y=alt.Y("value:Q", axis=None),
            tooltip=[
                alt.Tooltip("day:T", title=texts("day"), format="%x"),
                alt.Tooltip("value:Q", title=title, format=number_format),
            ],
        )
    )
    return _localised(chart.properties(height=SPARKLINE_HEIGHT), texts)


def heatmap(table: pd.DataFrame, title: str, texts: Texts) -> Chart:
    """Return a heat map of `views` by `day` and `segment`."""
    segments = table["segment"].nunique()
    chart = (
        alt.Chart(table)
        .mark_rect(stroke=None)
        .encode(
            x=alt.X(
                "yearmonthdate(day):O",
                title=None,
                axis=alt.Axis(
                    format="%-d %b %Y" if _is_long(table["day"]) else "%-d %b",
                    labelOverlap=True,
                    labelFlush=False,
                    labelAngle=0,
                ),
            ),
            y=alt.Y("segment:N", title=None, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
            color=alt.Color(
                "views:Q",
                scale=alt.Scale(scheme="cividis"),
                legend=alt.Legend(
                    title=title,
                    orient="top",
                    labelExpr=texts.axis_label_expression,
                    gradientLength=180,
                ),
            ),
            tooltip=_tooltips("views", title, texts),
        )
    )
    return _localised(chart.properties(height=HEATMAP_MARGIN + BAR_HEIGHT * segments), texts)


def bar_chart(table: pd.DataFrame, column: str, title: str, texts: Texts) -> Chart:
    """Return a chart with a bar for each `segment`, in the table's order."""
    chart = (
        alt.Chart(table)
        .mark_bar(color=COLOURS[0], cornerRadiusEnd=3)
        .encode(
            x=alt.X(
                f"{column}:Q",
                title=title,
                axis=alt.Axis(labelExpr=texts.axis_label_expression, tickCount=4),
            ),
            y=alt.Y("segment:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)),
            tooltip=[
                alt.Tooltip("segment:N", title=NO_TITLE),
                alt.Tooltip(f"{column}:Q", title=title, format=",.0f"),
            ],
        )
    )
    return _localised(chart.properties(height=BARS_MARGIN + BAR_HEIGHT * len(table)), texts)


def line_chart(table: pd.DataFrame, title: str, texts: Texts) -> Chart:
    """Return a line chart of `value` by `segment`, for a query whose segments are dates."""
    chart = (
        alt.Chart(table)
        .mark_line(color=COLOURS[0], point=alt.OverlayMarkDef(size=25, color=COLOURS[0]))
        .encode(
            x=alt.X("segment:T", title=None, axis=_day_axis(table["segment"])),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(labelExpr=texts.axis_label_expression)),
            tooltip=[
                alt.Tooltip("segment:T", title=texts("day"), format="%x"),
                alt.Tooltip("value:Q", title=title, format=",.0f"),
            ],
        )
    )
    return _localised(chart.properties(height=HEIGHT), texts)


def _is_long(days: pd.Series[pd.Timestamp]) -> bool:
    """Return whether a period is so long that its labels have the year: more than two months."""
    return bool(days.max() - days.min() > pd.Timedelta(days=62))


def _day_axis(days: pd.Series[pd.Timestamp]) -> alt.Axis:
    """Return an axis of time whose labels differ: days, or the months of a long period.

    Vega's own ticks of a short period are hours, of which several have the label of one day.
    """
    if days.empty:
        return alt.Axis()
    ticks = pd.date_range(days.min(), days.max())
    if is_long := _is_long(days):
        ticks = ticks[ticks.is_month_start]
    ticks = ticks[:: math.ceil(len(ticks) / MAX_TICKS)]
    return alt.Axis(
        values=[alt.DateTime(year=day.year, month=day.month, date=day.day) for day in ticks],
        format="%b %Y" if is_long else "%-d %b",
        labelOverlap=True,
    )


def _tooltips(column: str, title: str, texts: Texts) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("day:T", title=texts("day"), format="%x"),
        alt.Tooltip("segment:N", title=NO_TITLE),
        alt.Tooltip(f"{column}:Q", title=title, format=",.0f"),
    ]


def _localised(chart: Chart, texts: Texts) -> Chart:
    localised: Chart = chart.configure(locale=texts.vega_locale)
    return localised
