"""The lake in a bucket: conditional writes, archives, and errors of the store."""

from __future__ import annotations

import datetime
import io
import os
import shutil
import traceback
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import botocore.auth
import pytest
from infra.s3.seaweed import HOST, READER

from capstone_metrics.errors import CapstoneError
from capstone_metrics.lake import bucket as buckets
from capstone_metrics.lake.bucket import Bucket
from capstone_metrics.lake.request_counter import request_counts
from capstone_metrics.lake.storage import StagedObject
from tests.lake.conftest import another, stage_remotely, stamp, write
from tests.support.s3_proxy import Faults, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from infra.s3.seaweed import SeaweedFS

    from tests.support.s3_proxy import Faulty

KEY = "gold/a.csv"
CANARY = "c4n4ry"
"""Part of a wrong secret and of an unknown access key, which no message may have."""

USES: dict[str, Callable[[Bucket], object]] = {
    "exists": lambda lake: lake.exists(KEY),
    "read": lambda lake: lake.read(KEY),
    "keys": lambda lake: lake.keys(""),
    "create": lambda lake: lake.create("gold/new.csv", [b"new"]),
    "put": lambda lake: write(lake, KEY, b"new"),
    "delete": lambda lake: lake.delete([KEY]),
    "locked": lambda lake: lake.locked("gold").__enter__(),
}


@pytest.fixture
def shaky(bucket: Bucket, proxied: Bucket) -> Bucket:
    """The lake behind the proxy. It has an object, which was written past the proxy."""
    write(bucket, KEY, b"old")
    return proxied


def puts(key: str = KEY) -> Callable[[Request], bool]:
    return lambda request: request.method == "PUT" and request.key.endswith(key)


def gets(request: Request) -> bool:
    return request.method == "GET" and request.key.endswith(KEY)


def conditions(faulty: Faulty, key: str = KEY) -> list[dict[str, str]]:
    """Return the conditions of each write of an object, those of repeated ones included."""
    return [request.conditions for request in faulty.requests if puts(key)(request)]


# Conditional writes


def test_a_put_of_a_new_object_expects_none_and_of_a_known_one_its_version(
    shaky: Bucket, faulty: Faulty
) -> None:
    etag, _ = stamp(shaky, KEY)  # type: ignore[misc]
    shaky.keys("gold")
    write(shaky, KEY, b"new")
    write(shaky, "gold/b.csv", b"new")
    assert conditions(faulty) == [{"If-Match": etag}]
    assert conditions(faulty, "gold/b.csv") == [{"If-None-Match": "*"}]
    assert shaky.create("gold/c.csv", [b"new"])
    assert conditions(faulty, "gold/c.csv") == [{"If-None-Match": "*"}]


def test_a_writer_that_read_nothing_detects_an_existing_object(
    shaky: Bucket, faulty: Faulty
) -> None:
    etag, _ = stamp(shaky, KEY)  # type: ignore[misc]
    write(shaky, KEY, b"new")
    assert conditions(faulty) == [{"If-None-Match": "*"}, {"If-Match": etag}]
    assert shaky.read(KEY) == b"new"


def test_the_next_writer_does_not_rewrite_equal_bytes(bucket: Bucket) -> None:
    """As after a run that died in the middle of a commit."""
    write(bucket, KEY, b"same")
    before = stamp(bucket, KEY)
    write(another(bucket), KEY, b"same")
    assert stamp(bucket, KEY) == before


def test_a_lock_holder_overwrites_the_bytes_of_another_writer(bucket: Bucket) -> None:
    write(bucket, KEY, b"old")
    with bucket.locked("gold"):
        write(another(bucket), KEY, b"theirs")
        write(bucket, KEY, b"mine")
        write(another(bucket), "gold/new.csv", b"theirs")
        write(bucket, "gold/new.csv", b"mine")
    assert [bucket.read(key) for key in bucket.keys("gold")] == [b"mine", b"mine"]


@pytest.mark.parametrize("known", [True, False])
def test_a_former_lock_holder_overwrites_nothing_of_another_writer(
    bucket: Bucket, known: bool
) -> None:
    if known:
        write(bucket, KEY, b"old")
    with bucket.locked("gold"):
        thief = another(bucket)
        thief.client.put_object(
            Bucket=bucket.bucket, Key=f"{bucket.prefix}_tmp/gold.lock", Body=b'{"id": "thief"}'
        )
        write(thief, KEY, b"theirs")
        with pytest.raises(CapstoneError, match="another run took over"):
            write(bucket, KEY, b"mine")
        with pytest.raises(CapstoneError, match="another run took over"):
            write(bucket, "gold/new.csv", b"mine")
        with pytest.raises(CapstoneError, match="another run took over"):
            bucket.delete([KEY])
        write(bucket, "silver/x", b"of another layer")
    assert thief.read(KEY) == b"theirs"
    assert thief.keys("gold") == [KEY]


