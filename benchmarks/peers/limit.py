"""The limit: the shortest SQL of DuckDB for the same Gold, without checks or guarantees.

With `growth`, it also keeps the last observation of each day, and what came since the one before.
"""

import sys

import duckdb

bronze, out, *options = sys.argv[1:]
has_growth = "growth" in options
COLUMNS = """{
    faculdade: 'VARCHAR', rede_social: 'VARCHAR', data_postagem: 'DATE', posted_at: 'TIMESTAMP',
    video_id: 'VARCHAR', titulo_video: 'VARCHAR', categoria: 'VARCHAR', duracao_seg: 'BIGINT',
    views: 'BIGINT', likes: 'BIGINT', comentarios: 'BIGINT', engagement_rate: 'DOUBLE',
    leads_estimados: 'BIGINT', ctr_estimado: 'DOUBLE', run_id: 'VARCHAR',
    ingestion_ts: 'TIMESTAMPTZ'
}"""
GAINS = {"views": "views_ganhas", "likes": "likes_ganhos", "comentarios": "comentarios_ganhos"}

db = duckdb.connect()
db.execute(f"""
    SET preserve_insertion_order = false;
    SET TimeZone = 'America/Sao_Paulo';
    CREATE TEMP {"TABLE" if has_growth else "VIEW"} lines AS
        FROM read_json(
            '{bronze}/*/*/*.jsonl', format = 'newline_delimited', columns = {COLUMNS}
        );
    COPY (
        FROM lines
        QUALIFY row_number() OVER (PARTITION BY video_id ORDER BY ingestion_ts DESC) = 1
    ) TO '{out}/silver' (FORMAT parquet, PARTITION_BY (rede_social, data_postagem))
""")
for key in ("rede_social", "faculdade"):
    db.execute(f"""
        COPY (
            SELECT
                data_postagem, {key}, sum(views)::BIGINT AS total_views,
                sum(likes)::BIGINT AS total_likes, sum(comentarios)::BIGINT AS total_comentarios,
                count(*) AS total_videos
            FROM read_parquet('{out}/silver/**/*.parquet', hive_partitioning = true)
            GROUP BY ALL ORDER BY ALL
        ) TO '{out}/gold_video_views_dia_{key}.csv' (HEADER)
    """)

if has_growth:
    gains = ", ".join(
        f"""
            CASE
                WHEN dias IS NOT NULL THEN {counter} - lag({counter}) OVER by_video
                WHEN data_observacao - data_postagem <= 1 THEN {counter}
            END AS {gain}"""
        for counter, gain in GAINS.items()
    )
    db.execute(f"""
        COPY (
            SELECT
                data_observacao, faculdade, rede_social, video_id, data_postagem, views, likes,
                comentarios, data_observacao - lag(data_observacao) OVER by_video AS dias, {gains},
                ingestion_ts
            FROM (
                SELECT *, ingestion_ts::DATE AS data_observacao FROM lines
                QUALIFY row_number() OVER (
                    PARTITION BY video_id, data_observacao ORDER BY ingestion_ts DESC
                ) = 1
            )
            WINDOW by_video AS (PARTITION BY video_id ORDER BY data_observacao)
        ) TO '{out}/observations' (FORMAT parquet, PARTITION_BY (data_observacao))
    """)
    sums = ", ".join(f"sum({gain})::BIGINT AS {gain}" for gain in GAINS.values())
    for key in ("rede_social", "faculdade"):
        db.execute(f"""
            COPY (
                SELECT data_observacao, {key}, {sums}, count(*) AS videos_observados
                FROM read_parquet('{out}/observations/**/*.parquet', hive_partitioning = true)
                GROUP BY ALL ORDER BY ALL
            ) TO '{out}/gold_video_crescimento_dia_{key}.csv' (HEADER)
        """)
