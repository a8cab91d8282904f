"""bronze_criacao → silver_criacao, silver_quarentena."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.bronze_to_silver.account import account, refuse_drift
from capstone_metrics.pipelines.bronze_to_silver.judge import observe
from capstone_metrics.pipelines.bronze_to_silver.merge import foresee, merge, quarantine

DECLARED = ["params:sources", "params:networks", "params:schedule"]


def create_pipeline() -> Pipeline:
    """Bring what is new in Bronze into Silver and its quarantine, and account for every line.

    All that these nodes save is staged; the last of it, the head of Silver, commits it.
    """
    return Pipeline(
        [
            node(
                observe,
                inputs=["bronze_criacao@pending", *DECLARED],
                outputs="observacoes",
                name="observe",
            ),
            node(
                merge,
                inputs="observacoes",
                outputs=[
                    "silver_criacao@new",
                    "silver_places@new",
                    "silver_locator",
                    "merge_counts",
                ],
                name="merge",
            ),
            node(
                quarantine,
                inputs="observacoes",
                outputs=["silver_quarentena", "quarantine_count"],
                name="quarantine",
            ),
            node(
                account,
                inputs=["observacoes", "merge_counts", "quarantine_count"],
                outputs=["silver_receipts", "silver_accounts", "silver_head"],
                name="account",
            ),
            node(
                refuse_drift,
                inputs="silver_accounts",
                outputs=None,
                name="refuse_drift",
            ),
        ],
        tags="silver",
    )


def create_plan() -> Pipeline:
    """Say what that would change."""
    return Pipeline(
        [
            node(
                observe,
                inputs=["bronze_criacao@planned", *DECLARED],
                outputs="observacoes",
                name="observe_planned",
            ),
            node(foresee, inputs="observacoes", outputs="plan_silver", name="foresee_silver"),
        ],
        tags="silver",
    )
