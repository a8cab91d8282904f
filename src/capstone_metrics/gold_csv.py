"""The CSV of a mart: UTF-8, a header, then the rows in the order of the key."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pc

from capstone_metrics.marts import gold_type

if TYPE_CHECKING:
    from typing import TextIO


class _LineFeeds:
    """A file that ends rows with LF: the writer ends them with CRLF, so that it also quotes CR."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, row: str) -> int:
        return self.file.write(row.removesuffix("\r\n") + "\n")


def to_csv(table: pa.Table) -> bytes:
    """Return the rows of a mart as CSV."""
    file = io.StringIO(newline="")
    rows = csv.writer(_LineFeeds(file), lineterminator="\r\n")
    rows.writerow(table.column_names)
    rows.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return file.getvalue().encode()


def read_csv(content: bytes) -> pa.Table:
    """Parse the CSV of a mart; keys have the types of Silver, and measures are integers.

    Raises:
        pyarrow.ArrowInvalid: if it is not the CSV of a mart.
    """
    names = pc.open_csv(io.BytesIO(content)).schema.names
    types = {name: gold_type(name).to_pyarrow() for name in names}
    return pc.read_csv(
        io.BytesIO(content),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=False),
    )
