"""A lake in a bucket of S3, or of any store that speaks it and honours conditional writes."""

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
from capstone_metrics.lake.refusals import code_of, sentence_of
from capstone_metrics.lake.requests import count_requests
from capstone_metrics.lake.storage import (
    LOCAL,
    ONE_OBJECT,
    TEMPORARY,
    Storage,
    abandoned_here,
    check_key,
    new_workspace,
    plain_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from capstone_metrics.lake.storage import Shared

T = TypeVar("T")

AT_ONCE = 16
"""Requests that are made at the same time."""

ATTEMPTS = 6
"""How often a request is made before its error is told."""

IN_MEMORY = 1 << 26
"""Bytes of an object that are held in memory; more of them go to a temporary file."""

ABANDONED_HOURS = 24
"""After this time what was staged is swept, though its writer may live on another machine."""

LARGEST = 5 << 30
"""Bytes that one request can write; only one request can have a condition."""

KEYS_A_REQUEST = 1000
"""How many objects one request can remove."""

PROBE = f"{TEMPORARY}/conditional-writes"
"""The object on which the conditions of writes are tried."""

NO_VERSION = f'"{"0" * 32}"'

CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
MISSING = {"NoSuchKey", "404"}


class Bucket(Storage):
    """Objects are written by conditional requests, each to its own key, whole.

    What a commit staged is kept as one archive in `_tmp`, so that who comes after a dead run can
    finish it. The version of an object is its ETag: a write names the one that it replaces.
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
                f"{self.root}: engines take * ? and [ for a pattern; correct 'lake' in globals.yml."
            )
        self.region, self.endpoint_url = region, endpoint_url
        self._versions: dict[str, str] = {}
        self._listed: dict[str, dict[str, Any]] = {}
        self._archives: dict[Path, str] = {}
        self._shared: dict[Path, str] = {}
        self._leases: dict[str, Lease] = {}

    @cached_property
    def _session(self) -> Any:
        return boto3.Session()

    @cached_property
    def client(self) -> Any:
        """The client, with the credentials of the usual AWS chain."""
        with self.explained(""):
            try:
                client = self._session.client(
                    "s3",
                    region_name=self.region,
                    endpoint_url=self.endpoint_url,
                    config=Config(
                        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                        connect_timeout=5,
                        read_timeout=30,
                        max_pool_connections=AT_ONCE,
                        **self.addressing,
                    ),
                )
            except BotoCoreError:
                raise
            except ValueError as error:
                raise CapstoneError(
                    f"{self.root}: its endpoint is no address; write it as http://<host>:<port>."
                ) from error
        count_requests(client.meta.events)
        return client

    @property
    def addressing(self) -> dict[str, Any]:
        """Settings of botocore: only AWS gives each bucket a host of its own."""
        said = (os.environ.get(f"AWS_ENDPOINT_URL{end}") for end in ("_S3", ""))
        return {"s3": {"addressing_style": "path"}} if self.endpoint_url or any(said) else {}

    @property
    def endpoint(self) -> str | None:
        """The address of a store that is not AWS's."""
        found: str = self.client.meta.endpoint_url
        is_of_aws = urlsplit(found).netloc.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        return None if is_of_aws else found

    def address(self, key: str) -> str:
        return f"{self.root}/{check_key(key, self.root)}"

    def keys(self, prefix: str) -> list[str]:
        inside = f"{prefix}/" if prefix else ""
        with self.explained(prefix):
            found = self._pages(inside)
        for gone in [key for key in list(self._versions) if key.startswith(inside)]:
            self._versions.pop(gone, None)
        self._versions |= {key: listed["ETag"] for key, listed in found.items()}
        self._listed |= found
        return sorted(found)

    def _pages(self, start: str) -> dict[str, dict[str, Any]]:
        """What the store lists of the objects whose keys have a start, by their keys."""
        pages = self.client.get_paginator("list_objects_v2")
        return {
            listed["Key"].removeprefix(self.prefix): listed
            for page in pages.paginate(Bucket=self.bucket, Prefix=self._name(start))
            for listed in page.get("Contents", ())
        }

    def listed(self, key: str) -> dict[str, Any]:
        """What the last listing said of an object, as s3fs keeps it."""
        listed = self._listed[key]
        return {
            **listed,
            "name": f"{self.bucket}/{listed['Key']}",
            "size": listed["Size"],
            "type": "file",
        }

    def credentials(self) -> Any:
        """The credentials as they are now; None where there are none."""
        found = self._session.get_credentials()
        return found.get_frozen_credentials() if found else None

    def exists(self, key: str) -> bool:
        with self.explained(key):
            try:
                found = self.client.head_object(Bucket=self.bucket, Key=self._name(key))
            except ClientError as error:
                if code_of(error) in {"400", "403"}:  # without a body; one to GET says more
                    self.client.get_object(Bucket=self.bucket, Key=self._name(key))
                if code_of(error) not in MISSING:
                    raise
                self._versions.pop(key, None)
                return False
        self._versions[key] = found["ETag"]
        return True

    def read(self, key: str) -> bytes:
        with self.open(key) as file:
            return file.read()

    def version(self, key: str) -> str:
        return self._versions[key] if self.exists(key) else ""

    def size(self, key: str) -> int:
        """As the last listing said, if it named the object."""
        if listed := self._listed.get(key):
            return int(listed["Size"])
        with self.explained(key):
            found = self.client.head_object(Bucket=self.bucket, Key=self._name(key))
        return int(found["ContentLength"])

    def open(self, key: str) -> IO[bytes]:
        with self.explained(key):
            file, self._versions[key] = self._get(key)
        return file

    def found(self, key: str) -> tuple[bytes, str]:
        """The bytes of an object and their version; both empty where there is none."""
        with self.explained(key):
            try:
                file, version = self._get(key)
            except ClientError as error:
                if code_of(error) not in MISSING:
                    raise
                return b"", ""
        with file:
            return file.read(), version

    def _get(self, key: str) -> tuple[IO[bytes], str]:
        file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - its reader closes it
        for attempt in range(1, ATTEMPTS + 1):
            found = self.client.get_object(Bucket=self.bucket, Key=self._name(key))
            try:
                shutil.copyfileobj(found["Body"], file)
                break
            except (HTTPClientError, IncompleteReadError, OSError):  # the answer was cut
                if attempt == ATTEMPTS:
                    raise
                file.seek(0)
                file.truncate()
                time.sleep(random.uniform(0, min(5, 0.1 * 2**attempt)))  # noqa: S311
        file.seek(0)
        return file, found["ETag"]

    def create(self, key: str, chunks: Iterable[bytes]) -> bool:
        self._name(key)
        workspace = self.workspace(ONE_OBJECT)
        try:
            file = workspace / "object"
            with plain_errors(file), file.open("wb") as out:
                out.writelines(chunks)
            for _ in range(ATTEMPTS):
                if self._write(key, file, IfNoneMatch="*") or self._equals(key, file):
                    return True
                if key in self._versions:
                    return False
        finally:
            self.discard(workspace)
        raise self._busy_object(key)

    def overwrite(self, key: str, content: bytes) -> str:
        _check_size(self.address(key), len(content))
        with self.explained(key):
            version = self.write(key, content)
        assert version is not None  # there is no condition
        self._versions.pop(key, None)
        return version

    def put(self, files: Mapping[str, Path]) -> None:
        def put(key: str, file: Path) -> None:
            self._replace(key, partial(self._write, key, file), partial(self._equals, key, file))

        self._at_once(put, files)

    def put_shared(self, objects: Mapping[str, Shared]) -> None:
        def copy(key: str, shared: Shared) -> None:
            self._replace(
                key,
                partial(self._copy, key, shared.key),
                partial(self._equals_shared, key, shared),
            )

        self._at_once(copy, objects)

    def _at_once(self, do: Callable[[str, T], None], objects: Mapping[str, T]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(do, objects, objects.values()))

    def _replace(self, key: str, write: Callable[..., bool], is_done: Callable[[], bool]) -> None:
        """Write an object over the version that is known, or over none.

        A conflict is no error where the object is what was to be written: an answer got lost. Any
        other says that somebody else wrote; that is this run's to overwrite while it holds the
        lock of the layer, and not after.
        """
        lease = self._leases.get(_layer(key))
        for _ in range(ATTEMPTS):
            if lease:
                lease.check()
            known = self._versions.get(key)
            condition = {"IfMatch": known} if known else {"IfNoneMatch": "*"}
            if write(**condition) or is_done():
                return
            if lease:
                lease.check(at_once=True)
        raise self._busy_object(key)

    def _busy_object(self, key: str) -> CapstoneError:
        return CapstoneError(f"{self.address(key)}: others keep writing to it; run again.")

    def _write(self, key: str, file: Path, **condition: str) -> bool:
        """Write an object on a condition; say whether it held."""
        self.check_conditions()
        with plain_errors(file):
            size = file.stat().st_size
        _check_size(self.address(key), size)
        with self.explained(key), plain_errors(file), file.open("rb") as body:
            version = self.write(key, body, **condition)
        if version:
            self._versions[key] = version
        return version is not None

    def write(self, key: str, body: IO[bytes] | bytes, **condition: str) -> str | None:
        """Write an object on a condition.

        Returns:
            Its version; None if the condition did not hold.
        """
        name = self._name(key)
        with _held(condition):
            answer = self.client.put_object(Bucket=self.bucket, Key=name, Body=body, **condition)
            version: str = answer["ETag"]
            return version
        return None

    def _copy(self, key: str, source: str, **condition: str) -> bool:
        """Have the store copy an object to a key on a condition; say whether it held."""
        self._check_copies()
        with self.explained(key):
            version = self._copied(key, source, **condition)
        if version:
            self._versions[key] = version
        return version is not None

    def _copied(self, key: str, source: str, **condition: str) -> str | None:
        whence = {"Bucket": self.bucket, "Key": self._name(source)}
        with _held(condition):
            answer = self.client.copy_object(
                Bucket=self.bucket, Key=self._name(key), CopySource=whence, **condition
            )
            version: str = answer["CopyObjectResult"]["ETag"]
            return version
        return None

    def _equals(self, key: str, file: Path) -> bool:
        """Whether an object has the bytes of a file; its version is known from then on."""
        if not self.exists(key):
            return False
        if self.holds(key, file):
            return True
        with self.open(key) as found, file.open("rb") as wanted:
            return _same(found, wanted)

    def _equals_shared(self, key: str, shared: Shared) -> bool:
        """The same for an object that a worker staged."""
        if not self.exists(key):
            return False
        if self.holds_shared(key, shared):
            return True
        with self.open(key) as found, self.open(shared.key) as wanted:
            return _same(found, wanted)

    def holds(self, key: str, file: Path) -> bool:
        self._name(key)
        with plain_errors(file), file.open("rb") as content:
            return self._versions.get(key) == f'"{hashlib.file_digest(content, _md5).hexdigest()}"'

    def holds_shared(self, key: str, shared: Shared) -> bool:
        return self._versions.get(key) == shared.version

    def delete(self, keys: Collection[str]) -> None:
        for layer in {_layer(key) for key in keys}:
            self._check_lease(layer)
        with self.explained(""):
            names = [self._name(key) for key in keys]
            for start in range(0, len(names), KEYS_A_REQUEST):
                objects = [{"Key": name} for name in names[start : start + KEYS_A_REQUEST]]
                answer = self.client.delete_objects(
                    Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True}
                )
                for refused in answer.get("Errors", ()):
                    raise ClientError({"Error": refused}, "DeleteObjects")
        for key in keys:
            self._versions.pop(key, None)

    def _check_lease(self, layer: str) -> None:
        if lease := self._leases.get(layer):
            lease.check()

    def workspace(self, layer: str) -> Path:
        return new_workspace(Path(tempfile.gettempdir()), layer, LOCAL)

    def share(self, workspace: Path) -> str:
        return self._shared.setdefault(workspace, _name_of(workspace))

    def keep(self, workspace: Path) -> str:
        name = f"{_name_of(workspace)}{ARCHIVE}"
        archive = workspace / "archive.zip"
        with plain_errors(workspace):
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
    def kept(self, name: str) -> Iterator[Path]:
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
        if shared := self._shared.pop(workspace, None):
            self.delete(self.keys(shared))

    def has_abandoned(self, layer: str) -> bool:
        return bool(self._abandoned(layer) or abandoned_here(layer))

    def sweep(self, layer: str) -> None:
        abandoned = self._abandoned(layer)
        self._check_lease(layer)
        self.delete(abandoned)
        for folder in abandoned_here(layer):
            shutil.rmtree(folder, ignore_errors=True)

    def _abandoned(self, layer: str) -> list[str]:
        """What dead processes of this machine staged, and what has been there for over a day."""
        with self.explained(TEMPORARY):
            listing = self._pages(f"{TEMPORARY}/{layer}-")
        found = []
        for key, listed in listing.items():
            writer = key.split("/")[1].removesuffix(ARCHIVE)
            _, pid, _, host = writer.split("-", 3)
            hours = (time.time() - listed["LastModified"].timestamp()) / 3600
            is_dead = host == socket.gethostname() and not psutil.pid_exists(int(pid))
            if is_dead or hours > ABANDONED_HOURS:
                found.append(key)
        return found

    @contextlib.contextmanager
    def locked(self, layer: str) -> Iterator[None]:
        """Hold a lease: an object that its holder renews, and that is taken over if it is not."""
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
        """Refuse a store that writes though a condition does not hold. Asked once in a process."""
        _ = self._conditions_hold

    def _check_copies(self) -> None:
        """The same for copies, which some stores make without a look at the conditions."""
        _ = self._copies_hold

    @cached_property
    def _copies_hold(self) -> bool:
        self.check_conditions()
        copy = partial(self._copied, f"{PROBE}-of-copies", PROBE)
        with self.explained(PROBE):
            copy(IfNoneMatch="*")
            again = copy(IfNoneMatch="*")
            stale = copy(IfMatch=NO_VERSION)
        if again or stale:
            raise CapstoneError(
                f"{self.root}: this store ignores the conditions of a copy, so two runs could "
                "overwrite each other; use one that honours them, or set engine: duckdb, which "
                "copies nothing, in globals.yml."
            )
        return True

    @cached_property
    def _conditions_hold(self) -> bool:
        with self.explained(PROBE):
            self.write(PROBE, b"", IfNoneMatch="*")
            again = self.write(PROBE, b"", IfNoneMatch="*")
            stale = self.write(PROBE, b"", IfMatch=NO_VERSION)
        if again or stale:
            raise CapstoneError(
                f"{self.root}: this store ignores the conditions of a write, so two runs could "
                "overwrite each other; use one that honours If-None-Match and If-Match."
            )
        return True

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key, self.root)

    @contextlib.contextmanager
    def explained(self, key: str) -> Iterator[None]:
        """Say an error of the store in one sentence that names the object and a way out."""
        try:
            yield
        except (ClientError, BotoCoreError) as error:
            where = f"{self.root}/{key}".rstrip("/")
            raise CapstoneError(f"{where}: {sentence_of(error)}") from error


ARCHIVE = ".zip"
"""What the names of archives end with."""


def _name_of(workspace: Path) -> str:
    """Where a workspace has its own in the bucket: its layer, the process, a name, the machine."""
    layer = workspace.name.removeprefix(LOCAL).split("-")[0]
    return f"{TEMPORARY}/{layer}-{os.getpid()}-{uuid4().hex}-{socket.gethostname()}"


def _check_size(address: str, size: int) -> None:
    if size > LARGEST:
        raise CapstoneError(
            f"{address}: {size:,} bytes are more than one request can write ({LARGEST:,}); bring "
            "in less at a time, by --params=from=…,to=…"
        )


@contextlib.contextmanager
def _held(condition: Collection[str]) -> Iterator[None]:
    """Pass over the refusal of a write whose condition does not hold."""
    try:
        yield
    except ClientError as error:
        is_gone = code_of(error) in MISSING and "IfMatch" in condition
        if not (is_gone or code_of(error) in CONFLICTS):
            raise


def _layer(key: str) -> str:
    return key.partition("/")[0]


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _same(one: IO[bytes], other: IO[bytes]) -> bool:
    while block := one.read(IN_MEMORY):
        if block != other.read(len(block)):
            return False
    return not other.read(1)
