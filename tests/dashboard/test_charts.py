from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from capstone_metrics.dashboard import charts
from capstone_metrics.dashboard.texts import Texts

TEXTS = Texts("en")
FIRST = dt.date(2025, 11, 29)


def table(days: int) -> pd.DataFrame:
    every = pd.date_range(FIRST, periods=days)
    return pd.DataFrame({"day": every, "segment": "TikTok", "value": 1, "mean": 1.0})


def days_chart(
    days: int, growing_after: dt.date | None = None, marks: dict[dt.date, str] | None = None
) -> Any:
    return charts.days_chart(table(days), "Views", growing_after, marks or {}, TEXTS).to_dict()


def axis_of(encoding: dict[str, Any]) -> dict[str, Any]:
    axis: dict[str, Any] = encoding["x"]["axis"]
    return axis


def is_repeated(labels: list[str]) -> bool:
    return len(set(labels)) < len(labels)


@pytest.mark.parametrize("days", [1, 2, 3, 8, 28, 62, 63, 64, 365, 1_500])
def test_no_label_of_a_day_is_repeated(days: int) -> None:
    rows = table(days)
    line = charts.line_chart(rows.assign(segment=rows["day"]), "Views", TEXTS).to_dict()

    for encoding, most in (
        (days_chart(days)["layer"][0]["encoding"], charts.MAX_TICKS_OF_SMALL),
        (line["encoding"], charts.MAX_TICKS),
    ):
        axis = axis_of(encoding)
        ticks = [pd.Timestamp(t["year"], t["month"], t["date"]) for t in axis["values"]]
        assert 1 <= len(ticks) <= most
        assert set(ticks) <= set(rows["day"])
        assert not is_repeated([tick.strftime(axis["format"]) for tick in ticks])


def test_labels_without_the_year_would_be_repeated() -> None:
    assert is_repeated(table(1_500)["day"].dt.strftime("%-d %b").tolist())


def test_a_chart_without_a_value_has_an_axis() -> None:
    days_chart(0)


def test_days_that_still_grow_are_pale() -> None:
    growing_after = FIRST + dt.timedelta(days=5)
    (rows,) = (each for each in days_chart(8, growing_after)["datasets"].values())

    assert [row["opacity"] for row in rows] == [1.0] * 6 + [charts.PALE] * 2
    (rows,) = (each for each in days_chart(8)["datasets"].values())
    assert {row["opacity"] for row in rows} == {1.0}


def test_a_mark_has_its_day_and_text() -> None:
    day = FIRST + dt.timedelta(days=2)
    chart = days_chart(8, marks={day: "A view is counted at once."})

    rule = chart["layer"][2]
    assert rule["mark"]["type"] == "rule"
    (mark,) = chart["datasets"][rule["data"]["name"]]
    assert (mark["day"][:10], mark["text"]) == (day.isoformat(), "A view is counted at once.")
    assert len(days_chart(8)["layer"]) == 2


@pytest.mark.parametrize(
    ("value", "number_format"), [(0.2, ".3~r"), (999, ".3~r"), (1_000, ",.0f"), (None, ".3~r")]
)
def test_small_numbers_have_their_fraction(value: float | None, number_format: str) -> None:
    rows = table(2).assign(value=pd.Series([value, 0.1], dtype=object), mean=value)
    for chart in (
        charts.days_chart(rows, "Rate", None, {}, TEXTS),
        charts.line_chart(rows.assign(segment=rows["day"]), "Rate", TEXTS),
        charts.bar_chart(rows, "value", "Rate", TEXTS),
        charts.sparkline(rows, "Rate", TEXTS),
    ):
        drawn = chart.to_dict()
        for layer in drawn.get("layer", [drawn]):
            assert layer["encoding"]["tooltip"][-1]["format"] == number_format


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.2, "0,2"), (0.0008123, "0,000812"), (1_234.5, "1.234,5")]
)
def test_a_number_is_written_in_full_or_with_three_digits(value: float, text: str) -> None:
    assert Texts("pt_BR").number(value) == text


def test_the_axis_of_a_ratio_has_no_thousandths() -> None:
    assert TEXTS.axis_label_expression.startswith(
        "abs(datum.value) < 1 ? format(datum.value, '.3~r')"
    )
