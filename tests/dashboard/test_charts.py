from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from capstone_metrics.dashboard import charts
from capstone_metrics.dashboard.texts import Texts

TEXTS = Texts("en")


def table(days: int) -> pd.DataFrame:
    every = pd.date_range("2025-11-29", periods=days)
    return pd.DataFrame(
        {"day": every, "segment": "TikTok", "views": 1, "mean": 1.0, "value": 1}, index=range(days)
    )


def axis_of(encoding: dict[str, Any]) -> dict[str, Any]:
    axis: dict[str, Any] = encoding["x"]["axis"]
    return axis


def is_repeated(labels: list[str]) -> bool:
    return len(set(labels)) < len(labels)


@pytest.mark.parametrize("days", [1, 2, 3, 8, 28, 62, 63, 64, 365, 1_500])
def test_no_label_of_a_day_is_repeated(days: int) -> None:
    rows = table(days)
    lines = charts.multi_line_chart(rows, "views", "Views", ["TikTok"], TEXTS).to_dict()
    line = charts.line_chart(rows.assign(segment=rows["day"]), "Views", TEXTS).to_dict()
    heatmap = charts.heatmap(rows, "Views", TEXTS).to_dict()

    for encoding in (lines["layer"][0]["encoding"], line["encoding"]):
        axis = axis_of(encoding)
        ticks = [pd.Timestamp(t["year"], t["month"], t["date"]) for t in axis["values"]]
        assert 1 <= len(ticks) <= charts.MAX_TICKS
        assert set(ticks) <= set(rows["day"])
        assert not is_repeated([tick.strftime(axis["format"]) for tick in ticks])
    cells = rows["day"].dt.strftime(axis_of(heatmap["encoding"])["format"])
    assert not is_repeated(cells.tolist())


def test_labels_without_the_year_would_be_repeated() -> None:
    assert is_repeated(table(1_500)["day"].dt.strftime("%-d %b").tolist())


def test_a_chart_without_a_value_has_an_axis() -> None:
    charts.multi_line_chart(table(3).head(0), "mean", "Views", ["TikTok"], TEXTS).to_dict()


@pytest.mark.parametrize(("days", "opacity"), [(1, 1), (2, 0)])
def test_a_single_day_is_a_point(days: int, opacity: int) -> None:
    chart = charts.multi_line_chart(table(days), "views", "Views", ["TikTok"], TEXTS).to_dict()

    assert chart["layer"][1]["mark"]["opacity"] == opacity
