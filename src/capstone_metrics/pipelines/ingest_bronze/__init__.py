"""The pipeline from the sources to Bronze."""

from capstone_metrics.pipelines.ingest_bronze.pipeline import create_pipeline

__all__ = ["create_pipeline"]
