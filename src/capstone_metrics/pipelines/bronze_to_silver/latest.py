"""Which observation of a video counts: the last in a total order."""

import ibis
import ibis.expr.types as ir

ORDER = ("ingestion_ts", "objeto", "linha", "is_new")


def latest(places: ir.Table) -> ir.Table:
    """The latest place of each video; of two equal ones, the new one if `is_new` says which.

    It is a maximum, and no window: that would sort all places, of which most are superseded.
    """
    order = [name for name in ORDER if name in places.columns]
    place, age = (
        ibis.struct({name: places[name] for name in names}) for names in (places.columns, order)
    )
    found = places.group_by("video_id").agg(last=place.argmax(age))
    return found.select(*(found.last[name].name(name) for name in places.columns))
