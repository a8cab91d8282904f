"""OpenLineage events: a run and, below it, a job for each layer with its inputs and outputs.

OpenLineage's own settings say where the events go: `OPENLINEAGE_…` in the environment, or an
`openlineage.yml`.
"""

from __future__ import annotations

import datetime as dt
import os
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from openlineage.client import OpenLineageClient, event_v2, facet_v2
from openlineage.client.uuid import generate_static_uuid

from capstone_metrics.operations.listeners.listener import Listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from capstone_metrics.operations.listeners.listener import Record

NAMESPACE = "capstone-metrics"
"""The namespace of the jobs, unless `OPENLINEAGE_NAMESPACE` is set."""

TIMEOUT_SECONDS = 5
"""How long the end of a run waits for the events that are still being sent."""

END_STATES = {"succeeded": "COMPLETE", "failed": "FAIL", "killed": "ABORT"}


class Lineage(Listener):
    """Emits the events of a run, and the missing end events of a killed one."""

    name = "openlineage"

    @cached_property
    def client(self) -> OpenLineageClient:
        """The official client; it reads its settings with the first event."""
        event_v2.set_producer(f"urn:capstone-metrics:{version('capstone-metrics')}")
        return OpenLineageClient()

    def on_run_start(self, record: Record) -> None:
        self._emit("START", record)

    def on_node_start(self, record: Record, node: str) -> None:
        layer = record["nodes"][node]["layer"]
        if layer and sum("begun" in each for each in _layer_nodes(record, layer)) == 1:
            self._emit("START", record, layer)

    def on_node_end(self, record: Record, node: str) -> None:
        layer = record["nodes"][node]["layer"]
        if layer and _is_finished(record, layer):
            self._emit("COMPLETE", record, layer)

    def on_run_end(self, record: Record) -> None:
        self.on_run_killed(record)
        self.client.close(timeout=TIMEOUT_SECONDS)

    def on_run_killed(self, record: Record) -> None:
        end = END_STATES[record["state"]]
        layers = dict.fromkeys(each["layer"] for each in record["nodes"].values())
        for layer in filter(None, layers):
            has_started = any("begun" in each for each in _layer_nodes(record, layer))
            if has_started and not _is_finished(record, layer):
                self._emit(end, record, layer)
        self._emit(end, record)

    def _emit(self, state: str, record: Record, layer: str | None = None) -> None:
        self.client.emit(event_of(event_v2.RunState[state], record, layer))


def event_of(state: event_v2.RunState, record: Record, layer: str | None) -> event_v2.RunEvent:
    """Return an event of a run, or of one of its layers.

    Args:
        state: the state of the run or layer.
        record: the run record.
        layer: the layer of the event; None for the run itself, which has no datasets of its own.
    """
    namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or NAMESPACE
    run_job = f"{record['environment']}.{'.'.join(record['pipelines'])}"
    run_facets: dict[str, Any] = {
        "tags": facet_v2.tags_run.TagsRunFacet(
            [facet_v2.tags_run.TagsRunFacetFields("run", record["run"], "CAPSTONE")]
        ),
        "processing_engine": facet_v2.processing_engine_run.ProcessingEngineRunFacet(
            version=record["versions"]["kedro"], name="Kedro"
        ),
    }
    if record["now"]:
        run_facets["nominalTime"] = facet_v2.nominal_time_run.NominalTimeRunFacet(record["now"])
    if layer:
        parent = facet_v2.parent_run
        run_facets["parent"] = parent.ParentRunFacet(
            parent.Run(_run_uuid(record)), parent.Job(namespace, run_job)
        )
    if record["error"] and state.value == "FAIL":
        run_facets["errorMessage"] = facet_v2.error_message_run.ErrorMessageRunFacet(
            record["error"], "python"
        )
    kind = facet_v2.job_type_job.JobTypeJobFacet(
        "BATCH", "KEDRO", jobType="TASK" if layer else "PIPELINE"
    )
    return event_v2.RunEvent(
        eventType=state,
        eventTime=dt.datetime.now(dt.UTC).isoformat(),
        run=event_v2.Run(_run_uuid(record, layer), run_facets),
        job=event_v2.Job(
            namespace, f"{record['environment']}.{layer}" if layer else run_job, {"jobType": kind}
        ),
        inputs=list(_inputs(record, layer)) if layer else [],
        outputs=list(_outputs(record, layer)) if layer else [],
    )


def _run_uuid(record: Record, layer: str | None = None) -> str:
    """Return the deterministic UUID of a run, or of one of its layers."""
    name = f"{record['run']}.{layer}" if layer else record["run"]
    return str(generate_static_uuid(dt.datetime.fromisoformat(record["begun"]), name.encode()))


def _inputs(record: Record, layer: str) -> Iterator[event_v2.InputDataset]:
    if layer == "serving":
        for mart, table in _published_tables(record).items():
            rows = facet_v2.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                table["rows"]
            )
            address = record["addresses"][mart]
            yield event_v2.InputDataset(*_openlineage_name(address), {"inputStatistics": rows})
        return
    written = {_address(record, name) for name in _saved_datasets(record, layer)}
    for name in record["loaded"].get(layer, ()):
        if _address(record, name) not in written:
            yield event_v2.InputDataset(*_openlineage_name(_address(record, name)))


def _outputs(record: Record, layer: str) -> Iterator[event_v2.OutputDataset]:
    statistics = facet_v2.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    for name, saved in _saved_datasets(record, layer).items():
        if layer != "serving":
            counts = statistics(saved["rows"], saved.get("bytes"), saved["files"])
            identity = _openlineage_name(_address(record, name))
            schema = _schema(saved.get("columns", {}))
            yield event_v2.OutputDataset(*identity, {"outputStatistics": counts}, facets=schema)
    for mart, table in _published_tables(record).items() if layer == "serving" else ():
        identity = _openlineage_name(f"{record['addresses']['serving']}.{mart}")
        yield event_v2.OutputDataset(*identity, facets=_schema(table["columns"]))


def _schema(columns: Mapping[str, str]) -> dict[str, Any]:
    schema = facet_v2.schema_dataset
    fields = [schema.SchemaDatasetFacetFields(name, kind) for name, kind in columns.items()]
    return {"schema": schema.SchemaDatasetFacet(fields)} if fields else {}


def _openlineage_name(address: str) -> tuple[str, str]:
    """Return the namespace and the name of an address, as OpenLineage defines them."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        return "file", address
    host, _, name = rest.partition("/")
    return f"{scheme}://{host}", name


def _address(record: Record, dataset: str) -> str:
    address: str = record["addresses"][dataset]
    return address


def _saved_datasets(record: Record, layer: str) -> dict[str, Any]:
    """Return the saved datasets of a layer that have an address."""
    return {
        name: dataset
        for name, dataset in record["datasets"].items()
        if dataset["layer"] == layer and name in record["addresses"]
    }


def _published_tables(record: Record) -> dict[str, Any]:
    """Return the published tables by mart; none if nothing was published."""
    tables: dict[str, Any] = record["datasets"].get("serving", {}).get("tables", {})
    return tables


def _layer_nodes(record: Record, layer: str) -> list[Mapping[str, Any]]:
    return [each for each in record["nodes"].values() if each["layer"] == layer]


def _is_finished(record: Record, layer: str) -> bool:
    return all("ended" in each for each in _layer_nodes(record, layer))
