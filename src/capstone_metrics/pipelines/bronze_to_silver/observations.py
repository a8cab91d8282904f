"""Merge accepted observations into the observations by day, with what each day gained."""

import datetime as dt
from collections.abc import Collection

import ibis
import ibis.expr.types as ir

from capstone_metrics.changes import PartitionOverwrite
from capstone_metrics.facts import (
    OBSERVED,
    DayRange,
    count_of,
    days_of,
    rows_of_days,
    rows_of_spans,
)
from capstone_metrics.pipelines.bronze_to_silver.daily import (
    VIDEO_AND_DAY,
    WHOLE_UNTIL_DAYS,
    spans_of_daily_rows,
    sums_of_days,
    with_daily_gains,
)
from capstone_metrics.pipelines.bronze_to_silver.latest import latest
from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult
from capstone_metrics.schemas import DAY_PROVENANCE, GAINS, VIDEO_KEY, observacao_dia_of


def merge_observations(
    validation: ValidationResult, before: ir.Table
) -> dict[str, PartitionOverwrite]:
    """Merge the accepted observations into those by day, of which each is the last of its day.

    Args:
        validation: the validated lines.
        before: the provenance that videos of these lines had before, with the day on which each
            was last observed.

    Returns:
        The new partitions of the observations by day, and of the index of their lines.
    """
    new = _new_rows(validation)
    columns = list(observacao_dia_of(validation.columns))
    with_gains = _with_all_gains if validation.has_daily_lines else _with_gains
    if validation.is_full:
        return {
            "observacao_dia": PartitionOverwrite(with_gains(new).select(*columns)),
            "day_provenance": PartitionOverwrite(new.select(*DAY_PROVENANCE)),
        }
    new = new.cache()
    observed, provenance = (
        validation.snapshot.tables[name] for name in ("observacao_dia", "day_provenance")
    )
    new_days = days_of(new, OBSERVED)
    lines = ibis.union(
        rows_of_days(provenance, OBSERVED, new_days).select(*DAY_PROVENANCE).mutate(is_new=False),
        new.select(*DAY_PROVENANCE, "is_new"),
    )
    merged = _last_of_day(lines, validation).cache()
    said = [name for name in columns if name in new.columns]  # and not computed
    upserted = new.semi_join(merged.filter(merged.is_new), VIDEO_AND_DAY).select(*said).cache()
    around = (
        _around_with_daily_rows(upserted, before, observed)
        if validation.has_daily_lines
        else _around(upserted, before, observed)
    )
    others = around.anti_join(upserted, VIDEO_AND_DAY).select(*said).mutate(is_new=False)
    gained = with_gains(ibis.union(upserted.mutate(is_new=True), others))
    changed = gained.filter(gained.is_new | gained.follows_new).cache()
    days = days_of(changed, OBSERVED)
    unchanged = rows_of_days(observed, OBSERVED, days).anti_join(changed, VIDEO_AND_DAY)
    rows = ibis.union(changed.select(*columns), unchanged.select(*columns))
    return {
        "observacao_dia": PartitionOverwrite(rows, [(str(day),) for day in days]),
        "day_provenance": PartitionOverwrite(
            merged.select(*DAY_PROVENANCE), [(str(day),) for day in new_days]
        ),
    }


def _new_rows(validation: ValidationResult) -> ir.Table:
    """Return the row of each video and day among the new lines."""
    observed = validation.observed.mutate(is_new=True)
    if not validation.has_daily_lines:
        return _last_observed(observed, validation.repeated_days)
    is_daily = observed.linhas_somadas > 0
    last = _last_observed(observed.filter(~is_daily), validation.repeated_days)
    last = last.mutate(**dict.fromkeys(GAINS.values(), ibis.null("int64")))
    sums = sums_of_days(observed.filter(is_daily), last.schema())
    return _last_of_day(ibis.union(last, sums), validation)


def _last_observed(observed: ir.Table, repeated_days: Collection[dt.date] | None) -> ir.Table:
    """Return the last observation of each video and day."""
    if repeated_days is None:
        return latest(observed, VIDEO_AND_DAY)
    if not repeated_days:
        return observed
    is_repeated = observed[OBSERVED].isin(sorted(repeated_days))
    repeated = latest(observed.filter(is_repeated), VIDEO_AND_DAY).cache()  # a few rows mostly
    return ibis.union(repeated, observed.filter(~is_repeated))


