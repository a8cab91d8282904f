"""Kedro hooks: the declared marts, the record of a run, and the table at its end."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.hooks import hook_impl
from rich import get_console
from rich.console import Console

from capstone_metrics.configuration import GLOBALS, PARAMETERS, Configuration
from capstone_metrics.errors import CapstoneError
from capstone_metrics.operations.listeners import listeners_of
from capstone_metrics.operations.listeners.logs import configure_logs
from capstone_metrics.operations.quality import Gate, Rules
from capstone_metrics.operations.record import Recorder, RunSpec, run_identifier
from capstone_metrics.operations.summary import LAYERS, Summary
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kedro.framework.context import KedroContext
    from kedro.io import DataCatalog
    from kedro.pipeline import Pipeline
    from kedro.pipeline.node import Node

    from capstone_metrics.operations.listeners.listener import Listener


PLAN = "plan"


class DeclaredMarts:
    """The marts that the environment declares; the pipelines have a node for each."""

    def __init__(self) -> None:
        self.declarations: dict[str, Any] | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the configuration, and read the marts that it declares.

        The loader caches the parameters here; else it would read their files at each access.

        Raises:
            CapstoneError: if a name in the parameters or the globals is unknown, or the value of
                one is of another type.
        """
        loader: Any = context.config_loader
        loader["parameters"] = loader["parameters"]
        environments = (loader.base_env, loader.env or loader.default_run_env)
        configuration = Configuration(Path(loader.conf_source), environments, loader.runtime_params)
        configuration.check_files()
        configuration.check("globals", loader["globals"], GLOBALS)
        configuration.check("parameters", loader["parameters"], PARAMETERS)
        self.declarations = loader["parameters"]["marts"]

    def __call__(self) -> dict[str, Any]:
        """Return the declarations; before there is a context, those of the default environment."""
        if self.declarations is None:
            from kedro.framework.project import settings  # noqa: PLC0415 - it imports this module
            from kedro.utils import find_kedro_project  # noqa: PLC0415

            root = find_kedro_project(Path.cwd()) or Path.cwd()
            configuration = settings.CONFIG_LOADER_CLASS(
                conf_source=str(root / settings.CONF_SOURCE), **settings.CONFIG_LOADER_ARGS
            )
            self.declarations = configuration["parameters"]["marts"]
        return self.declarations


