"""The serving database: the embedded server, its schema and roles, and the publisher."""

from capstone_metrics.serving.dataset import ServingDataset

__all__ = ["ServingDataset"]
