"""What the reader selected, and the SQL queries of its rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from capstone_metrics.dashboard.marts import (
    GAINED,
    HOUR,
    INSTITUTION,
    NETWORK,
    NO_TITLE,
    POSTED,
    VIDEO,
    VIDEO_ID,
    VIDEO_TITLE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from capstone_metrics.dashboard.database import PublishedMart
    from capstone_metrics.dashboard.marts import Kind

CHANNEL = f"{NETWORK}, {INSTITUTION}"
"""What a channel is, in SQL."""

MIN_VIDEOS = 5
"""The fewest videos of a channel for a median."""

NEW_POSTS = {"sum": "posts"}
"""The declaration of a measure that counts new posts."""

MEAN_DAYS = 7
MEAN_LOOKBACK = dt.timedelta(days=MEAN_DAYS - 1)
"""How long before a day the period of its mean begins."""

Query = tuple[str, list[Any]]
"""A statement and its parameters."""


@dataclass(frozen=True)
class Filter:
    """The rows that the reader selected.

    Attributes:
        first: the first day.
        last: the last day, included.
        values: {column: the selected values}; a column that is missing or empty is not filtered.
    """

    first: dt.date
    last: dt.date
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1

    @property
    def columns(self) -> frozenset[str]:
        """The columns that are filtered, without the day."""
        return frozenset(column for column, values in self.values.items() if values)

    @property
    def before(self) -> Filter:
        """The same filter for the equally long period before."""
        length = dt.timedelta(days=self.days)
        return replace(self, first=self.first - length, last=self.last - length)

    def without(self, column: str) -> Filter:
        """Return this filter without its condition on a column."""
        return replace(self, values={c: v for c, v in self.values.items() if c != column})


def day_range(mart: PublishedMart, measure: str | None = None) -> Query:
    """Build the query of the first and last day of a mart: `first`, `last`.

    Args:
        mart: the mart.
        measure: only days on which this is known.
    """
    assert mart.day
    day, table = sql_identifier(mart.day), table_name(mart)
    known = f" WHERE {sql_identifier(measure)} IS NOT NULL" if measure else ""
    # each by the index of the key; with a FILTER the whole table would be read
    statement = (
        f"SELECT (SELECT min({day}) FROM {table}{known}) AS first, "
        f"(SELECT max({day}) FROM {table}{known}) AS last"
    )
    return statement, []


def distinct_values(mart: PublishedMart, column: str, criteria: Filter | None = None) -> Query:
    """Build the query of the distinct values of a column of a mart: `value`."""
    condition, parameters = _where(mart, criteria)
    statement = (
        f"SELECT DISTINCT {sql_identifier(column)} AS value FROM {table_name(mart)} "
        f"WHERE {condition} ORDER BY 1"
    )
    return statement, parameters


def totals_by_day(mart: PublishedMart, kind: Kind, criteria: Filter) -> Query:
    """Build the query of the measures of a kind, for days with rows: `day`, and each of them.

    If the mart has networks, each has a row of its own, with its name in `rede_social`.
    """
    columns = {"day": sql_identifier(kind.day)}
    if NETWORK in mart.labels:
        columns[NETWORK] = NETWORK
    return _sums_by(columns, mart, kind, criteria)


def totals_by_weekday(mart: PublishedMart, kind: Kind, criteria: Filter) -> Query:
    """Build the query of the measures of a kind by day of the week, 1 (Monday) to 7: `weekday`."""
    day = f"extract(isodow FROM {sql_identifier(kind.day)})::int"
    return _sums_by({"weekday": day}, mart, kind, criteria)


def _sums_by(
    columns: Mapping[str, str], mart: PublishedMart, kind: Kind, criteria: Filter
) -> Query:
    condition, parameters = _where(mart, criteria)
    groups = [f"{expression} AS {alias}" for alias, expression in columns.items()]
    sums = [f"sum({name}) AS {name}" for name in map(sql_identifier, kind.measures)]
    places = ", ".join(str(place) for place, _ in enumerate(groups, 1))
    statement = (
        f"SELECT {', '.join([*groups, *sums])} FROM {table_name(mart)} "
        f"WHERE {condition} GROUP BY {places} ORDER BY {places}"
    )
    return statement, parameters


def measure_by_day(mart: PublishedMart, measure: str, column: str, criteria: Filter) -> Query:
    """Build the query of a measure for each day and value of a column, and of its 7-day mean.

    A day without a row counts as 0 in the mean, which is null for the first 6 days of the mart. A
    value of the column of which nothing is known has no rows.

    Returns:
        A query of `day`, `segment` (the value of the column), `value` and `mean`.
    """
    condition, parameters = _where(mart, replace(criteria, first=criteria.first - MEAN_LOOKBACK))
    assert mart.day
    day = sql_identifier(mart.day)
    statement = f"""
        WITH cells AS (
            SELECT {day} AS day, {sql_identifier(column)} AS segment,
                sum({sql_identifier(measure)}) AS value
            FROM {table_name(mart)} WHERE {condition} GROUP BY 1, 2
        ), grid AS (
            SELECT day::date AS day, segment
            FROM generate_series(%s::date, %s::date, '1 day') AS days (day), (
                SELECT DISTINCT segment FROM cells WHERE day >= %s AND value IS NOT NULL
            ) AS segments
        ), means AS (
            SELECT
                day, segment, coalesce(value, 0) AS value,
                avg(coalesce(value, 0)) OVER (
                    PARTITION BY segment ORDER BY day ROWS {MEAN_DAYS - 1} PRECEDING
                )::double precision AS mean
            FROM grid LEFT JOIN cells USING (day, segment)
        )
        SELECT
            day, segment, value,
            CASE WHEN day - {MEAN_DAYS - 1} >= (SELECT min({day}) FROM {table_name(mart)})
                THEN mean END AS mean
        FROM means WHERE day >= %s ORDER BY day, segment
    """
    first, last = criteria.first, criteria.last
    return statement, [*parameters, first - MEAN_LOOKBACK, last, first, first]


def ranking(mart: PublishedMart, measure: str, column: str, criteria: Filter, limit: int) -> Query:
    """Build the query of the values of a column by a measure, with their shares now and before.

    Rank and share are among all values of the column, even if the filter leaves some out. A sum
    below 0 has no share.

    Returns:
        A query of `rank`, `segment` (the value of the column), `value`, `share` (0 to 1),
        `previous_share` (of the equal period before), and `segments` (how many there are without
        the limit).
    """
    selected = criteria.values.get(column, ())
    both_periods = replace(criteria.without(column), first=criteria.before.first)
    condition, parameters = _where(mart, both_periods)
    selected_clause = "WHERE segment = ANY(%s)" if selected else ""
    assert mart.day
    day, value = sql_identifier(mart.day), sql_identifier(measure)
    statement = f"""
        WITH sums AS (
            SELECT
                {sql_identifier(column)} AS segment,
                sum({value}) FILTER (WHERE {day} >= %s) AS value,
                sum({value}) FILTER (WHERE {day} < %s) AS previous_value
            FROM {table_name(mart)} WHERE {condition} GROUP BY 1
        ), ranks AS (
            SELECT
                segment, value,
                rank() OVER (ORDER BY value DESC NULLS LAST) AS rank,
                {_share("value")} AS share,
                {_share("previous_value")} AS previous_share
            FROM sums
        )
        SELECT
            rank, segment, value, share, previous_share, count(*) OVER () AS segments
        FROM (SELECT * FROM ranks {selected_clause}) AS selected WHERE value IS NOT NULL
        ORDER BY rank, segment LIMIT {limit}
    """
    values = [list(selected)] if selected else []
    return statement, [criteria.first, criteria.first, *parameters, *values]


def _share(column: str) -> str:
    """Return the SQL of a column's part of its sum over all rows; null where there is none."""
    total = f"sum(greatest({column}, 0)) OVER ()"
    return f"(greatest({column}, 0) / nullif({total}, 0))::double precision"


