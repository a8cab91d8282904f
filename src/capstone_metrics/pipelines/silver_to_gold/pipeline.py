"""The pipeline from Silver to Gold."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.silver_to_gold.build import build_marts, reconcile
from capstone_metrics.pipelines.silver_to_gold.check import (
    check_gold,
    enforce_quality,
    stop_on_refusals,
)
from capstone_metrics.pipelines.silver_to_gold.scope import find_rebuild_scope


def create_pipeline() -> Pipeline:
    """Build the declared marts from Silver, check them, and commit them if the rules allow it."""
    return Pipeline(
        [
            node(
                find_rebuild_scope,
                inputs=[
                    "silver",
                    "gold_snapshot",
                    "params:marts",
                    "params:columns",
                    "params:full",
                    "params:from",
                    "params:to",
                ],
                outputs="rebuild_scope",
                name="find_rebuild_scope",
            ),
            node(
                stop_on_refusals,
                inputs=[
                    "rebuild_scope",
                    "bronze_sources",
                    "params:sources",
                    "params:allow_refused",
                    "params:plan",
                ],
                outputs="complete_scope",
                name="stop_on_refusals",
            ),
            node(
                build_marts,
                inputs="complete_scope",
                outputs="mart_files",
                name="build_marts",
            ),
            node(
                reconcile,
                inputs=["rebuild_scope", "mart_files"],
                outputs="gold_update",
                name="reconcile",
            ),
            node(
                check_gold,
                inputs=["gold_update", "params:quality"],
                outputs="gold_findings",
                name="check_gold",
            ),
            node(
                enforce_quality,
                inputs=[
                    "rebuild_scope",
                    "gold_update",
                    "gold_findings",
                    "params:allow_findings",
                    "params:plan",
                ],
                outputs="gold",
                name="enforce_quality",
            ),
        ],
        tags="gold",
    )
