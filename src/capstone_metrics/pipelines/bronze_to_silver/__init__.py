"""The pipeline from Bronze to Silver."""

from capstone_metrics.pipelines.bronze_to_silver.pipeline import create_pipeline

__all__ = ["create_pipeline"]
