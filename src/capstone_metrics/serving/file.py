"""The CSV of a mart as it lies in Gold: a header, then its rows, sorted by the key."""

from __future__ import annotations

import csv
import io
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capstone_metrics.serving.tables import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.schemas import Mart, Publication

DAY = "data_postagem"
WIDTH = len("2026-01-31")
WHOLE = ""
"""The only part of a mart whose days cannot be told apart by their lines."""

LONGEST_FIELD = 2**31 - 1
LAST = b"~"  # sorts after every day


@dataclass(frozen=True)
class MartFile:
    """The bytes of a mart, of which its manifest says how many rows they are."""

    mart: Mart
    content: bytes
    rows: int

    @classmethod
    def of(cls, publication: Publication, name: str) -> MartFile:
        """That of a mart of a publication."""
        listed = publication.manifest["marts"][name]
        return cls(publication.marts[name], publication.files[name], listed["rows"])

    @property
    def header(self) -> bytes:
        """The first line, with its end."""
        return self.content[: self.content.index(b"\n") + 1]

    @property
    def columns(self) -> list[str]:
        """The columns in the order of the file."""
        return self.header.decode().rstrip("\n").split(",")

    def parts(self) -> dict[str, memoryview]:
        """The lines of each day, by its date.

        All lines are one part where the key does not begin with the day, and where a value has a
        line break, so that a line is no row.
        """
        content, start = self.content, len(self.header)
        lines = memoryview(content)
        has_breaks = b'"' in content and content.count(b"\n") != self.rows + 1
        if self.columns[0] != DAY or has_breaks:
            return {WHOLE: lines[start:]}

        def day_from(place: int) -> bytes:
            at = content.find(b"\n", place - 1) + 1
            return content[at : at + WIDTH] or LAST

        found = {}
        while start < len(content):
            day = content[start : start + WIDTH]
            after = bisect_right(range(len(content)), day, lo=start, key=day_from)
            end = content.find(b"\n", after - 1) + 1  # of the last line of the day
            found[day.decode()] = lines[start:end]
            start = end
        return found

    def tuples(self) -> Iterator[tuple[Any, ...]]:
        """The rows: the columns of the mart in its order, a key as text and a measure as a number.

        A generator, so that the file is never held as Python's objects.
        """
        csv.field_size_limit(LONGEST_FIELD)
        rows = csv.reader(io.TextIOWrapper(io.BytesIO(self.content), "utf-8", newline=""))
        header = next(rows)
        places = [header.index(column) for column in self.mart.columns]
        width = len(self.mart.key)
        for row in rows:
            values = [row[place] for place in places]
            yield (*values[:width], *map(int, values[width:]))


def text_columns(mart: Mart) -> list[str]:
    """The columns of the key that are text."""
    return [column for column in mart.key if kind_of(column) == "text"]
