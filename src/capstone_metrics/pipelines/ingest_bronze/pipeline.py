"""source → bronze_criacao."""

from kedro.pipeline import Pipeline, node

from capstone_metrics.pipelines.ingest_bronze.nodes import dry_run, ingest

INPUTS = [
    "params:sources",
    "params:schedule",
    "params:now",
    "params:from",
    "params:to",
    "bronze_objects",
]


def create_pipeline() -> Pipeline:
    """Add the new objects of every source to Bronze."""
    return Pipeline(
        [node(ingest, inputs=INPUTS, outputs="bronze_criacao@new", name="ingest")], tags="bronze"
    )


def create_dry_run() -> Pipeline:
    """Return what the pipeline would add, without writing."""
    outputs = ["bronze_criacao@dry_run", "dry_run_bronze"]
    return Pipeline(
        [node(dry_run, inputs=INPUTS, outputs=outputs, name="dry_run_ingest")], tags="bronze"
    )
