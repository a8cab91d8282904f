"""The pipelines that `kedro run` can name."""

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
    """Return every pipeline by its name.

    `__default__` is the full flow; `plan` is the dry run of all of it but the publication.

    Raises:
        CapstoneError: if the declaration of a mart is invalid.
    """
    marts = list(marts_of(hooks.declared_marts()))
    pipelines = {
        "ingest_bronze": ingest_bronze.create_pipeline(),
        "bronze_to_silver": bronze_to_silver.create_pipeline(),
        "silver_to_gold": silver_to_gold.create_pipeline(marts),
        "publish_gold": publish_gold.create_pipeline(marts),
    }
    dry_runs = (
        package.create_dry_run() for package in (ingest_bronze, bronze_to_silver, silver_to_gold)
    )
    return {
        **pipelines,
        "plan": sum(dry_runs, Pipeline([])),
        "__default__": sum(pipelines.values(), Pipeline([])),
    }
