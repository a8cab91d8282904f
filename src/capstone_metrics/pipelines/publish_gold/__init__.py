"""gold_* → serving.*."""

from capstone_metrics.pipelines.publish_gold.pipeline import create_pipeline

__all__ = ["create_pipeline"]
