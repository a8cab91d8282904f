"""No log, error, record, request or file has a secret, however much is logged."""

from __future__ import annotations

import json
import logging
import sys
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import yaml
from kedro.framework.project import LOGGING

from capstone_metrics.operations.listeners.logs import json_logs
from capstone_metrics.serving.provision import provision
from tests.support.aws import set_password
from tests.support.lakes import BucketLake, line
from tests.support.project import ROOT
from tests.support.webhook import Receiver, receiver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.serving.embedded import Address
    from tests.support.project import Project

PASSWORD = "c4nary-of-the-database"
TOKEN = "c4nary-of-the-webhook"
API_KEY = "c4nary-of-the-lineage"


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    """The receiver of alerts and of the events of OpenLineage."""
    with receiver() as hook:
        yield hook


@pytest.fixture
def watched(
    project: Project, seaweed: SeaweedFS, webhook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """A project on a bucket whose runs have every listener."""
    settings = {
        "kept_days": 400,
        "prometheus_file": str(project.root / "capstone.prom"),
        "listeners": ["openlineage"],
    }
    sources = project.parameters("sources.yml")
    sources["sources"]["faker"] |= {"channels": [], "history_days": 1}
    for name, changes in (("sources", sources), ("operations", {"operations": settings})):
        path = project.root / f"conf/s3/parameters_{name}.yml"
        path.write_text(yaml.safe_dump(changes))
    for name, value in {
        "CAPSTONE_BUCKET": seaweed.bucket,
        "CAPSTONE_PREFIX": "secrets",
        "CAPSTONE_LOG_FORMAT": "json",
        "CAPSTONE_ALERT_URL": webhook.url(f"/{TOKEN}"),
        "OPENLINEAGE_URL": webhook.url(),
        "OPENLINEAGE_API_KEY": API_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    return project


@contextmanager
def every_log() -> Iterator[None]:
    """Log everything, as a file of KEDRO_LOGGING_CONFIG has a process do from its start."""
    before, handlers, hook = dict(LOGGING.data), logging.getLogger().handlers[:], sys.excepthook
    loud = yaml.safe_load((ROOT / "conf/logging.yml").read_text())
    for each in (*loud["loggers"].values(), loud["root"]):
        each["level"] = "DEBUG"
    LOGGING.configure(loud)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEDRO_LOGGING_CONFIG", "as it is")  # no command configures it again
            yield
    finally:
        LOGGING.configure(before)
        logging.getLogger().handlers[:] = handlers
        sys.excepthook, json_logs.run = hook, None


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_no_secret_is_written(
    watched: Project,
    seaweed: SeaweedFS,
    webhook: Receiver,
    address: Address,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = BucketLake(seaweed.client(), seaweed.bucket, "secrets")
    lake.add("2026-01-31T08", line())
    user, database = f"task_{uuid.uuid4().hex}", f"secrets_{uuid.uuid4().hex}"
    provision(address, database)
    set_password(address, user, PASSWORD)
    settings = watched.root / "conf/s3/globals.yml"
    settings.write_text(settings.read_text().replace("capstone_s3", database))
    outputs = []
    server = f"{address.host}:{address.port}/{database}"
    for dsn, options, expected in (
        (f"postgresql://{user}:{PASSWORD}x@{server}", [], 1),
        (f"postgresql://{user}:{PASSWORD}@{server}", ["--pipelines=publish_gold"], 0),
    ):
        monkeypatch.setenv("CAPSTONE_DSN", dsn)
        with every_log():
            done = watched.kedro("run", "--env=s3", *options, check=False)
        assert done.returncode == expected, done.stdout + done.stderr
        outputs += [done.stdout, done.stderr]

    levels = [json.loads(text)["level"] for text in outputs[1].splitlines()]
    assert {"DEBUG", "INFO"} <= set(levels)
    assert [path for path in webhook.paths if path == f"/{TOKEN}"]
    assert [path for path in webhook.paths if path.startswith("/api/v1/lineage")]
    texts = {f"output {number}": text.encode() for number, text in enumerate(outputs)}
    texts |= {f"request {n}": json.dumps(body).encode() for n, body in enumerate(webhook.bodies)}
    texts |= lake.objects() | lake.objects("operations/") | files(watched.root)
    secrets = [PASSWORD, seaweed.secret_key, TOKEN, API_KEY]
    assert [(n, s) for n, text in texts.items() for s in secrets if s.encode() in text] == []
    (watched.root / "note").write_text("".join(secrets))  # a control
    assert all(secret.encode() in files(watched.root)["note"] for secret in secrets)
    lake.clear()


def files(root: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