def test_the_version_of_an_object_is_its_etag(bucket: Bucket, tmp_path: Path) -> None:
    write(bucket, KEY, b"one")
    first, _ = stamp(bucket, KEY)  # type: ignore[misc]
    assert bucket.read_if_exists(KEY) == (b"one", first)
    write(bucket, KEY, b"two")
    assert bucket.read_if_exists(KEY)[1] != first
    assert bucket.read_if_exists("gold/nothing") == (b"", "")
    (tmp_path / "file").write_bytes(b"x")
    stale = bucket.write(KEY, b"three", IfMatch=first)
    assert stale is None
    assert bucket.read_if_exists(KEY)[0] == b"two"


def test_an_object_of_an_unknown_version_matches_no_file(bucket: Bucket, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"one")
    write(bucket, KEY, b"one")
    lake = another(bucket)
    assert not lake.matches_file(KEY, tmp_path / "file")
    lake.exists(KEY)
    assert lake.matches_file(KEY, tmp_path / "file")


def test_objects_whose_etag_is_no_digest_are_compared_by_their_bytes(
    bucket: Bucket, tmp_path: Path
) -> None:
    """As where a store encrypts with keys of its own, or after an upload in parts."""
    content = b"x" * (5 << 20) + b"end"
    name = {"Bucket": bucket.bucket, "Key": bucket.prefix + KEY}
    upload = bucket.client.create_multipart_upload(**name)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": bucket.client.upload_part(
                **name, UploadId=upload, PartNumber=number, Body=body
            )["ETag"],
        }
        for number, body in enumerate((content[: 5 << 20], content[5 << 20 :]), 1)
    ]
    bucket.client.complete_multipart_upload(
        **name, UploadId=upload, MultipartUpload={"Parts": parts}
    )
    before = stamp(bucket, KEY)
    (tmp_path / "file").write_bytes(content)
    assert bucket.keys("gold") == [KEY]
    assert not bucket.matches_file(KEY, tmp_path / "file")
    assert bucket.create(KEY, [content])
    assert not bucket.create(KEY, [content[:-1]])
    assert not bucket.create(KEY, [content, b"more"])
    assert stamp(bucket, KEY) == before


# Responses that are dropped, or are errors


def test_a_create_whose_response_is_dropped_is_successful(shaky: Bucket, faulty: Faulty) -> None:
    faulty.faults = Faults(lost=1, only=puts("gold/b.csv"), times=1)
    assert shaky.create("gold/b.csv", [b"mine"])
    assert len(conditions(faulty, "gold/b.csv")) == 2
    assert shaky.keys("gold") == [KEY, "gold/b.csv"]
    assert shaky.read("gold/b.csv") == b"mine"


def test_a_create_over_another_object_fails_though_a_response_is_dropped(
    shaky: Bucket, faulty: Faulty
) -> None:
    faulty.faults = Faults(lost=1, only=puts(), times=1)
    assert not shaky.create(KEY, [b"mine"])
    assert shaky.read(KEY) == b"old"


@pytest.mark.parametrize("known", [True, False])
def test_a_put_whose_response_is_dropped_is_successful(
    shaky: Bucket, faulty: Faulty, known: bool
) -> None:
    key = KEY if known else "gold/b.csv"
    shaky.keys("gold")
    faulty.faults = Faults(lost=1, only=puts(key), times=1)
    write(shaky, key, b"new")
    assert shaky.read(key) == b"new"
    assert len(conditions(faulty, key)) == 2  # the second one met the object of the first
    write(shaky, key, b"newer")
    assert shaky.read(key) == b"newer"


@pytest.mark.parametrize("fate", ["lost", "cut"])
def test_a_delete_whose_response_is_dropped_is_successful(
    shaky: Bucket, faulty: Faulty, fate: str
) -> None:
    faulty.faults = Faults(**{fate: 1}, only=lambda request: request.method == "POST", times=1)
    shaky.delete([KEY])
    assert shaky.keys("gold") == []


