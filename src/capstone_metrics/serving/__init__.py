"""The serving database: the embedded server, the schema and roles, the publisher."""

from capstone_metrics.serving.dataset import ServingDataset

__all__ = ["ServingDataset"]
