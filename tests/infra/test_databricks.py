"""The bundle's jobs are jobs of Databricks, and those of this project."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from databricks.bundles.jobs import Job, JobPermission, JobRunAs

from capstone_metrics import cli
from capstone_metrics.packaging import pack_configuration
from capstone_metrics.pipeline_registry import register_pipelines
from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

BUNDLE = "infra/databricks/databricks.yml"
JOBS = "infra/databricks/resources/jobs.yml"
TARGETS = ["dev", "prod"]
LAYERS = {"ingest_bronze": "bronze", "bronze_to_silver": "silver", "silver_to_gold": "gold"}
GIVEN = {  # by whoever deploys
    "bucket": "a-bucket",
    "instance_profile_arn": "arn:aws:iam::123456789012:instance-profile/lake",
    "service_principal": "00000000-0000-0000-0000-000000000000",
}
SETTINGS = {  # of a bundle and of a target, as far as this one has them
    *("bundle", "include", "artifacts", "sync", "variables", "targets", "resources"),
    *("mode", "default", "workspace", "run_as", "permissions"),
}
LEVELS = {"CAN_VIEW", "CAN_RUN", "CAN_MANAGE"}  # that a whole bundle knows
RUNTIMES = {"17.3.x-scala2.13": ("4.0.0", "3.12.3")}  # its Spark and its Python
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
PARAMETER = re.compile(r"\{\{job\.parameters\.(\w+)\}\}")


@dataclass
class Bundle:
    """A copy of what makes the bundle, to resolve for a target and to plant faults in."""

    root: Path

    def read(self, name: str) -> dict[str, Any]:
        """A file of it."""
        read: dict[str, Any] = yaml.safe_load((self.root / name).read_text())
        return read

    def replace(self, name: str, old: str, new: str) -> None:
        """Change a file of it."""
        text = (self.root / name).read_text()
        assert old in text
        (self.root / name).write_text(text.replace(old, new))

    def resolved(self, target: str) -> dict[str, Any]:
        """The bundle as it is deployed to a target."""
        whole = self.read(BUNDLE)
        assert [self.root / JOBS] == [
            path for glob in whole["include"] for path in (self.root / BUNDLE).parent.glob(glob)
        ]
        whole |= self.read(JOBS)
        chosen = whole.pop("targets")[target]
        variables = whole["variables"].items()
        values = {name: said["default"] for name, said in variables if "default" in said}
        values |= {**GIVEN, **chosen.pop("variables")}
        known = {f"var.{name}": value for name, value in values.items()} | {
            "bundle.name": whole["bundle"]["name"],
            "bundle.target": target,
            "workspace.current_user.short_name": "someone",
            "workspace.file_path": str(self.root),
        }
        resolved: dict[str, Any] = _resolve({**whole, **chosen}, known)
        return resolved


def _resolve(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _resolve(each, known) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolve(each, known) for each in value]
    if not isinstance(value, str):
        return value
    if whole := REFERENCE.fullmatch(value):
        found = known[whole[1]]
        return _resolve(found, known) if isinstance(found, str) else found
    return REFERENCE.sub(lambda match: str(_resolve(known[match[1]], known)), value)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    for part in ("infra/databricks", "conf"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for part in ("pyproject.toml", "Makefile"):
        shutil.copy(ROOT / part, tmp_path)
    monkeypatch.chdir(tmp_path)
    marts = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())["marts"]
    monkeypatch.setattr("capstone_metrics.hooks.declared_marts.declarations", marts)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/capstone_metrics-0.1.0-py3-none-any.whl").touch()
    (tmp_path / "dist/requirements.txt").touch()
    pack_configuration(tmp_path / "conf", tmp_path / "dist/conf-capstone_metrics.tar.gz")
    return Bundle(tmp_path)


def check_settings(bundle: Bundle, target: str) -> None:
    whole = bundle.resolved(target)
    assert not {*whole, *bundle.read(BUNDLE)["targets"][target]} - SETTINGS - {"variables"}
    for permission in whole.get("permissions", ()):
        JobPermission.from_dict({**permission, "level": "CAN_MANAGE"})
        assert permission["level"] in LEVELS
    JobRunAs.from_dict(whole.get("run_as", {}))
    assert whole["mode"] == {"dev": "development", "prod": "production"}[target]
    if target == "prod":
        assert whole["run_as"] == {"service_principal_name": GIVEN["service_principal"]}
        home = f"/Workspace/Users/{GIVEN['service_principal']}/"
        assert whole["workspace"]["root_path"].startswith(home)


def check_variables(bundle: Bundle, target: str) -> None:
    text = "".join((bundle.root / name).read_text() for name in (BUNDLE, JOBS))
    declared = set(bundle.read(BUNDLE)["variables"])
    assert {name for name in declared if f"${{var.{name}}}" in text} == declared
    assert not re.search(r"AKIA|dapi|[\w.]+@\w|https?://|\b\d{12}\b", text)


def check_jobs(bundle: Bundle, target: str) -> None:
    for settings in jobs(bundle, target).values():
        job = Job.from_dict(settings)
        assert (job.max_concurrent_runs, settings["queue"]) == (1, {"enabled": True})
        clusters = {each["job_cluster_key"] for each in settings["job_clusters"]}
        for task, before in zip(settings["tasks"], [None, *settings["tasks"]], strict=False):
            assert task["job_cluster_key"] in clusters
            assert task["max_retries"] > 0
            after = [{"task_key": before["task_key"]}] if before else []
            assert task.get("depends_on", []) == after


def check_schedule(bundle: Bundle, target: str) -> None:
    schedule = bundle.read("conf/base/parameters/schedule.yml")["schedule"]
    of_layer = {}
    for job in jobs(bundle, target).values():
        second, minute, hours, *days = job["schedule"]["quartz_cron_expression"].split()
        assert (second, days) == ("0", ["*", "*", "?"])
        assert job["schedule"]["timezone_id"] == schedule["timezone"]
        starts = [f"{int(hour):02}:{int(minute):02}" for hour in hours.split(",")]
        (rule,) = job["health"]["rules"]
        assert (rule["metric"], rule["op"]) == ("RUN_DURATION_SECONDS", "GREATER_THAN")
        for task in job["tasks"]:
            (pipeline,) = options(task)["pipelines"]
            assert LAYERS[pipeline] not in of_layer
            of_layer[LAYERS[pipeline]] = {"starts": starts, "minutes": rule["value"] / 60}
        assert job["timeout_seconds"] > rule["value"]
    elsewhere = {"publication": schedule["layers"]["publication"]}
    assert of_layer | elsewhere == schedule["layers"]


def check_tasks(bundle: Bundle, target: str) -> None:
    declared = bundle.read("conf/base/parameters/run.yml")
    for job in jobs(bundle, target).values():
        for task in job["tasks"]:
            wheel = task["python_wheel_task"]
            entries = distribution(wheel["package_name"]).entry_points
            (entry,) = (each for each in entries if each.name == wheel["entry_point"])
            assert entry.group == "console_scripts"
            assert callable(entry.load())
            given = options(task)
            assert given["pipelines"] == [task["task_key"]]
            assert set(given["pipelines"]) <= set(register_pipelines())
            assert (bundle.root / "conf" / given["env"]).is_dir()
            assert Path(given["conf_source"]).is_file()
            passed = given["params"]
            assert passed == {name: f"the {name}" for name in passed}
            assert set(passed) == {each["name"] for each in job["parameters"]} <= set(declared)
            assert {each["default"] for each in job["parameters"]} == {""}


def check_artifacts(bundle: Bundle, target: str) -> None:
    whole, folder = bundle.resolved(target), (bundle.root / BUNDLE).parent
    (artifact,) = whole["artifacts"].values()
    assert (folder / artifact["path"]).resolve() == bundle.root
    make, goal = shlex.split(artifact["build"])
    assert make == "make"
    assert re.search(rf"^{goal}:", (bundle.root / "Makefile").read_text(), re.MULTILINE)
    synced = {(folder / name).resolve() for name in whole["sync"]["include"]}
    paths = [(folder / name).resolve() for name in whole["sync"]["paths"]]
    assert all(paths[0] in file.parents for file in synced)
    for job in jobs(bundle, target).values():
        for task in job["tasks"]:
            requirements, wheel = (next(iter(each.values())) for each in task["libraries"])
            assert list((bundle.root / JOBS).parent.glob(wheel))
            assert synced == {Path(requirements), Path(options(task)["conf_source"])}


def check_clusters(bundle: Bundle, target: str) -> None:
    project = tomllib.loads((bundle.root / "pyproject.toml").read_text())["project"]
    (pyspark,) = (need for need in project["optional-dependencies"]["spark"] if "pyspark" in need)
    read = (bundle.root / "conf/prod/globals.yml").read_text()
    for job in jobs(bundle, target).values():
        (cluster,) = (each["new_cluster"] for each in job["job_clusters"])
        spark, python = RUNTIMES[cluster["spark_version"]]
        assert f"~={spark}" in pyspark
        assert project["requires-python"] == ">=3.11"
        assert tuple(map(int, python.split("."))) >= (3, 11)
        assert set(cluster["spark_env_vars"]) | {"AWS_ENDPOINT_URL_S3"} == set(
            re.findall(r"oc\.env:(\w+)", read)
        )
        assert cluster["aws_attributes"]["instance_profile_arn"] == GIVEN["instance_profile_arn"]


CHECKS = [
    check_settings,
    check_variables,
    check_jobs,
    check_schedule,
    check_tasks,
    check_artifacts,
    check_clusters,
]


def jobs(bundle: Bundle, target: str) -> dict[str, Any]:
    found: dict[str, Any] = bundle.resolved(target)["resources"]["jobs"]
    return found


def options(task: dict[str, Any]) -> dict[str, Any]:
    """What the command line makes of a task's parameters."""
    given = [PARAMETER.sub(r"the \1", word) for word in task["python_wheel_task"]["parameters"]]
    return cli.run.make_context("task", given).params


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("check", CHECKS)
def test_the_bundle_holds(
    bundle: Bundle, target: str, check: Callable[[Bundle, str], None]
) -> None:
    check(bundle, target)


