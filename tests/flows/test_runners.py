"""A run by any runner, and of any part of the flow, is right or is rejected before it writes."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.io import DatasetError

from capstone_metrics.lake import GoldDataset, SilverDataset, transaction
from capstone_metrics.pipeline_registry import register_pipelines
from tests.support import selection
from tests.support.lakes import (
    LAKE_PIPELINES,
    accounts_balance,
    add,
    clear,
    content,
    expected,
    is_readable,
    line,
    restore,
    run_here,
)
from tests.support.project import project_copy
from tests.support.selection import sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

EXPORTS = 400 if selection.runs_everything else 40
DRIFTS = 20 if selection.runs_everything else 3
FLOW = f"--pipelines={','.join(LAKE_PIPELINES)}"
NODES = [node.name for name in LAKE_PIPELINES for node in register_pipelines()[name].nodes]
"""The nodes of Silver and Gold, in their order."""

LATER = {"ingestion_ts": "2026-01-31T23:00:00Z"}
RUNNERS = [["--async"], ["--runner=ThreadRunner"], ["--runner=ThreadRunner", "--async"]]


@pytest.fixture(scope="module")
def exporting(open_folder: Path) -> Iterator[Project]:
    """A project with many small exports of a few videos."""
    with project_copy(open_folder) as copy:
        exports = copy.root / "exports"
        exports.mkdir()
        for number in range(EXPORTS):
            day = f"2026-01-{10 + number % 7}"
            text = line(video_id=f"v{number % 60}", views=number, data_postagem=day)
            (exports / f"{number}.jsonl").write_bytes(
                text + (b"{cut\n" if number % 9 == 0 else b"")
            )
        source = {"type": "files", "format": "jsonl", "path": "exports/*.jsonl"}
        copy.configure("parameters_sources.yml", sources={"faker": source})
        yield copy


@pytest.mark.few(1)
@pytest.mark.parametrize("runner", RUNNERS, ids=" ".join)
def test_many_small_exports_come_in_by_any_runner(exporting: Project, runner: list[str]) -> None:
    lake = exporting.root / "data"
    clear(lake)
    exporting.run(f"--pipelines=ingest_bronze,{','.join(LAKE_PIPELINES)}", *runner)
    assert len(list((lake / "silver/receipts").rglob("*.json"))) == EXPORTS
    assert content(lake) == expected(lake)
    assert accounts_balance(lake)
    assert "Nothing new" in exporting.run(FLOW).stdout


@pytest.fixture(scope="module")
def prepared(empty_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with one run behind it, and after that a window which moves and rejects."""
    data = empty_project.root / "data"
    clear(data)
    add(data, "2026-01-31T08", line(), line(video_id="v2"))
    run_here(empty_project)
    moves = line(video_id="v2", data_postagem="2026-01-29", **LATER)
    add(data, "2026-01-31T20", line(views=7, **LATER), b"{cut\n", moves)
    copy = tmp_path_factory.mktemp("prepared") / "data"
    shutil.copytree(data, copy)
    return copy


@pytest.fixture
def lake(empty_project: Project, prepared: Path) -> Path:
    """A copy of it in the folder of the project."""
    data = empty_project.root / "data"
    restore(data, prepared)
    return data


def written_at(lake: Path) -> dict[Path, int]:
    """Return when each file and folder of a lake was written, but for its root."""
    return {path: path.stat().st_mtime_ns for path in lake.rglob("*")}


def in_layers(lake: Path) -> dict[str, Any]:
    """Return the bytes of each file of Silver and of Gold, by layer."""
    return {
        layer: {path: path.read_bytes() for path in (lake / layer).rglob("*") if path.is_file()}
        for layer in ("silver", "gold")
    }


