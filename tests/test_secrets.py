"""What watches a run tells no secret, however much is logged: each is looked for everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml
from infra.s3.seaweed import SeaweedFS

from capstone_metrics.serving import ServingDataset
from tests.conftest import ROOT, Project
from tests.lakes import BucketLake, line
from tests.receiver import Receiver, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "c4nary-of-the-webhook"
S3_KEY = "c4nary's/of+the=store"
API_KEY = "c4nary-of-the-lineage"


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    """Of the alerts, and of the events of OpenLineage."""
    with receiver() as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SeaweedFS]:
    """A server of S3 whose key nobody would say by chance."""
    server = SeaweedFS(tmp_path / "server", secret_key=S3_KEY)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def watched(
    project: Project, store: SeaweedFS, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project in a bucket with one line in Bronze, everything that watches on, at its loudest."""
    loud = yaml.safe_load((ROOT / "conf/logging.yml").read_text())
    for each in (*loud["loggers"].values(), loud["root"]):
        each["level"] = "DEBUG"
    (project.root / "loud.yml").write_text(yaml.safe_dump(loud))
    settings = {
        "kept_days": 400,
        "prometheus_file": str(project.root / "capstone.prom"),
        "openlineage": True,
    }
    project.ingest_nothing()
    (project.root / "conf/local/parameters_sources.yml").rename(
        project.root / "conf/s3/parameters_sources.yml"
    )
    operations = project.root / "conf/s3/parameters_operations.yml"
    operations.write_text(yaml.safe_dump({"operations": settings}))
    for name, value in {
        **store.environment(),
        "CAPSTONE_BUCKET": store.bucket,
        "CAPSTONE_PREFIX": "secrets",
        "CAPSTONE_LOG_FORMAT": "json",
        "CAPSTONE_ALERT_URL": webhook.url(f"/{TOKEN}"),
        "KEDRO_LOGGING_CONFIG": str(project.root / "loud.yml"),
        "OPENLINEAGE_URL": webhook.url(),
        "OPENLINEAGE_API_KEY": API_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    return project


def test_no_secret_is_told(
    watched: Project, store: SeaweedFS, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = BucketLake(store.client(), store.bucket, "secrets")
    lake.add("2026-01-31T08", line())
    address = ServingDataset(
        path=str(watched.root / "data/postgres"), database="capstone_s3", port=0
    ).start()
    password = next(
        text.split(":")[4]
        for text in address.passfile.read_text().splitlines()
        if text.split(":")[3] == "loader"
    )
    address.passfile.unlink()  # the only other place that has it
    said = []
    where = f"{address.host}:{address.port}/capstone_s3"
    for dsn, options, expected in (
        (f"postgresql://loader:{password}x@{where}", [], 1),
        (f"postgresql://loader:{password}@{where}", ["--pipelines=publish_gold"], 0),
    ):
        monkeypatch.setenv("CAPSTONE_DSN", dsn)
        done = watched.kedro("run", "--env=s3", *options, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        said += [done.stdout, done.stderr]

    levels = [json.loads(text)["level"] for text in said[1].splitlines()]
    assert {"DEBUG", "INFO"} <= set(levels)
    assert [path for path in webhook.paths if path == f"/{TOKEN}"]
    assert [path for path in webhook.paths if path.startswith("/api/v1/lineage")]
    told = {f"output {number}": text.encode() for number, text in enumerate(said)}
    told |= {f"request {n}": json.dumps(body).encode() for n, body in enumerate(webhook.bodies)}
    told |= lake.objects() | lake.objects("operations/")
    told |= files(watched.root)
    secrets = [password, S3_KEY, TOKEN, API_KEY]
    found = [(n, s) for n, text in told.items() for s in secrets if s.encode() in text]
    assert found == []
    (watched.root / "note").write_text("".join(secrets))  # a control
    assert all(secret.encode() in files(watched.root)["note"] for secret in secrets)


def files(root: Path) -> dict[str, bytes]:
    """Every file below a folder, but those of the database itself."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "cluster" not in path.parts
    }
