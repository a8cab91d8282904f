"""Which published mart can answer a question, and the SQL queries on it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capstone_metrics.dashboard.database import PublishedMart

DAY, NETWORK, INSTITUTION = "data_postagem", "rede_social", "faculdade"
MEASURES: Mapping[str, Mapping[str, str]] = {
    "total_views": {"sum": "views"},
    "total_likes": {"sum": "likes"},
    "total_comentarios": {"sum": "comentarios"},
    "total_videos": {"count": "video_id"},
}
"""The measures that the overview needs of a mart, by name, with their declarations."""

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

    def restricted_to(self, columns: Iterable[str]) -> Filter:
        """Return this filter with only its conditions on some columns, and on the day."""
        retained = set(columns)
        return replace(self, values={c: v for c, v in self.values.items() if c in retained})


def select_mart(
    marts: Iterable[PublishedMart], columns: Iterable[str], filtered: frozenset[str]
) -> tuple[PublishedMart, frozenset[str]] | None:
    """Select the mart by day that has some columns, and lacks the fewest of the filtered ones.

    Ties are decided by the names of the columns that it lacks, then its rows, then its name.

    Args:
        marts: the published marts.
        columns: the columns that its key must have, besides the day.
        filtered: the columns that are filtered.

    Returns:
        The mart, and the filtered columns that it lacks; None if no mart has the columns.
    """
    required = {DAY, *columns}
    candidates = [mart for mart in marts if required <= set(mart.key) and _has_measures(mart)]
    if not candidates:
        return None

    def sort_key(mart: PublishedMart) -> tuple[Any, ...]:
        missing = sorted(filtered - set(mart.key))
        return len(missing), missing, mart.rows, mart.name

    best = min(candidates, key=sort_key)
    return best, filtered - set(best.key)


def _has_measures(mart: PublishedMart) -> bool:
    return all(mart.measures.get(name) == declared for name, declared in MEASURES.items())


def day_range(mart: PublishedMart) -> Query:
    """Build the query of the first and last day of a mart: `first`, `last`."""
    day = sql_identifier(DAY)
    return f"SELECT min({day}) AS first, max({day}) AS last FROM {table_name(mart)}", []


def distinct_values(mart: PublishedMart, column: str) -> Query:
    """Build the query of the distinct values of a column of a mart: `value`."""
    value = sql_identifier(column)
    return f"SELECT DISTINCT {value} AS value FROM {table_name(mart)} ORDER BY 1", []


def totals_by_day(mart: PublishedMart, criteria: Filter) -> Query:
    """Build the query of the overview's measures: `day`, and each measure, for days with rows."""
    condition, parameters = _where(criteria)
    sums = ", ".join(f"sum({name}) AS {name}" for name in map(sql_identifier, MEASURES))
    statement = (
        f"SELECT {sql_identifier(DAY)} AS day, {sums} FROM {table_name(mart)} "
        f"WHERE {condition} GROUP BY 1 ORDER BY 1"
    )
    return statement, parameters


def views_by_day(mart: PublishedMart, column: str, criteria: Filter) -> Query:
    """Build the query of the views for each day and value of a column, and of their 7-day mean.

    A day without a row has 0 views. The mean is null for the first 6 days of the mart.

    Returns:
        A query of `day`, `segment` (the value of the column), `views` and `mean`.
    """
    condition, parameters = _where(replace(criteria, first=criteria.first - MEAN_LOOKBACK))
    day = sql_identifier(DAY)
    statement = f"""
        WITH cells AS (
            SELECT {day} AS day, {sql_identifier(column)} AS segment, sum("total_views") AS views
            FROM {table_name(mart)} WHERE {condition} GROUP BY 1, 2
        ), grid AS (
            SELECT day::date AS day, segment
            FROM generate_series(%s::date, %s::date, '1 day') AS days (day),
                (SELECT DISTINCT segment FROM cells WHERE day >= %s) AS segments
        ), means AS (
            SELECT
                day, segment, coalesce(views, 0) AS views,
                avg(coalesce(views, 0)) OVER (
                    PARTITION BY segment ORDER BY day ROWS {MEAN_DAYS - 1} PRECEDING
                )::double precision AS mean
            FROM grid LEFT JOIN cells USING (day, segment)
        )
        SELECT
            day, segment, views,
            CASE WHEN day - {MEAN_DAYS - 1} >= (SELECT min({day}) FROM {table_name(mart)})
                THEN mean END AS mean
        FROM means WHERE day >= %s ORDER BY day, segment
    """
    first, last = criteria.first, criteria.last
    return statement, [*parameters, first - MEAN_LOOKBACK, last, first, first]


