"""The charts, on a light and on a dark background."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping

    from capstone_metrics.dashboard.texts import Texts

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

BLUE, ORANGE, PINK = "#0072B2", "#D55E00", "#CC79A7"
"""Distinct with the common colour blindnesses; a contrast of at least 3:1 on both backgrounds."""

PALE = 0.45
"""The opacity of days whose values still grow."""

HEIGHT, SMALL_HEIGHT, BAR_HEIGHT, SPARKLINE_HEIGHT = 300, 200, 30, 60  # px
BARS_MARGIN = 80  # px, for the axis and its title
MAX_TICKS, MAX_TICKS_OF_SMALL = 8, 4
LARGE = 1_000
"""From here on a number is shown without a fraction: its first three digits are before it."""

NO_TITLE = " "  # for an empty title, Vega-Lite shows the name of the column


def days_chart(
    table: pd.DataFrame,
    title: str,
    growing_after: dt.date | None,
    marks: Mapping[dt.date, str],
    texts: Texts,
) -> Chart:
    """Return a chart with a bar for each day, their 7-day mean as a line, and marks.

    Args:
        table: `day`, `segment`, `value` and `mean`.
        title: the title of the values.
        growing_after: days after it are pale, as their values still grow; None for none.
        marks: a text for each day with a mark.
        texts: the texts and formats in the reader's language.
    """
    days = pd.to_datetime(table["day"])
    is_growing = days > (pd.Timestamp(growing_after) if growing_after else pd.Timestamp.max)
    table = table.assign(day=days, opacity=is_growing.map({True: PALE, False: 1.0}))
    day_axis = _day_axis(days, MAX_TICKS_OF_SMALL)
    x = alt.X("yearmonthdate(day):T", title=None, axis=day_axis, bandPosition=0.5)
    axis = alt.Axis(labelExpr=texts.axis_label_expression, tickCount=4)
    base = alt.Chart(table).encode(x=x)
    bars = base.mark_bar(color=BLUE).encode(
        y=alt.Y("value:Q", title=None, axis=axis),
        opacity=alt.Opacity("opacity:Q", scale=None, legend=None),
        tooltip=_tooltips(table, "value", title, texts),
    )
    line = base.mark_line(color=ORANGE, strokeWidth=2).encode(
        y="mean:Q", tooltip=_tooltips(table, "mean", texts("mean"), texts)
    )
    layers: list[alt.Chart] = [bars, line]
    if marks:
        rows = pd.DataFrame({"day": pd.to_datetime(list(marks)), "text": list(marks.values())})
        rule = alt.Chart(rows).mark_rule(color=PINK, strokeWidth=2, strokeDash=[4, 3])
        layers.append(
            rule.encode(
                x=x,
                tooltip=[
                    alt.Tooltip("day:T", title=texts("day"), format="%x"),
                    alt.Tooltip("text:N", title=NO_TITLE),
                ],
            )
        )
    return _localised(alt.layer(*layers).properties(height=SMALL_HEIGHT), texts)


def sparkline(table: pd.DataFrame, title: str, texts: Texts, *, is_share: bool = False) -> Chart:
    """Return a small line chart of `value` by `day`, without axes."""
    chart = (
        alt.Chart(table)
        .mark_line(color=BLUE, strokeWidth=2)
        .encode(
            x=alt.X("day:T", axis=None),
            y=alt.Y("value:Q", axis=None),
            tooltip=[
                alt.Tooltip("day:T", title=texts("day"), format="%x"),
                _number_tooltip(table, "value", title, is_share=is_share),
            ],
        )
    )
    return _localised(chart.properties(height=SPARKLINE_HEIGHT), texts)


def bar_chart(
    table: pd.DataFrame, column: str, title: str, texts: Texts, *, is_share: bool = False
) -> Chart:
    """Return a chart with a bar for each `segment`, in the table's order."""
    axis = (
        alt.Axis(format=".0%", tickCount=4)
        if is_share
        else alt.Axis(labelExpr=texts.axis_label_expression, tickCount=4)
    )
    chart = (
        alt.Chart(table)
        .mark_bar(color=BLUE, cornerRadiusEnd=3)
        .encode(
            x=alt.X(f"{column}:Q", title=title, axis=axis),
            y=alt.Y("segment:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)),
            tooltip=[
                alt.Tooltip("segment:N", title=NO_TITLE),
                _number_tooltip(table, column, title, is_share=is_share),
            ],
        )
    )
    return _localised(chart.properties(height=BARS_MARGIN + BAR_HEIGHT * len(table)), texts)


def line_chart(table: pd.DataFrame, title: str, texts: Texts) -> Chart:
    """Return a line chart of `value` by `segment`, for a query whose segments are dates."""
    chart = (
        alt.Chart(table)
        .mark_line(color=BLUE, point=alt.OverlayMarkDef(size=25, color=BLUE))
        .encode(
            x=alt.X("segment:T", title=None, axis=_day_axis(table["segment"])),
            y=alt.Y("value:Q", title=title, axis=alt.Axis(labelExpr=texts.axis_label_expression)),
            tooltip=[
                alt.Tooltip("segment:T", title=texts("day"), format="%x"),
                _number_tooltip(table, "value", title),
            ],
        )
    )
    return _localised(chart.properties(height=HEIGHT), texts)


def _is_long(days: pd.Series[pd.Timestamp]) -> bool:
    """Return whether a period is so long that its labels have the year: more than two months."""
    return bool(days.max() - days.min() > pd.Timedelta(days=62))


def _day_axis(days: pd.Series[pd.Timestamp], most: int = MAX_TICKS) -> alt.Axis:
    """Return an axis of time whose labels differ: days, or the months of a long period.

    Vega's own ticks of a short period are hours, of which several have the label of one day.
    """
    if days.empty:
        return alt.Axis()
    ticks = pd.date_range(days.min(), days.max())
    if is_long := _is_long(days):
        ticks = ticks[ticks.is_month_start]
    ticks = ticks[:: math.ceil(len(ticks) / most)]
    return alt.Axis(
        values=[alt.DateTime(year=day.year, month=day.month, date=day.day) for day in ticks],
        format="%b %Y" if is_long else "%-d %b",
        labelOverlap=True,
    )


def _tooltips(table: pd.DataFrame, column: str, title: str, texts: Texts) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("day:T", title=texts("day"), format="%x"),
        alt.Tooltip("segment:N", title=NO_TITLE),
        _number_tooltip(table, column, title),
    ]


def _number_tooltip(
    table: pd.DataFrame, column: str, title: str, *, is_share: bool = False
) -> alt.Tooltip:
    """Return the tooltip of a number: in percent, whole, or with three digits if all are small."""
    is_large = (table[column].astype("Float64").abs() >= LARGE).any()
    number_format = ".1%" if is_share else ",.0f" if is_large else ".3~r"
    return alt.Tooltip(f"{column}:Q", title=title, format=number_format)


def _localised(chart: Chart, texts: Texts) -> Chart:
    localised: Chart = chart.configure(locale=texts.vega_locale)
    return localised
