"""The jobs of the bundle are valid jobs of Databricks, and run this project by its schedule."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from databricks.bundles.jobs import Job, JobPermission, JobRunAs

from capstone_metrics import cli
from capstone_metrics.packaging import pack_configuration
from capstone_metrics.pipeline_registry import register_pipelines
from tests.infra.planted import Copy, each_fault
from tests.infra.terraform import FOLDER as TERRAFORM
from tests.infra.terraform import Configuration

if TYPE_CHECKING:
    from tests.infra.planted import Check

BUNDLE = "infra/databricks/databricks.yml"
JOBS = "infra/databricks/resources/jobs.yml"
SCHEDULE = "conf/base/parameters/schedule.yml"
LAYERS = {"ingest_bronze": "bronze", "bronze_to_silver": "silver", "silver_to_gold": "gold"}
GIVEN = {  # by whoever deploys
    "bucket": "a-bucket",
    "instance_profile_arn": "arn:aws:iam::123456789012:instance-profile/lake",
    "service_principal": "00000000-0000-0000-0000-000000000000",
}
SETTINGS = {  # that a bundle and a target know, as far as this one has them
    *("bundle", "include", "artifacts", "sync", "variables", "targets", "resources"),
    *("mode", "default", "workspace", "run_as", "permissions"),
}
LEVELS = {"CAN_VIEW", "CAN_RUN", "CAN_MANAGE"}  # that a whole bundle knows
RUNTIMES = {"17.3.x-scala2.13": ("4.0.0", "3.12.3")}  # its Spark and its Python
REFERENCE = re.compile(r"\$\{([\w.]+)\}")
PARAMETER = re.compile(r"\{\{job\.parameters\.(\w+)\}\}")


class Bundle(Copy):
    """The bundle, and its values for a target."""

    def resolved(self, target: str) -> dict[str, Any]:
        """Return the bundle as it is deployed to a target."""
        bundle = self.read(BUNDLE)
        folder = (self.root / BUNDLE).parent
        included = [path for glob in bundle["include"] for path in folder.glob(glob)]
        assert included == [self.root / JOBS]
        bundle |= self.read(JOBS)
        chosen = bundle.pop("targets")[target]
        variables = bundle["variables"].items()
        values = {name: body["default"] for name, body in variables if "default" in body}
        values |= {**GIVEN, **chosen.pop("variables")}
        known = {f"var.{name}": value for name, value in values.items()} | {
            "bundle.name": bundle["bundle"]["name"],
            "bundle.target": target,
            "workspace.current_user.short_name": "someone",
            "workspace.file_path": str(self.root),
        }
        resolved: dict[str, Any] = _resolve({**bundle, **chosen}, known)
        return resolved

    def jobs(self, target: str) -> list[dict[str, Any]]:
        """Return the jobs of a target."""
        return list(self.resolved(target)["resources"]["jobs"].values())


def _resolve(value: Any, known: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _resolve(each, known) for name, each in value.items()}
    if isinstance(value, list):
        return [_resolve(each, known) for each in value]
    if not isinstance(value, str):
        return value
    if reference := REFERENCE.fullmatch(value):
        target = known[reference[1]]
        return _resolve(target, known) if isinstance(target, str) else target
    return REFERENCE.sub(lambda match: str(_resolve(known[match[1]], known)), value)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    bundle = Bundle.of(tmp_path, "infra/databricks", "conf", "pyproject.toml", "Makefile")
    (tmp_path / "dist").mkdir()
    for name in ("capstone_metrics-0.1.0-py3-none-any.whl", "requirements.txt"):
        (tmp_path / "dist" / name).touch()
    pack_configuration(tmp_path / "conf", tmp_path / "dist/conf-capstone_metrics.tar.gz")
    return bundle


def options(task: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a task, as the command line parses its parameters."""
    words = [PARAMETER.sub(r"the \1", word) for word in task["python_wheel_task"]["parameters"]]
    return cli.run.make_context("task", words).params


