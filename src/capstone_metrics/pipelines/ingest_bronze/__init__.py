"""source → bronze_criacao."""

from capstone_metrics.pipelines.ingest_bronze.pipeline import create_pipeline, create_plan

__all__ = ["create_pipeline", "create_plan"]