def test_a_conflict_of_two_writes_at_once_is_retried(shaky: Bucket, faulty: Faulty) -> None:
    """S3 responds so while another write of the key is in progress, whatever its outcome."""
    faulty.faults = Faults(
        errors=1, error=(409, "ConditionalRequestConflict"), only=puts("gold/b.csv"), times=2
    )
    assert shaky.create("gold/b.csv", [b"mine"])
    assert shaky.read("gold/b.csv") == b"mine"


@pytest.mark.parametrize("known", [True, False])
def test_a_put_is_repeated_after_a_conflict(shaky: Bucket, faulty: Faulty, known: bool) -> None:
    key = KEY if known else "gold/b.csv"
    shaky.keys("gold")
    faulty.faults = Faults(
        errors=1, error=(409, "ConditionalRequestConflict"), only=puts(key), times=2
    )
    write(shaky, key, b"new")
    assert shaky.read(key) == b"new"


@pytest.mark.parametrize("use", ["create", "put"])
def test_endless_conflicts_are_an_error(shaky: Bucket, faulty: Faulty, use: str) -> None:
    key = {"create": "gold/new.csv", "put": KEY}[use]
    faulty.faults = Faults(errors=1, error=(409, "ConditionalRequestConflict"), only=puts(key))
    with pytest.raises(CapstoneError, match="others keep writing to it; run again"):
        USES[use](shaky)
    assert len(conditions(faulty, key)) == buckets.MAX_ATTEMPTS


def test_requests_to_an_overloaded_store_are_repeated(shaky: Bucket, faulty: Faulty) -> None:
    faulty.faults = Faults(errors=1, times=2)
    assert shaky.read(KEY) == b"old"
    faulty.faults = Faults(errors=1, error=(500, "InternalError"), only=puts(), times=1)
    write(shaky, KEY, b"new")
    faulty.faults = Faults(cut=1, times=1)
    assert shaky.keys("gold") == [KEY]
    faulty.faults = Faults()
    assert shaky.read(KEY) == b"new"


