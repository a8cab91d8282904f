"""The latest observation of each video, in a total order."""

import ibis
import ibis.expr.types as ir

ORDER = ["ingestion_ts", "objeto", "linha"]


def latest(observations: ir.Table) -> ir.Table:
    """Return the latest observation of each video; of two equal ones, the one that `is_new`."""
    last_first = [observations[name].desc() for name in (*ORDER, "is_new")]
    rank = ibis.row_number().over(group_by="video_id", order_by=last_first)
    return observations.mutate(rank=rank).filter(lambda t: t["rank"] == 0).drop("rank")


def latest_in_memory(observations: ir.Table) -> ir.Table:
    """Return the latest observation of each video, by an aggregate that fits into memory.

    Faster than `latest`, since nothing is sorted, but the engine cannot spill it to disk.
    """
    observation, order = (
        ibis.struct({name: observations[name] for name in names})
        for names in (observations.columns, ORDER)
    )
    last = observations.group_by("video_id").agg(last=observation.argmax(order))
    return last.select(*(last.last[name].name(name) for name in observations.columns))
