"""A publisher in a process of its own: it publishes Gold after Gold until it is ended."""

from __future__ import annotations

import sys
from itertools import count, islice
from typing import TYPE_CHECKING

from kedro.io.core import DatasetError

from capstone_metrics.schemas import Publication, Terms
from capstone_metrics.serving import ServingDataset
from tests.serving.gold import gold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

NAMES = [f"faculdade {n}" for n in range(40)]
MUCH = Terms(allow_shrink=True)


def gold_of(number: int) -> Publication:
    """One that differs from all others in its rows and totals."""
    views = {name: number * 100 + n for n, name in enumerate(NAMES[number % 7 :])}
    return gold(views, terms=MUCH)


def publish_from(
    folder: str, programs: str | None, database: str, first: int, said: Connection
) -> None:
    """Publish Gold number `first` and those after it; say of each what became of it."""
    for each in _publish(folder, programs, database, first):
        said.send(each)


def main(folder: str, database: str, first: str, times: str) -> None:
    """The same, a number of times, on the packaged server; each is said on a line."""
    for said in islice(_publish(folder, None, database, int(first)), int(times)):
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()


def _publish(folder: str, programs: str | None, database: str, first: int) -> Iterator[int | str]:
    serving = ServingDataset(path=folder, database=database, port=0, programs=programs)
    for number in count(first):
        try:
            serving.save(gold_of(number))
            yield number
        except DatasetError as error:
            yield str(error.__cause__)


if __name__ == "__main__":
    main(*sys.argv[1:])
