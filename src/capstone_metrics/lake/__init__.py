"""Storage primitives, and the catalog's datasets on them."""

from capstone_metrics.lake.bronze import (
    BronzeDataset,
    BronzeLineCountsDataset,
    BronzeObjectsDataset,
)
from capstone_metrics.lake.documents import DocumentDataset, MartDataset
from capstone_metrics.lake.tables import TableDataset

__all__ = [
    "BronzeDataset",
    "BronzeLineCountsDataset",
    "BronzeObjectsDataset",
    "DocumentDataset",
    "MartDataset",
    "TableDataset",
]
