"""A lake in a folder and one in a bucket, and helpers for tests of either."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from capstone_metrics.lake import folder, lease
from capstone_metrics.lake import storage as storages
from capstone_metrics.lake.bucket import Bucket
from capstone_metrics.lake.folder import Folder
from capstone_metrics.lake.storage import StagedObject
from tests.support.s3_proxy import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.lake.storage import Storage


@pytest.fixture(scope="session")
def client(seaweed: SeaweedFS) -> Any:
    """The client of all lakes in the bucket: it takes long to create, and knows none of them."""
    return Bucket(f"s3://{seaweed.bucket}", endpoint_url=seaweed.endpoint).client


@pytest.fixture(scope="session")
def lake_proxy(seaweed: SeaweedFS) -> Iterator[Faulty]:
    """A proxy before the server, for all tests of the lake."""
    proxy = Faulty(seaweed.endpoint)
    proxy.start()
    yield proxy
    proxy.stop()


@pytest.fixture(scope="session")
def proxied_client(seaweed: SeaweedFS, lake_proxy: Faulty) -> Any:
    """The client of a lake behind the proxy."""
    return Bucket(f"s3://{seaweed.bucket}", endpoint_url=lake_proxy.endpoint).client


@pytest.fixture
def faulty(lake_proxy: Faulty) -> Iterator[Faulty]:
    """The proxy, which passes everything on until a test has it fail."""
    lake_proxy.reset()
    yield lake_proxy
    lake_proxy.reset()


@pytest.fixture
def proxied(bucket: Bucket, faulty: Faulty, proxied_client: Any) -> Bucket:
    """The lake behind the proxy, whose conditions are known to hold."""
    lake = Bucket(bucket.root, endpoint_url=faulty.endpoint)
    vars(lake)["client"] = proxied_client
    lake.check_conditions()
    return lake


@pytest.fixture
def bucket(
    seaweed: SeaweedFS, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Bucket:
    """A lake on a fresh prefix, which stages in a folder of the test's own."""
    staging = tmp_path / "staging"
    staging.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(staging))
    monkeypatch.setenv("TMPDIR", str(staging))
    lake = Bucket(f"s3://{seaweed.bucket}/{uuid4().hex}/lake", endpoint_url=seaweed.endpoint)
    vars(lake)["client"] = client
    return lake


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """An empty lake, in a folder and in a bucket."""
    if request.param == "folder":
        return Folder(tmp_path / "lake")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that wait for one another a tenth of a second, and no longer."""
    for module in (storages, folder, lease):
        monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 0.1)


def another(storage: Storage, kind: type[Storage] | None = None) -> Any:
    """Return the same lake, as another process opens it."""
    lake: Any = (kind or type(storage))(storage.root)  # type: ignore[call-arg]
    if isinstance(storage, Bucket):
        vars(lake)["client"] = storage.client
    return lake


def write(storage: Storage, key: str, content: bytes) -> None:
    """Write an object as a commit does."""
    workspace = storage.workspace("test")
    (workspace / "object").write_bytes(content)
    storage.put({key: workspace / "object"})
    storage.discard(workspace)


def stage_remotely(storage: Storage, workspace: Path, key: str, content: bytes) -> StagedObject:
    """Stage an object as a worker does, which has nothing but its path."""
    staged_key = f"{storage.stage_remotely(workspace)}/{key}"
    return StagedObject(staged_key, another(storage).overwrite(staged_key, content), len(content))


def stamp(storage: Storage, key: str) -> object:
    """Return the identity of an object, and when it was written."""
    if isinstance(storage, Bucket):
        head = storage.client.head_object(Bucket=storage.bucket, Key=storage.prefix + key)
        return head["ETag"], head["LastModified"]
    assert isinstance(storage, Folder)
    status = storage.path(key).stat()
    return status.st_ino, status.st_mtime_ns
