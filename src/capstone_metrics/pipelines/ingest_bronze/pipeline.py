"""source → bronze_criacao."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.ingest_bronze.nodes import foresee, ingest

INPUTS = [
    "params:sources",
    "params:schedule",
    "params:now",
    "params:from",
    "params:to",
    "bronze_objects",
]


def create_pipeline() -> Pipeline:
    """Add to Bronze what the sources have and it lacks."""
    return Pipeline(
        [node(ingest, inputs=INPUTS, outputs="bronze_criacao@new", name="ingest")], tags="bronze"
    )


def create_plan() -> Pipeline:
    """Say what that would add."""
    outputs = ["bronze_criacao@planned", "plan_bronze"]
    return Pipeline(
        [node(foresee, inputs=INPUTS, outputs=outputs, name="foresee_bronze")], tags="bronze"
    )
