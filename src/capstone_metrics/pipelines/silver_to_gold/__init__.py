"""silver_criacao → gold_*."""

from capstone_metrics.pipelines.silver_to_gold.pipeline import create_pipeline, create_plan

__all__ = ["create_pipeline", "create_plan"]
