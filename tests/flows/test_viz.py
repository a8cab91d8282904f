"""The lineage of Kedro-Viz, as its static page has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

PIPELINES = {
    "__default__", "ingest_bronze", "bronze_to_silver", "silver_to_gold", "publish_gold"
}  # fmt: skip
LAYERS = ["bronze", "silver", "gold", "serving"]
MANIFEST = {"generation": 7, "marts": {}}


@pytest.fixture(scope="module")
def site(empty_project: Project) -> Path:
    """The page of a lake with a Gold."""
    gold = empty_project.root / "data/gold"
    gold.mkdir(parents=True)
    (gold / "manifest.json").write_text(json.dumps(MANIFEST))
    empty_project.kedro("viz", "build", "--include-hooks", "--include-previews")
    return empty_project.root / "build"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def graphs(site: Path) -> Iterator[dict[str, Any]]:
    for path in (site / "api/pipelines").iterdir():
        yield read(path)


def details(site: Path, kind: str) -> dict[str, dict[str, Any]]:
    """Return the details of each node of a kind, by its name."""
    nodes = read(site / "api/main")["nodes"]
    chosen = {node["name"]: node["id"] for node in nodes if node["type"] == kind}
    return {name: read(site / f"api/nodes/{node}") for name, node in chosen.items()}


def test_every_dataset_lies_in_a_layer(site: Path) -> None:
    assert read(site / "api/main")["layers"] == LAYERS
    pipelines = set()
    for graph in graphs(site):
        pipelines.add(graph["selected_pipeline"])
        data = [node for node in graph["nodes"] if node["type"] == "data"]
        assert data
        assert not [node["name"] for node in data if node["layer"] not in LAYERS]
    assert pipelines == PIPELINES


def test_each_layer_leads_to_the_next(site: Path) -> None:
    main = read(site / "api/main")
    names = {node["id"]: node["name"] for node in main["nodes"]}
    edges = {(names[edge["source"]], names[edge["target"]]) for edge in main["edges"]}

    assert {
        *(("ingest", "bronze_criacao"), ("bronze_criacao", "find_increment")),
        *(("account", "silver"), ("silver", "find_rebuild_scope")),
        *(("check_silver", "silver_findings"), ("silver_findings", "account")),
        *(("check_gold", "gold_findings"), ("gold_findings", "enforce_quality")),
        *(("enforce_quality", "gold"), ("gold", "publish"), ("publish", "serving")),
    } < edges
    assert {name for edge in edges for name in edge} == set(names.values())


def test_every_step_shows_what_it_does(site: Path) -> None:
    steps = details(site, "task")

    assert len(steps) > 8
    assert not [name for name, shown in steps.items() if '"""' not in (shown["code"] or "")]


def test_gold_is_previewed(site: Path) -> None:
    assert json.loads(details(site, "data")["gold"]["preview"]) == MANIFEST
