"""Access of DuckDB to a bucket: by its extension httpfs where that can, else by s3fs."""

from __future__ import annotations

from collections import defaultdict
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import duckdb

from capstone_metrics.engines.sql import sql_literal
from capstone_metrics.errors import CapstoneError, EngineError, StorageError
from capstone_metrics.storage.place import has_proxy
from capstone_metrics.storage.request_counter import count_engine_requests, count_requests

if TYPE_CHECKING:
    from capstone_metrics.storage.bucket import Bucket

BLOCK_BYTES = 1 << 23
"""How many bytes s3fs fetches by one request: a small object needs only one."""

_registered_s3fs: dict[int, Any] = {}
"""The s3fs that each connection of DuckDB has, by the identity of the connection."""

HTTPFS_PACKAGE = "duckdb_extension_httpfs"
"""The package with httpfs for one version of DuckDB."""


def enable_reads(connection: duckdb.DuckDBPyConnection, bucket: Bucket, keys: list[str]) -> None:
    """Enable a connection to read objects of a bucket by their addresses.

    Args:
        connection: a connection of DuckDB.
        bucket: the bucket, with its credentials and endpoint.
        keys: the keys of the objects; the bucket has just listed them.
    """
    if _is_reached_by_httpfs(bucket) and _load_httpfs(connection):
        _configure_httpfs(connection, bucket)
        count_engine_requests(id(connection), partial(_take_request_counts, connection))
    else:
        _register_s3fs(connection, bucket, keys)


def _is_reached_by_httpfs(bucket: Bucket) -> bool:
    """Return whether httpfs goes where boto3 goes, else s3fs does.

    It knows neither the proxies of boto3, nor a store below a path, nor a folder of certificates,
    and it goes to AWS by its usual host where the name of another one begins alike.
    """
    place = bucket.place
    is_renamed = place.host.startswith("s3.dualstack.")
    has_file = Path(bucket.certificates).is_file()
    return has_file and not (is_renamed or place.folder or has_proxy())


def find_store_error(
    bucket: Bucket, versions: dict[str, str], reported: str
) -> CapstoneError | None:
    """Return why objects could not be read; None if they were changed meanwhile.

    Args:
        bucket: the bucket.
        versions: the version of each object, as it was when it was given to DuckDB.
        reported: what DuckDB said.
    """
    try:
        named = unquote(reported)
        key = next((key for key in versions if key in named), next(reversed(versions)))
        _, version = bucket.read_if_exists(key)
        if not version or not bucket.is_unchanged(versions):
            return None
    except CapstoneError as error:
        return error
    return EngineError(
        f"{bucket.root}: DuckDB could not read an object that the store gives to this program and "
        f"that no other run changed ({reported}); run again, and if that fails too, rebuild the "
        "lake from Bronze: kedro run --params=full=true."
    )


def _take_request_counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Return the number of requests of httpfs by method since the last call, and clear its log."""
    query = "SELECT request.type, count(*) FROM duckdb_logs_parsed('HTTP') GROUP BY 1"
    counts = dict(connection.execute(query).fetchall())
    connection.execute("CALL truncate_duckdb_logs()")
    return counts


def _load_httpfs(connection: duckdb.DuckDBPyConnection) -> bool:
    """Load httpfs if it is installed or packaged, and return whether it was; never download it."""
    connection.execute("SET autoinstall_known_extensions = false")
    spec = find_spec(HTTPFS_PACKAGE)
    folder = Path(spec.origin).parent if spec and spec.origin else None
    packaged = folder.rglob("httpfs.duckdb_extension") if folder else ()
    for extension in ("httpfs", *(sql_literal(str(path)) for path in packaged)):
        try:
            connection.execute(f"LOAD {extension}")
        except duckdb.Error:
            continue
        return True
    return False


def _configure_httpfs(connection: duckdb.DuckDBPyConnection, bucket: Bucket) -> None:
    """Have httpfs go where boto3 goes, check the store no less, and log its requests."""
    place = bucket.place
    options = {
        "REGION": place.region or "us-east-1",
        "ENDPOINT": place.host,
        "URL_STYLE": "path" if place.is_path_style else "vhost",
    }
    if credentials := bucket.credentials():
        options |= {"KEY_ID": credentials.access_key, "SECRET": credentials.secret_key}
        options |= {"SESSION_TOKEN": credentials.token} if credentials.token else {}
    assignments = ", ".join(f"{name} {sql_literal(value)}" for name, value in options.items())
    disable_tls = "" if place.scheme == "https" else ", USE_SSL false"
    try:
        connection.execute(
            f"CREATE OR REPLACE SECRET lake (TYPE s3, {assignments}{disable_tls});"
            "SET enable_server_cert_verification = true;"  # of either of its clients of HTTP
            "SET enable_curl_server_cert_verification = true;"
            f"SET ca_cert_file = {sql_literal(bucket.certificates)};"
            "SET http_retries = 8; SET http_retry_wait_ms = 50; SET http_retry_backoff = 2;"
            "CALL enable_logging('HTTP')"
        )
    except duckdb.Error:  # its message has the credentials
        raise StorageError(
            f"{bucket.root}: DuckDB rejects the credentials of this store; correct them and run "
            "again."
        ) from None


def _register_s3fs(connection: duckdb.DuckDBPyConnection, bucket: Bucket, keys: list[str]) -> None:
    """Register s3fs and fill its listing cache: otherwise it requests each object many times."""
    file_system = _create_s3fs(bucket)
    if _registered_s3fs.get(id(connection)) is not file_system:
        if connection.filesystem_is_registered(file_system.protocol[0]):
            connection.unregister_filesystem(file_system.protocol[0])
        connection.register_filesystem(file_system)
        _registered_s3fs[id(connection)] = file_system
    folders: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for key in keys:
        entry = bucket.listing_entry(key)
        folders[entry["name"].rpartition("/")[0]].append(entry)
    for folder, entries in folders.items():
        file_system.dircache[folder] = entries


@cache
def _create_s3fs(bucket: Bucket) -> Any:
    import s3fs  # noqa: PLC0415 - slow to import, and not needed with httpfs

    file_system = s3fs.S3FileSystem(
        skip_instance_cache=True,
        default_cache_type="blockcache",
        default_block_size=BLOCK_BYTES,
        endpoint_url=bucket.client.meta.endpoint_url,
        client_kwargs={"region_name": bucket.client.meta.region_name},
        # s3fs repeats each of these up to five times
        config_kwargs={**bucket.addressing, "retries": {"total_max_attempts": 3}},
    )
    file_system.connect()
    count_requests(file_system.s3.meta.events)
    return file_system
