from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.pipeline_registry import register_pipelines
from capstone_metrics.pipelines.bronze_to_silver.declaration import contract_of
from capstone_metrics.schedule import Calendar
from capstone_metrics.schemas import marts_of
from capstone_metrics.sources import new_objects

if TYPE_CHECKING:
    from kedro.framework.context import KedroContext

    from tests.conftest import Project

CONF = Path(__file__).parent.parent / "conf"
ENVIRONMENTS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "base")


@pytest.fixture(params=ENVIRONMENTS)
def context(
    request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> KedroContext:
    """Of each environment, without what a user has in conf/local."""
    monkeypatch.chdir(project.root)
    bootstrap_project(project.root)
    session = KedroSession.create(project_path=project.root, env=request.param)
    return session.load_context()


def globals_of(environment: str) -> dict[str, Any]:
    path = CONF / environment / "globals.yml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


def test_every_dataset_of_every_pipeline_is_declared(context: KedroContext) -> None:
    catalog = context.catalog
    names = {name for pipeline in register_pipelines().values() for name in pipeline.datasets()}

    assert [name for name in sorted(names) if name not in catalog] == []
    assert [name for name in sorted(names) if catalog.get(name) is None] == []
    assert "silver_undeclared" not in catalog


def test_the_marts_hold_and_have_their_nodes(context: KedroContext) -> None:
    marts = marts_of(context.params["marts"])

    assert marts
    assert set(marts) <= register_pipelines()["silver_to_gold"].all_outputs()


def test_the_schedule_and_the_sources_hold(context: KedroContext) -> None:
    schedule, sources = context.params["schedule"], context.params["sources"]
    calendar = Calendar.of(schedule, "2026-01-31T20:05")

    for name, declaration in sources.items():
        assert new_objects(name, declaration, calendar, present=[])
        assert contract_of(name, declaration, schedule["timezone"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_overrides_globals_of_base_and_adds_none(environment: str) -> None:
    assert set(globals_of(environment)) <= set(globals_of("base"))


def test_environments_do_not_share_a_lake_or_a_database() -> None:
    base = globals_of("base")
    lakes = [
        (str({**base, **globals_of(e)}["lake"]), {**base, **globals_of(e)}["database"])
        for e in ENVIRONMENTS
    ]

    assert len({lake for lake, _ in lakes}) == len({name for _, name in lakes}) == len(lakes)
