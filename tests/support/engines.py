"""The engine that the tests of the expressions run on: pytest --engine=duckdb or spark."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.engines import engine_of

if TYPE_CHECKING:
    from capstone_metrics.engines.base import Engine

NEEDED = {"duckdb": "duckdb", "spark": "pyspark"}
chosen = "duckdb"


def engine() -> Engine:
    """The chosen one; a test is skipped where it is not installed."""
    if not find_spec(NEEDED[chosen]):
        pytest.skip(f"{NEEDED[chosen]} is not installed; it comes with the extra '{chosen}'")
    return engine_of(chosen)