def ranking(mart: PublishedMart, column: str, criteria: Filter, limit: int) -> Query:
    """Build the query of the values of a column by views, with ranks now and a period before.

    Rank and share are among all values of the column, even if the filter leaves some out.

    Returns:
        A query of `rank`, `segment` (the value of the column), `views`, `views_share` (0 to 1),
        `previous_rank` (null if it had no row in the equal period before), and `segments` (how many
        there are without the limit).
    """
    selected = criteria.values.get(column, ())
    other_conditions = criteria.restricted_to(criteria.columns - {column})
    previous_first = criteria.first - dt.timedelta(days=criteria.days)
    both_periods = replace(other_conditions, first=previous_first)
    condition, parameters = _where(both_periods)
    selected_clause = "WHERE segment = ANY(%s)" if selected else ""
    statement = f"""
        WITH sums AS (
            SELECT
                {sql_identifier(column)} AS segment,
                sum("total_views") FILTER (WHERE {sql_identifier(DAY)} >= %s) AS views,
                sum("total_views") FILTER (WHERE {sql_identifier(DAY)} < %s) AS previous_views
            FROM {table_name(mart)} WHERE {condition} GROUP BY 1
        ), ranks AS (
            SELECT
                segment, views,
                rank() OVER (ORDER BY views DESC NULLS LAST) AS rank,
                (views / nullif(sum(views) OVER (), 0))::double precision AS views_share,
                CASE WHEN previous_views IS NOT NULL
                    THEN rank() OVER (ORDER BY previous_views DESC NULLS LAST) END AS previous_rank
            FROM sums
        )
        SELECT
            rank, segment, views, views_share, previous_rank, count(*) OVER () AS segments
        FROM (SELECT * FROM ranks {selected_clause}) AS selected WHERE views IS NOT NULL
        ORDER BY rank, segment LIMIT {limit}
    """
    values = [list(selected)] if selected else []
    return statement, [criteria.first, criteria.first, *parameters, *values]


def select_rows(mart: PublishedMart, criteria: Filter | None, limit: int | None = None) -> Query:
    """Build the query of the rows of a mart, in the order of its key."""
    condition, parameters = _where(criteria)
    columns = ", ".join(map(sql_identifier, mart.column_types))
    key = ", ".join(map(sql_identifier, mart.key))
    limit_clause = f" LIMIT {limit}" if limit is not None else ""
    statement = (
        f"SELECT {columns} FROM {table_name(mart)} WHERE {condition} ORDER BY {key}{limit_clause}"
    )
    return statement, parameters


def count_rows(mart: PublishedMart, criteria: Filter | None) -> Query:
    """Build the query of the number of rows: `count`."""
    condition, parameters = _where(criteria)
    return f"SELECT count(*) AS count FROM {table_name(mart)} WHERE {condition}", parameters


def measure_by(
    mart: PublishedMart, column: str, measure: str, criteria: Filter | None, limit: int
) -> Query:
    """Build the query of a measure by a column of the key: by date, or else largest first.

    Returns:
        A query of `segment` (the value of the column) and `value`.
    """
    condition, parameters = _where(criteria)
    order = "segment" if mart.column_types[column] == "date" else "value DESC, segment"
    statement = (
        f"SELECT {sql_identifier(column)} AS segment, sum({sql_identifier(measure)}) AS value "
        f"FROM {table_name(mart)} WHERE {condition} GROUP BY 1 ORDER BY {order} LIMIT {limit}"
    )
    return statement, parameters


def rows_and_totals(mart: PublishedMart) -> Query:
    """Build the query of the number of rows of a mart, `rows`, and the sum of each measure."""
    names = map(sql_identifier, mart.measures)
    sums = "".join(f", coalesce(sum({name}), 0) AS {name}" for name in names)
    return f"SELECT count(*) AS rows{sums} FROM {table_name(mart)}", []


def sql_identifier(name: str) -> str:
    """Return a mart's or column's name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def table_name(mart: PublishedMart) -> str:
    """Return the qualified name of a mart's table in SQL."""
    return f"serving.{sql_identifier(mart.name)}"


def _where(criteria: Filter | None) -> Query:
    """Return the condition of a filter, and its parameters; always true without a filter."""
    if criteria is None:
        return "true", []
    conditions = [f"{sql_identifier(DAY)} BETWEEN %s AND %s"]
    parameters: list[Any] = [criteria.first, criteria.last]
    for column in sorted(criteria.columns):
        conditions.append(f"{sql_identifier(column)} = ANY(%s)")
        parameters.append(list(criteria.values[column]))
    return " AND ".join(conditions), parameters
