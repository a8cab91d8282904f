"""source → bronze_criacao."""

from capstone_metrics.pipelines.ingest_bronze.pipeline import create_dry_run, create_pipeline

__all__ = ["create_dry_run", "create_pipeline"]
