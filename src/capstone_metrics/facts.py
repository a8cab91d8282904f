"""The rows of Silver of some days, and those that marts are counted from."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from capstone_metrics.schemas import DAYS, GAINS, LATEST_GAIN, VIDEO_KEY
from capstone_metrics.wide_sums import wide_sum

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.marts import Basis
    from capstone_metrics.wide_sums import Sum

Days = set[dt.date] | None
DayRange = tuple[dt.date, dt.date]

POSTED, OBSERVED = DAYS["criacao"], DAYS["observacao_dia"]

EARLIEST_DAYS = 1
"""How many days before its posting a video may have been observed: the tolerance of the rules."""

WEEK = 7
"""For how many days a video has its latest gain, and the age of its `views_7d`."""


@dataclass(frozen=True)
class Facts:
    """The rows of Silver that marts are rebuilt from.

    Attributes:
        days: the days to rebuild; None for all days.
        rows: the columns of Silver that the marts need, for these days; None if there are no days.
        sum_of: how a column of them is summed.
    """

    days: Days
    rows: ir.Table | None
    sum_of: Sum = wide_sum


def days_of(table: ir.Table, column: str) -> list[dt.date]:
    """Return the days in a column of a table, in their order."""
    return sorted(values_of(table, column))


def values_of(table: ir.Table, column: str) -> list[Any]:
    """Return the distinct values of a column, in any order."""
    values: list[Any] = table.select(column).distinct().to_pyarrow()[column].to_pylist()
    return values


def count_of(table: ir.Table) -> int:
    """Return the number of rows of a table."""
    return int(table.count().to_pyarrow().as_py())


def rows_of_days(table: ir.Table, column: str, days: Collection[dt.date] | None) -> ir.Table:
    """Return the rows that have one of some days in a column; None for all rows."""
    return table if days is None else table.filter(table[column].isin(sorted(days)))


def rows_of_spans(table: ir.Table, column: str, spans: Iterable[DayRange]) -> ir.Table:
    """Return the rows that have a day in a column that is within one of some spans."""
    merged: list[list[dt.date]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + dt.timedelta(1):
            merged[-1][1] = max(last, merged[-1][1])
        else:
            merged.append([first, last])
    within = [table[column].between(first, last) for first, last in merged]
    return table.filter(ibis.or_(*within)) if within else table.limit(0)


def facts_of(
    tables: Mapping[str, ir.Table], basis: Basis, columns: Collection[str], days: Days = None
) -> ir.Table:
    """Return the rows that marts are counted from, with some columns.

    Args:
        tables: the tables of Silver.
        basis: the table of which they are, and the age at which videos are compared.
        columns: the columns of Silver that the marts need.
        days: the days of which rows are returned; None for all days.
    """
    if basis.at_days is not None:
        return _videos_at(basis.at_days, tables, columns, days)
    if basis.table == "video":
        return _videos(tables, columns, days)
    rows = rows_of_days(tables[basis.table], basis.day, days)
    if "posts" in columns and basis.table == "observacao_dia":
        is_new_post = rows.dias.isnull() & rows.views.notnull() & rows.views_ganhas.notnull()
        rows = rows.mutate(posts=is_new_post.cast("int64"))
    return rows.select(*sorted({*VIDEO_KEY, basis.day, *columns}))


def changed_days(
    bases: Collection[Basis], changed: Mapping[str, set[dt.date]], tables: Mapping[str, ir.Table]
) -> dict[Basis, set[dt.date]]:
    """Return the days of the rows of each basis that changed.

    Args:
        bases: what marts are counted from.
        changed: the changed days of each table of Silver.
        tables: the tables of Silver.
    """
    of_videos = {each for each in bases if each.table == "video" or each.at_days is not None}
    posted = changed["criacao"]
    if of_videos and changed["observacao_dia"]:  # else no table is read: that starts the engine
        rows = rows_of_days(tables["observacao_dia"], OBSERVED, changed["observacao_dia"])
        posted = posted.union(_days_posted(rows, tables))
    return {each: posted if each in of_videos else changed[each.table] for each in bases}


def _days_posted(observations: ir.Table, tables: Mapping[str, ir.Table]) -> set[dt.date]:
    """Return the days of posting of observed videos that have a row in `criacao`.

    An observation says when its video was posted, but that may have been corrected since, and
    increments by day do not say it.
    """
    videos = observations.select(*VIDEO_KEY, POSTED).distinct().cache()
    said = days_of(videos.filter(videos[POSTED].notnull()), POSTED)
    there = rows_of_days(tables["provenance"], POSTED, said)
    absent = videos.anti_join(there, VIDEO_KEY).cache()
    if not count_of(absent):
        return set(said)  # without a look at the index
    return {*said, *days_of(index_of(absent, tables["video_index"]), POSTED)}


def index_of(videos: ir.Table, video_index: ir.Table) -> ir.Table:
    """Return the entries of videos in the index, which name their days of posting."""
    videos = videos.select(*VIDEO_KEY, shard=shard_of(videos.video_id)).cache()
    in_shards = video_index.shard.isin(values_of(videos, "shard"))
    return video_index.filter(in_shards).semi_join(videos, VIDEO_KEY)


def shard_of(video_id: ir.StringValue) -> ir.StringValue:
    """Return the shard of the video index that has a video: one hexadecimal digit of a hash."""
    return video_id.hexdigest("md5").left(1)


def _videos(tables: Mapping[str, ir.Table], columns: Collection[str], days: Days) -> ir.Table:
    """Return all videos, with the columns that are not stored."""
    videos = rows_of_days(tables["criacao"], POSTED, days)
    stored = sorted({*VIDEO_KEY, POSTED, *columns}.intersection(videos.columns))
    hour = videos.posted_at.hour().cast("int64")
    videos = videos.select(*stored, hora_postagem=hour)
    last = _last_observed(tables, days)
    window = None
    if days is not None:
        lately = {day - dt.timedelta(ago) for day in days_of(last, "last") for ago in range(WEEK)}
        window = lately | _days_at_ages(days, WEEK)
    observations = rows_of_days(tables["observacao_dia"], OBSERVED, window)
    observations = observations.select(*VIDEO_KEY, OBSERVED, "views", "views_ganhas").cache()
    others = {
        "views_7d": _at_age(last, observations, WEEK).rename(views_7d="views"),
        LATEST_GAIN: _gained_lately(last, observations),
    }
    for name, other in others.items():
        joined = videos.left_join(other.select(*VIDEO_KEY, name), VIDEO_KEY)
        videos = joined.select(*videos.columns, name)
    return videos


def _last_observed(tables: Mapping[str, ir.Table], days: Days) -> ir.Table:
    """Return the days of the posting and of the last observation of each video.

    The latest line of a video may be of a source whose counters count in a period, which has no
    observation; then the one before it is the last.
    """
    rows = rows_of_days(tables["provenance"], POSTED, days)
    videos = rows.select(*VIDEO_KEY, POSTED, last=OBSERVED).cache()
    observed = tables["observacao_dia"].filter(tables["observacao_dia"].views.notnull())
    last_rows = rows_of_days(observed, OBSERVED, days_of(videos, "last"))
    unseen = videos.anti_join(last_rows.select(*VIDEO_KEY, last=OBSERVED), [*VIDEO_KEY, "last"])
    unseen = unseen.drop("last").cache()
    if not count_of(unseen):  # without a look at every day
        return videos
    earlier = observed.semi_join(unseen, VIDEO_KEY)
    earlier = earlier.group_by(VIDEO_KEY).agg(last=earlier[OBSERVED].max())
    seen = videos.anti_join(unseen, VIDEO_KEY)
    return ibis.union(seen, unseen.inner_join(earlier, VIDEO_KEY).select(*seen.columns)).cache()


def _gained_lately(last: ir.Table, observations: ir.Table) -> ir.Table:
    """Return what each video gained in the days that end with its last observation."""
    rows = last.inner_join(observations, VIDEO_KEY)
    rows = rows.filter(rows["last"].delta(rows[OBSERVED], unit="day").between(0, WEEK - 1))
    gained = wide_sum(rows.views_ganhas).try_cast("int64")  # increments may be of any size
    return rows.group_by(VIDEO_KEY).agg(**{LATEST_GAIN: gained})


def _videos_at(
    age: int, tables: Mapping[str, ir.Table], columns: Collection[str], days: Days
) -> ir.Table:
    """Return the videos that were observed at an age or later, with their counters at that age."""
    others = sorted({*VIDEO_KEY, POSTED, *columns}.difference(GAINS))
    videos = rows_of_days(tables["criacao"], POSTED, days).select(*others)
    videos = videos.inner_join(_last_observed(tables, days).drop(POSTED), VIDEO_KEY)
    window = None if days is None else _days_at_ages(days, age)
    observations = rows_of_days(tables["observacao_dia"], OBSERVED, window)
    return _at_age(videos, observations.select(*VIDEO_KEY, OBSERVED, *GAINS), age)


def _days_at_ages(posted: Collection[dt.date], age: int) -> set[dt.date]:
    """Return the days on which videos were not older than an age, by the days of their posting."""
    ages = range(-EARLIEST_DAYS, age + 1)
    return {day + dt.timedelta(each) for day in posted for each in ages}


def _at_age(videos: ir.Table, observations: ir.Table, age: int) -> ir.Table:
    """Return the videos that were observed at an age or later, with what was observed at that age.

    This is of the last observation that is not later, from the day before the posting on.
    """
    old = videos.filter(videos["last"].delta(videos[POSTED], unit="day") >= age).drop("last")
    rows = old.inner_join(observations.filter(observations.views.notnull()), VIDEO_KEY)
    ages = rows[OBSERVED].delta(rows[POSTED], unit="day")
    rows = rows.filter(ages.between(-EARLIEST_DAYS, age))
    latest = rows.group_by(VIDEO_KEY).agg(**{OBSERVED: rows[OBSERVED].max()})
    return rows.semi_join(latest, [*VIDEO_KEY, OBSERVED]).drop(OBSERVED)
