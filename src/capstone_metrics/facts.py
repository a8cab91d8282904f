"""The rows of Silver of some days, and those that marts are counted from."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from capstone_metrics.schemas import GAINS, LATEST_GAIN, SILVER, VIDEO_KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.marts import Basis

Days = set[dt.date] | None


def days_of(table: ir.Table, column: str) -> list[dt.date]:
    """Return the days in a column of a table, in their order."""
    return sorted(table.select(column).distinct().to_pyarrow()[column].to_pylist())


def rows_of_days(table: ir.Table, column: str, days: Collection[dt.date] | None) -> ir.Table:
    """Return the rows that have one of some days in a column; None for all rows."""
    return table if days is None else table.filter(table[column].isin(sorted(days)))


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
    table = tables[basis.table]
    return rows_of_days(table, basis.day, days).select(*sorted({*VIDEO_KEY, basis.day, *columns}))


def changed_days(
    basis: Basis, changed: Mapping[str, set[dt.date]], tables: Mapping[str, ir.Table]
) -> set[dt.date]:
    """Return the days of rows that changed, by the changed days of each table of Silver."""
    if basis.table == "video":
        observed = rows_of_days(
            tables["observacao_dia"], "data_observacao", changed["observacao_dia"]
        )
        return changed["criacao"].union(days_of(observed, "data_postagem"))
    if basis.at_days is None:
        return changed[basis.table]
    ages = range(-EARLIEST_DAYS, basis.at_days + 1)
    posted = {day - dt.timedelta(age) for day in changed[basis.table] for age in ages}
    return changed["criacao"] | posted


EARLIEST_DAYS = 1
"""How many days before its posting a video may have been observed: the tolerance of the rules."""


WEEK = 7
"""For how many days a video has its latest gain, and the age of its `views_7d`."""


def _videos(tables: Mapping[str, ir.Table], columns: Collection[str], days: Days) -> ir.Table:
    """Return all videos, with the columns that are not stored."""
    stored = sorted({*VIDEO_KEY, "data_postagem", *columns}.intersection(SILVER))
    videos = rows_of_days(tables["criacao"], "data_postagem", days)
    hour = videos.posted_at.hour().cast("int64")
    videos = videos.select(*stored, hora_postagem=hour)
    others = {
        "views_7d": lambda: _videos_at(WEEK, tables, {"views"}, days).rename(views_7d="views"),
        LATEST_GAIN: lambda: _gained_lately(tables, days),
    }
    for name in sorted(set(columns).intersection(others)):
        other = others[name]().select(*VIDEO_KEY, name)
        videos = videos.left_join(other, VIDEO_KEY).select(*videos.columns, name)
    return videos


def _gained_lately(tables: Mapping[str, ir.Table], days: Days) -> ir.Table:
    """Return what each video gained in the days that end with its last observation."""
    observed = "data_observacao"
    last = rows_of_days(tables["provenance"], "data_postagem", days)
    last = last.select(*VIDEO_KEY, last=observed)
    window = None
    if days is not None:
        window = {
            day - dt.timedelta(before) for day in days_of(last, "last") for before in range(WEEK)
        }
    observations = rows_of_days(tables["observacao_dia"], observed, window)
    rows = last.inner_join(observations.select(*VIDEO_KEY, observed, "views_ganhas"), VIDEO_KEY)
    rows = rows.filter(rows["last"].delta(rows[observed], unit="day").between(0, WEEK - 1))
    return rows.group_by(VIDEO_KEY).agg(**{LATEST_GAIN: rows.views_ganhas.sum().cast("int64")})


def _videos_at(
    age: int, tables: Mapping[str, ir.Table], columns: Collection[str], days: Days
) -> ir.Table:
    """Return the videos that were observed at an age or later, with their counters at that age.

    These are of the last observation that is not later, from the day before the posting on.
    """
    posted, observed = "data_postagem", "data_observacao"
    others = sorted({*VIDEO_KEY, posted, *columns}.difference(GAINS))
    videos = rows_of_days(tables["criacao"], posted, days).select(*others)
    last = rows_of_days(tables["provenance"], posted, days).select(*VIDEO_KEY, last=observed)
    old = videos.inner_join(last, VIDEO_KEY)
    old = old.filter(old["last"].delta(old[posted], unit="day") >= age).drop("last")
    window = None
    if days is not None:
        ages = range(-EARLIEST_DAYS, age + 1)
        window = {day + dt.timedelta(each) for day in days for each in ages}
    observations = rows_of_days(tables["observacao_dia"], observed, window)
    rows = old.inner_join(observations.select(*VIDEO_KEY, observed, *GAINS), VIDEO_KEY)
    ages_of_rows = rows[observed].delta(rows[posted], unit="day")
    rows = rows.filter(ages_of_rows.between(-EARLIEST_DAYS, age))
    latest = rows.group_by(VIDEO_KEY).agg(**{observed: rows[observed].max()})
    return rows.semi_join(latest, [*VIDEO_KEY, observed]).drop(observed)
