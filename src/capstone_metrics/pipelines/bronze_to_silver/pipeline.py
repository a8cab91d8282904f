"""bronze_criacao → silver_criacao, silver_quarentena."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.bronze_to_silver.nodes import (
    account,
    current,
    observe,
    quarantined,
)


def create_pipeline() -> Pipeline:
    """Read Bronze into Silver and its quarantine, and account for every line."""
    return Pipeline(
        [
            node(
                observe,
                inputs=["bronze_criacao", "params:sources", "params:networks", "params:schedule"],
                outputs="observacoes",
                name="observe",
            ),
            node(current, inputs="observacoes", outputs="silver_criacao", name="current"),
            node(
                quarantined,
                inputs="observacoes",
                outputs="silver_quarentena",
                name="quarantined",
            ),
            node(
                account,
                inputs=[
                    "observacoes",
                    "bronze_line_counts",
                    "silver_criacao",
                    "silver_quarentena",
                ],
                outputs="silver_accounts",
                name="account",
            ),
        ],
        tags="silver",
    )
