"""Merge a mart into PostgreSQL by its key, with dlt."""

import sys
import tempfile

import dlt
from pyarrow import csv

file, dsn = sys.argv[1:]


@dlt.resource(
    name="gold_bench", write_disposition="merge", primary_key=["data_postagem", "faculdade"]
)
def gold():  # noqa: ANN201
    """Yield the rows of the CSV."""
    yield csv.read_csv(file)


with tempfile.TemporaryDirectory() as folder:
    pipeline = dlt.pipeline(
        "peer",
        pipelines_dir=folder,
        destination=dlt.destinations.postgres(dsn),
        dataset_name="by_dlt",
    )
    pipeline.run(gold)
