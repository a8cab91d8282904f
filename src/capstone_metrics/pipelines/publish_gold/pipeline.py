"""gold_* → serving.*."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.publish_gold.nodes import publication

TERMS = ["params:publication", "params:allow_shrink"]


def create_pipeline() -> Pipeline:
    """Copy Gold to the serving database, all marts in one transaction."""
    return Pipeline(
        [
            node(
                publication,
                inputs=["gold_manifest", "gold_files", "params:marts", *TERMS],
                outputs="serving",
                name="publish",
            )
        ],
        tags="serving",
    )
