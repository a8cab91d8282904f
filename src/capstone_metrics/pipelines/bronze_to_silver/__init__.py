"""bronze_criacao → silver_criacao, silver_quarentena."""

from capstone_metrics.pipelines.bronze_to_silver.pipeline import create_dry_run, create_pipeline

__all__ = ["create_dry_run", "create_pipeline"]
