"""The latest lines are found by time, then by their order in Bronze."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.objects import BronzeObject
from capstone_metrics.validation.observations import Observations, local_days
from tests.validation.conftest import ZONE


def test_of_equal_times_the_last_object_and_line_win() -> None:
    def lines(*videos: str) -> pa.RecordBatch:
        times = pa.array([0] * len(videos), pa.timestamp("us", "UTC"))
        numbers = pa.array(range(1, len(videos) + 1), pa.int64())
        networks = ["tiktok"] * len(videos)
        return pa.record_batch(
            {
                "rede_social": networks,
                "video_id": videos,
                "ingestion_ts": times,
                "linha": numbers,
            }
        )

    objects = [
        (BronzeObject("b", ZONE), lines("x", "y", "x")),
        (BronzeObject("a", ZONE), lines("x", "z")),
    ]
    days = [np.array([1, 1, 2], np.int32), np.array([2, -1], np.int32)]
    is_observed = [np.array([True, True, True]), np.array([False, True])]
    observations = Observations(objects)
    latest = [kept.tolist() for kept in observations.latest()]
    assert latest == [[False, True, True], [False, True]]
    by_day = [kept.tolist() for kept in observations.latest_by_day(days, is_observed)]
    assert by_day == [[True, True, True], [False, True]]


def test_an_observation_is_of_its_local_day() -> None:
    midnight = dt.datetime(2026, 1, 31, 3, tzinfo=dt.UTC)
    moments = [midnight - dt.timedelta(microseconds=1), midnight]
    days = local_days(pa.array(moments, pa.timestamp("us", "UTC")), ZONE)
    assert days.astype("datetime64[D]").tolist() == [dt.date(2026, 1, 30), dt.date(2026, 1, 31)]
