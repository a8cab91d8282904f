"""The pipeline from the sources to Bronze."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.ingest_bronze.nodes import ingest

INPUTS = [
    "params:sources",
    "params:networks",
    "params:columns",
    "params:schedule",
    "params:now",
    "params:from",
    "params:to",
    "bronze_snapshot",
]


def create_pipeline() -> Pipeline:
    """Add the new objects of every source to Bronze."""
    return Pipeline(
        [node(ingest, inputs=INPUTS, outputs="bronze_criacao", name="ingest")], tags="bronze"
    )
