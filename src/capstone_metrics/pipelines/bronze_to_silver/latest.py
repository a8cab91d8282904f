"""The latest observation of each video, in a total order."""

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from capstone_metrics.schemas import VIDEO_KEY

ORDER = ["ingestion_ts", "objeto", "linha"]


def latest(
    observations: ir.Table,
    key: Sequence[str] = VIDEO_KEY,
    first: ir.BooleanValue | None = None,
) -> ir.Table:
    """Return the latest observation of each key; of two equal ones, the one that `is_new`.

    Args:
        observations: the observations, with what `ORDER` names.
        key: the columns of the key.
        first: which observations come before all others, if some do.
    """
    last_first = [observations[name].desc() for name in (*ORDER, "is_new")]
    if first is not None:
        last_first.insert(0, first.desc())
    rank = ibis.row_number().over(group_by=key, order_by=last_first)
    return observations.mutate(rank=rank).filter(lambda t: t["rank"] == 0).drop("rank")
