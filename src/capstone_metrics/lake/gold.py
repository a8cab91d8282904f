"""The datasets of Gold: the marts and their manifest, saved in one transaction."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import pyarrow as pa
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview, TablePreview

from capstone_metrics.changes import GoldSnapshot, GoldUpdate, LazyMapping, MartFile
from capstone_metrics.errors import StorageError
from capstone_metrics.gold_csv import read_csv
from capstone_metrics.lake.plan import planned_gold
from capstone_metrics.lake.transaction import GOLD, is_pending, read_head, recover, transaction
from capstone_metrics.mart_declarations import marts_in
from capstone_metrics.storage import storage_of
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from capstone_metrics.marts import Mart
    from capstone_metrics.storage.base import Storage


class GoldDataset(AbstractDataset[GoldUpdate, GoldSnapshot]):
    """Loads Gold as of its last commit, and saves a new state of it in one transaction.

    Gold is CSV, so it needs no engine.

    Args:
        path: the root of the lake.
        plan: whether saves are held in memory, for the loads after them, and write nothing.
        metadata: metadata for Kedro-Viz.

    Attributes:
        write_stats: what the last save wrote, by mart.
    """

    def __init__(
        self, *, path: str, plan: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self.storage = storage_of(path)
        self.plan = plan
        self.metadata = metadata
        self.planned: GoldSnapshot | None = None
        self.write_stats: dict[str, WriteStats] = {}

    @property
    def folder(self) -> str:
        """The path or URL of the layer."""
        return self.storage.address(GOLD.name)

    def addresses(self, data: GoldSnapshot) -> dict[str, str]:
        """Return the path or URL of each mart in the manifest."""
        return {name: self.storage.address(mart_key(name)) for name in data.files}

    def recover(self) -> None:
        """Finish the commit that a killed run recorded, and sweep what dead runs staged."""
        recover(self.storage, GOLD)

    def load(self) -> GoldSnapshot:
        if self.planned:
            return self.planned
        manifest, generation = read_head(self.storage, GOLD)
        marts = marts_in(manifest)
        tables = {
            name: partial(self._table, mart, manifest["marts"][name]["sha256"])
            for name, mart in marts.items()
        }
        return GoldSnapshot(
            generation=generation,
            manifest=manifest,
            files={name: mart_file(self.storage, mart) for name, mart in marts.items()},
            tables=LazyMapping(tables),
            is_pending=partial(is_pending, self.storage, GOLD),
        )

    def save(self, data: GoldUpdate) -> None:
        """Commit an update; raise an error if another run committed since its base was loaded."""
        if self.plan:
            self.planned, self.write_stats = planned_gold(data)
            return
        stats = {}
        marts = marts_in(data.manifest)
        with transaction(self.storage, GOLD, data.base.generation) as changes:
            for name, content in data.files.items():
                is_new = changes.write(mart_key(name), content)
                stats[name] = WriteStats(
                    rows=data.manifest["marts"][name]["rows"] if is_new else 0,
                    files=int(is_new),
                    bytes=len(content) if is_new else 0,
                    columns={column: str(kind) for column, kind in marts[name].types.items()},
                    address=self.storage.address(mart_key(name)),
                )
            changes.commit(data.manifest)
        self.write_stats = stats

    def _table(self, mart: Mart, sha256: str) -> pa.Table | None:
        """Return the rows of a mart; None if its file is lost, or has another SHA-256."""
        key = mart_key(mart.name)
        content = self.storage.read(key) if self.storage.exists(key) else b""
        is_written = hashlib.sha256(content).hexdigest() == sha256
        return read_csv(content, mart.types) if is_written else None

    def _exists(self) -> bool:
        return self.storage.exists(GOLD.head)

    def _describe(self) -> dict[str, Any]:
        return {"path": self.folder}

    def preview(self) -> JSONPreview:
        """Return the manifest, for Kedro-Viz."""
        return JSONPreview(json.dumps(self.load().manifest))


class MartDataset(AbstractDataset["NoReturn", MartFile]):
    """Loads a mart of Gold, to explore it; it needs no engine.

    Args:
        path: the root of the lake.
        mart: the name of the mart.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(self, *, path: str, mart: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.mart = mart
        self.metadata = metadata

    def load(self) -> MartFile:
        manifest, _ = read_head(self.storage, GOLD)
        mart = marts_in(manifest).get(self.mart)
        if mart is None:
            address = self.storage.address(mart_key(self.mart))
            raise StorageError(f"{address}: Gold has no such mart; run 'kedro run' to build it.")
        return mart_file(self.storage, mart)

    def save(self, data: NoReturn) -> NoReturn:
        raise DatasetError("A mart is saved with all of Gold.")

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows, for Kedro-Viz."""
        rows = self.load().to_pyarrow().slice(0, nrows)
        data = [[str(value) for value in row.values()] for row in rows.to_pylist()]
        return TablePreview(
            {"index": list(range(len(data))), "columns": rows.column_names, "data": data}
        )

    def _exists(self) -> bool:
        return self.storage.exists(mart_key(self.mart))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.storage.address(mart_key(self.mart))}


def mart_key(name: str) -> str:
    """Return the key of the file of a mart."""
    return f"{GOLD.name}/{name}.csv"


def mart_file(storage: Storage, mart: Mart) -> MartFile:
    """Return the file of a mart, which is read when it is asked for."""
    key = mart_key(mart.name)

    def to_pyarrow() -> pa.Table:
        try:
            return read_csv(storage.read(key), mart.types)
        except pa.ArrowInvalid as error:
            cause = str(error).rstrip(".")
            raise StorageError(
                f"{storage.address(key)}: is not a valid mart CSV ({cause}); "
                "run 'kedro run --pipelines=silver_to_gold' to rebuild Gold."
            ) from error

    return MartFile(partial(storage.read, key), partial(storage.version, key), to_pyarrow)
