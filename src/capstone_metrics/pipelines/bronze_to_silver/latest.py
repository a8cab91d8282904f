"""Which observation of a video counts: the last in a total order."""

import ibis
import ibis.expr.types as ir

ORDER = ("ingestion_ts", "objeto", "linha", "is_new")


def latest(places: ir.Table) -> ir.Table:
    """The latest place of each video; of two equal ones, the new one if `is_new` says which.

    Only those of the latest time are put in order: of most videos that is one.
    """
    newest = places.group_by("video_id").agg(ingestion_ts=places.ingestion_ts.max())
    last = places.semi_join(newest, ["video_id", "ingestion_ts"])
    order = [last[name].desc() for name in ORDER if name in places.columns]
    rank = ibis.row_number().over(group_by="video_id", order_by=order)
    return last.mutate(rank=rank).filter(lambda t: t["rank"] == 0).drop("rank")
