"""Fixtures of a lake in a folder and one in a bucket, and helpers for tests of either.

The `conftest.py` of each folder whose tests need the fixtures imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from capstone_metrics.storage import base, folder, lease
from capstone_metrics.storage.base import md5
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.folder import Folder
from capstone_metrics.storage.staging import staging_prefix
from tests.support.s3_proxy import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from capstone_metrics.storage.base import Storage


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
    assert lake._honours_conditional_copies
    faulty.reset()
    return lake


@pytest.fixture
def bucket(seaweed: SeaweedFS, client: Any) -> Bucket:
    """A lake on a fresh prefix."""
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
    for module in (base, folder, lease):
        monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 0.1)


def another(storage: Storage, kind: type[Storage] | None = None) -> Any:
    """Return the same lake, as another process opens it."""
    lake: Any = (kind or type(storage))(storage.root)  # type: ignore[call-arg]
    if isinstance(storage, Bucket):
        vars(lake)["client"] = storage.client
    return lake


def write(storage: Storage, key: str, content: bytes) -> None:
    """Write an object as a commit does."""
    staged = storage.stage(staging_prefix("test"), content)
    storage.promote({key: staged})
    storage.delete([staged.key])


def matches(storage: Storage, key: str, content: bytes) -> bool:
    """Return whether an object is known to have some bytes."""
    return storage.matches(key, md5(content), len(content))


def in_layers(storage: Storage) -> list[str]:
    """Return the keys of the lake but for those of staged objects and locks."""
    return [key for key in storage.keys("") if not key.startswith("_tmp/")]


def staged_keys(storage: Storage) -> list[str]:
    """Return the keys of the objects that are staged."""
    return [key for key in storage.keys("_tmp") if "~" in key]


def stamp(storage: Storage, key: str) -> object:
    """Return the identity of an object, and when it was written."""
    if isinstance(storage, Bucket):
        head = storage.client.head_object(Bucket=storage.bucket, Key=storage.prefix + key)
        return head["ETag"], head["LastModified"]
    assert isinstance(storage, Folder)
    status = storage.path(key).stat()
    return status.st_ino, status.st_mtime_ns