def select_rows(mart: PublishedMart, criteria: Filter | None, limit: int | None = None) -> Query:
    """Build the query of the rows of a mart, in the order of its key."""
    condition, parameters = _where(mart, criteria)
    columns = ", ".join(map(sql_identifier, mart.column_types))
    key = ", ".join(map(sql_identifier, mart.key))
    limit_clause = f" LIMIT {limit}" if limit is not None else ""
    statement = (
        f"SELECT {columns} FROM {table_name(mart)} WHERE {condition} ORDER BY {key}{limit_clause}"
    )
    return statement, parameters


def count_rows(mart: PublishedMart, criteria: Filter | None) -> Query:
    """Build the query of the number of rows: `count`."""
    condition, parameters = _where(mart, criteria)
    return f"SELECT count(*) AS count FROM {table_name(mart)} WHERE {condition}", parameters


def measure_by(
    mart: PublishedMart, column: str, measure: str, criteria: Filter | None, limit: int
) -> Query:
    """Build the query of a measure by a column that is none: by date, or else largest first.

    Returns:
        A query of `segment` (the value of the column) and `value`.
    """
    condition, parameters = _where(mart, criteria)
    order = "segment" if mart.column_types[column] == "date" else "value DESC NULLS LAST, segment"
    statement = (
        f"SELECT {sql_identifier(column)} AS segment, {_combined(mart, measure)} AS value "
        f"FROM {table_name(mart)} WHERE {condition} GROUP BY 1 ORDER BY {order} LIMIT {limit}"
    )
    return statement, parameters