def check_settings(bundle: Bundle, target: str) -> None:
    settings = bundle.resolved(target)
    assert not {*settings, *bundle.read(BUNDLE)["targets"][target]} - SETTINGS
    for permission in settings.get("permissions", ()):
        JobPermission.from_dict({**permission, "level": "CAN_MANAGE"})
        assert permission["level"] in LEVELS
    JobRunAs.from_dict(settings.get("run_as", {}))
    assert settings["mode"] == {"dev": "development", "prod": "production"}[target]
    if target == "prod":
        assert settings["run_as"] == {"service_principal_name": GIVEN["service_principal"]}
        home = f"/Workspace/Users/{GIVEN['service_principal']}/"
        assert settings["workspace"]["root_path"].startswith(home)
        prefix = bundle.read(BUNDLE)["targets"][target]["variables"]["prefix"]
        assert prefix == Configuration.of(bundle.root, TERRAFORM).values(target)["lake_prefix"]
    text = "".join((bundle.root / name).read_text() for name in (BUNDLE, JOBS))
    assert not re.search(r"AKIA|dapi|[\w.]+@\w|https?://|\b\d{12}\b", text)


def check_jobs(bundle: Bundle, target: str) -> None:
    for settings in bundle.jobs(target):
        job = Job.from_dict(settings)
        assert (job.max_concurrent_runs, settings["queue"]) == (1, {"enabled": True})
        clusters = {each["job_cluster_key"] for each in settings["job_clusters"]}
        for task, before in zip(settings["tasks"], [None, *settings["tasks"]], strict=False):
            assert task["job_cluster_key"] in clusters
            assert task["max_retries"] > 0
            after = [{"task_key": before["task_key"]}] if before else []
            assert task.get("depends_on", []) == after


def check_schedule(bundle: Bundle, target: str) -> None:
    schedule = bundle.read(SCHEDULE)["schedule"]
    layers = {"publication": schedule["layers"]["publication"]}  # which another service starts
    for job in bundle.jobs(target):
        second, minute, hours, *days = job["schedule"]["quartz_cron_expression"].split()
        assert (second, days) == ("0", ["*", "*", "?"])
        assert job["schedule"]["timezone_id"] == schedule["timezone"]
        starts = [f"{int(hour):02}:{int(minute):02}" for hour in hours.split(",")]
        (rule,) = job["health"]["rules"]
        assert (rule["metric"], rule["op"]) == ("RUN_DURATION_SECONDS", "GREATER_THAN")
        for task in job["tasks"]:
            (pipeline,) = options(task)["pipelines"]
            assert LAYERS[pipeline] not in layers
            layers[LAYERS[pipeline]] = {"starts": starts, "minutes": rule["value"] / 60}
        assert job["timeout_seconds"] > rule["value"]
    assert layers == schedule["layers"]


def check_tasks(bundle: Bundle, target: str) -> None:
    declared = bundle.read("conf/base/parameters/run.yml")
    for job in bundle.jobs(target):
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
            params = given["params"]
            assert params == {name: f"the {name}" for name in params}
            assert set(params) == {each["name"] for each in job["parameters"]} <= set(declared)
            assert {each["default"] for each in job["parameters"]} == {"null"}


def check_artifacts(bundle: Bundle, target: str) -> None:
    settings, folder = bundle.resolved(target), (bundle.root / BUNDLE).parent
    (artifact,) = settings["artifacts"].values()
    assert (folder / artifact["path"]).resolve() == bundle.root
    make, goal = shlex.split(artifact["build"])
    assert make == "make"
    assert re.search(rf"^{goal}:", (bundle.root / "Makefile").read_text(), re.MULTILINE)
    synced = {(folder / name).resolve() for name in settings["sync"]["include"]}
    paths = [(folder / name).resolve() for name in settings["sync"]["paths"]]
    assert all(paths[0] in file.parents for file in synced)
    for task in (task for job in bundle.jobs(target) for task in job["tasks"]):
        requirements, wheel = (next(iter(each.values())) for each in task["libraries"])
        assert list((bundle.root / JOBS).parent.glob(wheel))
        assert synced == {Path(requirements), Path(options(task)["conf_source"])}


