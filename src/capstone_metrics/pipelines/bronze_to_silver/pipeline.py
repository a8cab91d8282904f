"""bronze_criacao → silver_criacao, silver_quarentena."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.bronze_to_silver.account import account, refuse_lost_fields
from capstone_metrics.pipelines.bronze_to_silver.judge import observe
from capstone_metrics.pipelines.bronze_to_silver.merge import merge, quarantine


def create_pipeline() -> Pipeline:
    """Bring what is new in Bronze into Silver and its quarantine, and account for every line.

    All that these nodes save is staged; the last of it, the head of Silver, commits it.
    """
    return Pipeline(
        [
            node(
                observe,
                inputs=[
                    "bronze_criacao@pending",
                    "params:sources",
                    "params:networks",
                    "params:schedule",
                ],
                outputs="observacoes",
                name="observe",
            ),
            node(
                merge,
                inputs=["observacoes", "params:full"],
                outputs=["silver_criacao", "silver_places", "silver_locator", "merge_counts"],
                name="merge",
            ),
            node(
                quarantine,
                inputs=["observacoes", "params:full"],
                outputs=["silver_quarentena", "quarantine_count"],
                name="quarantine",
            ),
            node(
                account,
                inputs=["observacoes", "merge_counts", "quarantine_count", "params:full"],
                outputs=["silver_receipts", "silver_accounts", "silver_head"],
                name="account",
            ),
            node(
                refuse_lost_fields,
                inputs="silver_accounts",
                outputs=None,
                name="refuse_lost_fields",
            ),
        ],
        tags="silver",
    )