def _combined(mart: PublishedMart, measure: str) -> str:
    """Return the SQL of a measure of several rows; nothing where it cannot be told from them."""
    name = sql_identifier(measure)
    combining = mart.combining(measure)
    views = GAINED.views
    if mart.measures[measure] == NEW_POSTS and mart.measures.get(views) == GAINED.measures[views]:
        # where no gain is known, it is not known either which posts are new
        return f"sum({name}) FILTER (WHERE {sql_identifier(views)} IS NOT NULL)"
    return f"{combining}({name})" if combining else f"CASE count(*) WHEN 1 THEN max({name}) END"


def rows_and_totals(mart: PublishedMart) -> Query:
    """Build the query of the number of rows of a mart, `rows`, and the totals that it has."""
    names = map(sql_identifier, mart.totals)
    sums = "".join(f", coalesce(sum({name}), 0) AS {name}" for name in names)
    return f"SELECT count(*) AS rows{sums} FROM {table_name(mart)}", []


def top_videos(mart: PublishedMart, measure: str, criteria: Filter, limit: int) -> Query:
    """Build the query of the videos with the most of a measure, for which it is known.

    Returns:
        A query of `titulo_video`, the other columns of a video, and `factor` (its views at 7 days
        divided by the median of its channel), largest first.
    """
    name = sql_identifier(measure)
    condition, parameters = _where(mart, criteria)
    statement = f"""
        WITH videos AS (
            SELECT {_video_columns()} FROM {table_name(mart)}
            WHERE {condition} AND {name} IS NOT NULL
            ORDER BY {name} DESC, {NETWORK}, {VIDEO_ID} LIMIT {limit}
        ), medians AS (
            {_medians(mart, f"({NETWORK}, {INSTITUTION}) IN (SELECT {CHANNEL} FROM videos)")}
        )
        SELECT videos.*, views_7d / nullif(median, 0) AS factor
        FROM videos LEFT JOIN medians USING ({CHANNEL})
        ORDER BY {name} DESC, {NETWORK}, {VIDEO_ID}
    """
    return statement, [NO_TITLE, *parameters]


