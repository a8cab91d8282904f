"""A lake in a folder and one in a bucket, and what tests of either do with it."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from capstone_metrics.lake import folder, lease
from capstone_metrics.lake import storage as storages
from capstone_metrics.lake.bucket import Bucket
from capstone_metrics.lake.folder import Folder
from capstone_metrics.lake.storage import Shared

if TYPE_CHECKING:
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.lake.storage import Storage


@pytest.fixture(scope="session")
def client(seaweed: SeaweedFS) -> Any:
    """That of a lake in a bucket. It takes long to make, and knows nothing of a lake."""
    return Bucket(f"s3://{seaweed.bucket}", endpoint_url=seaweed.endpoint).client


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
    """An empty lake, in each of the places where one can be."""
    if request.param == "folder":
        return Folder(tmp_path / "lake")
    bucket: Bucket = request.getfixturevalue("bucket")
    return bucket


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that do not wait for long for one another."""
    for module in (storages, folder, lease):
        monkeypatch.setattr(module, "SECONDS_TO_WAIT", 0.1)


def another(storage: Storage, kind: type[Storage] | None = None) -> Any:
    """The same lake, as another process finds it."""
    lake: Any = (kind or type(storage))(storage.root)  # type: ignore[call-arg]
    if isinstance(storage, Bucket):
        vars(lake)["client"] = storage.client
    return lake


def write(storage: Storage, key: str, content: bytes) -> None:
    """Put an object into place as a commit does."""
    workspace = storage.workspace("test")
    (workspace / "object").write_bytes(content)
    storage.put({key: workspace / "object"})
    storage.discard(workspace)


def share(storage: Storage, workspace: Path, key: str, content: bytes) -> Shared:
    """Stage an object as a worker does, who knows nothing but where."""
    place = f"{storage.share(workspace)}/{key}"
    return Shared(place, another(storage).overwrite(place, content), len(content))


def stamp(storage: Storage, key: str) -> object:
    """Which object it is, and when it was written."""
    if isinstance(storage, Bucket):
        found = storage.client.head_object(Bucket=storage.bucket, Key=storage.prefix + key)
        return found["ETag"], found["LastModified"]
    assert isinstance(storage, Folder)
    status = storage.path(key).stat()
    return status.st_ino, status.st_mtime_ns
