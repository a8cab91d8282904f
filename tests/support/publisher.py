"""A publisher for a process of its own: it publishes Gold after Gold."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING

from kedro.io.core import DatasetError

from capstone_metrics.publication import Publication, PublicationPolicy
from capstone_metrics.serving import ServingDataset
from tests.support.gold import gold

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

NAMES = [f"faculdade {n}" for n in range(40)]
ALLOW_SHRINK = PublicationPolicy(allow_shrink=True)


def views_of(number: int) -> dict[str, int]:
    """Return the views of each faculdade in a Gold, which differ from those of any other."""
    return {name: number * 100 + n for n, name in enumerate(NAMES[number % 7 :])}


def gold_of(number: int) -> Publication:
    """Return a Gold that differs from all others in its rows and totals."""
    return gold(views_of(number), policy=ALLOW_SHRINK)


def publish_from(  # noqa: PLR0913, PLR0917 - the arguments of a process
    folder: str,
    programs: str | None,
    database: str,
    first: int,
    times: int | None,
    connection: Connection,
) -> None:
    """Publish Gold number `first` and those after it; send each number, or why it failed.

    Args:
        folder: of the server's files.
        programs: the folder of its programs; none for those of the package.
        database: to publish to.
        first: the number of the first Gold.
        times: how many to publish; none for no end.
        connection: to the test.
    """
    serving = ServingDataset(path=folder, database=database, port=0, programs=programs)
    for number in islice(count(first), times):
        try:
            serving.save(gold_of(number))
            connection.send(number)
        except DatasetError as error:
            connection.send(str(error.__cause__))
