"""Kedro's hooks: which marts are declared, the record of a run, and the table at its end."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from rich.console import Console

from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners import listeners_of
from capstone_metrics.operations.listeners.logs import configure_logs
from capstone_metrics.operations.quality import Gate, Rules
from capstone_metrics.operations.record import Declared, Recorder, identifier
from capstone_metrics.operations.summary import LAYERS, Summary
from capstone_metrics.saved import Saved

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from capstone_metrics.operations.listeners.listener import Listener


PLAN = "plan"


class DeclaredMarts:
    """The marts of the environment that runs: the registry makes a node for each."""

    def __init__(self) -> None:
        self.declarations: dict[str, Any] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Take the marts that the context's configuration declares.

        The parameters are kept in the loader, which would read their files again for each who asks.
        """
        loader = context.config_loader
        loader["parameters"] = loader["parameters"]
        self.declarations = loader["parameters"]["marts"]

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


class RunWatch:
    """Watches a run: keeps its record, and shows what it did."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.summary = Summary()
        self.mark = 0.0
        self.catalog: Any = None
        self.environment = ""
        self.configured: dict[str, Any] = {}
        self.recorder: Recorder | None = None
        self.gate = Gate(Rules())
        self.gold_before: dict[str, Any] = {}
        self.requests: Counter[str] = Counter()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the name of the environment; log as it is asked for."""
        configure_logs()
        loader = context.config_loader
        self.environment = str(loader.env or getattr(loader, "default_run_env", ""))

    @hook_impl
    def after_catalog_created(
        self, catalog: DataCatalog, conf_catalog: dict[str, Any], parameters: dict[str, Any]
    ) -> None:
        """Keep the catalog, whose datasets know what their last save did, and what was declared."""
        self.catalog = catalog
        self.configured = {"catalog": conf_catalog, "parameters": parameters["parameters"]}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Begin anew.

        Raises:
            CapstoneError: if only a plan was asked for, and this is not one.
        """
        given, names = run_params["runtime_params"] or {}, run_params["pipeline_names"]
        is_plan = names == [PLAN]
        if given.get(PLAN) and not is_plan:
            raise CapstoneError("plan: from Python, run the pipeline 'plan' instead.")
        self.summary, self.mark = Summary(), time.monotonic()
        self.requests = _requests()
        if self.recorder:
            self.recorder.abandon()
        self.recorder = None
        said = self.configured["parameters"]
        rules = Rules.of(said.get("quality") or {}, said["marts"])
        flags = (bool(said.get(name)) for name in ("allow_findings", "full"))
        self.gate = Gate(rules, *flags)
        if not is_plan:
            self.recorder = Recorder(lambda: self.catalog["runs"], listeners=self._listeners())
            self.recorder.begin(
                Declared(
                    environment=self.environment,
                    pipelines=sorted(names or ["__default__"]),
                    given=given,
                    nodes=[(node.name, _layer(node)) for node in pipeline.nodes],
                    **self.configured,
                )
            )

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Have the record say which node is at work."""
        if self.recorder:
            self.recorder.node_begins(node.name, node.outputs)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Have the record say that it is not any more, if it saves nothing."""
        if self.recorder:
            self.recorder.node_returned(node.name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Take note of what was loaded; keep the Gold that is about to be replaced."""
        if dataset_name == "gold_before":
            self.gold_before = data.manifest
        address = getattr(self.catalog.get(dataset_name), "address", None)
        if self.recorder and address and (layer := _layer(node)):
            self.recorder.loaded(layer, dataset_name, address)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Judge Gold before it is committed.

        Raises:
            CapstoneError: if a rule blocks it.
        """
        if self.recorder and dataset_name == "gold_manifest":
            self.gate.gold(self.gold_before, data)
            self._note_findings(self.recorder)
            self.gate.check(partial(self._history, self.recorder))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Take note of what was saved, and of the time since the save before it."""
        if not self.recorder:
            return
        now, layer = time.monotonic(), _layer(node)
        saved = getattr(self.catalog.get(dataset_name), "saved", None)
        if layer:
            self.summary.saved(layer, dataset_name, data, saved or Saved(), now - self.mark)
            self.mark = now
        self.recorder.saved(node.name, dataset_name, data, saved, self.summary)
        if dataset_name == "silver_accounts":
            windows = self.recorder.record.get("windows", {})
            self.gate.silver(windows, partial(self._history, self.recorder))
            self._note_findings(self.recorder)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the record; show the table, and where the results are."""
        if self.recorder:
            self.recorder.end()
            self._copy(self.recorder)
            self.summary.show(self.console, self._results())

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the record."""
        if self.recorder:
            self.recorder.end(error)
            self._copy(self.recorder)

    def _listeners(self) -> Iterator[Listener]:
        said = self.configured["parameters"]["operations"]
        return listeners_of(said, lambda: self.catalog["alerts"])

    def _note_findings(self, recorder: Recorder) -> None:
        self.summary.findings = [found.said for found in self.gate.findings]
        recorder.found(self.gate.facts())

    def _history(self, recorder: Recorder, time: dt.timedelta) -> list[dict[str, Any]]:
        """The records of other runs that began in some time until now."""
        records = self.catalog["runs"].since(identifier(dt.datetime.now(dt.UTC) - time))
        return [each for each in records if each["run"] != recorder.record.get("run")]

    def _copy(self, recorder: Recorder) -> None:
        """Have the database know the run, if the run has published."""
        if "serving" in self.summary.layers:
            recorder.copy(lambda: self.catalog["serving"].mirror(self.catalog["runs"]))

    def _results(self) -> list[tuple[str, str]]:
        results = []
        if self.recorder and (run := self.recorder.record.get("run")):
            results.append(("Run", run))
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


def _layer(node: Node) -> str | None:
    return next((tag for tag in LAYERS if tag in node.tags), None)


def _near(place: str) -> str:
    return place.removeprefix(f"{Path.cwd()}{os.sep}")


declared_marts = DeclaredMarts()
HOOKS = (declared_marts, RunWatch())
