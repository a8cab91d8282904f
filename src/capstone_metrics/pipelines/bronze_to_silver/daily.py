"""Increments by day, as some sources report them, beside the observations of counters.

A row of increments has what a video gained on a day, and no counters. The next observation of its
counters gained so much less: what came on a day is counted once.
"""

import datetime as dt

import ibis
import ibis.expr.types as ir

from capstone_metrics.facts import OBSERVED, DayRange
from capstone_metrics.schemas import GAINS, VIDEO_KEY
from capstone_metrics.wide_sums import wide, wide_sum

VIDEO_AND_DAY = [*VIDEO_KEY, OBSERVED]
WHOLE_UNTIL_DAYS = 1
"""How many days after its posting the first observation of a video counts whole, at most."""

DAYS_OF_A_FIRST = WHOLE_UNTIL_DAYS + 1
"""How many days before such an observation a video may have had increments, at most.

As with observations, one day before the posting is tolerated.
"""


def sums_of_days(lines: ir.Table, schema: ibis.Schema) -> ir.Table:
    """Return the increments of each video and day, summed over the lines of each object of Bronze.

    A report has a line for each country or device. A later report of a day replaces an earlier one.
    A sum past 64 bits is unknown.

    Args:
        lines: the increments.
        schema: of the result.
    """
    sums = lines.group_by([*VIDEO_AND_DAY, "objeto"]).agg(
        faculdade=lines.faculdade.argmax(lines.linha),
        ingestion_ts=lines.ingestion_ts.max(),
        linha=lines.linha.max(),
        linhas_somadas=lines.linhas_somadas.sum(),
        **{gain: wide_sum(lines[counter]).try_cast("int64") for counter, gain in GAINS.items()},
    )
    others = {name: ibis.null(kind) for name, kind in schema.items() if name not in sums.columns}
    return sums.mutate(**{**others, "is_new": True}).select(*schema).cast(schema)


def with_daily_gains(observations: ir.Table, rows: ir.Table) -> ir.Table:
    """Return observations, with what they gained beyond the increments of the days before them.

    Args:
        observations: with what each gained, the day of the one before, and whether that is new.
        rows: the same ones, and rows of increments.
    """
    increments = rows.filter(rows.views.isnull())
    since_posting = (observations.data_postagem - ibis.interval(days=DAYS_OF_A_FIRST)).cast("date")
    spans = observations.select(
        *VIDEO_AND_DAY, since=ibis.coalesce(observations[f"previous_{OBSERVED}"], since_posting)
    )
    days = increments.select(*VIDEO_KEY, "is_new", *GAINS.values(), day=increments[OBSERVED])
    between = spans.inner_join(days, VIDEO_KEY)
    between = between.filter((between.day > between.since) & (between.day < between[OBSERVED]))
    counted = between.group_by(VIDEO_AND_DAY).agg(
        follows_new_daily_lines=between.is_new.any(),
        **{f"counted_{gain}": wide_sum(between[gain]) for gain in GAINS.values()},
    )
    joined = observations.left_join(counted, VIDEO_AND_DAY)
    gains = {
        gain: (wide(joined[gain]) - joined[f"counted_{gain}"].fill_null(0)).try_cast("int64")
        for gain in GAINS.values()
    }
    follows_new = joined.follows_new | joined.follows_new_daily_lines.fill_null(False)
    gained = joined.mutate(**gains, follows_new=follows_new)
    names = [*rows.columns, *(name for name in ("dias", "follows_new") if name not in rows.columns)]
    own = increments.mutate(dias=ibis.literal(1, "int64"), follows_new=False)
    return ibis.union(gained.select(*names), own.select(*names))


def spans_of_daily_rows(upserted: ir.Table, around: ir.Table) -> list[DayRange]:
    """Return the days whose increments the gains of new rows, and of those after them, depend on.

    Args:
        upserted: the new rows.
        around: the observations before and after them.
    """
    spans = (
        ibis.union(upserted.select(*VIDEO_AND_DAY), around.select(*VIDEO_AND_DAY))
        .group_by(VIDEO_KEY)
        .agg(first=lambda rows: rows[OBSERVED].min(), last=lambda rows: rows[OBSERVED].max())
        .select("first", "last")
        .distinct()
        .to_pyarrow()
        .to_pylist()
    )
    before = dt.timedelta(DAYS_OF_A_FIRST)
    return [(max(each["first"], dt.date.min + before) - before, each["last"]) for each in spans]
