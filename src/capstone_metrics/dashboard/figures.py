"""The figures of a period, each beside that of the equal period before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from capstone_metrics.dashboard.queries import Filter

MIN_BASE = 10
"""The fewest videos, and the fewest of what is counted, to compare with.

Of fewer than ten videos, one that goes viral, with up to six times its views, changes the sum by
more than half; and a few comments more or less are chance.
"""

MAX_FACTOR = 10
"""Larger changes are not given as a number: they tell of a gap in the data, or of another scale."""


@dataclass(frozen=True)
class Measure:
    """What is computed from the sums of a mart over some days.

    Attributes:
        name: the key of its label in the texts.
        columns: the measures of the mart that are summed, where the first of them is known.
        per: the measure of the mart that the sum is divided by, if any.
        is_share: whether it is shown in percent.
        is_comparable: whether it does not depend on how old the videos are.
    """

    name: str
    columns: tuple[str, ...]
    per: str | None = None
    is_share: bool = False
    is_comparable: bool = True

    def known(self, days: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of which it is known."""
        return days[days[self.columns[0]].notna()]

    def total(self, days: pd.DataFrame) -> int:
        """Return the sum of its columns over some days; 0 if nothing of it is known."""
        known = self.known(days)
        return sum(_sum(known[column]) for column in self.columns)

    def of(self, days: pd.DataFrame) -> float | None:
        """Return its value over some days; None if nothing of it is known."""
        known = self.known(days)
        if known.empty:
            return None
        total = self.total(known)
        if self.per is None:
            return total
        divisor = _sum(known[self.per])
        return total / divisor if divisor else None

    def by_day(self, days: pd.DataFrame, period: Filter) -> pd.DataFrame:
        """Return `day` and `value` for each day of a period; no value where nothing is known."""
        values = {day: self.of(rows) for day, rows in days.groupby("day")}
        every = pd.date_range(period.first, period.last, name="day")
        known = [values.get(day.date()) for day in every]
        return pd.DataFrame({"day": every, "value": pd.array(known, dtype="Float64")})


GAINED = (
    Measure("views_ganhas", ("views_ganhas",)),
    Measure("likes_ganhos", ("likes_ganhos",)),
    Measure("comentarios_ganhos", ("comentarios_ganhos",)),
    Measure(
        "engagement_gained", ("likes_ganhos", "comentarios_ganhos"), "views_ganhas", is_share=True
    ),
)
POSTED = Measure("total_videos", ("total_videos",))
AT_7_DAYS = Measure("views_7d_mean", ("views_7d",), per="videos_7d")
SO_FAR = (
    Measure("total_views", ("total_views",), is_comparable=False),
    Measure(
        "engagement",
        ("total_likes", "total_comentarios"),
        "total_views",
        is_share=True,
        is_comparable=False,
    ),
)


@dataclass(frozen=True)
class Figure:
    """A measure of a period.

    Attributes:
        measure: the measure.
        value: its value; None if nothing is known.
        before: its value in the period before; None if this is not known.
        base: the videos, or the fewest of what is counted, in the period before; None without one.
        is_growing: whether the period has the last day of the data, which may be incomplete.
    """

    measure: Measure
    value: float | None
    before: float | None = None
    base: int | None = None
    is_growing: bool = False

    @property
    def factor(self) -> float | None:
        """The value divided by the one before; None if they cannot be compared."""
        is_large_enough = self.base is not None and self.base >= MIN_BASE
        if not self.measure.is_comparable or not is_large_enough:
            return None
        return self.value / self.before if self.value is not None and self.before else None


@dataclass(frozen=True)
class Totals:
    """The sums by day of a mart in a period.

    Attributes:
        current: `day`, the network if the mart has it, and the measures of the mart.
        previous: those of the equal period before; None if the mart does not have all its days.
        videos: the measure that counts videos.
        is_growing: whether the period has the last day of the data, which may be incomplete.
    """

    current: pd.DataFrame
    previous: pd.DataFrame | None
    videos: str
    is_growing: bool

    def figure(self, measure: Measure) -> Figure:
        """Return a measure of the period, beside that of the period before."""
        value = measure.of(self.current)
        if self.previous is None:
            return Figure(measure, value)
        base = min(self._videos_before(), measure.total(self.previous))
        return Figure(measure, value, measure.of(self.previous), base, self.is_growing)

    def _videos_before(self) -> int:
        """Return how many videos the period before has: observed on one day, or posted in all."""
        assert self.previous is not None
        if self.videos != "videos_observados":
            return _sum(self.previous[self.videos])
        days = self.previous.groupby("day")
        return max((_sum(rows[self.videos]) for _, rows in days), default=0)


def _sum(column: pd.Series[int]) -> int:
    """Return the exact sum of the known values of a column."""
    return sum(int(value) for value in column.dropna())
