"""The dataset of Silver: its tables, receipts and head, saved in one transaction."""

from __future__ import annotations

import datetime as dt
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from capstone_metrics.changes import FORMAT, LazyMapping, SilverSnapshot, SilverUpdate
from capstone_metrics.engines.layout import Layout
from capstone_metrics.lake.plan import planned_silver
from capstone_metrics.lake.tables import LakeTable
from capstone_metrics.lake.transaction import (
    SILVER,
    commit_records,
    is_pending,
    read_head,
    recover,
    transaction,
)
from capstone_metrics.schemas import DAYS, PROVENANCE_OF, VIDEO_KEY, silver_tables
from capstone_metrics.storage import storage_of
from capstone_metrics.storage.documents import format_document, read_document
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import ibis.expr.types as ir

    from capstone_metrics.engines import EngineConfig

RECEIPTS = "silver/receipts"

FILES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "criacao": ("parquet", ("rede_social", "data_postagem"), ("video_id",)),
    "observacao_dia": ("parquet", ("data_observacao",), ("rede_social", "video_id")),
    "quarentena": ("jsonl", ("fonte", "janela", "lote"), ("objeto", "linha")),
    "provenance": ("index", ("data_postagem",), ("rede_social", "video_id")),
    "day_provenance": ("index", ("data_observacao",), ("linha", "objeto")),
    "video_index": ("index", ("shard",), tuple(VIDEO_KEY)),
}
"""The format of the files of each table, the columns of their folders, and the order of rows."""

OLD_INDEXES = ("silver/places", "silver/locator")
"""The folders of indexes of format 1, which a rebuild deletes."""

DATA = {name: f"silver_{name}" for name in ("criacao", "observacao_dia", "quarentena")}
"""The names of the tables that users read; the others are indexes."""


def layouts_of(declared: Mapping[str, str] | None = None) -> dict[str, Layout]:
    """Return the layout of each table of Silver.

    Args:
        declared: the types of its declared columns, by name.
    """
    schemas = silver_tables(columns_of(declared or {}))
    return {
        name: Layout(f"{SILVER.name}/{name}", form, schemas[name], *columns)
        for name, (form, *columns) in FILES.items()
    }


class _Silver:
    """The location and the tables of Silver, which its datasets have in common."""

    def __init__(self, path: str, engine: EngineConfig, metadata: dict[str, Any] | None) -> None:
        self.storage = storage_of(path)
        self.engine = engine
        self.metadata = metadata

    def tables(self, head: Mapping[str, Any]) -> dict[str, LakeTable]:
        """Return the tables, with the columns that a head says they have."""
        return {
            name: LakeTable(self.storage, layout, self.engine)
            for name, layout in layouts_of(head.get("columns")).items()
        }

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.address(SILVER.name)}


