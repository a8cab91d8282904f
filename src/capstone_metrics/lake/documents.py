"""Single objects in the catalog: the marts of Gold as CSV, and documents as JSON."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pc
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.storage import Folder
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import gold_type

if TYPE_CHECKING:
    from pathlib import Path

    import ibis.expr.types as ir

DIGEST = b"sha256"


class MartDataset(AbstractDataset["ir.Table", pa.Table]):
    """A mart of Gold: saved from an Ibis table as CSV, loaded as an Arrow table.

    No engine is needed to load. The table's schema carries the SHA-256 of the file under
    `sha256`.
    """

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = Folder(path)
        self.key = key
        self.metadata = metadata
        self.saved = Saved()

    def save(self, data: ir.Table) -> None:
        table = data.to_pyarrow()
        text = _Rows()
        rows = csv.writer(text, lineterminator="\r\n")
        rows.writerow(table.column_names)
        rows.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        changed = self.storage.write(self.key, text.getvalue().encode())
        self.saved = Saved(rows=table.num_rows * changed, files=int(changed))

    def load(self) -> pa.Table:
        content = self.storage.read(self.key)
        try:
            table = _parse(content)
        except pa.ArrowInvalid as error:
            why = str(error).rstrip(".")
            raise CapstoneError(
                f"{self.storage.path(self.key)}: is not the CSV of a mart any more ({why}); "
                "run 'kedro run --pipelines=silver_to_gold' to make Gold again."
            ) from error
        digest = hashlib.sha256(content).hexdigest().encode()
        return table.replace_schema_metadata({DIGEST: digest})

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        rows = self.load().slice(0, nrows)
        data = [[str(value) for value in row.values()] for row in rows.to_pylist()]
        return TablePreview(
            {"index": list(range(len(data))), "columns": rows.column_names, "data": data}
        )

    def _exists(self) -> bool:
        return self.storage.exists(self.key)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.storage.root), "key": self.key}


class _Rows(io.StringIO):
    """Rows that end with LF, from a writer whose rows end with CRLF so that it quotes a CR too."""

    def write(self, row: str) -> int:
        return super().write(row.removesuffix("\r\n") + "\n")


def _parse(content: bytes) -> pa.Table:
    names = pc.open_csv(io.BytesIO(content)).schema.names
    types = {name: gold_type(name).to_pyarrow() for name in names}
    return pc.read_csv(
        io.BytesIO(content),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=False),
    )


class DocumentDataset(AbstractDataset["dict[str, Any]", "dict[str, Any]"]):
    """A JSON document that a person can read with `cat`."""

    def __init__(self, *, path: str, key: str, metadata: dict[str, Any] | None = None) -> None:
        self.storage = Folder(path)
        self.key = key
        self.metadata = metadata
        self.saved = Saved()

    @property
    def folder(self) -> Path:
        """The folder that holds the document."""
        return self.storage.path(self.key).parent

    def save(self, data: dict[str, Any]) -> None:
        text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
        changed = self.storage.write(self.key, text.encode())
        self.saved = Saved(files=int(changed))

    def load(self) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(self.storage.read(self.key))
        except ValueError as error:
            raise CapstoneError(
                f"{self.storage.path(self.key)}: is not JSON any more ({error}); "
                "run the pipeline that makes it again."
            ) from error
        return document

    def _exists(self) -> bool:
        return self.storage.exists(self.key)

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.storage.root), "key": self.key}
