"""The lake: transactions, and a dataset of the catalog for each layer."""

from capstone_metrics.lake.bronze import BronzeDataset
from capstone_metrics.lake.documents import JsonDocumentDataset
from capstone_metrics.lake.gold import GoldDataset, MartDataset
from capstone_metrics.lake.runs import RunsDataset
from capstone_metrics.lake.silver import SilverDataset, SilverTableDataset
from capstone_metrics.lake.sources import SourcesDataset

__all__ = [
    "BronzeDataset",
    "GoldDataset",
    "JsonDocumentDataset",
    "MartDataset",
    "RunsDataset",
    "SilverDataset",
    "SilverTableDataset",
    "SourcesDataset",
]
