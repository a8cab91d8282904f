"""Which observation of a video counts: the last in a total order."""

import ibis
import ibis.expr.types as ir

ORDER = ["ingestion_ts", "objeto", "linha"]


def latest(places: ir.Table) -> ir.Table:
    """The latest place of each video; of two equal ones, the one that `is_new`."""
    last_first = [places[name].desc() for name in (*ORDER, "is_new")]
    rank = ibis.row_number().over(group_by="video_id", order_by=last_first)
    return places.mutate(rank=rank).filter(lambda t: t["rank"] == 0).drop("rank")


def latest_of_few(places: ir.Table) -> ir.Table:
    """The same of places that fit into memory, as a maximum: it sorts none, but holds them."""
    place, age = (ibis.struct({n: places[n] for n in names}) for names in (places.columns, ORDER))
    found = places.group_by("video_id").agg(last=place.argmax(age))
    return found.select(*(found.last[name].name(name) for name in places.columns))