def _last_of_day(rows: ir.Table, validation: ValidationResult) -> ir.Table:
    """Return the row of each video and day: an observation of counters, or else increments."""
    if not validation.has_daily_lines:
        return latest(rows, VIDEO_AND_DAY)
    return latest(rows, VIDEO_AND_DAY, first=rows.linhas_somadas == 0)


def _with_all_gains(rows: ir.Table) -> ir.Table:
    """Return observations with what each gained, of which some are increments by day."""
    return with_daily_gains(_with_gains(rows.filter(rows.views.notnull())), rows)


def _around_with_daily_rows(upserted: ir.Table, before: ir.Table, observed: ir.Table) -> ir.Table:
    """Return the rows around the new ones of each video, and increments between these rows."""
    around = _around(upserted, before, observed.filter(observed.views.notnull()))
    increments = observed.filter(observed.views.isnull())
    spans = spans_of_daily_rows(upserted, around)
    between = rows_of_spans(increments, OBSERVED, spans).semi_join(upserted, VIDEO_KEY)
    return ibis.union(around, between.select(*around.columns))


def _around(upserted: ir.Table, before: ir.Table, observed: ir.Table) -> ir.Table:
    """Return the rows around the new ones of each video: the one before, and all after it.

    Mostly a video was last observed before, and that row is all. If a new row is not the last one,
    the row after it says how long before it the video was observed.

    Args:
        upserted: the new rows.
        before: the provenance of videos, with the day on which each was last observed.
        observed: the observations by day.
    """
    first = upserted.group_by(VIDEO_KEY).agg(first=upserted[OBSERVED].min())
    known = first.inner_join(before.select(*VIDEO_KEY, last=before[OBSERVED]), VIDEO_KEY).cache()
    around = (
        rows_of_spans(observed, OBSERVED, _spans_between(known)).semi_join(known, VIDEO_KEY).cache()
    )
    # a video whose last line was of counters in a period has no row of that day
    last_rows = around.select(*VIDEO_KEY, last=around[OBSERVED])
    unseen = known.anti_join(last_rows, [*VIDEO_KEY, "last"]).cache()
    if count_of(unseen):
        every_row = observed.semi_join(unseen, VIDEO_KEY)
        around = ibis.union(around.anti_join(unseen, VIDEO_KEY), every_row).cache()
    after = around.inner_join(first, VIDEO_KEY)
    after = after.filter(after[OBSERVED] >= after["first"])
    by_video = ibis.window(group_by=VIDEO_KEY, order_by=OBSERVED)
    after = after.mutate(number=ibis.row_number().over(by_video))
    after = after.filter((after.number == 0) & after.dias.notnull())
    earlier = after.select(
        *VIDEO_KEY, **{OBSERVED: (after[OBSERVED] - after.dias.as_interval("D")).cast("date")}
    ).cache()
    days = days_of(earlier, OBSERVED)
    if not days:
        return around
    before_first = rows_of_days(observed, OBSERVED, days).semi_join(earlier, VIDEO_AND_DAY)
    return ibis.union(around, before_first.anti_join(around, VIDEO_AND_DAY))


def _spans_between(known: ir.Table) -> list[DayRange]:
    """Return the last day of each video, or the days from its first new one to that."""
    spans = known.group_by("last").agg(first=known["first"].min()).to_pyarrow().to_pylist()
    return [(min(each["first"], each["last"]), each["last"]) for each in spans]


def _with_gains(rows: ir.Table) -> ir.Table:
    """Return observations with what each gained since the one before of the same video.

    A first one counts whole if the video was posted on that day or the day before; otherwise it is
    what later ones are compared with.
    """
    by_video = ibis.window(group_by=VIDEO_KEY, order_by=OBSERVED)
    previous = {name: rows[name].lag().over(by_video) for name in (OBSERVED, "is_new", *GAINS)}
    rows = rows.mutate(**{f"previous_{name}": value for name, value in previous.items()})
    age = rows[OBSERVED].delta(rows.data_postagem, unit="day")
    is_first = rows[f"previous_{OBSERVED}"].isnull()
    gains = {
        gain: ibis.cases(
            (~is_first, rows[counter] - rows[f"previous_{counter}"]),
            (age <= WHOLE_UNTIL_DAYS, rows[counter]),
            else_=ibis.null("int64"),
        )
        for counter, gain in GAINS.items()
    }
    return rows.mutate(
        **gains,
        dias=rows[OBSERVED].delta(rows[f"previous_{OBSERVED}"], unit="day").cast("int64"),
        follows_new=rows.previous_is_new.fill_null(False),
    )
