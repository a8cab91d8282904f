"""How a measure of a period compares with that of the equal period before it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

ENGAGEMENT, VIDEOS = "engagement", "total_videos"
REACTIONS = ["total_likes", "total_comentarios"]

MIN_BASE = 10
"""The fewest videos, and the fewest of what is counted, to compare with.

Of fewer than ten videos, one that goes viral, with up to six times its views, changes the sum by
more than half; and a few comments more or less are chance.
"""

MAX_FACTOR = 10
"""Larger changes are not given as a number: they tell of a gap in the data, or of another scale."""

GROWING_AGE, DAY = dt.timedelta(days=7), dt.timedelta(days=1)
"""The age up to which the figures of a video grow most."""


@dataclass(frozen=True)
class Comparison:
    """A measure compared with the period before.

    Attributes:
        factor: the measure divided by that of the period before; None if the base is too small.
        is_growing: whether the measure depends on how young the videos are.
    """

    factor: float | None
    is_growing: bool

    @classmethod
    def of(
        cls, name: str, current: pd.DataFrame, previous: pd.DataFrame, age: dt.timedelta
    ) -> Comparison:
        """Compare a measure of the days of two periods.

        Args:
            name: the measure.
            current: the measures of each day of the period.
            previous: those of the period before.
            age: the time from the last day of the period to the end of the data. The number of
                videos grows on the last day of the data only.
        """
        counted = REACTIONS if name == ENGAGEMENT else [name]
        base = min(previous[VIDEOS].sum(), previous[counted].sum().sum())
        before = total(previous, name)
        factor = total(current, name) / before if before and base >= MIN_BASE else None
        return cls(factor, age < (DAY if name == VIDEOS else GROWING_AGE))


def total(days: pd.DataFrame, name: str) -> float:
    """Return the sum of a measure; for the engagement, the ratio of the sums."""
    if name != ENGAGEMENT:
        return int(days[name].sum())
    views = days["total_views"].sum()
    return float(days[REACTIONS].sum().sum() / views) if views else 0.0
