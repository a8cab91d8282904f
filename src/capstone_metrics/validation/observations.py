"""Find the latest of accepted lines, of each video and of each of its days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.values import DAY_US, offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from capstone_metrics.validation.objects import BronzeObject

LINE_BITS = 40
"""The bits of the line number in a position in Bronze; the bits above them are of its object."""

DAY_BITS, MAX_DAY = 24, (1 << 24) - 1
"""The bits of a day, since 1970, beside those of a video; a day before 1970 is negative."""


def local_days(moments: pa.Array, zone: str) -> NDArray[np.int32]:
    """Return the local day of each of some moments, of which few differ, as days since 1970."""
    encoded = moments.view(pa.int64()).dictionary_encode()
    distinct = encoded.dictionary.to_numpy()
    local = distinct + offsets(distinct, zone, is_local=False)
    days: NDArray[np.int32] = (local // DAY_US).astype(np.int32)[encoded.indices.to_numpy()]
    return days


class Observations:
    """The accepted lines of batches, in the order in which they were observed.

    The order is total: by `ingestion_ts`, then by object and line in Bronze.

    Args:
        lines: batches of lines as `lines.row_schema`, each with its object.
    """

    def __init__(self, lines: Sequence[tuple[BronzeObject, pa.RecordBatch]]) -> None:
        sizes = [batch.num_rows for _, batch in lines]
        ids, networks = (
            pa.chunked_array([batch[name] for _, batch in lines])
            .combine_chunks()
            .dictionary_encode()
            for name in ("video_id", "rede_social")
        )
        moments = np.concatenate([batch["ingestion_ts"].view(pa.int64()) for _, batch in lines])
        numbers = np.concatenate([batch["linha"] for _, batch in lines])
        ranks = {name: rank for rank, name in enumerate(sorted({o.objeto for o, _ in lines}))}
        objects = np.repeat(np.array([ranks[o.objeto] for o, _ in lines], np.int64), sizes)
        # equal times are in the order of Bronze, in which nearly all lines are already
        in_bronze = np.argsort(objects << LINE_BITS | numbers, kind="stable")
        self._order = in_bronze[np.argsort(moments[in_bronze], kind="stable")]
        self._videos = ids.indices.to_numpy() + len(ids.dictionary) * networks.indices.to_numpy()
        self._ends = np.cumsum(sizes)[:-1]

    def latest(self) -> list[NDArray[np.bool_]]:
        """Return for each batch which of its lines are the latest of their videos."""
        return self._split(self._videos, self._order)

    def latest_by_day(
        self, days: Sequence[NDArray[np.int32]], is_observed: Sequence[NDArray[np.bool_]]
    ) -> list[NDArray[np.bool_]]:
        """Return for each batch which of its lines are the latest of their videos on their days.

        Args:
            days: for each batch the day of each of its lines.
            is_observed: for each batch which of its lines are compared.
        """
        groups = self._videos.astype(np.int64) << DAY_BITS | (np.concatenate(days) & MAX_DAY)
        return self._split(groups, self._order[np.concatenate(is_observed)[self._order]])

    def _split(self, groups: NDArray[Any], order: NDArray[np.intp]) -> list[NDArray[np.bool_]]:
        """Return for each batch which of its lines are the last of their groups in an order."""
        return np.split(_is_last(groups, order), self._ends)


def _is_last(groups: NDArray[Any], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which lines are the last of their group in an order, which may lack some lines."""
    encoded = pa.array(groups[order]).dictionary_encode()
    last = np.empty(len(encoded.dictionary), np.intp)
    last[encoded.indices.to_numpy()] = order  # the last one of a group stays
    is_last = np.zeros(len(groups), bool)
    is_last[last] = True
    return is_last