def check_clusters(bundle: Bundle, target: str) -> None:
    project = tomllib.loads((bundle.root / "pyproject.toml").read_text())["project"]
    (pyspark,) = (need for need in project["optional-dependencies"]["spark"] if "pyspark" in need)
    configuration = (bundle.root / "conf/prod/globals.yml").read_text()
    variables = set(re.findall(r"oc\.env:(\w+)", configuration))
    for job in bundle.jobs(target):
        (cluster,) = (each["new_cluster"] for each in job["job_clusters"])
        spark, python = RUNTIMES[cluster["spark_version"]]
        assert f"~={spark}" in pyspark
        assert project["requires-python"] == ">=3.11"
        assert tuple(map(int, python.split("."))) >= (3, 11)
        assert set(cluster["spark_env_vars"]) | {"AWS_ENDPOINT_URL_S3"} == variables
        assert cluster["aws_attributes"]["instance_profile_arn"] == GIVEN["instance_profile_arn"]


FAULTS = {
    check_settings: [
        (BUNDLE, "level: CAN_RUN", "level: CAN_WALK"),
        (BUNDLE, "service_principal_name:", "principal_name:"),
        (BUNDLE, "mode: production", "mode: development"),
        (BUNDLE, "    permissions:", "    permission:"),
        (BUNDLE, "prefix: capstone-prod", "prefix: capstone"),
        (JOBS, "${var.emails}", "[someone@example.org]"),
    ],
    check_jobs: [
        (JOBS, "max_retries:", "max_retry:"),
        (JOBS, "SINGLE_USER", "ONE_USER"),
        (JOBS, "${var.workers}", "${var.worker}"),
        (JOBS, "[{task_key: ingest_bronze}]", "[{task_key: ingest}]"),
    ],
    check_schedule: [
        (JOBS, "0 0 8,20 * * ?", "0 0 8,21 * * ?"),
        (JOBS, "America/Sao_Paulo", "America/Bahia"),
        (JOBS, "value: 1800", "value: 3600"),
        (SCHEDULE, '"22:00"', '"21:00"'),
    ],
    check_tasks: [
        (JOBS, "--pipelines=bronze_to_silver", "--pipelines=silver"),
        (JOBS, "--env=prod", "--env=production"),
        (JOBS, "--params=", "--parameters="),
        (JOBS, "from={{job.parameters.from}}", "since={{job.parameters.from}}"),
        (JOBS, "{name: full,", "{name: fully,"),
        (JOBS, "entry_point: capstone-metrics", "entry_point: capstone"),
    ],
    check_artifacts: [
        (BUNDLE, "dist/conf-capstone", "dist/capstone"),
        (BUNDLE, "make package", "make wheel"),
        (JOBS, "../../../dist/*.whl", "../../dist/*.whl"),
    ],
    check_clusters: [
        (BUNDLE, "17.3.x-scala2.13", "16.4.x-scala2.12"),
        (JOBS, "CAPSTONE_BUCKET", "CAPSTONE_LAKE"),
        ("pyproject.toml", "pyspark[connect]~=4.0.0", "pyspark[connect]~=4.1.0"),
    ],
}
ERRORS = (AssertionError, click.UsageError, KeyError, TypeError, ValueError)


@pytest.mark.parametrize("target", ["dev", "prod"])
def test_the_bundle_is_sound(bundle: Bundle, target: str) -> None:
    for check in FAULTS:
        check(bundle, target)


@each_fault(FAULTS)
def test_a_planted_fault_is_noticed(
    bundle: Bundle, check: Check, name: str, old: str, new: str
) -> None:
    bundle.replace(name, old, new)

    with pytest.raises(ERRORS):
        check(bundle, "prod")


def test_a_renamed_pipeline_is_noticed(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    renamed = register_pipelines()
    renamed["bronze_into_silver"] = renamed.pop("bronze_to_silver")
    monkeypatch.setattr("tests.infra.test_databricks.register_pipelines", lambda: renamed)

    with pytest.raises(AssertionError):
        check_tasks(bundle, "prod")
