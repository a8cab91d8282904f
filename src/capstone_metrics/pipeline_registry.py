"""The flow, as a sum."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from capstone_metrics import hooks
from capstone_metrics.pipelines import (
    bronze_to_silver,
    ingest_bronze,
    publish_gold,
    silver_to_gold,
)
from capstone_metrics.schemas import marts_of


def register_pipelines() -> dict[str, Pipeline]:
    """Every pipeline by its name; `__default__` is the whole path, and `plan` what it would do.

    Raises:
        CapstoneError: for a mart whose declaration does not hold.
    """
    marts = list(marts_of(hooks.declared_marts()))
    pipelines = {
        "ingest_bronze": ingest_bronze.create_pipeline(),
        "bronze_to_silver": bronze_to_silver.create_pipeline(),
        "silver_to_gold": silver_to_gold.create_pipeline(marts),
        "publish_gold": publish_gold.create_pipeline(marts),
    }
    plans = (package.create_plan() for package in (ingest_bronze, bronze_to_silver, silver_to_gold))
    return {
        **pipelines,
        "plan": sum(plans, Pipeline([])),
        "__default__": sum(pipelines.values(), Pipeline([])),
    }
