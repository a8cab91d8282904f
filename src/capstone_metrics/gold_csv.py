"""The CSV of a mart: UTF-8, a header, then the rows in the order of the key."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv as pc

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    import ibis.expr.datatypes as dt


MAX_BLOCK = (1 << 31) - 1
"""The largest size of a block for Arrow."""


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


def _block_size(content: bytes) -> int:
    """Return a size of blocks that no row exceeds: that of all rows, as far as it may be."""
    return min(len(content) + 1, MAX_BLOCK)


def read_csv(content: bytes, types: Mapping[str, dt.DataType]) -> pa.Table:
    """Parse the CSV of a mart.

    Args:
        content: the bytes of the file.
        types: the types of the columns of the mart.

    Raises:
        pyarrow.ArrowInvalid: if it is not the CSV of a mart.
    """
    kinds = {name: kind.to_pyarrow() for name, kind in types.items()}
    return pc.read_csv(
        pa.BufferReader(content),
        # a thread of Arrow that holds an object of Python aborts an interpreter that ends
        read_options=pc.ReadOptions(use_threads=False, block_size=_block_size(content)),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=kinds, strings_can_be_null=False),
    )
