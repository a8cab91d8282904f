from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from capstone_metrics.config_schema import GLOBALS, check
from capstone_metrics.mart_declarations import marts_of
from capstone_metrics.pipeline_registry import register_pipelines
from capstone_metrics.schedule import Calendar
from capstone_metrics.sources import new_objects
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.silver import columns_of
from tests.support.project import ROOT, project_copy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.project import Project

CONF = ROOT / "conf"
ENVIRONMENTS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "base")


@pytest.fixture(scope="module")
def unchanged(open_folder: Path) -> Iterator[Project]:
    """A copy without a user's own files of conf/local."""
    with project_copy(open_folder) as copy:
        yield copy


def globals_of(environment: str) -> dict[str, Any]:
    path = CONF / environment / "globals.yml"
    return yaml.safe_load(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_declares_its_datasets_marts_schedule_and_sources(
    unchanged: Project, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.chdir(unchanged.root)
    bootstrap_project(unchanged.root)
    session = KedroSession.create(project_path=unchanged.root, env=environment)
    context = session.load_context()
    catalog, pipelines = context.catalog, register_pipelines()

    names = sorted({name for pipeline in pipelines.values() for name in pipeline.datasets()})
    assert [name for name in names if name not in catalog] == []
    assert [name for name in names if catalog.get(name) is None] == []
    assert "silver_undeclared" not in catalog

    marts = marts_of(context.params["marts"], columns_of(context.params["columns"]))
    assert marts
    assert [catalog.get(name).mart for name in marts] == list(marts)

    schedule, sources = context.params["schedule"], context.params["sources"]
    calendar = Calendar.of(schedule, "2026-01-31T20:05")
    for name, declaration in sources.items():
        assert new_objects(name, declaration, calendar, existing=[]).objects
        assert contract_of(name, declaration, schedule["timezone"])


def test_an_environment_overrides_globals_of_base_and_adds_none() -> None:
    for environment in ENVIRONMENTS:
        assert set(globals_of(environment)) <= set(globals_of("base"))


def test_environments_have_a_lake_and_a_database_each() -> None:
    settings = [{**globals_of("base"), **globals_of(name)} for name in ENVIRONMENTS]

    for name in ("lake", "database"):
        assert len({str(each[name]) for each in settings}) == len(ENVIRONMENTS)


@pytest.mark.parametrize(
    "engine", ["duckdb", "spark", {"name": "spark", "options": {"spark.master": "local[2]"}}]
)
def test_an_engine_is_a_name_or_a_name_with_options(engine: Any) -> None:
    check("engine", engine, GLOBALS["engine"])
