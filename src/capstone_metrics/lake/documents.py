"""Datasets of single objects: marts of Gold, heads of layers and other JSON documents."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import pyarrow as pa
import pyarrow.csv as pc
from ibis.expr.operations import InMemoryTable
from kedro.io import AbstractDataset, DatasetError
from kedro_datasets._typing import JSONPreview, TablePreview

from capstone_metrics.changes import GoldSnapshot, MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.commit import commit_records, open_commit, recover, reset, staged_path
from capstone_metrics.lake.silver import HEAD as SILVER_HEAD
from capstone_metrics.lake.silver import LAYER as SILVER_LAYER
from capstone_metrics.lake.storage import format_document, read_document, storage_of
from capstone_metrics.schemas import gold_type
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    import ibis.expr.types as ir

DIGEST = b"sha256"
GOLD_LAYER, MANIFEST = "gold", "gold/manifest.json"


class _LineFeeds:
    """A file that ends rows with LF: the writer ends them with CRLF, so that it also quotes CR."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row.removesuffix("\r\n") + "\n")


class _OneObject:
    """The object of the lake behind a dataset."""

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.key = key
        self.metadata = metadata

    def _exists(self) -> bool:
        return self.storage.exists(self.key)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.storage.address(self.key)}


class MartDataset(_OneObject, AbstractDataset["ir.Table", MartFile]):
    """A mart of Gold: saved from an Ibis table as CSV, loaded as a `MartFile`.

    Loading needs no engine. A save stages the file, and later loads of this process read the
    staged file; saving the manifest commits it.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, key=key, metadata=metadata)
        self.write_stats = WriteStats()

    @property
    def address(self) -> str:
        """The path or URL of the file."""
        return self.storage.address(self.key)

    def save(self, data: ir.Table) -> None:
        table, commit = _rows(data), open_commit(self.storage, GOLD_LAYER)
        with commit.stage(self.key) as path, path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(_LineFeeds(file), lineterminator="\r\n")
            rows.writerow(table.column_names)
            rows.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        columns = {name: str(kind) for name, kind in data.schema().items()}
        self.write_stats = WriteStats(bytes=0, columns=columns, address=self.address)
        if commit.put(self.key):
            size = commit.size(self.key)
            self.write_stats = replace(self.write_stats, rows=table.num_rows, files=1, bytes=size)

    def load(self) -> MartFile:
        return MartFile(
            read=self._read,
            version=lambda: self.storage.version(self.key),
            to_pyarrow=self._table,
        )

    def _read(self) -> bytes:
        new = staged_path(self.storage, GOLD_LAYER, self.key)
        return new.read_bytes() if new else self.storage.read(self.key)

    def _table(self) -> pa.Table:
        try:
            return read_mart(self._read())
        except pa.ArrowInvalid as error:
            cause = str(error).rstrip(".")
            raise CapstoneError(
                f"{self.storage.address(self.key)}: is not a valid mart CSV ({cause}); "
                "run 'kedro run --pipelines=silver_to_gold' to rebuild Gold."
            ) from error

    def preview(self, nrows: int = 10) -> TablePreview:
        """Return the first rows, for Kedro-Viz."""
        rows = self._table().slice(0, nrows)
        data = [[str(value) for value in row.values()] for row in rows.to_pylist()]
        return TablePreview(
            {"index": list(range(len(data))), "columns": rows.column_names, "data": data}
        )


class HeadDataset(_OneObject, AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """The head of a layer: a JSON document whose save commits everything staged for the layer.

    It has the `generation` of the layer: one more than the generation that the run read.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, key=key, metadata=metadata)
        self.layer = key.split("/", maxsplit=1)[0]
        self.write_stats = WriteStats()

    @property
    def folder(self) -> str:
        """The path or URL of the layer."""
        return self.storage.address(self.layer)

    def save(self, data: dict[str, Any]) -> None:
        commit = open_commit(self.storage, self.layer)
        with commit.stage(self.key) as file:
            file.write_text(format_document(data), encoding="utf-8")
        self.write_stats = WriteStats(files=int(commit.put(self.key)))
        commit.finish(self.key, data["generation"])

    def load(self) -> dict[str, Any]:
        return read_document(self.storage, self.key)

    def preview(self) -> JSONPreview:
        """Return the document, for Kedro-Viz."""
        return JSONPreview(json.dumps(self.load()))


class JsonDocumentDataset(_OneObject, AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """A JSON document outside of commits; the last save wins, and it is empty before the first."""

    def save(self, data: dict[str, Any]) -> None:
        self.storage.overwrite(self.key, format_document(data).encode())

    def load(self) -> dict[str, Any]:
        return read_document(self.storage, self.key) if self._exists() else {}


class GoldSnapshotDataset(AbstractDataset[None, GoldSnapshot]):
    """Loads Gold as of its last commit, and prepares the next commit.

    Args:
        path: the root of the lake.
        read_only: whether no commit is recovered or prepared.
        metadata: metadata for Kedro-Viz.
    """

    def __init__(
        self, *, path: str, read_only: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self.storage = storage_of(path)
        self.read_only = read_only
        self.metadata = metadata

    def load(self) -> GoldSnapshot:
        if not self.read_only:
            recover(self.storage, GOLD_LAYER, MANIFEST)
            reset(self.storage, GOLD_LAYER)
        if not self.storage.exists(MANIFEST):
            return GoldSnapshot(days_changed_since=self._days_changed_since)
        manifest = read_document(self.storage, MANIFEST)
        tables = {}
        for name, entry in manifest.get("marts", {}).items():
            key = f"{GOLD_LAYER}/{name}.csv"
            content = self.storage.read(key) if self.storage.exists(key) else b""
            if hashlib.sha256(content).hexdigest() == entry["sha256"]:
                tables[name] = read_mart(content)
        return GoldSnapshot(manifest, tables, self._days_changed_since)

    def _days_changed_since(self, origin: str | None, generation: int) -> set[dt.date] | None:
        has_silver = self.storage.exists(SILVER_HEAD)
        head = read_document(self.storage, SILVER_HEAD) if has_silver else {}
        if head.get("origin") != origin:
            return None
        commits = commit_records(self.storage, SILVER_LAYER, SILVER_HEAD, generation)
        if commits is None:
            return None
        keys = (key for commit in commits for key in (*commit["put"], *commit["delete"]))
        days = (re.search(r"^silver/criacao/.*data_postagem=([0-9-]+)/", key) for key in keys)
        return {dt.date.fromisoformat(day[1]) for day in days if day}

    def save(self, data: None) -> NoReturn:
        raise DatasetError("The snapshot of Gold is read-only.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root}


def _rows(table: ir.Table) -> pa.Table:
    """Return the rows of a table; an in-memory table needs no engine."""
    operation = table.op()
    if isinstance(operation, InMemoryTable):
        return operation.data.to_pyarrow(table.schema())
    return table.to_pyarrow()


def read_mart(content: bytes) -> pa.Table:
    """Parse the CSV of a mart; keys have the types of Silver, and measures are integers."""
    names = pc.open_csv(io.BytesIO(content)).schema.names
    types = {name: gold_type(name).to_pyarrow() for name in names}
    table = pc.read_csv(
        io.BytesIO(content),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    digest = hashlib.sha256(content).hexdigest().encode()
    return table.replace_schema_metadata({DIGEST: digest})
