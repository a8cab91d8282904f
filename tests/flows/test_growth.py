"""What a comparison of posting days says of the same videos, so far and at an equal age."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from tests.support.project import Project

SO_FAR = """
    SELECT sum(total_views) FILTER (data_postagem BETWEEN '2026-01-21' AND '2026-01-27'),
           sum(total_views) FILTER (data_postagem BETWEEN '2026-01-14' AND '2026-01-20')
    FROM '{lake}/gold/gold_video_views_dia_rede_social.csv'
"""
AT_EQUAL_AGE = """
    WITH seen AS ({observations}), latest AS (
        SELECT last_day, rede_social, video_id, arg_max(views, observed) AS views
        FROM seen, (VALUES (DATE '2026-01-27'), (DATE '2026-01-20')) AS periods(last_day)
        WHERE data_postagem BETWEEN last_day - 6 AND last_day AND day <= last_day
        GROUP BY ALL
    )
    SELECT sum(views) FILTER (last_day = '2026-01-27'), sum(views) FILTER (last_day = '2026-01-20')
    FROM latest
"""
SILVER = """
    SELECT rede_social, video_id, data_postagem, data_observacao AS day, day AS observed, views
    FROM read_parquet('{lake}/silver/observacao_dia/*/*.parquet', hive_partitioning = true)
"""
BRONZE = """
    SELECT rede_social, video_id, data_postagem::DATE AS data_postagem, views,
           ingestion_ts AS observed, (ingestion_ts::TIMESTAMP - INTERVAL 3 HOUR)::DATE AS day
    FROM read_json('{lake}/bronze/criacao/*/*/*.jsonl', format = 'newline_delimited',
                   columns = {{rede_social: 'VARCHAR', video_id: 'VARCHAR', views: 'BIGINT',
                              data_postagem: 'VARCHAR', ingestion_ts: 'VARCHAR'}})
"""


def compared(project: Project, query: str, observations: str = "") -> tuple[int, int, float]:
    """Return the views of 21 to 27 January, those of the week before, and the change in percent."""
    lake = project.root / "data"
    query = query.format(lake=lake, observations=observations.format(lake=lake))
    ((last, before),) = duckdb.sql(query).fetchall()
    return last, before, 100 * (last / before - 1)


def test_views_so_far_fall_while_those_at_an_equal_age_rise(project: Project) -> None:
    project.run("--pipelines=ingest_bronze,bronze_to_silver,silver_to_gold", now="2026-01-27T20:05")

    so_far = compared(project, SO_FAR)
    equal_age = compared(project, AT_EQUAL_AGE, SILVER)

    assert so_far[2] == pytest.approx(-23.5, abs=0.05)
    assert equal_age[2] == pytest.approx(13.0, abs=0.05)
    assert equal_age == compared(project, AT_EQUAL_AGE, BRONZE)
    assert so_far[0] == equal_age[0]  # only the week before is of another age
