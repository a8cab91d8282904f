"""silver_criacao → gold_*."""

from capstone_metrics.pipelines.silver_to_gold.pipeline import create_dry_run, create_pipeline

__all__ = ["create_dry_run", "create_pipeline"]
