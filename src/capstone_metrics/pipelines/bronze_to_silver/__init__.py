"""bronze_criacao → silver_criacao, silver_quarentena."""

from capstone_metrics.pipelines.bronze_to_silver.pipeline import create_pipeline, create_plan

__all__ = ["create_pipeline", "create_plan"]
