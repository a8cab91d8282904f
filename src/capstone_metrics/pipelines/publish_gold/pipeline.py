"""gold_* → serving.*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.publish_gold.nodes import publication

if TYPE_CHECKING:
    from collections.abc import Collection

DECLARED = ["params:marts", "params:publication", "params:allow_shrink"]


def create_pipeline(marts: Collection[str]) -> Pipeline:
    """Publish all marts of Gold to the serving database in one transaction."""
    return Pipeline(
        [
            node(
                publication,
                inputs=["gold_manifest", *DECLARED, *marts],
                outputs="serving",
                name="publish",
            )
        ],
        tags="serving",
    )
