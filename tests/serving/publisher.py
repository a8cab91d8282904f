"""A publisher in a process of its own: it publishes Gold after Gold until it is ended."""

from __future__ import annotations

import sys
from itertools import count

from kedro.io.core import DatasetError

from capstone_metrics.schemas import Terms
from capstone_metrics.serving import ServingDataset
from tests.serving.gold import gold

NAMES = [f"faculdade {n}" for n in range(40)]
MUCH = Terms(allow_shrink=True)


def main(folder: str, database: str, first: str, times: str) -> None:
    """Publish Gold number `first` and those after it; say of each what became of it."""
    serving = ServingDataset(path=folder, database=database, port=0)
    for number in count(int(first)):
        views = {name: number * 100 + n for n, name in enumerate(NAMES[number % 7 :])}
        try:
            serving.save(gold(views, terms=MUCH))
            said = str(number)
        except DatasetError as error:
            said = str(error.__cause__)
        sys.stdout.write(f"{said}\n")
        sys.stdout.flush()
        if number + 1 == int(first) + int(times):
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
