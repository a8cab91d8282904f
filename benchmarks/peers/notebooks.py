"""Build Silver and Gold as a chain of PySpark notebooks would: cast, rank, overwrite, group."""

import sys
from pathlib import Path

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as f

bronze, out = sys.argv[1:]
KINDS = {
    "data_postagem": "date",
    "posted_at": "timestamp",
    "duracao_seg": "bigint",
    "views": "bigint",
    "likes": "bigint",
    "comentarios": "bigint",
    "engagement_rate": "double",
    "leads_estimados": "bigint",
    "ctr_estimado": "double",
    "ingestion_ts": "timestamp",
}

spark = SparkSession.builder.master("local[*]").getOrCreate()
spark.conf.set("spark.sql.sources.partitionOverwriteMode", "dynamic")

observed = spark.read.json(f"{bronze}/*/*/*.jsonl")
for column, kind in KINDS.items():
    observed = observed.withColumn(column, f.col(column).cast(kind))
latest = Window.partitionBy("video_id").orderBy(f.col("ingestion_ts").desc())
silver = (
    observed.withColumn("n", f.row_number().over(latest)).filter("n = 1").drop("n", "qtd_inscritos")
)
silver.write.mode("overwrite").partitionBy("rede_social", "data_postagem").parquet(f"{out}/silver")

silver = spark.read.parquet(f"{out}/silver")
for key in ("rede_social", "faculdade"):
    gold = (
        silver.groupBy("data_postagem", key)
        .agg(
            f.sum("views").alias("total_views"),
            f.sum("likes").alias("total_likes"),
            f.sum("comentarios").alias("total_comentarios"),
            f.count("video_id").alias("total_videos"),
        )
        .orderBy("data_postagem", key)
    )
    folder = Path(out, f"gold_video_views_dia_{key}")
    gold.coalesce(1).write.mode("overwrite").option("header", True).csv(str(folder))
    next(folder.glob("part-*.csv")).replace(folder.with_suffix(".csv"))
spark.stop()