@pytest.mark.parametrize(
    ("name", "old", "new", "check"),
    [
        (JOBS, "max_retries:", "max_retry:", check_jobs),
        (JOBS, "quartz_cron_expression", "cron_expression", check_jobs),
        (JOBS, "on_failure:", "on_fail:", check_jobs),
        (JOBS, "SINGLE_USER", "ONE_USER", check_jobs),
        (JOBS, "${var.workers}", "${var.worker}", check_jobs),
        (JOBS, "[{task_key: ingest_bronze}]", "[{task_key: ingest}]", check_jobs),
        (JOBS, "0 0 8,20 * * ?", "0 0 8,21 * * ?", check_schedule),
        (JOBS, "0 0 22 * * ?", "0 30 22 * * ?", check_schedule),
        (JOBS, "America/Sao_Paulo", "America/Bahia", check_schedule),
        (JOBS, "value: 1800", "value: 3600", check_schedule),
        ("conf/base/parameters/schedule.yml", '"22:00"', '"21:00"', check_schedule),
        ("conf/base/parameters/schedule.yml", "minutes: 30", "minutes: 20", check_schedule),
        (JOBS, "--pipelines=bronze_to_silver", "--pipelines=silver", check_tasks),
        (JOBS, "--env=prod", "--env=production", check_tasks),
        (JOBS, "--params=", "--parameters=", check_tasks),
        (JOBS, "from={{job.parameters.from}}", "since={{job.parameters.from}}", check_tasks),
        (JOBS, "{{job.parameters.to}}", "{{job.parameters.until}}", check_tasks),
        (JOBS, "{name: full,", "{name: fully,", check_tasks),
        (JOBS, "entry_point: capstone-metrics", "entry_point: capstone", check_tasks),
        (JOBS, "package_name: capstone_metrics", "package_name: metrics", check_tasks),
        (BUNDLE, "dist/conf-capstone", "dist/capstone", check_artifacts),
        (BUNDLE, "make package", "make wheel", check_artifacts),
        (JOBS, "../../../dist/*.whl", "../../dist/*.whl", check_artifacts),
        (BUNDLE, "17.3.x-scala2.13", "16.4.x-scala2.12", check_clusters),
        (JOBS, "CAPSTONE_BUCKET", "CAPSTONE_LAKE", check_clusters),
        ("pyproject.toml", "pyspark[connect]~=4.0.0", "pyspark[connect]~=4.1.0", check_clusters),
        (BUNDLE, "level: CAN_RUN", "level: CAN_WALK", check_settings),
        (BUNDLE, "service_principal_name:", "principal_name:", check_settings),
        (BUNDLE, "mode: production", "mode: development", check_settings),
        (BUNDLE, "    permissions:", "    permission:", check_settings),
        (BUNDLE, "  workers:", "  workers_of_a_job:", check_variables),
        (JOBS, "${var.emails}", "[someone@example.org]", check_variables),
    ],
)
def test_a_planted_fault_is_found(
    bundle: Bundle, name: str, old: str, new: str, check: Callable[[Bundle, str], None]
) -> None:
    bundle.replace(name, old, new)

    with pytest.raises(
        (AssertionError, click.UsageError, KeyError, ModuleNotFoundError, TypeError, ValueError)
    ):
        check(bundle, "prod")


def test_a_pipeline_that_was_renamed_is_found(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = register_pipelines()
    renamed["bronze_into_silver"] = renamed.pop("bronze_to_silver")
    monkeypatch.setattr("tests.infra.test_databricks.register_pipelines", lambda: renamed)

    with pytest.raises(AssertionError):
        check_tasks(bundle, "prod")
