"""A lake in a bucket of S3, or of an S3-compatible store that honours conditional writes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import socket
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import boto3
import psutil
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake.lease import Lease
from capstone_metrics.lake.request_counter import count_requests
from capstone_metrics.lake.s3_errors import error_code, error_message
from capstone_metrics.lake.storage import (
    LOCAL_PREFIX,
    SINGLE_OBJECT,
    TEMPORARY,
    Storage,
    check_key,
    dead_local_workspaces,
    new_workspace,
    translate_os_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from capstone_metrics.lake.storage import StagedObject

T = TypeVar("T")

MAX_CONCURRENT_REQUESTS = 16
"""How many requests are made concurrently."""

MAX_ATTEMPTS = 6
"""How often a request is tried before its error is raised."""

SPOOL_BYTES = 1 << 26
"""Bytes of an object that are buffered in memory; a larger one goes to a temporary file."""

ABANDONED_HOURS = 24
"""After this time staged objects are swept, though their writer may live on another machine."""

MAX_REQUEST_BYTES = 5 << 30
"""The limit of a single request; a multipart upload cannot be conditional."""

KEYS_PER_DELETE = 1000
"""How many objects one request can delete."""

PROBE_KEY = f"{TEMPORARY}/conditional-writes"
"""The object with which conditional writes are tested."""

UNUSED_VERSION = f'"{"0" * 32}"'

CONFLICT_CODES = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
MISSING_CODES = {"NoSuchKey", "404"}


class Bucket(Storage):
    """A bucket whose objects are written by conditional requests, one for each object.

    The staged files of a commit are persisted as one archive in `_tmp`, so that a later run can
    finish the commit of a dead one. The version of an object is its ETag: a write names the
    version that it replaces.
    """

    is_remote = True

    def __init__(
        self, url: str, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self.root = url.rstrip("/")
        self.bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        self.prefix = f"{prefix}/" if prefix else ""
        if set(prefix) & set("*?["):
            raise CapstoneError(
                f"{self.root}: must not contain * ? or [, which engines read as patterns; "
                "correct 'lake' in globals.yml."
            )
        self.region, self.endpoint_url = region, endpoint_url
        self._versions: dict[str, str] = {}
        self._listing: dict[str, dict[str, Any]] = {}
        self._archives: dict[Path, str] = {}
        self._staging_prefixes: dict[Path, str] = {}
        self._leases: dict[str, Lease] = {}

    @cached_property
    def _session(self) -> Any:
        return boto3.Session()

    @cached_property
    def client(self) -> Any:
        """A boto3 client, with the credentials of the usual AWS chain."""
        with self.translate_errors(""):
            try:
                client = self._session.client(
                    "s3",
                    region_name=self.region,
                    endpoint_url=self.endpoint_url,
                    config=Config(
                        retries={"mode": "standard", "total_max_attempts": MAX_ATTEMPTS},
                        connect_timeout=5,
                        read_timeout=30,
                        max_pool_connections=MAX_CONCURRENT_REQUESTS,
                        **self.addressing,
                    ),
                )
            except BotoCoreError:
                raise
            except ValueError as error:
                raise CapstoneError(
                    f"{self.root}: its endpoint is not a valid URL; write it as http://<host>:<port>."
                ) from error
        count_requests(client.meta.events)
        return client

    @property
    def addressing(self) -> dict[str, Any]:
        """Settings of botocore: only AWS gives each bucket its own host."""
        endpoints = (os.environ.get(f"AWS_ENDPOINT_URL{suffix}") for suffix in ("_S3", ""))
        is_custom = self.endpoint_url or any(endpoints)
        return {"s3": {"addressing_style": "path"}} if is_custom else {}

    @property
    def endpoint(self) -> str | None:
        """The URL of the store; None if it is AWS."""
        url: str = self.client.meta.endpoint_url
        is_aws = urlsplit(url).netloc.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return None if is_aws else url

    def address(self, key: str) -> str:
        return f"{self.root}/{check_key(key, self.root)}"

    def keys(self, prefix: str) -> list[str]:
        inside = f"{prefix}/" if prefix else ""
        with self.translate_errors(prefix):
            entries = self._list_objects(inside)
        for stale_key in [key for key in list(self._versions) if key.startswith(inside)]:
            self._versions.pop(stale_key, None)
        self._versions |= {key: entry["ETag"] for key, entry in entries.items()}
        self._listing |= entries
        return sorted(entries)

    def _list_objects(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Return the store's entry of each object whose key starts with a prefix, by key."""
        pages = self.client.get_paginator("list_objects_v2")
        return {
            entry["Key"].removeprefix(self.prefix): entry
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._name(prefix))
            for entry in page.get("Contents", ())
        }

    def listing_entry(self, key: str) -> dict[str, Any]:
        """Return the entry of an object in the last listing, in the form that s3fs caches."""
        entry = self._listing[key]
        return {
            **entry,
            "name": f"{self.bucket}/{entry['Key']}",
            "size": entry["Size"],
            "type": "file",
        }

    def credentials(self) -> Any:
        """Return the current credentials; None if there are none."""
        credentials = self._session.get_credentials()
        return credentials.get_frozen_credentials() if credentials else None

    def exists(self, key: str) -> bool:
        with self.translate_errors(key):
            try:
                response = self.client.head_object(Bucket=self.bucket, Key=self._name(key))
            except ClientError as error:
                if error_code(error) in {"400", "403"}:  # HEAD has no body; GET gives the reason
                    self.client.get_object(Bucket=self.bucket, Key=self._name(key))
                if error_code(error) not in MISSING_CODES:
                    raise
                self._versions.pop(key, None)
                return False
        self._versions[key] = response["ETag"]
        return True

    def read(self, key: str) -> bytes:
        with self.open(key) as file:
            return file.read()

    def version(self, key: str) -> str:
        return self._versions[key] if self.exists(key) else ""

    def size(self, key: str) -> int:
        """Return the size in the last listing, or else ask the store."""
        if entry := self._listing.get(key):
            return int(entry["Size"])
        with self.translate_errors(key):
            response = self.client.head_object(Bucket=self.bucket, Key=self._name(key))
        return int(response["ContentLength"])

    def open(self, key: str) -> IO[bytes]:
        with self.translate_errors(key):
            file, self._versions[key] = self._get(key)
        return file

    def read_if_exists(self, key: str) -> tuple[bytes, str]:
        """Return the bytes and the version of an object; both empty if it does not exist."""
        with self.translate_errors(key):
            try:
                file, version = self._get(key)
            except ClientError as error:
                if error_code(error) not in MISSING_CODES:
                    raise
                return b"", ""
        with file:
            return file.read(), version

    def _get(self, key: str) -> tuple[IO[bytes], str]:
        file = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - its reader closes it
        for attempt in range(1, MAX_ATTEMPTS + 1):
            response = self.client.get_object(Bucket=self.bucket, Key=self._name(key))
            try:
                shutil.copyfileobj(response["Body"], file)
                break
            except (HTTPClientError, IncompleteReadError, OSError):  # the response was truncated
                if attempt == MAX_ATTEMPTS:
                    raise
                file.seek(0)
                file.truncate()
                time.sleep(random.uniform(0, min(5, 0.1 * 2**attempt)))  # noqa: S311
        file.seek(0)
        return file, response["ETag"]

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        self._name(key)
        workspace = self.workspace(SINGLE_OBJECT)
        try:
            file = workspace / "object"
            with translate_os_errors(file), file.open("wb") as out:
                out.writelines(chunks)
            for _ in range(MAX_ATTEMPTS):
                if self._write(key, file, IfNoneMatch="*") or self._equals(key, file):
                    return True
                if key in self._versions:
                    return False
        finally:
            self.discard(workspace)
        raise self._contention_error(key)

    def overwrite(self, key: str, content: bytes) -> str:
        _check_size(self.address(key), len(content))
        with self.translate_errors(key):
            version = self.write(key, content)
        assert version is not None  # there is no condition
        self._versions.pop(key, None)
        return version

    def put(self, files: Mapping[str, Path]) -> None:
        def put(key: str, file: Path) -> None:
            self._replace(key, partial(self._write, key, file), partial(self._equals, key, file))

        self._run_concurrently(put, files)

    def put_staged(self, objects: Mapping[str, StagedObject]) -> None:
        def copy(key: str, staged_object: StagedObject) -> None:
            self._replace(
                key,
                partial(self._copy, key, staged_object.key),
                partial(self._equals_staged, key, staged_object),
            )

        self._run_concurrently(copy, objects)

    def _run_concurrently(self, action: Callable[[str, T], None], objects: Mapping[str, T]) -> None:
        with ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS) as pool:
            list(pool.map(action, objects, objects.values()))

    def _replace(self, key: str, write: Callable[..., bool], is_done: Callable[[], bool]) -> None:
        """Replace the known version of an object, or create it.

        A conflict is no error if the object already has the new bytes: the response was lost. Any
        other conflict means that another writer came first; this run may overwrite it only while
        it holds the lock of the layer.
        """
        lease = self._leases.get(_layer(key))
        for _ in range(MAX_ATTEMPTS):
            if lease:
                lease.check()
            known = self._versions.get(key)
            condition = {"IfMatch": known} if known else {"IfNoneMatch": "*"}
            if write(**condition) or is_done():
                return
            if lease:
                lease.check(force_renewal=True)
        raise self._contention_error(key)

    def _contention_error(self, key: str) -> CapstoneError:
        return CapstoneError(f"{self.address(key)}: others keep writing to it; run again.")

    def _write(self, key: str, file: Path, **condition: str) -> bool:
        """Write an object from a file on a condition; return whether it was written."""
        self.check_conditions()
        with translate_os_errors(file):
            size = file.stat().st_size
        _check_size(self.address(key), size)
        with self.translate_errors(key), translate_os_errors(file), file.open("rb") as body:
            version = self.write(key, body, **condition)
        if version:
            self._versions[key] = version
        return version is not None

    def write(self, key: str, body: IO[bytes] | bytes, **condition: str) -> str | None:
        """Write an object on a condition.

        Returns:
            The new version; None if the condition failed.
        """
        name = self._name(key)
        with _ignore_conflicts(condition):
            response = self.client.put_object(Bucket=self.bucket, Key=name, Body=body, **condition)
            version: str = response["ETag"]
            return version
        return None

    def _copy(self, key: str, source: str, **condition: str) -> bool:
        """Copy an object within the store on a condition; return whether it was copied."""
        self._check_copies()
        with self.translate_errors(key):
            version = self._copy_object(key, source, **condition)
        if version:
            self._versions[key] = version
        return version is not None

    def _copy_object(self, key: str, source: str, **condition: str) -> str | None:
        copy_source = {"Bucket": self.bucket, "Key": self._name(source)}
        with _ignore_conflicts(condition):
            response = self.client.copy_object(
                Bucket=self.bucket, Key=self._name(key), CopySource=copy_source, **condition
            )
            version: str = response["CopyObjectResult"]["ETag"]
            return version
        return None

    def _equals(self, key: str, file: Path) -> bool:
        """Return whether an object has the bytes of a file; its version is then known."""
        if not self.exists(key):
            return False
        if self.matches_file(key, file):
            return True
        with self.open(key) as actual, file.open("rb") as expected:
            return _have_same_bytes(actual, expected)

    def _equals_staged(self, key: str, staged_object: StagedObject) -> bool:
        """Return whether an object has the bytes of one staged by a worker."""
        if not self.exists(key):
            return False
        if self.matches_staged(key, staged_object):
            return True
        with self.open(key) as actual, self.open(staged_object.key) as expected:
            return _have_same_bytes(actual, expected)

    def matches_file(self, key: str, file: Path) -> bool:
        self._name(key)
        with translate_os_errors(file), file.open("rb") as content:
            return self._versions.get(key) == f'"{hashlib.file_digest(content, _md5).hexdigest()}"'

    def matches_staged(self, key: str, staged_object: StagedObject) -> bool:
        return self._versions.get(key) == staged_object.version

    def delete(self, keys: Collection[str]) -> None:
        for layer in {_layer(key) for key in keys}:
            self._check_lease(layer)
        with self.translate_errors(""):
            names = [self._name(key) for key in keys]
            for start in range(0, len(names), KEYS_PER_DELETE):
                objects = [{"Key": name} for name in names[start : start + KEYS_PER_DELETE]]
                response = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
                for failure in response.get("Errors", ()):
                    raise ClientError({"Error": failure}, "DeleteObjects")
        for key in keys:
            self._versions.pop(key, None)

    def _check_lease(self, layer: str) -> None:
        if lease := self._leases.get(layer):
            lease.check()

    def workspace(self, layer: str) -> Path:
        return new_workspace(Path(tempfile.gettempdir()), layer, LOCAL_PREFIX)

    def stage_remotely(self, workspace: Path) -> str:
        return self._staging_prefixes.setdefault(workspace, _remote_workspace(workspace))

    def persist(self, workspace: Path) -> str:
        name = f"{_remote_workspace(workspace)}{ARCHIVE_SUFFIX}"
        archive = workspace / "archive.zip"
        with translate_os_errors(workspace):
            workspace.stat()
            files = [path for path in sorted(workspace.rglob("*")) if path.is_file()]
            with zipfile.ZipFile(archive, "w", strict_timestamps=False) as out:
                for path in files:
                    out.write(path, path.relative_to(workspace).as_posix())
        self._write(name, archive, IfNoneMatch="*")
        archive.unlink()
        self._archives[workspace] = name
        return name

    @contextlib.contextmanager
    def open_persisted(self, name: str) -> Iterator[Path]:
        own = next((path for path, archive in self._archives.items() if archive == name), None)
        if own:
            yield own
            return
        with tempfile.TemporaryDirectory() as folder:
            if self.exists(name):
                with self.open(name) as file, zipfile.ZipFile(file) as archive:
                    archive.extractall(folder)
            yield Path(folder)

    def discard(self, workspace: Path) -> None:
        shutil.rmtree(workspace, ignore_errors=True)
        if archive := self._archives.pop(workspace, None):
            self.delete([archive])
        if staging_prefix := self._staging_prefixes.pop(workspace, None):
            self.delete(self.keys(staging_prefix))

    def has_abandoned(self, layer: str) -> bool:
        return bool(self._abandoned(layer) or dead_local_workspaces(layer))

    def sweep(self, layer: str) -> None:
        abandoned = self._abandoned(layer)
        self._check_lease(layer)
        self.delete(abandoned)
        for folder in dead_local_workspaces(layer):
            shutil.rmtree(folder, ignore_errors=True)

    def _abandoned(self, layer: str) -> list[str]:
        """Return the staged keys of this machine's dead processes, and all older than a day."""
        with self.translate_errors(TEMPORARY):
            entries = self._list_objects(f"{TEMPORARY}/{layer}-")
        abandoned = []
        for key, entry in entries.items():
            writer = key.split("/")[1].removesuffix(ARCHIVE_SUFFIX)
            _, pid, _, host = writer.split("-", 3)
            hours = (time.time() - entry["LastModified"].timestamp()) / 3600
            is_dead = host == socket.gethostname() and not psutil.pid_exists(int(pid))
            if is_dead or hours > ABANDONED_HOURS:
                abandoned.append(key)
        return abandoned

    @contextlib.contextmanager
    def locked(self, layer: str) -> Iterator[None]:
        """Hold a lease: an object that its holder renews; other runs take over an expired one."""
        self.check_conditions()
        lease = Lease(self, f"{TEMPORARY}/{layer}.lock")
        lease.acquire()
        self._leases[layer] = lease
        try:
            yield
        finally:
            self._leases.pop(layer, None)
            lease.release()

    def check_conditions(self) -> None:
        """Raise an error if the store ignores conditional writes. Tested once in a process."""
        _ = self._honours_conditional_writes

    def _check_copies(self) -> None:
        """Raise an error if the store ignores conditional copies. Tested once in a process."""
        _ = self._honours_conditional_copies

    @cached_property
    def _honours_conditional_copies(self) -> bool:
        self.check_conditions()
        copy = partial(self._copy_object, f"{PROBE_KEY}-of-copies", PROBE_KEY)
        with self.translate_errors(PROBE_KEY):
            copy(IfNoneMatch="*")
            again = copy(IfNoneMatch="*")
            stale = copy(IfMatch=UNUSED_VERSION)
        if again or stale:
            raise CapstoneError(
                f"{self.root}: this store ignores conditional headers on copies, so two runs could "
                "overwrite each other; use one that honours them, or set engine: duckdb, which "
                "needs no copies, in globals.yml."
            )
        return True

    @cached_property
    def _honours_conditional_writes(self) -> bool:
        with self.translate_errors(PROBE_KEY):
            self.write(PROBE_KEY, b"", IfNoneMatch="*")
            again = self.write(PROBE_KEY, b"", IfNoneMatch="*")
            stale = self.write(PROBE_KEY, b"", IfMatch=UNUSED_VERSION)
        if again or stale:
            raise CapstoneError(
                f"{self.root}: this store ignores conditional headers on writes, so two runs could "
                "overwrite each other; use one that honours If-None-Match and If-Match."
            )
        return True

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key, self.root)

    @contextlib.contextmanager
    def translate_errors(self, key: str) -> Iterator[None]:
        """Translate errors of the store to a message with the object and the next step."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            address = f"{self.root}/{key}".rstrip("/")
            raise CapstoneError(f"{address}: {error_message(error)}") from error


ARCHIVE_SUFFIX = ".zip"
"""The suffix of archives of staged files."""


def _remote_workspace(workspace: Path) -> str:
    """Return a key for staged files, with the layer, the process id, a UUID and the host."""
    layer = workspace.name.removeprefix(LOCAL_PREFIX).split("-")[0]
    return f"{TEMPORARY}/{layer}-{os.getpid()}-{uuid4().hex}-{socket.gethostname()}"


def _check_size(address: str, size: int) -> None:
    if size > MAX_REQUEST_BYTES:
        raise CapstoneError(
            f"{address}: {size:,} bytes are more than one request can write "
            f"({MAX_REQUEST_BYTES:,}); ingest less at a time, with --params=from=…,to=…"
        )


@contextlib.contextmanager
def _ignore_conflicts(condition: Collection[str]) -> Iterator[None]:
    """Ignore the error of a write whose condition failed."""
    try:
        yield
    except ClientError as error:
        is_missing = error_code(error) in MISSING_CODES and "IfMatch" in condition
        if not (is_missing or error_code(error) in CONFLICT_CODES):
            raise


def _layer(key: str) -> str:
    return key.partition("/")[0]


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _have_same_bytes(one: IO[bytes], other: IO[bytes]) -> bool:
    while block := one.read(SPOOL_BYTES):
        if block != other.read(len(block)):
            return False
    return not other.read(1)
