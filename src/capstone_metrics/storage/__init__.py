"""Storage of a lake: the objects of a folder or a bucket, and a lock."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from capstone_metrics.storage.folder import Folder

if TYPE_CHECKING:
    from capstone_metrics.storage.base import Storage


def storage_of(location: str | Mapping[str, Any]) -> Storage:
    """Return the storage of a lake in a folder or a bucket.

    Args:
        location: a path; `s3://<bucket>/<prefix>`; or a mapping with the latter as `url`, a
            `region` and an `endpoint_url`, where null means the environment's default.
    """
    config = dict(location) if isinstance(location, Mapping) else {"url": str(location)}
    return _storage(**{name: config.get(name) for name in ("url", "region", "endpoint_url")})


@cache
def _storage(url: str, region: str | None, endpoint_url: str | None) -> Storage:
    """Return this process's one storage of a lake, so that known object versions are shared."""
    if url.startswith("s3://"):
        from capstone_metrics.storage.bucket import Bucket  # noqa: PLC0415 - boto3 is slow to import

        return Bucket(url, region, endpoint_url)
    return Folder(url)
