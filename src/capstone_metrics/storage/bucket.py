"""A lake in a bucket of S3, or of an S3-compatible store that honours conditional writes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
)

from capstone_metrics.errors import CommitConflictError, StorageError
from capstone_metrics.storage import s3_client
from capstone_metrics.storage.base import (
    TEMPORARY,
    Stat,
    Storage,
    check_key,
    check_root,
    translate_os_errors,
)
from capstone_metrics.storage.lease import Lease
from capstone_metrics.storage.place import Place
from capstone_metrics.storage.request_counter import count_requests
from capstone_metrics.storage.s3_errors import error_code, error_message

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from capstone_metrics.storage.base import StagedObject

SPOOL_BYTES = 1 << 26
"""Bytes of an object that are buffered in memory; a larger one goes to a temporary file."""

MAX_REQUEST_BYTES = 5 << 30
"""The limit of a single request; a multipart upload cannot be conditional."""

KEYS_PER_DELETE = 1000
"""How many objects one request can delete."""

PROBE_KEY = f"{TEMPORARY}/conditional-writes"
"""The object with which conditional writes are tested."""

UNUSED_VERSION = f'"{"0" * 32}"'

CONFLICT_CODES = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
MISSING_CODES = {"NoSuchKey", "404"}
NO_DELETE_OF_MANY = {
    *("MissingContentMD5", "InvalidRequest", "InvalidArgument", "NotImplemented", "501"),
    *("MethodNotAllowed", "405"),
}
"""How stores answer that have no request to delete many objects, or want another checksum of it."""


class Bucket(Storage):
    """A bucket whose objects are written by conditional requests, one for each object.

    The version of an object is its ETag: a write names the version that it replaces. Staged
    objects are put into place by copies within the store.
    """

    is_remote = True

    def __init__(
        self, url: str, region: str | None = None, endpoint_url: str | None = None
    ) -> None:
        self.bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self.prefix = "".join(f"{part}/" for part in prefix.split("/") if part)
        self.root = check_root(f"s3://{self.bucket}/{self.prefix}".rstrip("/"))
        self.region, self.endpoint_url = region or None, endpoint_url or None
        self._place: Place | None = None
        self._deletes_many = True
        self._versions: dict[str, str] = {}
        self._listing: dict[str, dict[str, Any]] = {}
        self._leases: dict[str, Lease] = {}

    @cached_property
    def _session(self) -> Any:
        return boto3.Session()

    @cached_property
    def client(self) -> Any:
        """A boto3 client, with the credentials of the usual AWS chain."""
        with self.translate_errors(""):
            client = s3_client.make_client(self._session, self.root, self.region, self.endpoint_url)
        count_requests(client.meta.events)
        self._note_places_of(client)
        return client

    def _note_places_of(self, client: Any) -> None:
        """Have the place of each request of a client be known."""
        events = client.meta.events
        events.register("before-send.s3", self._note_place, unique_id=f"place-{id(self)}")

    def _note_place(self, request: Any, **_: Any) -> None:
        self._place = Place.of_request(request, self.bucket, self.client)

    @property
    def place(self) -> Place:
        """Where the requests go."""
        if self._place is None:
            self._note_places_of(self.client)
            with self.translate_errors(""):
                self.client.head_bucket(Bucket=self.bucket)
        assert self._place is not None
        return self._place

    @cached_property
    def certificates(self) -> str:
        """The file, or folder, of certificates by which the store is checked."""
        return s3_client.ca_bundle(self._session)

    def is_unchanged(self, versions: Mapping[str, str]) -> bool:
        """Return whether objects have their versions still."""
        with self.translate_errors(""):
            entries = self._list_objects(os.path.commonpath(list(versions)))
        return all(entries.get(key, {}).get("ETag") == tag for key, tag in versions.items())

    @property
    def addressing(self) -> dict[str, Any]:
        """Settings of botocore: only AWS gives each bucket its own host."""
        return s3_client.addressing(self.endpoint_url)

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

    def stat(self, key: str) -> Stat | None:
        with self.translate_errors(key):
            try:
                response = self.client.head_object(Bucket=self.bucket, Key=self._name(key))
            except ClientError as error:
                if error_code(error) in {"400", "403"}:  # HEAD has no body; GET gives the reason
                    self.read_if_exists(key)
                if error_code(error) not in MISSING_CODES:
                    raise
                self._versions.pop(key, None)
                return None
        self._versions[key] = response["ETag"]
        return Stat(response["ETag"], int(response["ContentLength"]))

    def size(self, key: str) -> int:
        """Return the size in the last listing, or else read the object."""
        entry = self._listing.get(key)
        return int(entry["Size"]) if entry else super().size(key)

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
        for attempt in range(1, s3_client.MAX_ATTEMPTS + 1):
            response = self.client.get_object(Bucket=self.bucket, Key=self._name(key))
            try:
                shutil.copyfileobj(response["Body"], file)
                break
            except (HTTPClientError, IncompleteReadError, OSError):  # the response was truncated
                if attempt == s3_client.MAX_ATTEMPTS:
                    raise
                file.seek(0)
                file.truncate()
                time.sleep(random.uniform(0, min(5, 0.1 * 2**attempt)))  # noqa: S311
        file.seek(0)
        return file, response["ETag"]

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        self.check_conditions()
        with tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
            with translate_os_errors(Path(tempfile.gettempdir())):
                file.writelines(chunks)
            _check_size(self.address(key), file.tell())
            for _ in range(s3_client.MAX_ATTEMPTS):
                file.seek(0)
                with self.translate_errors(key):
                    version = self.write(key, file, IfNoneMatch="*")
                if version or self._equals(key, file):
                    return True
                if key in self._versions:
                    return False
        raise self._contention_error(key)

    def overwrite(self, key: str, content: bytes) -> None:
        _check_size(self.address(key), len(content))
        with self.translate_errors(key):
            is_written = any(self.write(key, content) for _ in range(s3_client.MAX_ATTEMPTS))
        if not is_written:
            raise self._contention_error(key)
        self._versions.pop(key, None)

    def persist(self, keys: Collection[str]) -> None:
        """Do nothing: the store answers a write when it is durable."""

    def promote(self, objects: Mapping[str, StagedObject]) -> None:
        _ = self._honours_conditional_copies  # before threads ask for it
        with ThreadPoolExecutor(s3_client.MAX_CONCURRENT_REQUESTS) as pool:
            list(pool.map(self._promote_one, objects, objects.values()))

    def _promote_one(self, key: str, staged: StagedObject) -> None:
        """Copy a staged object over the known version of an object, or create it.

        A conflict is no error if the object already has the new bytes: the response was lost. Any
        other conflict means that another writer came first; this run may overwrite it only while
        it holds the lock of the layer.
        """
        lease = self._leases.get(_layer(key))
        for _ in range(s3_client.MAX_ATTEMPTS):
            if lease:
                lease.check()
            known = self._versions.get(key)
            condition = {"IfMatch": known} if known else {"IfNoneMatch": "*"}
            if self._copy(key, staged.key, **condition) or self._equals_staged(key, staged):
                return
            if lease:
                lease.check(force_renewal=True)
        raise self._contention_error(key)

    def _contention_error(self, key: str) -> CommitConflictError:
        return CommitConflictError(f"{self.address(key)}: others keep writing to it; run again.")

    def write(self, key: str, body: IO[bytes] | bytes, **condition: str) -> str | None:
        """Write an object on a condition.

        Returns:
            The new version; None if the condition failed.
        """
        name = self._name(key)
        with _ignore_conflicts(and_missing="IfMatch" in condition):
            response = self.client.put_object(Bucket=self.bucket, Key=name, Body=body, **condition)
            version: str = response["ETag"]
            return version
        return None

    def _copy(self, key: str, source: str, **condition: str) -> bool:
        """Copy an object within the store on a condition; return whether it was copied.

        It is not if the condition fails, or if there is no such object. Where the store ignores
        the condition of a copy, the bytes are read and written instead.
        """
        with self.translate_errors(key):
            if self._honours_conditional_copies:
                version = self._copy_object(key, source, **condition)
            else:
                content, is_there = self.read_if_exists(source)
                version = self.write(key, content, **condition) if is_there else None
        if version:
            self._versions[key] = version
        return version is not None

    def _copy_object(self, key: str, source: str, **condition: str) -> str | None:
        copy_source = {"Bucket": self.bucket, "Key": self._name(source)}
        with _ignore_conflicts(and_missing=True):
            response = self.client.copy_object(
                Bucket=self.bucket, Key=self._name(key), CopySource=copy_source, **condition
            )
            etag = response["CopyObjectResult"]["ETag"].strip('"')  # SeaweedFS has no quotes here
            return f'"{etag}"'
        return None

    def _equals(self, key: str, file: IO[bytes]) -> bool:
        """Return whether an object has the bytes of a file; its version is then known."""
        if not self.exists(key):
            return False
        file.seek(0)
        with self.open(key) as actual:
            return _have_same_bytes(actual, file)

    def _equals_staged(self, key: str, staged: StagedObject) -> bool:
        """Return whether an object has the bytes of a staged one.

        Raises:
            CapstoneError: if it has not, and there is no staged one.
        """
        if self.exists(key) and self.matches(key, staged.digest, staged.size):
            return True
        with self.open(staged.key) as file:
            return self._equals(key, file)

    def matches(self, key: str, digest: str, size: int) -> bool:
        return self._versions.get(key) == f'"{digest}"'

    def delete(self, keys: Collection[str]) -> None:
        for layer in {_layer(key) for key in keys}:
            self._check_lease(layer)
        with self.translate_errors(""):
            names = [self._name(key) for key in keys]
            for start in range(0, len(names), KEYS_PER_DELETE):
                self._delete(names[start : start + KEYS_PER_DELETE])
        for key in keys:
            self._versions.pop(key, None)

    def _delete(self, names: list[str]) -> None:
        """Delete objects by one request, or by one each where the store does not take it."""
        objects = [{"Key": name} for name in names]
        if self._deletes_many:
            try:
                response = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
            except ClientError as error:
                if error_code(error) not in NO_DELETE_OF_MANY:
                    raise
                self._deletes_many = False
            else:
                for failure in response.get("Errors", ()):
                    raise ClientError({"Error": failure}, "DeleteObjects")
                return
        delete = partial(self.client.delete_object, Bucket=self.bucket)
        with ThreadPoolExecutor(s3_client.MAX_CONCURRENT_REQUESTS) as pool:
            list(pool.map(lambda name: delete(Key=name), names))

    def _check_lease(self, layer: str) -> None:
        if lease := self._leases.get(layer):
            lease.check()

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

    @cached_property
    def _honours_conditional_copies(self) -> bool:
        self.check_conditions()
        copy = partial(self._copy_object, f"{PROBE_KEY}-of-copies", PROBE_KEY)
        with self.translate_errors(PROBE_KEY):
            copy(IfNoneMatch="*")
            again = copy(IfNoneMatch="*")
            stale = copy(IfMatch=UNUSED_VERSION)
        return not (again or stale)

    @cached_property
    def _honours_conditional_writes(self) -> bool:
        with self.translate_errors(PROBE_KEY):
            self.write(PROBE_KEY, b"", IfNoneMatch="*")
            again = self.write(PROBE_KEY, b"", IfNoneMatch="*")
            stale = self.write(PROBE_KEY, b"", IfMatch=UNUSED_VERSION)
        if again or stale:
            raise StorageError(
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
            raise StorageError(f"{address}: {error_message(error)}") from error


def _check_size(address: str, size: int) -> None:
    if size > MAX_REQUEST_BYTES:
        raise StorageError(
            f"{address}: {size:,} bytes are more than one request can write "
            f"({MAX_REQUEST_BYTES:,}); ingest less at a time, with --params=from=…,to=…"
        )


@contextlib.contextmanager
def _ignore_conflicts(*, and_missing: bool) -> Iterator[None]:
    """Ignore the error of a write whose condition failed, or that something is missing."""
    try:
        yield
    except ClientError as error:
        ignored = CONFLICT_CODES | MISSING_CODES if and_missing else CONFLICT_CODES
        if error_code(error) not in ignored:
            raise


def _layer(key: str) -> str:
    """Return the layer of an object, which a staged one has in its name."""
    folder, _, name = key.partition("/")
    return name.partition("-")[0] if folder == TEMPORARY else folder


def _have_same_bytes(one: IO[bytes], other: IO[bytes]) -> bool:
    while block := one.read(SPOOL_BYTES):
        if block != other.read(len(block)):
            return False
    return not other.read(1)