@pytest.mark.parametrize("fate", ["errors", "cut"])
def test_a_store_that_stays_overloaded_is_an_error_after_some_attempts(
    shaky: Bucket, faulty: Faulty, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    monkeypatch.setattr(buckets, "MAX_ATTEMPTS", 2)
    lake = Bucket(shaky.root, endpoint_url=faulty.endpoint)
    faulty.faults = Faults(**{fate: 1}, only=gets)
    what = {"errors": "overloaded or out of order", "cut": "does not answer"}[fate]
    with pytest.raises(CapstoneError, match=rf"gold/a\.csv: the store .*{what}.*\.$"):
        lake.read(KEY)
    assert faulty.faults.count == 2


def test_an_object_too_large_for_one_request_is_rejected_before_it_is_sent(
    shaky: Bucket, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_REQUEST_BYTES", 3)
    write(shaky, KEY, b"new")
    sent = len(faulty.requests)
    with pytest.raises(CapstoneError, match=rf"{KEY}: 4 bytes are more than .* \(3\); ingest"):
        write(shaky, KEY, b"news")
    assert len(faulty.requests) == sent


def test_a_body_that_is_cut_is_read_again(shaky: Bucket, faulty: Faulty) -> None:
    content = os.urandom(3_000_000)
    write(shaky, KEY, content)
    faulty.faults = Faults(torn=1, only=gets, times=2)
    with shaky.open(KEY) as file:
        assert file.read() == content
    assert faulty.faults.count == 3


def test_a_body_that_is_always_cut_is_an_error(
    shaky: Bucket, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "MAX_ATTEMPTS", 2)
    faulty.faults = Faults(torn=1, only=gets)
    with pytest.raises(CapstoneError, match="the store does not answer"):
        shaky.read(KEY)
    assert faulty.faults.count == 2


def test_an_object_larger_than_the_memory_it_may_take_is_read(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "SPOOL_BYTES", 1_000)
    content = os.urandom(10_000)
    write(bucket, KEY, content)
    with bucket.open(KEY) as file:
        assert file.read() == content
        assert file.seek(-10, 2) == 9_990
        assert file.read() == content[-10:]
    assert bucket.create(KEY, [content])
    assert not bucket.create(KEY, [content, b"x"])


# Objects staged by workers


@pytest.fixture
def staged_object(shaky: Bucket) -> StagedObject:
    """New bytes of the object, staged by a worker."""
    return stage_remotely(shaky, shaky.workspace("gold"), KEY, b"new")


def copies(request: Request) -> bool:
    return request.is_copy and request.key.endswith(KEY)


def test_the_store_copies_what_a_worker_staged(
    shaky: Bucket, faulty: Faulty, staged_object: StagedObject
) -> None:
    etag, _ = stamp(shaky, KEY)  # type: ignore[misc]
    shaky.exists(KEY)
    faulty.reset()
    shaky.put_staged({KEY: staged_object})
    written = [request for request in faulty.requests if puts()(request)]
    assert [(request.is_copy, request.conditions) for request in written] == [
        (True, {"If-Match": etag})
    ]
    assert not [request for request in faulty.requests if request.method == "GET"]
    assert shaky.read(KEY) == b"new"


@pytest.mark.parametrize("known", [True, False])
def test_a_former_lock_holder_copies_nothing_over_another_writer(
    shaky: Bucket, staged_object: StagedObject, known: bool
) -> None:
    if known:
        shaky.exists(KEY)
    with shaky.locked("gold"):
        thief = another(shaky)
        thief.client.put_object(
            Bucket=shaky.bucket, Key=f"{shaky.prefix}_tmp/gold.lock", Body=b'{"id": "thief"}'
        )
        write(thief, KEY, b"theirs")
        with pytest.raises(CapstoneError, match="another run took over"):
            shaky.put_staged({KEY: staged_object})
    assert thief.read(KEY) == b"theirs"


@pytest.mark.parametrize("known", [True, False])
def test_a_copy_whose_response_is_dropped_is_successful(
    shaky: Bucket, faulty: Faulty, staged_object: StagedObject, known: bool
) -> None:
    if known:
        shaky.exists(KEY)
    faulty.faults = Faults(lost=1, only=copies, times=1)
    shaky.put_staged({KEY: staged_object})
    assert shaky.read(KEY) == b"new"
    fates = [request.fate for request in faulty.requests if copies(request)]
    assert fates == (["lost", "passed"] if known else ["lost", "passed", "passed"])


@pytest.mark.parametrize(("staged", "done"), [(b"old", True), (b"else", False)])
def test_a_copy_whose_etag_is_no_digest_is_compared_by_its_bytes(
    bucket: Bucket, faulty: Faulty, staged: bytes, done: bool
) -> None:
    """As where a store encrypts with keys of its own."""
    write(bucket, KEY, b"old")
    before = stamp(bucket, KEY)
    staged_object = stage_remotely(bucket, bucket.workspace("gold"), KEY, staged)._replace(
        version='"of its own"'
    )
    another(bucket).put_staged({KEY: staged_object})
    assert bucket.read(KEY) == staged
    assert (stamp(bucket, KEY) == before) is done


# Archives


def archive_of(lake: Bucket, content: bytes = b"staged") -> tuple[Path, str]:
    workspace = lake.workspace("silver")
    (workspace / "x").write_bytes(content)
    return workspace, lake.persist(workspace)


def test_an_archive_is_one_object_that_any_program_can_open(bucket: Bucket) -> None:
    workspace, name = archive_of(bucket)
    assert [key for key in bucket.keys("_tmp") if "silver" in key] == [name]
    assert name.startswith(f"_tmp/silver-{os.getpid()}-")
    with zipfile.ZipFile(io.BytesIO(bucket.read(name))) as archive:
        assert archive.namelist() == ["x"]
        assert archive.read("x") == b"staged"
    assert [path.name for path in workspace.iterdir()] == ["x"]
    bucket.discard(workspace)
    assert not bucket.exists(name)


def test_a_file_older_than_the_zip_format_allows_is_archived(bucket: Bucket) -> None:
    workspace = bucket.workspace("silver")
    (workspace / "x").write_bytes(b"staged")
    os.utime(workspace / "x", (0, 0))
    with another(bucket).open_persisted(bucket.persist(workspace)) as folder:
        assert (folder / "x").read_bytes() == b"staged"


def test_the_files_of_an_archive_are_removed_after_they_are_read(
    bucket: Bucket, tmp_path: Path
) -> None:
    _, name = archive_of(bucket)
    before = set(tmp_path.rglob("*"))
    with another(bucket).open_persisted(name) as folder:
        assert folder in set(tmp_path.rglob("*")) - before
    assert set(tmp_path.rglob("*")) == before


def test_an_archive_that_the_store_rejects_leaves_no_files(
    shaky: Bucket, faulty: Faulty, tmp_path: Path
) -> None:
    faulty.faults = Faults(errors=1, error=(403, "AccessDenied"))
    workspace = shaky.workspace("silver")
    with pytest.raises(CapstoneError, match="the store denies access"):
        shaky.persist(workspace)
    shaky.discard(workspace)
    assert list((tmp_path / "staging").iterdir()) == []


def test_stages_of_other_machines_are_swept_after_a_day(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "else-where.example.com")
        elsewhere.setattr("os.getpid", lambda: 1 << 30)
        far = another(bucket)
        workspace, theirs = archive_of(far)
        staged_key = stage_remotely(far, workspace, "silver/x.parquet", b"").key
    shutil.rmtree(workspace)  # it is on that machine
    _, mine = archive_of(bucket)
    assert theirs.endswith("-else-where.example.com.zip")
    assert not bucket.has_abandoned("silver")
    bucket.sweep("silver")
    assert {theirs, mine, staged_key} <= set(bucket.keys("_tmp"))

    monkeypatch.setattr(buckets, "ABANDONED_HOURS", -1)
    assert bucket.has_abandoned("silver")
    assert not bucket.has_abandoned("gold")
    bucket.sweep("silver")
    assert not {theirs, mine, staged_key} & set(bucket.keys("_tmp"))


def test_stages_of_dead_processes_of_this_machine_are_swept(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dead:
        dead.setattr("os.getpid", lambda: 1 << 30)
        dead_lake = another(bucket)
        workspace, name = archive_of(dead_lake)
        staged_key = stage_remotely(dead_lake, workspace, "silver/x.parquet", b"").key
    assert bucket.has_abandoned("silver")
    bucket.sweep("silver")
    assert not bucket.exists(name)
    assert not bucket.exists(staged_key)
    assert not workspace.exists()


def test_a_former_lock_holder_sweeps_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dead:
        dead.setattr("os.getpid", lambda: 1 << 30)
        _, name = archive_of(another(bucket))
    with bucket.locked("silver"):
        bucket.client.put_object(
            Bucket=bucket.bucket, Key=f"{bucket.prefix}_tmp/silver.lock", Body=b'{"id": "thief"}'
        )
        monkeypatch.setattr("capstone_metrics.lake.lease.EXPIRY_SECONDS", 0)
        with pytest.raises(CapstoneError, match="another run took over"):
            bucket.sweep("silver")
    assert bucket.exists(name)


# A store that cannot be used


class Careless(BaseHTTPRequestHandler):
    """A store that takes every write, or every copy, whatever its conditions say."""

    protocol_version = "HTTP/1.1"
    takes_every_write = True

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_copy = "x-amz-copy-source" in self.headers
        etag = '"d41d8cd98f00b204e9800998ecf8427e"'
        body = f"<CopyObjectResult><ETag>{etag}</ETag></CopyObjectResult>" if is_copy else ""
        self.send_response(200 if is_copy or self.takes_every_write else 412)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


class CarelessOfCopies(Careless):
    takes_every_write = False

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def served(kind: type[Careless]) -> Iterator[str]:
    server = ThreadingHTTPServer((HOST, 0), kind)
    server.daemon_threads = True
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://{HOST}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("use", ["create", "put", "locked"])
def test_a_store_that_ignores_conditions_is_rejected(bucket: Bucket, use: str) -> None:
    with (
        served(Careless) as careless,
        pytest.raises(
            CapstoneError, match="this store ignores conditional headers on writes"
        ) as error,
    ):
        USES[use](Bucket(bucket.root, endpoint_url=careless))
    assert str(error.value).startswith(f"{bucket.root}: ")


def test_a_store_that_ignores_the_conditions_of_copies_is_rejected(bucket: Bucket) -> None:
    with (
        served(CarelessOfCopies) as careless,
        pytest.raises(CapstoneError, match="this store ignores conditional headers on copies"),
    ):
        Bucket(bucket.root, endpoint_url=careless).put_staged(
            {KEY: StagedObject("_tmp/x", '""', 0)}
        )


def test_the_conditions_are_tried_once_in_a_process(shaky: Bucket, faulty: Faulty) -> None:
    before = len(faulty.requests)
    for at in range(3):
        write(shaky, f"gold/{at}.csv", b"")
    tried = [r for r in faulty.requests[before:] if r.key.endswith("conditional-writes")]
    assert tried == []


def faults(seaweed: SeaweedFS, faulty: Faulty, *error: Any) -> dict[str, str]:
    faulty.faults = Faults(errors=1, error=error)  # type: ignore[arg-type]
    return seaweed.environment(faulty.endpoint)


def no_credentials(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


STORE_ERRORS: dict[str, tuple[Callable[[SeaweedFS, Faulty], dict[str, str]], str]] = {
    "wrong secret": (
        lambda *_: {"AWS_SECRET_ACCESS_KEY": f"{CANARY}-secret"},
        "the store does not know these credentials; correct the access key, the secret or",
    ),
    "unknown key": (
        lambda *_: {"AWS_ACCESS_KEY_ID": f"{CANARY}-key"},
        "the store does not know these credentials; correct the access key, the secret or",
    ),
    "expired token": (
        lambda seaweed, faulty: faults(seaweed, faulty, 400, "ExpiredToken"),
        "the credentials have expired; sign in again and run again.",
    ),
    "wrong region": (
        lambda seaweed, faulty: faults(seaweed, faulty, 400, "AuthorizationHeaderMalformed"),
        "the bucket is in another region; set AWS_REGION, or 'region' of 'lake' in globals.yml.",
    ),
    "denied": (
        lambda seaweed, faulty: faults(seaweed, faulty, 403, "AccessDenied"),
        "the store denies access to these credentials; grant them s3:ListBucket on the bucket, and",
    ),
    "unheard of": (
        lambda seaweed, faulty: faults(seaweed, faulty, 418, "Teapot"),
        "the store refused (",
    ),
    "no credentials": (
        lambda *_: no_credentials("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and",
    ),
    "half of the credentials": (
        lambda *_: no_credentials("AWS_SECRET_ACCESS_KEY"),
        "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and",
    ),
    "unknown profile": (
        lambda *_: {"AWS_PROFILE": "nobody"},
        "the profile in AWS_PROFILE is not known; correct it.",
    ),
    "unreachable endpoint": (
        lambda seaweed, _: seaweed.environment(f"http://{HOST}:1"),
        "the store does not answer; check the network and the endpoint, and run again.",
    ),
    "endpoint without a scheme": (
        lambda seaweed, _: seaweed.environment(f"{HOST}:4566"),
        "its endpoint is not a valid URL; write it as http://<host>:<port>.",
    ),
}


def assert_one_sentence(lake: Bucket, what: str, uses: Collection[str] = USES) -> None:
    """Check that the error of each use is one sentence without a secret."""
    for use in uses:
        with pytest.raises(CapstoneError) as error:
            USES[use](lake)
        sentence = str(error.value)
        assert sentence.startswith(f"{lake.root}"), use
        assert f": {what}" in sentence, use
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert CANARY not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("case", STORE_ERRORS)
def test_a_store_error_is_one_sentence_with_what_to_do(
    bucket: Bucket,
    seaweed: SeaweedFS,
    faulty: Faulty,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    monkeypatch.setattr(buckets, "MAX_ATTEMPTS", 1)
    arrange, what = STORE_ERRORS[case]
    for name, value in arrange(seaweed, faulty).items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    assert_one_sentence(Bucket(bucket.root), what)


def test_a_wrong_clock_is_reported(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(
        botocore.auth, "get_current_datetime", lambda: now() + datetime.timedelta(hours=1)
    )
    assert_one_sentence(bucket, "the clock of this machine is wrong; set it and run again.")


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_reported() -> None:
    what = "there is no such bucket; create it, or correct 'lake' in globals.yml."
    assert_one_sentence(Bucket("s3://nowhere/lake"), what, USES.keys() - {"exists"})
    assert_one_sentence(
        Bucket("s3:///lake"), "this is not a valid bucket name; correct 'lake' in globals.yml"
    )


def test_a_write_with_read_access_only_is_one_sentence(
    bucket: Bucket, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bucket, KEY, b"old")
    for name, value in seaweed.environment(access_key=READER).items():
        monkeypatch.setenv(name, value)
    lake = Bucket(bucket.root)
    assert lake.keys("gold") == [KEY]
    assert lake.read(KEY) == b"old"
    what = "the store denies access to these credentials; grant them s3:ListBucket on"
    assert_one_sentence(lake, what, {"create", "put", "delete", "locked"})
    assert bucket.read(KEY) == b"old"


# Requests


def test_requests_are_counted_by_their_kind(bucket: Bucket) -> None:
    bucket.check_conditions()
    before = request_counts()
    write(bucket, KEY, b"new")
    bucket.exists(KEY)
    bucket.read(KEY)
    bucket.keys("")
    bucket.delete([KEY])
    assert request_counts() - before == {"PUT": 1, "HEAD": 1, "GET": 1, "LIST": 1, "DELETE": 1}
