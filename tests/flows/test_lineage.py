"""A run's events of OpenLineage, read back by the classes of the official client."""

from __future__ import annotations

import inspect
import json
import pkgutil
import subprocess
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from openlineage.client import event_v2, generated
from openlineage.client.generated.base import BaseFacet

from capstone_metrics.errors import CapstoneError, ConfigError
from capstone_metrics.operations.listeners import PLUGINS
from capstone_metrics.operations.listeners.lineage import Lineage
from tests.support.lakes import LAKE_PIPELINES, add, clear, line, run_here
from tests.support.project import project_copy
from tests.support.runs import leave_one_dead, records
from tests.support.webhook import HANGS, Receiver, closed_port, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

TOKEN = "c4nary-9f3b"


@pytest.fixture(scope="module")
def traced(open_folder: Path) -> Iterator[Project]:
    """A project whose runs emit events."""
    with project_copy(open_folder) as copy:
        copy.ingest_nothing()
        copy.configure(
            "parameters_operations.yml", operations={"kept_days": 9, "listeners": ["openlineage"]}
        )
        yield copy


@pytest.fixture
def lake(traced: Project, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, whose runs' events come to a file."""
    clear(traced.root / "data")
    (traced.root / "events").unlink(missing_ok=True)
    monkeypatch.chdir(traced.root)
    for name, value in (
        ("TYPE", "file"),
        ("LOG_FILE_PATH", str(traced.root / "events")),
        ("APPEND", "true"),
    ):
        monkeypatch.setenv(f"OPENLINEAGE__TRANSPORT__{name}", value)
    return traced.root / "data"


def facet_classes() -> dict[str, Any]:
    """Of the official client, by the URL of their published schemas."""
    modules = [
        import_module(f"{generated.__name__}.{m.name}")
        for m in pkgutil.iter_modules(generated.__path__)
    ]
    classes = {each for m in modules for _, each in inspect.getmembers(m, inspect.isclass)}
    return {each._get_schema(): each for each in classes if issubclass(each, BaseFacet)}


FACETS = facet_classes()


def facets(content: dict[str, Any]) -> dict[str, Any]:
    """Return each facet as an object of its class: a field that it does not know is an error."""
    return {name: facet(dict(each)) for name, each in content.items()}


def facet(content: dict[str, Any]) -> Any:
    kind = FACETS[content.pop("_schemaURL")]
    assert content.pop("_producer").startswith("urn:capstone-metrics:")
    module = inspect.getmodule(kind)
    if "run" in content:  # of a parent
        content = {"run": module.Run(**content["run"]), "job": module.Job(**content["job"])}
    elif "fields" in content:
        fields = [module.SchemaDatasetFacetFields(**each) for each in content["fields"]]
        content = {"fields": fields}
    elif "tags" in content:
        content = {"tags": [module.TagsRunFacetFields(**each) for each in content["tags"]]}
    return kind(**content)


def parsed(content: dict[str, Any]) -> event_v2.RunEvent:
    """An event, by the classes of the official client and their checks."""

    def dataset(kind: Any, own: str, each: dict[str, Any]) -> Any:
        identity = {"namespace": each["namespace"], "name": each["name"]}
        assert set(each) <= {*identity, own, "facets"}
        return kind(**identity, **{k: facets(each.get(k, {})) for k in (own, "facets")})

    run, job = content.pop("run"), content.pop("job")
    event = event_v2.RunEvent(
        eventType=event_v2.RunState[content.pop("eventType")],
        eventTime=content.pop("eventTime"),
        producer=content.pop("producer"),
        run=event_v2.Run(run["runId"], facets(run["facets"])),
        job=event_v2.Job(job["namespace"], job["name"], facets(job["facets"])),
        inputs=[
            dataset(event_v2.InputDataset, "inputFacets", each) for each in content.pop("inputs")
        ],
        outputs=[
            dataset(event_v2.OutputDataset, "outputFacets", each) for each in content.pop("outputs")
        ],
    )
    assert content.pop("schemaURL") == event.schemaURL
    assert content == {}
    return event


PLUGIN = """\
from capstone_metrics.operations.listeners.listener import Listener

states = []

class Heard(Listener):
    def on_run_start(self, record):
        states.append(record["state"])

    on_run_end = on_run_start
"""


@contextmanager
def turned_on(project: Project, *names: str) -> Iterator[None]:
    """Turn on other listeners for a while."""
    setting = project.root / "conf/local/parameters_operations.yml"
    text = setting.read_text()
    project.configure(setting.name, operations={"kept_days": 9, "listeners": list(names)})
    try:
        yield
    finally:
        setting.write_text(text)


def events(project: Project) -> list[event_v2.RunEvent]:
    text = (project.root / "events").read_text()
    return [parsed(json.loads(each)) for each in text.splitlines()]


def states_of(emitted_events: list[event_v2.RunEvent]) -> list[tuple[str, str]]:
    return [(each.job.name, each.eventType.value) for each in emitted_events if each.eventType]


RUN_JOB = "local.bronze_to_silver.silver_to_gold"


def test_a_run_and_its_layers_emit_their_inputs_and_outputs(traced: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2"), line(views="x"))
    run_here(traced)
    (record,) = records(lake)
    emitted_events = events(traced)

    assert sorted(states_of(emitted_events)) == [
        (f"local.{job}", state)
        for job in ("bronze_to_silver.silver_to_gold", "gold", "silver")
        for state in ("COMPLETE", "START")
    ]
    assert states_of(emitted_events)[0] == (RUN_JOB, "START")
    assert states_of(emitted_events)[-1] == (RUN_JOB, "COMPLETE")
    by_job = {each.job.name: each for each in emitted_events if each.eventType.value == "COMPLETE"}
    silver, gold = by_job["local.silver"], by_job["local.gold"]
    parent = silver.run.facets["parent"]
    assert (parent.run.runId, parent.job.name) == (by_job[RUN_JOB].run.runId, RUN_JOB)
    assert {each.run.facets["tags"].tags[0].value for each in emitted_events} == {record["run"]}

    assert [(each.namespace, each.name) for each in silver.inputs] == [
        ("file", f"{lake}/bronze/criacao")
    ]
    outputs = {
        each.name.removeprefix(f"{lake}/"): each for each in (*silver.outputs, *gold.outputs)
    }
    names = [name for name in record["datasets"] if name.startswith("gold_")]
    marts = {f"gold/{name}.csv": name for name in names}
    tables = ("criacao", "observacao_dia", "quarentena")
    expected = {f"silver/{table}": f"silver_{table}" for table in tables} | marts
    assert outputs.keys() == expected.keys()
    for name, dataset in expected.items():
        saved, counts = record["datasets"][dataset], outputs[name].outputFacets["outputStatistics"]
        assert (counts.rowCount, counts.size, counts.fileCount) == (
            saved["rows"], saved["bytes"], saved["files"]
        )  # fmt: skip
        columns = {each.name: each.type for each in outputs[name].facets["schema"].fields}
        assert columns == saved["columns"]
    assert {each.name for each in gold.inputs} == {
        f"{lake}/silver/{table}" for table in ("criacao", "observacao_dia")
    }
    fields = outputs["silver/criacao"].facets["schema"].fields
    assert next(each.type for each in fields if each.name == "views") == "int64"


@pytest.mark.slow
def test_a_publication_is_emitted_table_by_table(traced: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(), line(video_id="v2", data_postagem="2026-01-29"))
    run_here(traced, [*LAKE_PIPELINES, "publish_gold"])
    (record,) = records(lake)
    (serving,) = (
        each
        for each in events(traced)
        if (each.job.name, each.eventType.value) == ("local.serving", "COMPLETE")
    )

    names = [name for name in record["datasets"] if name.startswith("gold_")]
    assert {each.name: each.inputFacets["inputStatistics"].rowCount for each in serving.inputs} == {
        f"{lake}/gold/{name}.csv": record["datasets"][name]["rows"] for name in names
    }
    assert {each.name for each in serving.outputs} == {f"capstone.serving.{n}" for n in names}
    (namespace,) = {each.namespace for each in serving.outputs}
    assert namespace.startswith("postgres://127.0.0.1:")
    columns = {n.name: [f.name for f in n.facets["schema"].fields] for n in serving.outputs}
    assert columns["capstone.serving.gold_video_views_dia_faculdade"][:2] == [
        "data_postagem", "faculdade"
    ]  # fmt: skip


def test_a_failed_run_is_emitted_with_its_sentence(traced: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line(video_id=None))
    with pytest.raises(CapstoneError, match="in none of its 1 lines"):
        run_here(traced)
    (record,) = records(lake)
    emitted_events = events(traced)

    assert [each for each in states_of(emitted_events) if each[1] == "FAIL"][-1] == (
        RUN_JOB,
        "FAIL",
    )
    assert ("local.gold", "FAIL") in states_of(emitted_events)
    assert emitted_events[-1].run.facets["errorMessage"].message == record["error"]


@pytest.mark.slow
def test_a_killed_run_is_aborted_by_the_next(traced: Project, lake: Path) -> None:
    add(lake, "2026-01-31T08", line())
    leave_one_dead(traced, lake)
    before = events(traced)
    run_here(traced)
    after = events(traced)[len(before) :]

    assert states_of(after)[:2] == [(RUN_JOB, "ABORT"), (RUN_JOB, "START")]
    assert after[0].run.runId == before[0].run.runId != after[1].run.runId


def test_an_interrupted_layer_is_aborted_too() -> None:
    emitted: list[tuple[str, str | None]] = []

    class Heard(Lineage):
        def _emit(self, state: str, record: Any, layer: str | None = None) -> None:
            emitted.append((state, layer))

    nodes = {
        "ingest": {"layer": "bronze", "begun": 0, "ended": 1},
        "merge": {"layer": "silver", "begun": 1},
        "plan": {"layer": "gold"},
    }
    Heard().on_run_killed({"state": "killed", "nodes": nodes})
    assert emitted == [("ABORT", "silver"), ("ABORT", None)]


@pytest.fixture
def server(traced: Project, lake: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Where events go instead."""
    add(lake, "2026-01-31T08", line())
    for name in ("TYPE", "LOG_FILE_PATH", "APPEND"):
        monkeypatch.delenv(f"OPENLINEAGE__TRANSPORT__{name}")
    monkeypatch.setenv("OPENLINEAGE_CONFIG", str(traced.root / "openlineage.yml"))
    with receiver() as hook:
        yield hook
    (traced.root / "openlineage.yml").unlink()


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "fault",
    [
        None,
        pytest.param(500, marks=pytest.mark.slow),
        pytest.param(HANGS, marks=pytest.mark.slow),
        "refused",
    ],
)
def test_whatever_a_server_does_the_run_does_its_work(
    traced: Project,
    server: Receiver,
    fault: int | str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.status = fault if isinstance(fault, int) else 200
    port = closed_port() if fault == "refused" else server.port
    transport = {
        "type": "http",
        "url": f"http://127.0.0.1:{port}",
        "timeout": 0.2,
        "retry": {"total": 0},
        "auth": {"type": "api_key", "apiKey": TOKEN},
    }
    (traced.root / "openlineage.yml").write_text(json.dumps({"transport": transport}))
    run_here(traced)

    assert records(traced.root / "data")[0]["state"] == "succeeded"
    assert (traced.root / "data/gold/manifest.json").exists()
    warnings = [text for text in caplog.messages if text.startswith("openlineage: ")]
    assert len(warnings) == (fault is not None)
    assert TOKEN not in caplog.text
    if fault is None:
        assert states_of([parsed(body) for body in server.bodies])[-1] == (RUN_JOB, "COMPLETE")


def test_without_the_client_the_run_says_so_before_it_begins(
    traced: Project, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, Lineage.__module__)
    monkeypatch.setitem(sys.modules, "openlineage.client", None)  # as where it is not installed
    with pytest.raises(ConfigError, match=r"operations\.listeners: openlineage cannot be loaded"):
        run_here(traced)
    assert not (lake / "operations").exists()


def test_an_unknown_listener_is_an_error_with_the_choices(traced: Project, lake: Path) -> None:
    with turned_on(traced, "openlinage"):
        done = traced.run(f"--pipelines={','.join(LAKE_PIPELINES)}", check=False)
    file = "conf/local/parameters_operations.yml"
    message = "operations.listeners: 'openlinage' is not one of openlineage."
    assert done.stderr == f"Error: {file}: {message}\n"
    assert not (lake / "operations").exists()


def test_a_listener_of_another_package_is_notified(
    traced: Project, lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heard.py").write_text(PLUGIN)
    installed = tmp_path / "heard-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: heard\nVersion: 1\n")
    (installed / "entry_points.txt").write_text(f"[{PLUGINS}]\nheard = heard:Heard\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "heard", raising=False)
    run_here(traced)
    assert "heard" not in sys.modules  # it is installed, and not turned on
    with turned_on(traced, "heard"):
        run_here(traced)
    assert sys.modules["heard"].states == ["running", "succeeded"]


def test_nothing_of_openlineage_is_imported_unless_it_is_turned_on(traced: Project) -> None:
    statements = (
        "import sys",
        "from capstone_metrics.operations.listeners import listeners_of",
        "list(listeners_of({'listeners': sys.argv[1:]}, dict))",
        "print(any('lineage' in name for name in sys.modules))",
    )
    for names, is_imported in ([], "False"), (["openlineage"], "True"):
        command = [sys.executable, "-c", "; ".join(statements), *names]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == is_imported


def test_it_is_off_by_default(traced: Project, lake: Path) -> None:
    with turned_on(traced):
        run_here(traced)
    assert records(lake)
    assert not (traced.root / "events").exists()


def test_a_field_that_is_unknown_is_noticed(traced: Project, lake: Path) -> None:
    run_here(traced)
    first = json.loads((traced.root / "events").read_text().splitlines()[0])
    first["job"]["facets"]["jobType"]["kind"] = "x"

    with pytest.raises(TypeError, match="unexpected keyword argument 'kind'"):
        parsed(first)
