"""Storage primitives, the commit on them, and the catalog's datasets on both."""

from capstone_metrics.lake.bronze import (
    BronzeDataset,
    BronzeMeasuresDataset,
    BronzeObjectsDataset,
)
from capstone_metrics.lake.documents import (
    GoldBeforeDataset,
    HeadDataset,
    MartDataset,
    NoteDataset,
)
from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.lake.silver import PendingDataset, PlannedDataset, ReceiptsDataset
from capstone_metrics.lake.tables import DeferredTableDataset, TableDataset

__all__ = [
    "BronzeDataset",
    "BronzeMeasuresDataset",
    "BronzeObjectsDataset",
    "DeferredTableDataset",
    "GoldBeforeDataset",
    "HeadDataset",
    "MartDataset",
    "NoteDataset",
    "PendingDataset",
    "PlannedDataset",
    "ReceiptsDataset",
    "RunsDataset",
    "TableDataset",
]
