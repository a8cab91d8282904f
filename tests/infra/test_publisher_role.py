"""The role of the publisher grants what a publication asks of AWS, and no more."""

from __future__ import annotations

import json
import shutil
import uuid
from contextlib import closing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.serving.embedded import READER
from capstone_metrics.serving.provision import connect, provision
from tests.infra.terraform import Configuration
from tests.support.aws import LOGIN, PUBLISHER, set_password
from tests.support.lakes import BucketLake, line, run_here
from tests.support.project import ROOT
from tests.support.s3_proxy import Faults, Faulty, Request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.serving.embedded import Address
    from tests.support.project import Project

    Need = tuple[str, str]  # an action and its resource
    Statements = Iterable[dict[str, Any]]

PREFIX, SECRET = "publisher-role", "login"
ACTIONS = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}
OLD, DEAD = "20240101T000000.000Z-0000", "20260130T230000.000Z-dead"


def needed(request: Request) -> Need | None:
    """Return the action and the key that a request needs; None if its body names the keys."""
    if request.method == "POST" and request.query == "delete":
        return None
    if request.method == "GET" and "list-type=2" in request.query:
        return "s3:ListBucket", ""
    return ACTIONS[request.method], request.key


def is_allowed(statements: Statements, need: Need | None) -> bool:
    return need is None or any(
        need[0] in statement["actions"]
        and any(fnmatchcase(need[1], pattern) for pattern in statement["resources"])
        for statement in statements
    )


def record(run: str, state: str) -> bytes:
    """Return the record of a run of another machine."""
    begun = f"{run[:4]}-{run[4:6]}-{run[6:8]}T{run[9:11]}:00:00.000+00:00"
    times = dict.fromkeys(("begun", "updated", "ended"), begun)
    process = {"host": "elsewhere", "pid": 1, "started": 1.0}
    return json.dumps({"run": run, "state": state, "process": process, **times}).encode()


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_a_publication_needs_each_action_of_its_role_and_no_other(
    project: Project,
    seaweed: SeaweedFS,
    address: Address,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"local.lake": PREFIX, "aws_s3_bucket.lake.arn": "", LOGIN: SECRET}
    statements = Configuration(ROOT).granted(PUBLISHER, values)
    lake = BucketLake(seaweed.client(), seaweed.bucket, PREFIX)
    database = f"role_{uuid.uuid4().hex}"
    provision(address, database)
    project.ingest_nothing()
    shutil.copy(project.root / "conf/local/parameters_sources.yml", project.root / "conf/s3")
    settings = project.root / "conf/s3/globals.yml"
    settings.write_text(settings.read_text().replace("capstone_s3", database))
    monkeypatch.setenv("CAPSTONE_BUCKET", lake.bucket)
    monkeypatch.setenv("CAPSTONE_PREFIX", lake.prefix)
    lake.add("2026-01-31T08", line(views=5))
    run_here(project, env="s3")
    old, dead = f"operations/runs/{OLD}.json", f"operations/runs/{DEAD}.running.json"
    lake.fill({old: record(OLD, "succeeded"), dead: record(DEAD, "running")})
    before = set(lake.keys())

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", faulty.endpoint)
    monkeypatch.delenv("PGPASSFILE", raising=False)
    faulty.faults = Faults(
        errors=1,
        error=(403, "AccessDenied"),
        only=lambda request: not is_allowed(statements, needed(request)),
    )
    user = f"task_{uuid.uuid4().hex}"
    set_password(address, user, "any")
    login = f"user={user} password=any"  # of a secret, which is no request of S3
    monkeypatch.setenv("CAPSTONE_DSN", f"host={address.host} port={address.port} {login}")
    run_here(project, ["publish_gold"], env="s3")

    assert {request.fate for request in faulty.requests} == {"passed"}
    with closing(connect(address, database, READER)) as reader, reader.cursor() as db:
        db.execute("SELECT total_views FROM serving.gold_video_views_dia_faculdade")
        assert db.fetchall() == [(5,)]
        db.execute("SELECT state, count(*) FROM serving.runs GROUP BY 1 ORDER BY 1")
        assert db.fetchall() == [("killed", 1), ("succeeded", 2)]

    removed = before - set(lake.keys())
    assert removed == {old, dead}
    needs = {
        ("secretsmanager:GetSecretValue", SECRET),
        *map(needed, faulty.requests),
        *(("s3:DeleteObject", f"{PREFIX}/{key}") for key in removed),
    }
    assert all(is_allowed(statements, need) for need in needs)
    for statement in statements:
        for action in statement["actions"]:  # without it, a request would be denied
            rest = [each for each in statement["actions"] if each != action]
            less = [s for s in statements if s is not statement] + [{**statement, "actions": rest}]
            assert not all(is_allowed(less, need) for need in needs), (statement["sid"], action)
    lake.clear()
