"""The limit: the shortest SQL of DuckDB for the same Gold, without checks or guarantees."""

import sys

import duckdb

bronze, out = sys.argv[1:]
COLUMNS = """{
    faculdade: 'VARCHAR', rede_social: 'VARCHAR', data_postagem: 'DATE', posted_at: 'TIMESTAMP',
    video_id: 'VARCHAR', titulo_video: 'VARCHAR', categoria: 'VARCHAR', duracao_seg: 'BIGINT',
    views: 'BIGINT', likes: 'BIGINT', comentarios: 'BIGINT', engagement_rate: 'DOUBLE',
    leads_estimados: 'BIGINT', ctr_estimado: 'DOUBLE', run_id: 'VARCHAR',
    ingestion_ts: 'TIMESTAMPTZ'
}"""

db = duckdb.connect()
db.execute(f"""
    SET preserve_insertion_order = false;
    COPY (
        FROM read_json(
            '{bronze}/*/*/*.jsonl', format = 'newline_delimited', columns = {COLUMNS}
        )
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
