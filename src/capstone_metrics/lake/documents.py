"""Gold and the heads of layers in the catalog: single objects, put into place by a commit."""

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

from capstone_metrics.changes import GoldBefore, MartFile
from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.commit import begin, opened, records, settle, staged
from capstone_metrics.lake.silver import HEAD as SILVER_HEAD
from capstone_metrics.lake.silver import LAYER as SILVER_LAYER
from capstone_metrics.lake.storage import document, read_document, storage_of
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import gold_type

if TYPE_CHECKING:
    import ibis.expr.types as ir

DIGEST = b"sha256"
GOLD_LAYER, MANIFEST = "gold", "gold/manifest.json"


class _LineFeeds:
    """Ends rows with LF for a writer that ends them with CRLF, so that it quotes a CR too."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row.removesuffix("\r\n") + "\n")


class _OneObject:
    """Which object of the lake a dataset is."""

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = storage_of(path)
        self.key = key
        self.metadata = metadata

    def _exists(self) -> bool:
        return self.storage.exists(self.key)

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self.storage.address(self.key)}


class MartDataset(_OneObject, AbstractDataset["ir.Table", MartFile]):
    """A mart of Gold: saved from an Ibis table as CSV, loaded as a file to read.

    No engine is needed to read it. A save stages the file, and it is read there; the manifest's
    save commits it.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, key=key, metadata=metadata)
        self.saved = Saved()

    @property
    def address(self) -> str:
        """Where the file lies."""
        return self.storage.address(self.key)

    def save(self, data: ir.Table) -> None:
        table, commit = _rows(data), opened(self.storage, GOLD_LAYER)
        with commit.stage(self.key) as path, path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(_LineFeeds(file), lineterminator="\r\n")
            rows.writerow(table.column_names)
            rows.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        columns = {name: str(kind) for name, kind in data.schema().items()}
        self.saved = Saved(bytes=0, columns=columns, address=self.address)
        if commit.put(self.key):
            size = commit.size(self.key)
            self.saved = replace(self.saved, rows=table.num_rows, files=1, bytes=size)

    def load(self) -> MartFile:
        return MartFile(
            read=self._read,
            version=lambda: self.storage.version(self.key),
            to_pyarrow=self._table,
        )

    def _read(self) -> bytes:
        new = staged(self.storage, GOLD_LAYER, self.key)
        return new.read_bytes() if new else self.storage.read(self.key)

    def _table(self) -> pa.Table:
        try:
            return read_mart(self._read())
        except pa.ArrowInvalid as error:
            why = str(error).rstrip(".")
            raise CapstoneError(
                f"{self.storage.address(self.key)}: is not the CSV of a mart any more ({why}); "
                "run 'kedro run --pipelines=silver_to_gold' to make Gold again."
            ) from error

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        rows = self._table().slice(0, nrows)
        data = [[str(value) for value in row.values()] for row in rows.to_pylist()]
        return TablePreview(
            {"index": list(range(len(data))), "columns": rows.column_names, "data": data}
        )


class HeadDataset(_OneObject, AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """The head of a layer: a JSON document whose save commits all that was staged.

    It says the `generation` of the layer: one more than that which the run read.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, key=key, metadata=metadata)
        self.layer = key.split("/", maxsplit=1)[0]
        self.saved = Saved()

    @property
    def folder(self) -> str:
        """Where the layer lies."""
        return self.storage.address(self.layer)

    def save(self, data: dict[str, Any]) -> None:
        commit = opened(self.storage, self.layer)
        with commit.stage(self.key) as file:
            file.write_text(document(data), encoding="utf-8")
        self.saved = Saved(files=int(commit.put(self.key)))
        commit.finish(self.key, data["generation"])

    def load(self) -> dict[str, Any]:
        return read_document(self.storage, self.key)

    def preview(self) -> JSONPreview:
        """The document, for Kedro-Viz."""
        return JSONPreview(json.dumps(self.load()))


class NoteDataset(_OneObject, AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """A JSON document that no commit depends on; who saves last has it. Empty until then."""

    def save(self, data: dict[str, Any]) -> None:
        self.storage.overwrite(self.key, document(data).encode())

    def load(self) -> dict[str, Any]:
        return read_document(self.storage, self.key) if self._exists() else {}


class GoldBeforeDataset(AbstractDataset[None, GoldBefore]):
    """Loads Gold as the last commit left it, and begins the next one.

    Args:
        path: the root of the lake.
        read_only: whether it is only looked at, and nothing is begun.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self, *, path: str, read_only: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self.storage = storage_of(path)
        self.read_only = read_only
        self.metadata = metadata

    def load(self) -> GoldBefore:
        if not self.read_only:
            settle(self.storage, GOLD_LAYER, MANIFEST)
            begin(self.storage, GOLD_LAYER)
        if not self.storage.exists(MANIFEST):
            return GoldBefore(days_since=self._days_since)
        manifest = read_document(self.storage, MANIFEST)
        tables = {}
        for name, listed in manifest.get("marts", {}).items():
            key = f"{GOLD_LAYER}/{name}.csv"
            content = self.storage.read(key) if self.storage.exists(key) else b""
            if hashlib.sha256(content).hexdigest() == listed["sha256"]:
                tables[name] = read_mart(content)
        return GoldBefore(manifest, tables, self._days_since)

    def _days_since(self, origin: str | None, generation: int) -> set[dt.date] | None:
        is_there = self.storage.exists(SILVER_HEAD)
        head = read_document(self.storage, SILVER_HEAD) if is_there else {}
        if head.get("origin") != origin:
            return None
        commits = records(self.storage, SILVER_LAYER, SILVER_HEAD, generation)
        if commits is None:
            return None
        keys = (key for commit in commits for key in (*commit["put"], *commit["delete"]))
        days = (re.search(r"^silver/criacao/.*data_postagem=([0-9-]+)/", key) for key in keys)
        return {dt.date.fromisoformat(day[1]) for day in days if day}

    def save(self, data: None) -> NoReturn:
        raise DatasetError("What Gold was is read, not saved.")

    def _describe(self) -> dict[str, Any]:
        return {"path": self.storage.root}


def _rows(table: ir.Table) -> pa.Table:
    """The rows of a table; for those that are in memory no engine is started."""
    held = table.op()
    if isinstance(held, InMemoryTable):
        return held.data.to_pyarrow(table.schema())
    return table.to_pyarrow()


def read_mart(content: bytes) -> pa.Table:
    """A mart from its CSV: keys have the types of Silver, measures are whole numbers."""
    names = pc.open_csv(io.BytesIO(content)).schema.names
    types = {name: gold_type(name).to_pyarrow() for name in names}
    table = pc.read_csv(
        io.BytesIO(content),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
    digest = hashlib.sha256(content).hexdigest().encode()
    return table.replace_schema_metadata({DIGEST: digest})
