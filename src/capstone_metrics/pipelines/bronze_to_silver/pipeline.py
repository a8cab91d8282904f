"""The pipeline from Bronze to Silver."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.check import check_silver
from capstone_metrics.pipelines.bronze_to_silver.increment import find_increment
from capstone_metrics.pipelines.bronze_to_silver.merge import merge
from capstone_metrics.pipelines.bronze_to_silver.validate import validate


def create_pipeline() -> Pipeline:
    """Merge new Bronze objects into Silver and its quarantine, and account for every line."""
    return Pipeline(
        [
            node(
                find_increment,
                inputs=[
                    "silver_snapshot",
                    "bronze_criacao",
                    "params:sources",
                    "params:networks",
                    "params:columns",
                    "params:full",
                    "params:from",
                    "params:to",
                    "params:allow_refused",
                ],
                outputs="bronze_increment",
                name="find_increment",
            ),
            node(
                validate,
                inputs=[
                    "bronze_increment",
                    "params:sources",
                    "params:networks",
                    "params:columns",
                    "params:schedule",
                ],
                outputs="validation_result",
                name="validate",
            ),
            node(merge, inputs="validation_result", outputs="merge_result", name="merge"),
            node(
                check_silver,
                inputs=["validation_result", "params:quality"],
                outputs="silver_findings",
                name="check_silver",
            ),
            node(
                account,
                inputs=["validation_result", "merge_result", "silver_findings"],
                outputs="silver",
                name="account",
            ),
        ],
        tags="silver",
    )
