"""Storage of the lake, atomic commits on it, engines, and the datasets of the catalog."""

from capstone_metrics.lake.bronze import (
    BronzeDataset,
    BronzeObjectsDataset,
    BronzeObjectStatsDataset,
)
from capstone_metrics.lake.documents import (
    GoldSnapshotDataset,
    HeadDataset,
    JsonDocumentDataset,
    MartDataset,
)
from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.lake.silver import DryRunIncrementDataset, IncrementDataset, ReceiptsDataset
from capstone_metrics.lake.tables import DeferredTableDataset, TableDataset

__all__ = [
    "BronzeDataset",
    "BronzeObjectStatsDataset",
    "BronzeObjectsDataset",
    "DeferredTableDataset",
    "DryRunIncrementDataset",
    "GoldSnapshotDataset",
    "HeadDataset",
    "IncrementDataset",
    "JsonDocumentDataset",
    "MartDataset",
    "ReceiptsDataset",
    "RunsDataset",
    "TableDataset",
]
