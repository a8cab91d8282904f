"""The Kedro hook of the record of a run, and of the table at its end."""

from __future__ import annotations

import os
import shlex
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from kedro.framework.project import settings
from kedro.io import DatasetError, MemoryDataset, SharedMemoryDataCatalog
from rich import get_console
from rich.console import Console

from capstone_metrics.errors import CapstoneError, ConfigError
from capstone_metrics.operations.listeners import listeners_of
from capstone_metrics.operations.listeners.logs import configure_logs
from capstone_metrics.operations.plan import show_plan
from capstone_metrics.operations.record import Recorder, RunSpec
from capstone_metrics.operations.summary import LAYERS, Summary
from capstone_metrics.quality import QualityReport
from capstone_metrics.refusals import Refusals, allowed_names, refusal_error, refusals_of
from capstone_metrics.storage.request_counter import request_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from capstone_metrics.operations.listeners.listener import Listener
    from capstone_metrics.write_stats import WriteStats


class RunMonitor:
    """Monitors a run: maintains its record and prints its summary."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.summary = Summary()
        self.last_save_time = 0.0
        self.catalog: Any = None
        self.environment = ""
        self.configuration: dict[str, Any] = {}
        self.recorder: Recorder | None = None  # None in a plan, which leaves no record
        self.saved: dict[str, tuple[Any, dict[str, WriteStats]]] = {}
        self.datasets: dict[str, Any] = {}  # that saved a layer in this run, by layer
        self.requests_at_start: Counter[str] = Counter()
        self.layers: set[str | None] = set()
        self.folder = self.root = Path()
        # on the console of the logs, so that logs are printed above the progress
        self.progress = get_console().status("")

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Store the name of the environment, and configure logs."""
        configure_logs()
        loader = context.config_loader
        self.environment = str(loader.env or getattr(loader, "default_run_env", ""))

    @hook_impl
    def after_catalog_created(
        self, catalog: DataCatalog, conf_catalog: dict[str, Any], parameters: dict[str, Any]
    ) -> None:
        """Store the catalog, from which write statistics are read, and the configuration."""
        self.catalog = catalog
        self.configuration = {"catalog": conf_catalog, "parameters": parameters["parameters"]}

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog
    ) -> None:
        """Start a summary of this run and, unless it is a plan, its record; recover its layers.

        Raises:
            ConfigError: if the run could only fail, before anything is written.
        """
        _check_runnable(pipeline, catalog)
        is_default = self.environment == settings.CONFIG_LOADER_ARGS["default_run_env"]
        self.summary = Summary(environment="" if is_default else self.environment)
        self.last_save_time = time.monotonic()
        self.requests_at_start = request_counts()
        self.folder = Path.cwd()
        self.root = Path(run_params["project_path"])
        if self.recorder:  # of an interrupted run of the same session, as in a notebook
            self.recorder.abandon()
        self.recorder = None
        parameters = self.configuration["parameters"]
        self.saved, self.datasets = {}, {}
        self.layers = {_layer(node) for node in pipeline.nodes}
        if not parameters.get("plan"):
            self.recorder = Recorder(lambda: self.catalog["runs"], listeners=self._listeners())
            self.recorder.start(
                RunSpec(
                    environment=self.environment,
                    pipelines=sorted(run_params["pipeline_names"] or ["__default__"]),
                    runtime_params=run_params["runtime_params"] or {},
                    nodes=[(node.name, _layer(node)) for node in pipeline.nodes],
                    **self.configuration,
                )
            )
            self.summary.run = self.recorder.record.get("run", "")
            self._recover(pipeline)
        os.chdir(self.root)  # paths in parameters are relative to it

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Record that a node starts, and show which one runs if there is a terminal."""
        if self.progress.console.is_terminal:
            self.progress.update(f"{_layer(node)}: {node.name}")
            self.progress.start()
        if self.recorder:
            self.recorder.node_started(node.name, node.outputs)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Record that a node's function returned."""
        if self.recorder:
            self.recorder.node_returned(node.name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record what a layer loaded from the one before it."""
        dataset = self.catalog.get(dataset_name)
        layer = _layer(node)
        addresses = getattr(dataset, "addresses", None)
        if self.recorder and addresses and layer and _dataset_layer(dataset) != layer:
            for table, address in addresses(data).items():
                self.recorder.dataset_loaded(layer, table, address)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record a saved dataset, the time since the previous save, and quality findings."""
        dataset = self.catalog.get(dataset_name)
        stats = getattr(dataset, "write_stats", {})
        now = time.monotonic()
        layer = _layer(node)
        if isinstance(data, QualityReport):
            self.summary.findings += [finding.message for finding in data.findings]
            if not self.configuration["parameters"]["allow_findings"]:
                blocking = [each.message for each in data.findings if each.action == "block"]
                self.summary.blocking += blocking
        self.summary.losses += getattr(dataset, "planned_losses", [])
        if layer and stats:
            self.summary.add(layer, data, stats.values(), now - self.last_save_time)
            self.last_save_time = now
            self.saved[layer] = data, stats
            self.datasets[layer] = dataset
        if not self.recorder:
            return
        self.recorder.dataset_saved(node.name, dataset_name, data, stats, self.summary)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the record and print the summary, or else print the plan.

        The record is copied to the database if this run published.

        Raises:
            DataError: if a source is refused that this run ingested or merged.
        """
        self.progress.stop()
        os.chdir(self.folder)
        self.summary.refused = self._refusals()
        if not self.recorder:
            show_plan(self.console, self.saved, self.summary)
            return
        error = self._refusal_error()
        self.recorder.end(error, self.summary.refused, self.summary.environment)
        self._sync_runs(self.recorder)
        self.summary.show(self.console, self._footer(), is_complete=not error)
        if error:
            raise error

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the record as failed, and copy it to the database if this run published."""
        self.progress.stop()
        os.chdir(self.folder)
        if self.recorder:
            self.summary.refused = self._refusals()
            self.recorder.end(error, self.summary.refused, self.summary.environment)
            self._sync_runs(self.recorder)
            if self.summary.layers:
                self.summary.show(self.console, (), is_complete=False)

    def _refusals(self) -> Refusals:
        """Return what is refused now; nothing if the lake cannot be read, which is said before.

        A run that only publishes may read nothing but Gold.
        """
        if not {"bronze", "silver", "gold"} & self.layers:
            return {}
        load = self.catalog.load
        try:
            planned = self.catalog["bronze_criacao"].planned_sources
            sources = load("bronze_sources") if planned is None else planned
            declared = self.configuration["parameters"]["sources"]
            return refusals_of(declared, sources, load("silver").head, load("gold").manifest)
        except (CapstoneError, DatasetError):
            return {}

    def _refusal_error(self) -> CapstoneError | None:
        """Return the error of a run of which a layer refused something; None without any.

        Sources are refused by Bronze and Silver, sums of marts by Gold.
        """
        parameters = self.configuration["parameters"]
        marts = parameters["marts"]
        of_sources = bool({"bronze", "silver"} & self.layers)
        refused = {
            name: reasons
            for name, reasons in self.summary.refused.items()
            if ("gold" in self.layers if name in marts else of_sources)
        }
        allowed = allowed_names(parameters["allow_refused"])
        return refusal_error(refused, allowed, blocks_gold=False)

    def _recover(self, pipeline: Pipeline) -> None:
        """Finish what a killed run left undone in the layers that this run saves.

        Kedro announces no error of a hook, so the record of the run is ended here.
        """
        try:
            for name in sorted(pipeline.all_outputs()):
                if recover := getattr(self.catalog.get(name), "recover", None):
                    recover()
        except Exception as error:
            self.on_pipeline_error(error)
            raise

    def _listeners(self) -> Iterator[Listener]:
        config = self.configuration["parameters"]["operations"]
        return listeners_of(config, lambda: self.catalog["alerts"])

    def _synthetic_sources(self) -> list[str]:
        """Return the names of the declared sources that invent what they observe."""
        sources = self.configuration["parameters"]["sources"].items()
        return [
            name
            for name, each in sources
            if isinstance(each, Mapping) and each.get("type") == "faker" and each.get("channels")
        ]

    def _sync_runs(self, recorder: Recorder) -> None:
        """Copy the run records to the database, if this run published."""
        if serving := self.datasets.get("serving"):
            recorder.sync(lambda: serving.sync_runs(self.catalog["runs"]))

    def _lacks_publication(self) -> bool:
        """Return whether this run made a Gold that it does not publish."""
        gold = self.summary.layers.get("gold")
        return gold is not None and bool(gold.written) and "serving" not in self.layers

    def _footer(self) -> list[tuple[str, str]]:
        """Return a label and a text for each line below the summary."""
        lines = []
        if self.summary.run:
            lines.append(("Run", self.summary.run))
        requests = request_counts() - self.requests_at_start
        if requests:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(requests.items()))
            lines.append(("Requests", counts))
        if gold := self.datasets.get("gold"):
            lines.append(("Gold", f"{_relative_path(gold.folder)}/*.csv"))
        if serving := self.datasets.get("serving"):
            lines.append(("PostgreSQL", serving.connect_command()))
        if synthetic := self._synthetic_sources():
            lines.append(("Synthetic", f"the lines of {', '.join(synthetic)} are invented"))
        if (self.root / "Makefile").exists():
            where = "" if self.root.samefile(self.folder) else f"in {self.root}: "
            default = settings.CONFIG_LOADER_ARGS["default_run_env"]
            env = "" if self.environment == default else f" ENV={shlex.quote(self.environment)}"
            names = ("dashboard", "viz", "notebook", "sql")
            targets = ", ".join(f"make {name}{env}" for name in names)
            targets = targets.replace(f"make viz{env}", f"make viz{env} (lineage)")
            if self._lacks_publication():
                targets = f"make run{env} ARGS=--pipelines=publish_gold"
            lines.append(("Next", f"{where}{targets}"))
        return lines


