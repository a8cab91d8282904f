"""What the publisher's role may do is what a publication asks of the lake: all of it, no more."""

from __future__ import annotations

import json
import re
import shutil
import uuid
from contextlib import closing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.embedded import READER
from capstone_metrics.serving.provision import connect, provision
from tests.aws import LOGIN, PUBLISHER, secrets_manager
from tests.conftest import ROOT
from tests.infra.terraform import Configuration
from tests.lakes import BucketLake, line, run_here
from tests.s3 import Faults, Faulty, Request
from tests.serving.test_secret import CANARY, of, set_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.serving.embedded import Address
    from tests.conftest import Project

PREFIX = "publisher-role"
ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}
DELETED = "s3:DeleteObject"
SECRET = "login"
LOGS_IN = ("secretsmanager:GetSecretValue", SECRET)
OLD, DEAD = "20240101T000000.000Z-0000", "20260130T230000.000Z-dead"


@pytest.fixture
def proxy(seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A proxy before the store, to which the environment points."""
    proxy = Faulty(seaweed.endpoint)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture
def statements() -> list[dict[str, Any]]:
    """Of the publisher's role, with the lake of this module in the place of the real one."""
    values = {"local.lake": PREFIX, "aws_s3_bucket.lake.arn": "", LOGIN: SECRET}
    return Configuration(ROOT).granted(PUBLISHER, values)


def needed(request: Request) -> tuple[str, str] | None:
    """The action that a request needs, and on which key; None if its body names the keys."""
    if request.method == "POST" and request.query == "delete":
        return None
    if request.method == "GET" and "list-type=2" in request.query:
        return "s3:ListBucket", ""
    return ACTIONS[request.method], request.key


def is_allowed(statements: Iterable[dict[str, Any]], need: tuple[str, str] | None) -> bool:
    return need is None or any(
        need[0] in statement["actions"]
        and any(fnmatchcase(need[1], pattern) for pattern in statement["resources"])
        for statement in statements
    )


def record(run: str, state: str) -> bytes:
    """What a run of another machine left, or leaves if it was killed."""
    begun = f"{run[:4]}-{run[4:6]}-{run[6:8]}T{run[9:11]}:00:00.000+00:00"
    times = dict.fromkeys(("begun", "updated", "ended"), begun)
    process = {"host": "elsewhere", "pid": 1, "started": 1.0}
    return json.dumps({"run": run, "state": state, "process": process, **times}).encode()


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_a_publication_asks_for_all_that_its_role_may_and_no_more(  # noqa: PLR0913, PLR0917
    project: Project,
    seaweed: SeaweedFS,
    address: Address,
    proxy: Faulty,
    statements: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lake = BucketLake(seaweed.client(), seaweed.bucket, PREFIX)
    database = f"role_{uuid.uuid4().hex}"
    provision(address, database)
    project.ingest_nothing()
    shutil.copy(project.root / "conf/local/parameters_sources.yml", project.root / "conf/s3")
    said = project.root / "conf/s3/globals.yml"
    said.write_text(re.sub(r"(?m)^database: .*$", f"database: {database}", said.read_text()))
    monkeypatch.setenv("CAPSTONE_BUCKET", lake.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", lake.prefix)
    lake.add("2026-01-31T08", line(views=5))
    run_here(project, env="s3")
    old, dead = f"operations/runs/{OLD}.json", f"operations/runs/{DEAD}.running.json"
    lake.fill({old: record(OLD, "succeeded"), dead: record(DEAD, "running")})
    before = set(lake.keys())

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    user = f"task_{uuid.uuid4().hex}"
    set_password(address, user, CANARY)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    monkeypatch.setenv("CAPSTONE_DSN", f"host={address.host} port={address.port}")
    proxy.faults = Faults(
        errors=1,
        error=(403, "AccessDenied"),
        only=lambda request: not is_allowed(statements, needed(request)),
    )
    with secrets_manager() as secrets:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", secrets.endpoint)
        monkeypatch.setenv("CAPSTONE_DSN_SECRET", secrets.keep(user, of(user, CANARY)))
        run_here(project, ["publish_gold"], env="s3")

    assert {request.fate for request in proxy.requests} == {"passed"}
    with closing(connect(address, database, READER)) as reader, reader.cursor() as db:
        db.execute("SELECT total_views FROM serving.gold_video_views_dia_faculdade")
        assert db.fetchall() == [(5,)]
        db.execute("SELECT state, count(*) FROM serving.runs GROUP BY 1 ORDER BY 1")
        assert db.fetchall() == [("killed", 1), ("succeeded", 2)]

    # each statement is one without which something would have been refused
    gone = before - set(lake.keys())
    assert gone == {old, dead}
    needs = {LOGS_IN, *map(needed, proxy.requests), *((DELETED, f"{PREFIX}/{key}") for key in gone)}
    assert all(is_allowed(statements, need) for need in needs)
    for statement in statements:
        for action in statement["actions"]:
            less = [
                {
                    **each,
                    "actions": [a for a in each["actions"] if (a, each) != (action, statement)],
                }
                for each in statements
            ]
            assert not all(is_allowed(less, need) for need in needs), (statement["sid"], action)
    lake.clear()
