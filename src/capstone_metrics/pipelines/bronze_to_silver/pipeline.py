"""bronze_criacao → silver_criacao, silver_quarentena."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.bronze_to_silver.account import account, stop_on_drift
from capstone_metrics.pipelines.bronze_to_silver.merge import dry_run, merge, quarantine
from capstone_metrics.pipelines.bronze_to_silver.validate import validate

DECLARED = ["params:sources", "params:networks", "params:schedule"]


def create_pipeline() -> Pipeline:
    """Merge new Bronze objects into Silver and its quarantine, and account for every line.

    What these nodes save is staged; saving the head of Silver last commits it.
    """
    return Pipeline(
        [
            node(
                validate,
                inputs=["bronze_criacao@increment", *DECLARED],
                outputs="validation_result",
                name="validate",
            ),
            node(
                merge,
                inputs="validation_result",
                outputs=[
                    "silver_criacao@new",
                    "silver_provenance@new",
                    "silver_video_index",
                    "merge_counts",
                ],
                name="merge",
            ),
            node(
                quarantine,
                inputs="validation_result",
                outputs=["silver_quarentena", "quarantine_count"],
                name="quarantine",
            ),
            node(
                account,
                inputs=["validation_result", "merge_counts", "quarantine_count"],
                outputs=["silver_receipts", "silver_accounts", "silver_head"],
                name="account",
            ),
            node(
                stop_on_drift,
                inputs="silver_accounts",
                outputs=None,
                name="stop_on_drift",
            ),
        ],
        tags="silver",
    )


def create_dry_run() -> Pipeline:
    """Return what the pipeline would change, without writing."""
    return Pipeline(
        [
            node(
                validate,
                inputs=["bronze_criacao@dry_run", *DECLARED],
                outputs="validation_result",
                name="dry_run_validate",
            ),
            node(
                dry_run, inputs="validation_result", outputs="dry_run_silver", name="dry_run_merge"
            ),
        ],
        tags="silver",
    )
