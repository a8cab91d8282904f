"""The CSV file of a mart in Gold: a header, then its rows, sorted by the key."""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from capstone_metrics.serving.tables import sql_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from capstone_metrics.marts import Mart
    from capstone_metrics.publication import Publication

DAY_LENGTH = len("2026-01-31")
SINGLE_PART = ""
"""The name of the only part of a mart whose lines cannot be split by day."""

MAX_FIELD_SIZE = 2**31 - 1
AFTER_EVERY_DAY = b"~"  # sorts after every date


@dataclass(frozen=True)
class MartCsv:
    """The CSV of a mart.

    Attributes:
        mart: the mart.
        content: the bytes of the file.
        rows: the number of its rows, by the manifest.
    """

    mart: Mart
    content: bytes
    rows: int

    @classmethod
    def of(cls, publication: Publication, name: str) -> MartCsv:
        """Return the CSV of a mart of a publication."""
        entry = publication.manifest["marts"][name]
        return cls(publication.marts[name], publication.files[name], entry["rows"])

    @property
    def header(self) -> bytes:
        """The first line, with its line break."""
        return self.content[: self.content.index(b"\n") + 1]

    @property
    def columns(self) -> list[str]:
        """The columns in the order of the file."""
        return self.header.decode().rstrip("\n").split(",")

    def parts(self) -> dict[str, memoryview]:
        """Return the lines of each day, by date.

        All lines are a single part if the first column is not the day, or if a value has a line
        break, so that a line is not a row.
        """
        content = self.content
        start = len(self.header)
        lines = memoryview(content)
        has_breaks = b'"' in content and content.count(b"\n") != self.rows + 1
        if self.columns[0] != self.mart.basis.day or has_breaks:
            return {SINGLE_PART: lines[start:]}

        def day_from(offset: int) -> bytes:
            line_start = content.find(b"\n", offset - 1) + 1
            return content[line_start : line_start + DAY_LENGTH] or AFTER_EVERY_DAY

        parts = {}
        while start < len(content):
            day = content[start : start + DAY_LENGTH]
            after = bisect_right(range(len(content)), day, lo=start, key=day_from)
            end = content.find(b"\n", after - 1) + 1  # of the last line of the day
            parts[day.decode()] = lines[start:end]
            start = end
        return parts

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows in the mart's column order: measures as numbers or None, others as text.

        A generator, so that the file is never in memory as Python objects.
        """
        csv.field_size_limit(MAX_FIELD_SIZE)
        rows = csv.reader(io.TextIOWrapper(io.BytesIO(self.content), "utf-8", newline=""))
        header = next(rows)
        indices = [header.index(column) for column in self.mart.columns]
        width = len(self.mart.labels)
        texts = text_columns(self.mart)  # never null
        types = self.mart.types
        is_ratio = (types[name].is_decimal() for name in self.mart.measure_names)
        numbers: list[Callable[[str], int | Decimal]] = [
            Decimal if each else int for each in is_ratio
        ]
        for row in rows:
            values = [row[index] for index in indices]
            labels = (
                value if column in texts else value or None
                for column, value in zip(self.mart.labels, values[:width], strict=True)
            )
            measures = (
                number(value) if value else None
                for number, value in zip(numbers, values[width:], strict=True)
            )
            yield (*labels, *measures)


def text_columns(mart: Mart) -> list[str]:
    """Return the columns that are text."""
    return [column for column in mart.labels if sql_type(mart, column) == "text"]
