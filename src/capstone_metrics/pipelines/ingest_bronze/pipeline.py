"""source → bronze_criacao."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.ingest_bronze.nodes import ingest


def create_pipeline() -> Pipeline:
    """Add to Bronze what the sources have and it lacks."""
    return Pipeline(
        [
            node(
                ingest,
                inputs=["params:sources", "params:schedule", "params:now", "bronze_objects"],
                outputs="bronze_criacao@new",
                name="ingest",
            )
        ],
        tags="bronze",
    )