@pytest.mark.parametrize("node", sample(NODES, 1))
def test_a_run_to_any_node_leaves_nothing_half_done(
    empty_project: Project, lake: Path, node: str
) -> None:
    before = in_layers(lake)
    empty_project.run(FLOW, f"--to-nodes={node}")
    after, number = in_layers(lake), NODES.index(node)
    assert (after["silver"] == before["silver"]) == (number < NODES.index("account"))
    assert (after["gold"] == before["gold"]) == (number < NODES.index("enforce_quality"))
    if after["silver"] != before["silver"]:
        assert content(lake)["silver"] == expected(lake)["silver"]
        assert accounts_balance(lake)
    assert is_readable(lake)
    assert list((lake / "_tmp").glob("*~*")) == []
    run_here(empty_project)
    assert content(lake) == expected(lake)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--runner=ParallelRunner"], "ParallelRunner: nodes pass tables"),
        (["--from-nodes=merge"], "These nodes need silver_findings, validation_result"),
        (["--nodes=build_marts"], "These nodes need complete_scope"),
        (["--nodes=enforce_quality"], "These nodes need gold_findings, gold_update, rebuild_scope"),
    ],
    ids=lambda each: str(each)[:30],
)
def test_a_run_that_could_only_fail_is_rejected_before_it_writes(
    empty_project: Project, lake: Path, options: list[str], sentence: str
) -> None:
    before = written_at(lake)
    done = empty_project.run(FLOW, *options, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {sentence}")
    assert done.stderr.count("\n") == 1
    assert written_at(lake) == before


def test_a_run_may_start_at_a_node_that_loads_a_layer(empty_project: Project, lake: Path) -> None:
    empty_project.run(FLOW, "--from-nodes=find_increment", "--to-nodes=account")
    empty_project.run(FLOW, "--from-nodes=find_rebuild_scope")
    assert content(lake) == expected(lake)


@pytest.fixture
def pending(empty_project: Project, lake: Path) -> Path:
    """A lake whose last run ended after it recorded a commit of Silver, which is to be applied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction, "_apply", die)
        with pytest.raises(DatasetError):
            run_here(empty_project)
    assert (lake / "silver/commits/00000002.json").exists()
    return lake


def die(*_: Any) -> None:
    raise SystemError


@pytest.mark.slow
def test_what_only_reads_writes_nothing_although_a_commit_is_pending(
    empty_project: Project, pending: Path
) -> None:
    before = written_at(pending)
    for command in (
        ["status", "--json"],
        ["verify", "--full"],
        ["quarantine", "--lines=5"],
        ["runs"],
        ["run", FLOW, "--params=plan=true"],
    ):
        done = empty_project.kedro(*command, check=False)
        assert "Traceback" not in done.stdout + done.stderr
    bootstrap_project(empty_project.root)
    catalog = KedroSession.create(project_path=empty_project.root).load_context().catalog
    layers = [name for name in catalog if name.startswith(("bronze_", "silver", "gold"))]
    for name in (*layers, "gold_video_views_dia_faculdade"):
        if catalog.exists(name) or name in {"silver", "silver_snapshot"}:
            catalog.load(name)
    assert written_at(pending) == before

    run_here(empty_project)  # a control: it finishes the commit
    assert written_at(pending) != before
    assert content(pending) == expected(pending)
    assert list((pending / "_tmp").glob("*~*")) == []


@pytest.mark.few(1)
@pytest.mark.parametrize("runner", [[], *sample(RUNNERS, 1)], ids=" ".join)
def test_a_run_recovers_each_layer_that_it_writes_once_and_first(
    empty_project: Project, pending: Path, runner: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def record(kind: type, method: str) -> None:
        function = getattr(kind, method)

        def recorded(self: Any, *arguments: Any) -> Any:
            calls.append(f"{kind.__name__}.{method}")
            return function(self, *arguments)

        monkeypatch.setattr(kind, method, recorded)

    for kind in (SilverDataset, GoldDataset):
        record(kind, "recover")
        record(kind, "load")
    empty_project.run(FLOW, *runner)
    assert set(calls[:2]) == {"SilverDataset.recover", "GoldDataset.recover"}
    assert Counter(calls)["SilverDataset.recover"] == Counter(calls)["GoldDataset.recover"] == 1
    assert content(pending) == expected(pending)


@pytest.mark.slow
@pytest.mark.few(1)
@pytest.mark.parametrize("runner", [[], *RUNNERS], ids=" ".join)
def test_drift_blocks_gold_by_any_runner_and_in_the_runs_after_it(
    empty_project: Project, lake: Path, runner: list[str]
) -> None:
    before = in_layers(lake)["gold"]
    renamed = line(video_id="v3", **LATER).replace(b'"likes"', b'"curtidas"')
    for hour in range(DRIFTS):
        add(lake, f"2026-02-01T{hour:02}", renamed)
        done = empty_project.run(FLOW, *runner, check=False)
        assert "has likes in none of its 1 lines" in done.stderr
        assert in_layers(lake)["gold"] == before
    for pipelines in ("silver_to_gold", "bronze_to_silver,silver_to_gold"):
        done = empty_project.run(f"--pipelines={pipelines}", *runner, check=False)
        assert "has likes in none of its 1 lines" in done.stderr
        assert in_layers(lake)["gold"] == before
    assert "has likes in none of its 1 lines" in empty_project.kedro("status", check=False).stdout
    empty_project.run("--pipelines=silver_to_gold", *runner, more=",allow_refused=faker")
    assert content(lake) == expected(lake)
