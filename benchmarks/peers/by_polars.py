"""Build Silver and each mart with one lazy Polars query each."""

import sys

import polars as pl

bronze, out = sys.argv[1:]
SCHEMA = {
    "faculdade": pl.String,
    "rede_social": pl.String,
    "data_postagem": pl.String,
    "posted_at": pl.String,
    "video_id": pl.String,
    "titulo_video": pl.String,
    "categoria": pl.String,
    "duracao_seg": pl.Int64,
    "views": pl.Int64,
    "likes": pl.Int64,
    "comentarios": pl.Int64,
    "engagement_rate": pl.Float64,
    "leads_estimados": pl.Int64,
    "ctr_estimado": pl.Float64,
    "run_id": pl.String,
    "ingestion_ts": pl.String,
}

silver = (
    pl.scan_ndjson(f"{bronze}/*/*/*.jsonl", schema=SCHEMA)
    .with_columns(
        pl.col("data_postagem").str.to_date("%Y-%m-%d"),
        pl.col("posted_at").str.to_datetime("%Y-%m-%dT%H:%M:%S"),
        pl.col("ingestion_ts").str.to_datetime("%Y-%m-%dT%H:%M:%SZ"),
    )
    .sort("ingestion_ts")
    .unique("video_id", keep="last")
    .collect()
)
silver.write_parquet(f"{out}/silver", partition_by=["rede_social", "data_postagem"], mkdir=True)
for key in ("rede_social", "faculdade"):
    (
        pl.scan_parquet(f"{out}/silver/**/*.parquet", hive_partitioning=True)
        .group_by("data_postagem", key)
        .agg(
            pl.sum("views").alias("total_views"),
            pl.sum("likes").alias("total_likes"),
            pl.sum("comentarios").alias("total_comentarios"),
            pl.len().alias("total_videos"),
        )
        .sort("data_postagem", key)
        .sink_csv(f"{out}/gold_video_views_dia_{key}.csv")
    )
