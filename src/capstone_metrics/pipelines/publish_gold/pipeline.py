"""gold_* → serving.*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.publish_gold.nodes import assemble_publication

if TYPE_CHECKING:
    from collections.abc import Collection

PARAMETERS = ["params:marts", "params:publication", "params:allow_shrink"]


def create_pipeline(marts: Collection[str]) -> Pipeline:
    """Publish all marts of Gold in one transaction, in which the dataset `serving` is saved.

    Args:
        marts: the names of the marts, which their datasets share.
    """
    return Pipeline(
        [
            node(
                assemble_publication,
                inputs=["gold_manifest", *PARAMETERS, *marts],
                outputs="serving",
                name="publish",
            )
        ],
        tags="serving",
    )
