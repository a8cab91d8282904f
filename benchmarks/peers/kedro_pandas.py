"""Build Silver and Gold with Kedro and pandas, in the most obvious way."""

import sys
from functools import partial
from pathlib import Path

import pandas as pd
from kedro.io import DataCatalog
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner

bronze, out = sys.argv[1:]


def clean(parts: dict) -> pd.DataFrame:
    """Return the latest observation of each video, with types."""
    rows = pd.concat([load() for load in parts.values()], ignore_index=True)
    rows["data_postagem"] = pd.to_datetime(rows["data_postagem"]).dt.date
    rows["posted_at"] = pd.to_datetime(rows["posted_at"])
    rows["ingestion_ts"] = pd.to_datetime(rows["ingestion_ts"])
    return rows.sort_values("ingestion_ts").drop_duplicates("video_id", keep="last")


def aggregate(silver: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return the totals of each day."""
    totals = silver.groupby(["data_postagem", key], as_index=False).agg(
        total_views=("views", "sum"),
        total_likes=("likes", "sum"),
        total_comentarios=("comentarios", "sum"),
        total_videos=("video_id", "count"),
    )
    return totals.sort_values(["data_postagem", key])


keys = ("rede_social", "faculdade")
catalog = DataCatalog.from_config(
    {
        "bronze": {
            "type": "partitions.PartitionedDataset",
            "path": bronze,
            "filename_suffix": ".jsonl",
            "dataset": {
                "type": "pandas.JSONDataset",
                "load_args": {"lines": True, "convert_dates": False},
            },
        },
        "silver": {"type": "pandas.ParquetDataset", "filepath": f"{out}/silver.parquet"},
        **{
            f"gold_{key}": {
                "type": "pandas.CSVDataset",
                "filepath": f"{out}/gold_video_views_dia_{key}.csv",
                "save_args": {"index": False},
            }
            for key in keys
        },
    }
)
Path(out).mkdir(exist_ok=True)
flow = pipeline(
    [
        node(clean, "bronze", "silver", name="clean"),
        *(
            node(partial(aggregate, key=key), "silver", f"gold_{key}", name=f"aggregate_{key}")
            for key in keys
        ),
    ]
)
SequentialRunner().run(flow, catalog)
