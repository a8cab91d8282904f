"""The pipeline from Gold to the serving database."""

from capstone_metrics.pipelines.publish_gold.pipeline import create_pipeline

__all__ = ["create_pipeline"]