class RunMonitor:
    """Monitors a run: maintains its record, checks its quality and prints its summary."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        self.summary = Summary()
        self.last_save_time = 0.0
        self.catalog: Any = None
        self.environment = ""
        self.configuration: dict[str, Any] = {}
        self.recorder: Recorder | None = None
        self.gate = Gate(Rules())
        self.gold_snapshot: dict[str, Any] = {}
        self.requests: Counter[str] = Counter()
        self.folder = self.root = Path()
        self.progress = get_console().status("")  # that of the logs, which it lets through

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
        """Store the catalog, whose datasets have their write statistics, and the configuration."""
        self.catalog = catalog
        self.configuration = {"catalog": conf_catalog, "parameters": parameters["parameters"]}

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline) -> None:
        """Start a record and a summary for this run.

        Raises:
            CapstoneError: if the parameter `plan` is set for another pipeline.
        """
        params, pipelines = run_params["runtime_params"] or {}, run_params["pipeline_names"]
        is_plan = pipelines == [PLAN]
        if params.get(PLAN) and not is_plan:
            raise CapstoneError("plan: from Python, run the pipeline 'plan' instead.")
        self.summary, self.last_save_time = Summary(), time.monotonic()
        self.requests = _request_counts()
        if self.recorder:
            self.recorder.abandon()
        self.recorder = None
        parameters = self.configuration["parameters"]
        rules = Rules.of(parameters.get("quality") or {}, parameters["marts"])
        flags = (bool(parameters.get(name)) for name in ("allow_findings", "full"))
        self.gate = Gate(rules, *flags)
        if not is_plan:
            self.recorder = Recorder(lambda: self.catalog["runs"], listeners=self._listeners())
            self.recorder.start(
                RunSpec(
                    environment=self.environment,
                    pipelines=sorted(pipelines or ["__default__"]),
                    runtime_params=params,
                    nodes=[(node.name, _layer(node)) for node in pipeline.nodes],
                    **self.configuration,
                )
            )
        self.folder, self.root = Path.cwd(), Path(run_params["project_path"])
        os.chdir(self.root)  # paths in parameters are relative to it

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Record that a node starts, and show which one runs if there is a terminal."""
        if self.progress.console.is_terminal:
            self.progress.update(f"{_layer(node) or PLAN}: {node.name}")
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
        """Record a loaded dataset; store the manifest of the Gold about to be replaced."""
        if dataset_name == "gold_snapshot":
            self.gold_snapshot = data.manifest
        address = getattr(self.catalog.get(dataset_name), "address", None)
        if self.recorder and address and (layer := _layer(node)):
            self.recorder.dataset_loaded(layer, dataset_name, address)

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Check Gold against the quality rules before it is committed.

        Raises:
            CapstoneError: if a rule blocks it.
        """
        if self.recorder and dataset_name == "gold_manifest":
            self.gate.check_gold(self.gold_snapshot, data)
            self._record_findings(self.recorder)
            self.gate.enforce(partial(self._other_records, self.recorder))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record a saved dataset, and the time since the save before it."""
        if not self.recorder:
            return
        now, layer = time.monotonic(), _layer(node)
        stats = getattr(self.catalog.get(dataset_name), "write_stats", None)
        if layer:
            self.summary.add_dataset(
                layer, dataset_name, data, stats or WriteStats(), now - self.last_save_time
            )
            self.last_save_time = now
        self.recorder.dataset_saved(node.name, dataset_name, data, stats, self.summary)
        if dataset_name == "silver_accounts":
            windows = self.recorder.record.get("windows", {})
            self.gate.check_silver(windows, partial(self._other_records, self.recorder))
            self._record_findings(self.recorder)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """End the record; print the summary, and where the results are."""
        self.progress.stop()
        os.chdir(self.folder)
        if self.recorder:
            self.recorder.end()
            self._sync_runs(self.recorder)
            self.summary.show(self.console, self._results())

    @hook_impl
    def on_pipeline_error(self, error: Exception) -> None:
        """End the record."""
        self.progress.stop()
        os.chdir(self.folder)
        if self.recorder:
            self.recorder.end(error)
            self._sync_runs(self.recorder)

    def _listeners(self) -> Iterator[Listener]:
        config = self.configuration["parameters"]["operations"]
        return listeners_of(config, lambda: self.catalog["alerts"])

    def _record_findings(self, recorder: Recorder) -> None:
        self.summary.findings = [finding.message for finding in self.gate.findings]
        recorder.set_findings([finding.to_dict() for finding in self.gate.findings])

    def _other_records(self, recorder: Recorder, period: dt.timedelta) -> list[dict[str, Any]]:
        """Return the records of other runs that began in a period until now."""
        records = self.catalog["runs"].load_since(run_identifier(dt.datetime.now(dt.UTC) - period))
        return [record for record in records if record["run"] != recorder.record.get("run")]

    def _sync_runs(self, recorder: Recorder) -> None:
        """Copy the run records to the database, if this run published."""
        if "serving" in self.summary.layers:
            recorder.sync(lambda: self.catalog["serving"].sync_runs(self.catalog["runs"]))

    def _results(self) -> list[tuple[str, str]]:
        results = []
        if self.recorder and (run := self.recorder.record.get("run")):
            results.append(("Run", run))
        requests = _request_counts() - self.requests
        if requests:
            counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(requests.items()))
            results.append(("Requests", counts))
        if "gold" in self.summary.layers:
            results.append(
                ("Gold", f"{_relative_path(self.catalog['gold_manifest'].folder)}/*.csv")
            )
        if "serving" in self.summary.layers:
            results.append(("PostgreSQL", self.catalog["serving"].connect_command()))
        if (self.root / "Makefile").exists():
            where = "" if self.root.samefile(self.folder) else f"in {self.root}: "
            targets = "make dashboard, make viz (lineage), make notebook, make sql"
            results.append(("Next", f"{where}{targets}"))
        return results


def _request_counts() -> Counter[str]:
    """Return how many requests this process made to an object store, by kind."""
    from capstone_metrics.lake.request_counter import request_counts  # noqa: PLC0415

    return request_counts()


def _layer(node: Node) -> str | None:
    return next((tag for tag in LAYERS if tag in node.tags), None)


def _relative_path(path: str) -> str:
    return path.removeprefix(f"{Path.cwd()}{os.sep}")


declared_marts = DeclaredMarts()
HOOKS = (declared_marts, RunMonitor())
