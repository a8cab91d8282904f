"""The pipeline from Gold to the serving database."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.publish_gold.nodes import assemble_publication


def create_pipeline() -> Pipeline:
    """Publish all marts of Gold in one transaction, in which the dataset `serving` is saved."""
    return Pipeline(
        [
            node(
                assemble_publication,
                inputs=[
                    "gold",
                    "params:marts",
                    "params:columns",
                    "params:publication",
                    "params:allow_shrink",
                    "params:definitions",
                    "params:networks",
                ],
                outputs="serving",
                name="publish",
            )
        ],
        tags="serving",
    )
