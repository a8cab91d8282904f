"""Kedro's hooks: which marts are declared, and the table at the end of a run."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from rich.console import Console

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.summary import LAYERS, Summary
from capstone_metrics.saved import Saved

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline.node import Node


PLAN = "plan"


class DeclaredMarts:
    """The marts of the environment that runs: the registry makes a node for each."""

    def __init__(self) -> None:
        self.declarations: dict[str, Any] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the marts that the context's configuration declares."""
        self.declarations = context.config_loader["parameters"]["marts"]

    def __call__(self) -> dict[str, Any]:
        """Their declarations; before there is a context, those of the default environment."""
        if self.declarations is None:
            from kedro.framework.project import settings  # noqa: PLC0415 - it imports this module
            from kedro.utils import find_kedro_project  # noqa: PLC0415

            root = find_kedro_project(Path.cwd()) or Path.cwd()
            configuration = settings.CONFIG_LOADER_CLASS(
                conf_source=str(root / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
            )
            self.declarations = configuration["parameters"]["marts"]
        return self.declarations


class RunSummary:
    """Watches a run, and shows what it did."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.summary = Summary()
        self.mark = 0.0
        self.catalog: Any = None
        self.is_plan = False
        self.requests: Counter[str] = Counter()

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any]) -> None:
        """Begin anew.

        Raises:
            CapstoneError: if only a plan was asked for, and this is not one.
        """
        self.is_plan = run_params["pipeline_names"] == [PLAN]
        if (run_params["runtime_params"] or {}).get(PLAN) and not self.is_plan:
            raise CapstoneError("plan: from Python, run the pipeline 'plan' instead.")
        self.summary, self.mark = Summary(), time.monotonic()
        self.requests = _requests()

    @hook_impl
    def after_catalog_created(self, catalog: DataCatalog) -> None:
        """Keep the catalog: its datasets know what their last save did."""
        self.catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Take note of what was saved, and of the time since the save before it."""
        now = time.monotonic()
        layer = next((tag for tag in LAYERS if tag in node.tags), None)
        saved = getattr(self.catalog.get(dataset_name), "saved", Saved())
        if layer and not self.is_plan:
            self.summary.saved(layer, dataset_name, data, saved, now - self.mark)
            self.mark = now

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Show the table, and where the results are."""
        if self.is_plan:
            return
        self.summary.show(self.console, self._results())

    def _results(self) -> list[tuple[str, str]]:
        results = []
        made = _requests() - self.requests
        if made:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(made.items()))
            results.append(("Requests", counts))
        if "gold" in self.summary.layers:
            results.append(("Gold", f"{_near(self.catalog['gold_manifest'].folder)}/*.csv"))
        if "serving" in self.summary.layers:
            results.append(("PostgreSQL", self.catalog["serving"].how_to_connect()))
        if Path("Makefile").exists():
            results.append(("Next", "make dashboard, make viz (lineage), make notebook, make psql"))
        return results


def _requests() -> Counter[str]:
    """The requests that this process made of an object store, by their kind."""
    from capstone_metrics.lake.requests import requests_made  # noqa: PLC0415 - the lake is slow

    return requests_made()


def _near(place: str) -> str:
    return place.removeprefix(f"{Path.cwd()}{os.sep}")


declared_marts = DeclaredMarts()
HOOKS = (declared_marts, RunSummary())
