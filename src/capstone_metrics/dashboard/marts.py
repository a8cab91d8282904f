"""Which published mart answers a question, and the SQL that asks it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from capstone_metrics.dashboard.database import Mart

DAY, NETWORK, INSTITUTION = "data_postagem", "rede_social", "faculdade"
MEASURES: Mapping[str, Mapping[str, str]] = {
    "total_views": {"sum": "views"},
    "total_likes": {"sum": "likes"},
    "total_comentarios": {"sum": "comentarios"},
    "total_videos": {"count": "video_id"},
}
"""What the overview needs of a mart: columns of these names, made so."""

SIX_DAYS = dt.timedelta(days=6)

Query = tuple[str, list[Any]]


@dataclass(frozen=True)
class Filter:
    """What the reader wants to see.

    Attributes:
        first: the first day.
        last: the last day, included.
        chosen: {column: the values wanted}; a column that is missing or empty is not filtered.
    """

    first: dt.date
    last: dt.date
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def days(self) -> int:
        """How many days it is about."""
        return (self.last - self.first).days + 1

    @property
    def columns(self) -> frozenset[str]:
        """The columns that it filters, beside the day."""
        return frozenset(column for column, values in self.chosen.items() if values)

    def only(self, columns: Iterable[str]) -> Filter:
        """The same without the columns that are not among these."""
        kept = set(columns)
        return replace(self, chosen={c: v for c, v in self.chosen.items() if c in kept})


def answering(
    marts: Iterable[Mart], wanted: Iterable[str], filtered: frozenset[str]
) -> tuple[Mart, frozenset[str]] | None:
    """A mart by day that has the wanted columns, and most of those that are filtered.

    Of several it is the smallest; of those that lack different columns, always the same.

    Returns:
        The mart, and the filtered columns that it lacks; None if no mart has what is wanted.
    """
    needed = {DAY, *wanted}
    able = [mart for mart in marts if needed <= set(mart.key) and _has_measures(mart)]
    if not able:
        return None

    def preference(mart: Mart) -> tuple[Any, ...]:
        missed = sorted(filtered - set(mart.key))
        return len(missed), missed, mart.rows, mart.name

    best = min(able, key=preference)
    return best, filtered - set(best.key)


def _has_measures(mart: Mart) -> bool:
    return all(mart.measures.get(name) == made for name, made in MEASURES.items())


def extent(mart: Mart) -> Query:
    """The first and the last day of a mart: `first`, `last`."""
    return f"SELECT min({q(DAY)}) AS first, max({q(DAY)}) AS last FROM {table(mart)}", []


def values(mart: Mart, column: str) -> Query:
    """The values that a column of a mart has: `value`."""
    return f"SELECT DISTINCT {q(column)} AS value FROM {table(mart)} ORDER BY 1", []


def totals_by_day(mart: Mart, wanted: Filter) -> Query:
    """For each day that has rows: `day`, and the measures of the overview."""
    where, bound = _where(wanted)
    sums = ", ".join(f"sum({q(name)}) AS {q(name)}" for name in MEASURES)
    return (
        f"SELECT {q(DAY)} AS day, {sums} FROM {table(mart)} WHERE {where} GROUP BY 1 ORDER BY 1",
        bound,
    )


def views_by_day(mart: Mart, column: str, wanted: Filter) -> Query:
    """For each day and value of a column: `day`, `part`, `views`, and `mean` of the last 7 days.

    A day without a row has 0 views. Where the mart begins less than 7 days before, there is no
    mean.
    """
    where, bound = _where(replace(wanted, first=wanted.first - SIX_DAYS))
    statement = f"""
        WITH cells AS (
            SELECT {q(DAY)} AS day, {q(column)} AS part, sum("total_views") AS views
            FROM {table(mart)} WHERE {where} GROUP BY 1, 2
        ), grid AS (
            SELECT day::date AS day, part
            FROM generate_series(%s::date, %s::date, '1 day') AS days (day),
                (SELECT DISTINCT part FROM cells WHERE day >= %s) AS parts
        ), means AS (
            SELECT
                day, part, coalesce(views, 0) AS views,
                avg(coalesce(views, 0)) OVER (
                    PARTITION BY part ORDER BY day ROWS 6 PRECEDING
                )::double precision AS mean
            FROM grid LEFT JOIN cells USING (day, part)
        )
        SELECT
            day, part, views,
            CASE WHEN day - 6 >= (SELECT min({q(DAY)}) FROM {table(mart)}) THEN mean END AS mean
        FROM means WHERE day >= %s ORDER BY day, part
    """
    days = [wanted.first - SIX_DAYS, wanted.last, wanted.first, wanted.first]
    return statement, [*bound, *days]


def ranking(mart: Mart, column: str, wanted: Filter, most: int) -> Query:
    """The values of a column by their views, in the period and in the equal one before it.

    Rank and share are among all values, also where the filter leaves some of them out.

    Returns:
        `rank`, `part`, `views`, `share` (0 to 1), `before` (the rank in the period before, or
        null), and `parts` (how many there are before `most` of them are taken).
    """
    here = wanted.chosen.get(column, ())
    others = wanted.only(wanted.columns - {column})
    where, bound = _where(replace(others, first=others.first - dt.timedelta(days=others.days)))
    shown = "WHERE part = ANY(%s)" if here else ""
    statement = f"""
        WITH sums AS (
            SELECT
                {q(column)} AS part,
                sum("total_views") FILTER (WHERE {q(DAY)} >= %s) AS views,
                sum("total_views") FILTER (WHERE {q(DAY)} < %s) AS views_before
            FROM {table(mart)} WHERE {where} GROUP BY 1
        ), ranks AS (
            SELECT
                part, views,
                rank() OVER (ORDER BY views DESC NULLS LAST) AS rank,
                (views / nullif(sum(views) OVER (), 0))::double precision AS share,
                CASE WHEN views_before IS NOT NULL
                    THEN rank() OVER (ORDER BY views_before DESC NULLS LAST) END AS before
            FROM sums
        )
        SELECT rank, part, views, share, before, count(*) OVER () AS parts
        FROM (SELECT * FROM ranks {shown}) AS shown WHERE views IS NOT NULL
        ORDER BY rank, part LIMIT {most}
    """
    return statement, [wanted.first, wanted.first, *bound, *([list(here)] if here else [])]


def rows(mart: Mart, wanted: Filter | None, most: int | None = None) -> Query:
    """The rows of a mart in the order of its key, all or at most so many."""
    where, bound = _where(wanted) if wanted else ("true", [])
    columns = ", ".join(map(q, mart.kinds))
    limit = f" LIMIT {most}" if most is not None else ""
    order = ", ".join(map(q, mart.key))
    return (
        f"SELECT {columns} FROM {table(mart)} WHERE {where} ORDER BY {order}{limit}",
        bound,
    )


def count(mart: Mart, wanted: Filter | None) -> Query:
    """How many rows that are: `count`."""
    where, bound = _where(wanted) if wanted else ("true", [])
    return f"SELECT count(*) AS count FROM {table(mart)} WHERE {where}", bound


def by(mart: Mart, column: str, measure: str, wanted: Filter | None, most: int) -> Query:
    """A measure by a column of the key: `part`, `value`; days in order, others largest first."""
    where, bound = _where(wanted) if wanted else ("true", [])
    order = "part" if mart.kinds[column] == "date" else "value DESC, part"
    return (
        f"SELECT {q(column)} AS part, sum({q(measure)}) AS value FROM {table(mart)} "
        f"WHERE {where} GROUP BY 1 ORDER BY {order} LIMIT {most}",
        bound,
    )


def totals(mart: Mart) -> Query:
    """The sum of each measure of a mart, and its `rows`."""
    sums = "".join(f", coalesce(sum({q(name)}), 0) AS {q(name)}" for name in mart.measures)
    return f"SELECT count(*) AS rows{sums} FROM {table(mart)}", []


def q(name: str) -> str:
    """A name as SQL: one of a mart or column, which the declarations let be identifiers alone."""
    return '"' + name.replace('"', '""') + '"'


def table(mart: Mart) -> str:
    """The table of a mart as SQL."""
    return f"serving.{q(mart.name)}"


def _where(wanted: Filter) -> Query:
    parts = [f"{q(DAY)} BETWEEN %s AND %s"]
    bound: list[Any] = [wanted.first, wanted.last]
    for column in sorted(wanted.columns):
        parts.append(f"{q(column)} = ANY(%s)")
        bound.append(list(wanted.chosen[column]))
    return " AND ".join(parts), bound
