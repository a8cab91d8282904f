"""The engines that a configuration can name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import ibis

if TYPE_CHECKING:
    from capstone_metrics.engines.base import Engine

    EngineConfig = str | Mapping[str, Any]


def engine_of(config: EngineConfig) -> Engine:
    """Return the engine of a configuration; a process has one for each name and options.

    Args:
        config: `duckdb` or `spark`; or a mapping with this as `name` and the session `options`.
    """
    entry: Mapping[str, Any] = config if isinstance(config, Mapping) else {"name": config}
    options = entry.get("options") or {}
    return _start_engine(entry["name"], tuple((name, str(options[name])) for name in options))


@cache  # whose arguments must be hashable
def _start_engine(name: str, options: tuple[tuple[str, str], ...]) -> Engine:
    ibis.options.sql.fuse_selects = False  # else shared subexpressions are repeated at each use
    if name == "spark":
        from capstone_metrics.engines.spark import SparkEngine  # noqa: PLC0415 - an optional extra

        return SparkEngine(dict(options))
    from capstone_metrics.engines.duckdb import DuckDBEngine  # noqa: PLC0415 - not on Spark

    return DuckDBEngine(dict(options))
