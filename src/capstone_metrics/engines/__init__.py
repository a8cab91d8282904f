"""The engines that a configuration can name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import ibis

from capstone_metrics.errors import ConfigError

if TYPE_CHECKING:
    from capstone_metrics.engines.base import Engine

    EngineConfig = str | Mapping[str, Any]

ENGINES = ("duckdb", "spark")


def engine_of(config: EngineConfig) -> Engine:
    """Return the engine of a configuration; a process has one for each name and options.

    Args:
        config: `duckdb` or `spark`; or a mapping with this as `name` and the session `options`.

    Raises:
        ConfigError: if the configuration is invalid or the engine unknown.
    """
    entry: dict[str, Any] = dict(config) if isinstance(config, Mapping) else {"name": config}
    name, options = entry.pop("name", None), entry.pop("options", None) or {}
    if name not in ENGINES or entry:  # what is left in the entry is unknown
        raise ConfigError(
            f"engine: {config!r} is not one of {', '.join(ENGINES)}, nor a mapping with one "
            "of these as 'name' and 'options'; correct globals.yml."
        )
    settings = tuple((str(option), str(value)) for option, value in options.items())
    return _start_engine(name, settings)


@cache  # whose arguments must be hashable
def _start_engine(name: str, options: tuple[tuple[str, str], ...]) -> Engine:
    ibis.options.sql.fuse_selects = False  # else shared subexpressions are repeated at each use
    if name == "spark":
        from capstone_metrics.engines.spark import SparkEngine  # noqa: PLC0415 - an optional extra

        return SparkEngine(dict(options))
    from capstone_metrics.engines.duckdb import DuckDBEngine  # noqa: PLC0415 - not on Spark

    return DuckDBEngine(dict(options))
