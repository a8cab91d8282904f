"""How much of the suite runs: what a change needs, or with `pytest --all` everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.support import engines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

T = TypeVar("T")

runs_everything = False
"""Set from `--all` when pytest is configured, before any test module is imported."""


def sample(cases: Sequence[T], count: int) -> Sequence[T]:
    """Return `count` of the cases, evenly spread; with `--all`, every one."""
    if runs_everything or count >= len(cases):
        return cases
    step = len(cases) / count
    return [cases[int(step * (number + 0.5))] for number in range(count)]


def cases_beyond_few(items: Iterable[pytest.Item]) -> set[str]:
    """Return the ids of the cases that are left out of tests of which few run, evenly spread."""
    cases: dict[tuple[str, int], list[str]] = {}
    for item in items:
        if mark := item.get_closest_marker("few"):
            test = item.nodeid.partition("[")[0]
            cases.setdefault((test, mark.args[0]), []).append(item.nodeid)
    left_out = (set(ids).difference(sample(ids, few)) for (_, few), ids in cases.items())
    return set().union(*left_out)


def examples(few: int, many: int) -> int:
    """Return how many examples of a property to try: `few`, or `many` with `--all`.

    Where a query takes a second, as on Spark, it is a twentieth of them, and five at least.
    """
    number = many if runs_everything else few
    return number if engines.chosen == "duckdb" else max(number // 20, 5)


def long_with_all(test: T) -> T:
    """Mark a test as long if all cases run: only then is it begun before the others."""
    return pytest.mark.long(test) if runs_everything else test
