"""The pipeline from Silver to Gold."""

from capstone_metrics.pipelines.silver_to_gold.pipeline import create_pipeline

__all__ = ["create_pipeline"]