def _check_runnable(pipeline: Pipeline, catalog: DataCatalog) -> None:
    """Raise an error for a runner or a part of the flow that cannot pass data between nodes."""
    if isinstance(catalog, SharedMemoryDataCatalog):
        raise ConfigError(
            "ParallelRunner: nodes pass tables that only their own process can read; use "
            "--runner=ThreadRunner, or omit --runner."
        )
    inputs = {name: catalog.get(name) for name in sorted(pipeline.inputs())}
    if missing := [
        name
        for name, dataset in inputs.items()
        if isinstance(dataset, MemoryDataset) and not dataset.exists()
    ]:
        raise ConfigError(
            f"These nodes need {', '.join(missing)}, which is not stored: other nodes pass it "
            "within a run. Start from a node that loads a layer, such as "
            "--from-nodes=find_increment or --from-nodes=find_rebuild_scope."
        )


def _layer(node: Node) -> str | None:
    """Return the layer that a node is tagged with; None if there is none."""
    return next((tag for tag in LAYERS if tag in node.tags), None)


def _dataset_layer(dataset: Any) -> str | None:
    metadata = getattr(dataset, "metadata", None) or {}
    layer: str | None = metadata.get("kedro-viz", {}).get("layer")
    return layer


def _relative_path(path: str) -> str:
    return path.removeprefix(f"{Path.cwd()}{os.sep}")