class SilverDataset(_Silver, AbstractDataset[SilverUpdate, SilverSnapshot]):
    """Loads Silver as of its last commit, and saves a new state of it in one transaction.

    Args:
        path: the root of the lake.
        engine: the engine that reads and writes the tables.
        plan: whether saves are held in memory, for the loads after them, and write nothing.
        metadata: metadata for Kedro-Viz.

    Attributes:
        write_stats: what the last save wrote, by table.
    """

    def __init__(
        self,
        *,
        path: str,
        engine: EngineConfig,
        plan: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(path, engine, metadata)
        self.plan = plan
        self.planned: SilverSnapshot | None = None
        self.write_stats: dict[str, WriteStats] = {}

    def addresses(self, _: SilverSnapshot) -> dict[str, str]:
        """Return the path or URL of each table that Gold is built from."""
        return {DATA[name]: self.storage.address(f"{SILVER.name}/{name}") for name in DAYS}

    def recover(self) -> None:
        """Finish the commit that a killed run recorded, and sweep what dead runs staged."""
        recover(self.storage, SILVER)

    def load(self) -> SilverSnapshot:
        """Return Silver; the head is read now, so before anything else."""
        if self.planned:
            return self.planned
        head, generation = read_head(self.storage, SILVER)
        tables = self.tables(head)
        keys = LazyMapping({name: table.keys for name, table in tables.items()})

        def read(name: str) -> ir.Table:
            return tables[name].read(keys[name])

        return SilverSnapshot(
            generation,
            head,
            LazyMapping({name: partial(read, name) for name in tables}),
            self._merged_objects,
            self._receipts,
            self._days_changed_since,
            partial(_lost_days, keys),
            partial(is_pending, self.storage, SILVER),
        )

    def save(self, data: SilverUpdate) -> None:
        """Commit an update; raise an error if another run committed since its base was loaded."""
        if self.plan:
            self.planned, stats = planned_silver(data, layouts_of(data.head.get("columns")))
            self.write_stats = _data_stats(stats)
            return
        tables = self.tables(data.head)
        with transaction(self.storage, SILVER, data.base.generation) as changes:
            stats = {
                name: tables[name].stage(overwrite, changes)
                for name, overwrite in data.overwrites.items()
            }
            if data.base.head.get("format") != FORMAT:
                for key in (key for prefix in OLD_INDEXES for key in self.storage.keys(prefix)):
                    changes.delete(key)
            if data.is_rebuild:
                for name in self._merged_objects().difference(data.receipts):
                    changes.delete(receipt_key(name))
            for name, receipt in data.receipts.items():
                changes.write(receipt_key(name), format_document(receipt))
            changes.commit(data.head)
        self.write_stats = _data_stats(stats)

    def _exists(self) -> bool:
        return self.storage.exists(SILVER.head)

    def _merged_objects(self) -> set[str]:
        prefix = f"{RECEIPTS}/"
        return {
            f"{key.removeprefix(prefix).removesuffix('.json')}.jsonl"
            for key in self.storage.keys(RECEIPTS)
            if key.endswith(".json")
        }

    def _receipts(self, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        return {name: read_document(self.storage, receipt_key(name)) for name in sorted(names)}

    def _days_changed_since(
        self, origin: str | None, generation: int
    ) -> dict[str, set[dt.date]] | None:
        """Return the days in the names of the files that later commits changed, by table."""
        head = self.load().head
        commits = commit_records(self.storage, SILVER, generation)
        if head.get("origin") != origin or commits is None:
            return None
        changed: dict[str, set[dt.date]] = {table: set() for table in DAYS}
        for key in (key for commit in commits for key in (*commit["put"], *commit["delete"])):
            for table, day in DAYS.items():
                if match := re.match(rf"{SILVER.name}/{table}/.*{day}=([0-9-]+)/", key):
                    changed[table].add(dt.date.fromisoformat(match[1]))
        return changed


class SilverTableDataset(_Silver, AbstractDataset["NoReturn", "ir.Table"]):
    """Loads a table of Silver, to explore it.

    Args:
        path: the root of the lake.
        engine: the engine that reads the table.
        table: the name of the table.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(
        self,
        *,
        path: str,
        engine: EngineConfig,
        table: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(path, engine, metadata)
        self.table = table

    def load(self) -> ir.Table:
        head, _ = read_head(self.storage, SILVER)
        return self.tables(head)[self.table].read()

    def save(self, data: NoReturn) -> NoReturn:
        raise DatasetError("A table of Silver is saved with all of Silver.")

    def _exists(self) -> bool:
        return bool(self.tables({})[self.table].keys())


def _data_stats(stats: Mapping[str, WriteStats]) -> dict[str, WriteStats]:
    """Return the statistics of the tables that users read; zeros for one that was not written."""
    return {DATA[name]: stats.get(name, WriteStats()) for name in DATA}


def _lost_days(keys: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the days of each table of which its index has a file, and it has none."""
    lost = {
        name: sorted(_days_of(keys[PROVENANCE_OF[name]]) - _days_of(keys[name])) for name in DAYS
    }
    return {name: days for name, days in lost.items() if days}


def _days_of(keys: Iterable[str]) -> set[str]:
    """Return the days in the names of files."""
    return set(re.findall(r"/data_\w+=([0-9-]+)/", "\n".join(keys)))


def receipt_key(name: str) -> str:
    """Return the key of the receipt of a Bronze object."""
    return f"{RECEIPTS}/{name.removesuffix('.jsonl')}.json"
