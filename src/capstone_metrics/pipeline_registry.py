"""The pipelines that `kedro run` can name."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from capstone_metrics.pipelines import (
    bronze_to_silver,
    ingest_bronze,
    publish_gold,
    silver_to_gold,
)


def register_pipelines() -> dict[str, Pipeline]:
    """Return every pipeline by its name; `__default__` is the full flow."""
    pipelines = {
        "ingest_bronze": ingest_bronze.create_pipeline(),
        "bronze_to_silver": bronze_to_silver.create_pipeline(),
        "silver_to_gold": silver_to_gold.create_pipeline(),
        "publish_gold": publish_gold.create_pipeline(),
    }
    return {**pipelines, "__default__": sum(pipelines.values(), Pipeline([]))}
