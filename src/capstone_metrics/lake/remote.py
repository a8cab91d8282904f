"""DuckDB's way into a bucket: its extension httpfs where there is one, else s3fs."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.on_duckdb import quoted
from capstone_metrics.lake.requests import count_reads, count_requests

if TYPE_CHECKING:
    from capstone_metrics.lake.bucket import Bucket

BLOCK_BYTES = 1 << 23
"""What s3fs fetches by one request: a small object whole."""

_registered: dict[int, Any] = {}
_reached: dict[Bucket, str] = {}

PACKAGED = "duckdb_extension_httpfs"
"""The package that brings httpfs, for one version of DuckDB."""


def reach(connection: duckdb.DuckDBPyConnection, bucket: Bucket, keys: list[str]) -> None:
    """Have a connection read objects of a bucket by their addresses.

    Args:
        connection: of DuckDB.
        bucket: whose credentials and endpoint it takes.
        keys: of the objects, just listed.
    """
    _reached[bucket] = keys[0]
    if _has_httpfs(connection):
        _give_credentials(connection, bucket)
        count_reads(id(connection), partial(_reads, connection))
    else:
        _register_s3fs(connection, bucket, keys)


def refusal() -> CapstoneError | None:
    """What a store refuses now that an engine could not read from it, if it refuses anything.

    It is asked again, for one of the objects: an engine does not say what the store said.
    """
    try:
        for bucket, key in _reached.items():
            bucket.found(key)
    except CapstoneError as error:
        return error
    return None


def _reads(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """The requests that httpfs made since the last time."""
    query = "SELECT request.type, count(*) FROM duckdb_logs_parsed('HTTP') GROUP BY 1"
    found = dict(connection.execute(query).fetchall())
    connection.execute("CALL truncate_duckdb_logs()")
    return found


def _has_httpfs(connection: duckdb.DuckDBPyConnection) -> bool:
    """Load the extension that was installed, or that a package brings; nothing is downloaded."""
    connection.execute("SET autoinstall_known_extensions = false")
    spec = find_spec(PACKAGED)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    packaged = folder.rglob("httpfs.duckdb_extension") if folder else ()
    for extension in ("httpfs", *(quoted(str(path)) for path in packaged)):
        try:
            connection.execute(f"LOAD {extension}")
        except duckdb.Error:
            continue
        return True
    return False


def _give_credentials(connection: duckdb.DuckDBPyConnection, bucket: Bucket) -> None:
    options = {"REGION": bucket.client.meta.region_name or "us-east-1"}
    if found := bucket.credentials():
        options |= {"KEY_ID": found.access_key, "SECRET": found.secret_key}
        options |= {"SESSION_TOKEN": found.token} if found.token else {}
    endpoint = urlsplit(bucket.endpoint or "https:")
    if endpoint.netloc:
        options |= {"ENDPOINT": endpoint.netloc, "URL_STYLE": "path"}
    listed = ", ".join(f"{name} {quoted(value)}" for name, value in options.items())
    is_plain = "" if endpoint.scheme == "https" else ", USE_SSL false"
    try:
        connection.execute(
            f"CREATE OR REPLACE SECRET lake (TYPE s3, {listed}{is_plain});"
            "SET http_retries = 8; SET http_retry_wait_ms = 50; SET http_retry_backoff = 2;"
            "CALL enable_logging('HTTP')"
        )
    except duckdb.Error:  # its text has the credentials
        raise CapstoneError(
            f"{bucket.root}: DuckDB does not take the credentials of this store."
        ) from None


def _register_s3fs(connection: duckdb.DuckDBPyConnection, bucket: Bucket, keys: list[str]) -> None:
    """Register s3fs, and tell it what is known of the objects: else it asks for each many times."""
    files = _file_system(bucket)
    if _registered.get(id(connection)) is not files:
        if connection.filesystem_is_registered(files.protocol[0]):
            connection.unregister_filesystem(files.protocol[0])
        connection.register_filesystem(files)
        _registered[id(connection)] = files
    folders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key in keys:
        listed = bucket.listed(key)
        folders[listed["name"].rpartition("/")[0]].append(listed)
    for folder, entries in folders.items():
        files.dircache[folder] = entries


@cache
def _file_system(bucket: Bucket) -> Any:
    import s3fs  # noqa: PLC0415 - slow to import, and not needed with httpfs

    files = s3fs.S3FileSystem(
        skip_instance_cache=True,
        default_cache_type="blockcache",
        default_block_size=BLOCK_BYTES,
        endpoint_url=bucket.client.meta.endpoint_url,
        client_kwargs={"region_name": bucket.client.meta.region_name},
        # s3fs itself asks five times
        config_kwargs={**bucket.addressing, "retries": {"total_max_attempts": 3}},
    )
    files.connect()
    count_requests(files.s3.meta.events)
    return files