def outliers(mart: PublishedMart, least: float, criteria: Filter, limit: int) -> Query:
    """Build the query of the videos with many times the views at 7 days of their channel.

    Args:
        mart: the mart.
        least: the least factor.
        criteria: the selected videos; the median of a channel is of all days.
        limit: the most videos.

    Returns:
        A query of the columns of `top_videos`, those with the largest factor first.
    """
    condition, parameters = _where(mart, criteria)
    of_channels, values = _where_values(criteria)
    # materialized, since each parallel worker would compute the medians again
    statement = f"""
        WITH medians AS MATERIALIZED ({_medians(mart, of_channels)}), videos AS (
            SELECT {_video_columns()} FROM {table_name(mart)} WHERE {condition}
        )
        SELECT videos.*, views_7d / median AS factor
        FROM videos JOIN medians USING ({CHANNEL})
        WHERE median > 0 AND views_7d >= %s * median
        ORDER BY factor DESC, {NETWORK}, {VIDEO_ID} LIMIT {limit}
    """
    return statement, [*values, NO_TITLE, *parameters, least]


def count_medians(mart: PublishedMart, criteria: Filter) -> Query:
    """Build the query of the number of channels whose videos can be compared: `count`."""
    of_channels, values = _where_values(criteria)
    return f"SELECT count(*) AS count FROM ({_medians(mart, of_channels)})", values


def views_by_hour(mart: PublishedMart, criteria: Filter) -> Query:
    """Build the query of the hours of posting with enough videos: `hour`, and their mean, `value`.

    The mean is of the views at 7 days, of the videos of which both are known.
    """
    condition, parameters = _where(mart, criteria)
    statement = f"""
        SELECT {HOUR} AS hour, avg(views_7d)::double precision AS value FROM {table_name(mart)}
        WHERE {condition} AND {HOUR} IS NOT NULL AND views_7d IS NOT NULL
        GROUP BY 1 HAVING count(*) >= {MIN_VIDEOS} ORDER BY 1
    """
    return statement, parameters


def _video_columns() -> str:
    """Return the SQL of the columns of a video; its parameter is the title that is none.

    The id stands for such a title.
    """
    title = f"coalesce(nullif({VIDEO_TITLE}, %s), {VIDEO_ID}) AS {VIDEO_TITLE}"
    others = (VIDEO_ID, NETWORK, INSTITUTION, POSTED, *VIDEO.measures)
    return ", ".join((title, *others))


def _medians(mart: PublishedMart, condition: str) -> str:
    """Return the SQL of the median of the views at 7 days of each channel with enough videos."""
    return f"""
        SELECT {CHANNEL}, percentile_cont(0.5) WITHIN GROUP (ORDER BY views_7d) AS median
        FROM {table_name(mart)} WHERE views_7d IS NOT NULL AND {condition}
        GROUP BY {CHANNEL} HAVING count(*) >= {MIN_VIDEOS}
    """


def sql_identifier(name: str) -> str:
    """Return a mart's or column's name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def table_name(mart: PublishedMart) -> str:
    """Return the qualified name of a mart's table in SQL."""
    return f"serving.{sql_identifier(mart.name)}"


def _where(mart: PublishedMart, criteria: Filter | None) -> Query:
    """Return the condition of a filter, and its parameters; always true without a filter."""
    if criteria is None:
        return "true", []
    condition, parameters = _where_values(criteria)
    if mart.day:
        condition = f"{sql_identifier(mart.day)} BETWEEN %s AND %s AND {condition}"
        parameters = [criteria.first, criteria.last, *parameters]
    return condition, parameters


def _where_values(criteria: Filter) -> Query:
    """Return the condition of a filter on all days, and its parameters."""
    columns = sorted(criteria.columns)
    conditions = [f"{sql_identifier(column)} = ANY(%s)" for column in columns]
    return " AND ".join(conditions) or "true", [list(criteria.values[each]) for each in columns]
