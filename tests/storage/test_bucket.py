"""The lake in a bucket: conditional writes and copies, and errors of the store."""

from __future__ import annotations

import datetime
import os
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import botocore.auth
import pytest
from botocore.exceptions import SSLError
from infra.s3.seaweed import HOST, READER

from capstone_metrics.errors import CapstoneError
from capstone_metrics.storage import bucket as buckets
from capstone_metrics.storage import s3_client
from capstone_metrics.storage.base import StagedObject
from capstone_metrics.storage.bucket import Bucket
from capstone_metrics.storage.request_counter import request_counts
from capstone_metrics.storage.s3_errors import error_message
from capstone_metrics.storage.staging import abandoned_keys, staging_prefix
from tests.support.s3_proxy import Faults, Request
from tests.support.storages import another, matches, stamp, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

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
    "stage": lambda lake: lake.stage(staging_prefix("gold"), b"new"),
    "promote": lambda lake: lake.promote({KEY: StagedObject("_tmp/none", "", 0)}),
    "delete": lambda lake: lake.delete([KEY]),
    "locked": lambda lake: lake.locked("gold").__enter__(),
}


def stage(lake: Bucket, content: bytes = b"new", layer: str = "gold") -> StagedObject:
    return lake.stage(staging_prefix(layer), content)


@pytest.fixture
def shaky(bucket: Bucket, proxied: Bucket) -> Bucket:
    """The lake behind the proxy. It has an object, and all were written past the proxy."""
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


@pytest.fixture(params=[True, False], ids=["copy", "read and write"])
def placing(request: pytest.FixtureRequest, shaky: Bucket, faulty: Faulty) -> Bucket:
    """The same lake, where the store honours conditions on copies and where it does not."""
    vars(shaky)["_honours_conditional_copies"] = request.param
    faulty.reset()
    return shaky


def writes(faulty: Faulty, key: str = KEY) -> list[tuple[bool, dict[str, str]]]:
    """Return of each write of an object whether it is a copy, and its conditions."""
    return [(each.is_copy, each.conditions) for each in faulty.requests if puts(key)(each)]


def test_a_new_object_is_placed_if_there_is_none_and_a_known_one_over_its_version(
    placing: Bucket, faulty: Faulty
) -> None:
    etag, _ = stamp(placing, KEY)  # type: ignore[misc]
    placing.keys("gold")
    write(placing, KEY, b"new")
    write(placing, "gold/b.csv", b"new")
    is_copy = placing._honours_conditional_copies
    assert writes(faulty) == [(is_copy, {"If-Match": etag})]
    assert writes(faulty, "gold/b.csv") == [(is_copy, {"If-None-Match": "*"})]
    reads = [each.key for each in faulty.requests if each.method == "GET" and not each.query]
    assert len(reads) == (0 if is_copy else 2)
    assert [placing.read(key) for key in placing.keys("gold")] == [b"new", b"new"]


def test_the_version_of_an_object_that_was_placed_is_known(placing: Bucket, faulty: Faulty) -> None:
    write(placing, "gold/b.csv", b"new")
    assert matches(placing, "gold/b.csv", b"new")
    etag, _ = stamp(placing, "gold/b.csv")  # type: ignore[misc]
    write(placing, "gold/b.csv", b"newer")
    assert writes(faulty, "gold/b.csv")[1:] == [
        (placing._honours_conditional_copies, {"If-Match": etag})
    ]


def test_a_new_object_is_created_if_there_is_none(shaky: Bucket, faulty: Faulty) -> None:
    assert shaky.create("gold/c.csv", [b"new"])
    assert conditions(faulty, "gold/c.csv") == [{"If-None-Match": "*"}]


def test_a_writer_that_read_nothing_detects_an_existing_object(
    placing: Bucket, faulty: Faulty
) -> None:
    etag, _ = stamp(placing, KEY)  # type: ignore[misc]
    write(placing, KEY, b"new")
    assert conditions(faulty) == [{"If-None-Match": "*"}, {"If-Match": etag}]
    assert placing.read(KEY) == b"new"


def test_the_next_writer_does_not_rewrite_equal_bytes(placing: Bucket) -> None:
    """As after a run that died in the middle of a commit."""
    write(placing, KEY, b"same")
    before = stamp(placing, KEY)
    write(another(placing), KEY, b"same")
    assert stamp(placing, KEY) == before


def test_a_lock_holder_overwrites_the_bytes_of_another_writer(placing: Bucket) -> None:
    with placing.locked("gold"):
        write(another(placing), KEY, b"theirs")
        write(placing, KEY, b"mine")
        write(another(placing), "gold/new.csv", b"theirs")
        write(placing, "gold/new.csv", b"mine")
    assert [placing.read(key) for key in placing.keys("gold")] == [b"mine", b"mine"]


def take_over(lake: Bucket, layer: str) -> Bucket:
    """Take the lock of a layer from its holder; return the lake of who has it then."""
    lake.client.put_object(
        Bucket=lake.bucket, Key=f"{lake.prefix}_tmp/{layer}.lock", Body=b'{"id": "thief"}'
    )
    thief: Bucket = another(lake)
    return thief


@pytest.mark.parametrize("known", [True, False])
def test_a_former_lock_holder_overwrites_nothing_of_another_writer(
    placing: Bucket, known: bool
) -> None:
    if known:
        placing.exists(KEY)
    with placing.locked("gold"):
        thief = take_over(placing, "gold")
        write(thief, KEY, b"theirs")
        with pytest.raises(CapstoneError, match="another run took over"):
            write(placing, KEY, b"mine")
        with pytest.raises(CapstoneError, match="another run took over"):
            write(placing, "gold/new.csv", b"mine")
        with pytest.raises(CapstoneError, match="another run took over"):
            placing.delete([KEY])
        write(placing, "silver/x", b"of another layer")
    assert thief.read(KEY) == b"theirs"
    assert thief.keys("gold") == [KEY]


@pytest.mark.parametrize("prefix", ["/q", "q/", "//q//", "q"])
def test_empty_parts_of_a_prefix_are_left_out(
    seaweed: SeaweedFS, bucket: Bucket, prefix: str
) -> None:
    lake = Bucket(f"{bucket.root}/{prefix}/{prefix}")
    assert lake.root == f"{bucket.root}/q/q"
    write(lake, KEY, b"new")
    assert lake.keys("gold") == [KEY]
    assert bucket.keys("q/q/gold") == [f"q/q/{KEY}"]
    assert Bucket(f"s3://{seaweed.bucket}//").root == f"s3://{seaweed.bucket}"


def test_the_version_of_an_object_is_its_etag(bucket: Bucket) -> None:
    write(bucket, KEY, b"one")
    first, _ = stamp(bucket, KEY)  # type: ignore[misc]
    assert bucket.read_if_exists(KEY) == (b"one", first)
    write(bucket, KEY, b"two")
    assert bucket.read_if_exists(KEY)[1] != first
    assert bucket.read_if_exists("gold/nothing") == (b"", "")
    stale = bucket.write(KEY, b"three", IfMatch=first)
    assert stale is None
    assert bucket.read_if_exists(KEY)[0] == b"two"


def test_an_object_of_an_unknown_version_matches_nothing(bucket: Bucket) -> None:
    write(bucket, KEY, b"one")
    lake = another(bucket)
    assert not matches(lake, KEY, b"one")
    lake.exists(KEY)
    assert matches(lake, KEY, b"one")


def test_objects_whose_etag_is_no_digest_are_compared_by_their_bytes(bucket: Bucket) -> None:
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
    assert bucket.keys("gold") == [KEY]
    assert not matches(bucket, KEY, content)
    another(bucket).promote({KEY: stage(bucket, content)})
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


@pytest.mark.parametrize("key", [KEY, "gold/b.csv"])
def test_a_place_whose_response_is_dropped_is_successful(
    placing: Bucket, faulty: Faulty, key: str
) -> None:
    placing.keys("gold")
    faulty.faults = Faults(lost=1, only=puts(key), times=1)
    write(placing, key, b"new")
    assert placing.read(key) == b"new"
    fates = [each.fate for each in faulty.requests if puts(key)(each)]
    assert fates == ["lost", "passed"]  # the second one met the object of the first
    write(placing, key, b"newer")
    assert placing.read(key) == b"newer"


def test_a_place_over_an_unknown_object_is_successful_though_a_response_is_dropped(
    placing: Bucket, faulty: Faulty
) -> None:
    faulty.faults = Faults(lost=1, only=puts(), times=1)
    write(placing, KEY, b"new")
    assert placing.read(KEY) == b"new"


def test_a_stage_whose_response_is_dropped_is_successful(shaky: Bucket, faulty: Faulty) -> None:
    faulty.faults = Faults(lost=1, only=lambda each: "_tmp/gold-" in each.key, times=1)
    staged = stage(shaky)
    assert [key for key in shaky.keys("_tmp") if "~" in key] == [staged.key]
    assert shaky.read(staged.key) == b"new"


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
    faulty.faults = replace(faulty.faults)
    shaky.overwrite("gold/b.csv", b"other")
    assert shaky.read("gold/b.csv") == b"other"


@pytest.mark.parametrize("key", [KEY, "gold/b.csv"])
def test_a_place_is_repeated_after_a_conflict(placing: Bucket, faulty: Faulty, key: str) -> None:
    placing.keys("gold")
    faulty.faults = Faults(
        errors=1, error=(409, "ConditionalRequestConflict"), only=puts(key), times=2
    )
    write(placing, key, b"new")
    assert placing.read(key) == b"new"


@pytest.mark.parametrize(
    "use",
    [
        USES["create"],
        lambda lake: write(lake, "gold/new.csv", b"new"),
        lambda lake: lake.overwrite("gold/new.csv", b"new"),
    ],
)
def test_endless_conflicts_are_an_error(
    placing: Bucket, faulty: Faulty, use: Callable[[Bucket], object]
) -> None:
    faulty.faults = Faults(
        errors=1, error=(409, "ConditionalRequestConflict"), only=puts("gold/new.csv")
    )
    with pytest.raises(CapstoneError, match="others keep writing to it; run again"):
        use(placing)
    assert len(conditions(faulty, "gold/new.csv")) == s3_client.MAX_ATTEMPTS


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
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 2)
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
    sent = len(faulty.requests)
    for use, key in (
        (lambda: stage(shaky, b"news"), "_tmp/gold-.*"),
        (lambda: shaky.create("gold/b.csv", [b"ne", b"ws"]), "gold/b.csv"),
    ):
        with pytest.raises(CapstoneError, match=rf"{key}: 4 bytes are more .* \(3\); ingest"):
            use()
    assert len(faulty.requests) == sent
    assert shaky.create("gold/b.csv", [b"ne", b"w"])


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
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 2)
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


# Staged objects


@pytest.mark.parametrize(("staged", "done"), [(b"old", True), (b"else", False)])
def test_a_place_whose_etag_is_no_digest_is_compared_by_its_bytes(
    bucket: Bucket, staged: bytes, done: bool
) -> None:
    """As where a store encrypts with keys of its own."""
    write(bucket, KEY, b"old")
    before = stamp(bucket, KEY)
    another(bucket).promote({KEY: stage(bucket, staged)._replace(digest="of its own")})
    assert bucket.read(KEY) == staged
    assert (stamp(bucket, KEY) == before) is done


@pytest.mark.parametrize("key", [KEY, "gold/b.csv"])
def test_an_object_that_is_no_longer_staged_is_named(placing: Bucket, key: str) -> None:
    placing.keys("gold")
    staged = stage(placing)
    placing.delete([staged.key])
    with pytest.raises(CapstoneError, match=rf"^{placing.address(staged.key)}: there is no such"):
        placing.promote({key: staged})
    assert placing.keys("gold") == [KEY]
    assert placing.read(KEY) == b"old"


def test_a_former_lock_holder_sweeps_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dead:
        dead.setattr("os.getpid", lambda: 1 << 30)
        staged = [stage(bucket, layer=layer).key for layer in ("silver", "object", "gold")]
    assert abandoned_keys(bucket, "silver") == sorted(staged[:2])
    with bucket.locked("silver"):
        take_over(bucket, "silver")
        monkeypatch.setattr("capstone_metrics.storage.lease.EXPIRY_SECONDS", 0)
        with pytest.raises(CapstoneError, match="another run took over"):
            bucket.delete(abandoned_keys(bucket, "silver"))
        bucket.delete(staged[2:])
    assert [bucket.exists(key) for key in staged] == [True, True, False]


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


@pytest.mark.parametrize("use", ["create", "promote", "locked"])
def test_a_store_that_ignores_conditions_is_rejected(bucket: Bucket, use: str) -> None:
    with (
        served(Careless) as careless,
        pytest.raises(
            CapstoneError, match="this store ignores conditional headers on writes"
        ) as error,
    ):
        USES[use](Bucket(bucket.root, endpoint_url=careless))
    assert str(error.value).startswith(f"{bucket.root}: ")


def test_it_is_found_out_whether_a_store_ignores_the_conditions_of_copies(
    bucket: Bucket,
) -> None:
    with served(CarelessOfCopies) as careless:
        assert not Bucket(bucket.root, endpoint_url=careless)._honours_conditional_copies
    assert bucket._honours_conditional_copies


def test_the_conditions_are_tried_once_in_a_process(shaky: Bucket, faulty: Faulty) -> None:
    lake = Bucket(shaky.root, endpoint_url=shaky.endpoint_url)
    for at in range(3):
        write(lake, f"gold/{at}.csv", b"")
        assert lake.create(f"gold/{at}.json", [])
    tried = [each.is_copy for each in faulty.requests if "conditional-writes" in each.key]
    assert tried == [False] * 3 + [True] * 3


def faults(seaweed: SeaweedFS, faulty: Faulty, *error: Any) -> dict[str, str]:
    faulty.faults = Faults(errors=1, error=error)  # type: ignore[arg-type]
    return seaweed.environment(faulty.endpoint)


def no_credentials(*names: str) -> dict[str, str]:
    return dict.fromkeys(names, "")


def with_endpoint(url: str, seaweed: SeaweedFS, _: Faulty) -> dict[str, str]:
    return seaweed.environment(url)


WRONG_ENDPOINTS = {
    "without a scheme": f"{HOST}:4566",
    "of another scheme": f"ftp://{HOST}",
    "with a password": f"http://user:{CANARY}@{HOST}:4566",
    "with a password and without a scheme": f"user:{CANARY}@{HOST}:4566",
    "with a query": f"http://{HOST}:4566?token={CANARY}",
}
ENDPOINT = "its endpoint is not a URL of http or https without a user and a query; write it as"

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
    "a checksum that is not known": (
        lambda seaweed, faulty: faults(seaweed, faulty, 501, "NotImplemented"),
        "the store does not know what it was asked for, which may be a checksum; set AWS_REQUEST_",
    ),
    "a proxy that does not answer": (
        lambda seaweed, _: {
            **seaweed.environment("http://store.example"),
            "HTTP_PROXY": f"http://{HOST}:1",
        },
        "the proxy does not answer; correct HTTPS_PROXY, or name the store's host in NO_PROXY.",
    ),
    "unreachable endpoint": (
        lambda seaweed, _: seaweed.environment(f"http://{HOST}:1"),
        "the store does not answer; check the network and the endpoint, and run again.",
    ),
    "endpoint without TLS": (
        lambda seaweed, _: seaweed.environment(seaweed.endpoint.replace("http:", "https:")),
        "the store does not speak TLS; correct the endpoint, to http:// or to another port.",
    ),
    **{
        f"endpoint {what}": (partial(with_endpoint, url), ENDPOINT)
        for what, url in WRONG_ENDPOINTS.items()
    },
    "no valid region": (
        lambda *_: {"AWS_DEFAULT_REGION": "us east"},
        "this is not a valid region; correct AWS_REGION, or 'region' of 'lake' in globals.yml.",
    ),
    "neither true nor false": (
        lambda *_: {"AWS_USE_FIPS_ENDPOINT": "maybe"},
        "AWS_USE_FIPS_ENDPOINT is 'maybe'; set it to true or false.",
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
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    arrange, what = STORE_ERRORS[case]
    for name, value in arrange(seaweed, faulty).items():
        if value:
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.delenv(name)
    assert_one_sentence(Bucket(bucket.root), what)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("CERTIFICATE_VERIFY_FAILED] certificate has expired", "of the store is not valid now"),
        (
            "CERTIFICATE_VERIFY_FAILED] certificate is not yet valid",
            "of the store is not valid now",
        ),
        ("CERTIFICATE_VERIFY_FAILED] Hostname mismatch", "is not of a known authority, or not for"),
        ("UNEXPECTED_EOF_WHILE_READING] EOF occurred", "the store does not answer; check the"),
    ],
)
def test_what_is_wrong_with_tls_is_named(said: str, message: str) -> None:
    error = SSLError(endpoint_url="https://store", error=f"[SSL: {said} (_ssl.c:1006)")
    assert message in error_message(error)


def test_an_empty_region_or_endpoint_is_none(
    monkeypatch: pytest.MonkeyPatch, seaweed: SeaweedFS
) -> None:
    lake = Bucket(f"s3://{seaweed.bucket}/lake", region="", endpoint_url="")
    assert lake.client.meta.endpoint_url == seaweed.endpoint
    for name in seaweed.environment().keys() - {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}:
        monkeypatch.delenv(name)
    assert Bucket(lake.root, region="").client.meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    with pytest.raises(CapstoneError, match="no region is set; set AWS_REGION"):
        Bucket(lake.root).keys("")


def test_a_missing_object_that_may_not_be_looked_for_is_a_denied_one(
    shaky: Bucket, faulty: Faulty
) -> None:
    heads = Faults(errors=1, error=(403, ""), only=lambda request: request.method == "HEAD")
    faulty.faults = heads
    with pytest.raises(CapstoneError, match="grant them s3:ListBucket on the bucket"):
        shaky.exists("gold/none.csv")


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
    assert_one_sentence(lake, what, {"create", "stage", "promote", "delete", "locked"})
    assert bucket.read(KEY) == b"old"


# Stores that are not as AWS


def deletes(faulty: Faulty) -> list[str]:
    """Return how each request to delete was made: of many objects, or of one."""
    methods = [each.method for each in faulty.requests if each.query.startswith("delete")]
    return [*methods, *(each.method for each in faulty.requests if each.method == "DELETE")]


@pytest.mark.parametrize(
    "error",
    [
        (400, "MissingContentMD5"),
        (400, "InvalidRequest"),
        (501, "NotImplemented"),
        (405, "MethodNotAllowed"),
    ],
)
def test_objects_are_deleted_one_by_one_where_the_store_does_not_take_many(
    shaky: Bucket, faulty: Faulty, error: tuple[int, str]
) -> None:
    keys = [KEY, *(f"gold/{number}.csv" for number in range(3))]
    for key in keys[1:]:
        write(shaky, key, b"x")
    faulty.reset()
    faulty.faults = Faults(
        errors=1, error=error, only=lambda request: request.query.startswith("delete")
    )
    shaky.delete(keys[:2])
    shaky.delete([*keys[2:], "gold/none.csv"])
    assert shaky.keys("gold") == []
    assert deletes(faulty)[0] == "POST"
    assert Counter(deletes(faulty)) == {"POST": deletes(faulty).count("POST"), "DELETE": 5}
    assert {each.method for each in faulty.requests if "/none.csv" in each.key} == {"DELETE"}


def test_a_denied_delete_is_not_tried_one_by_one(shaky: Bucket, faulty: Faulty) -> None:
    faulty.faults = Faults(errors=1, error=(403, "AccessDenied"))
    with pytest.raises(CapstoneError, match="the store denies access"):
        shaky.delete([KEY])
    assert "DELETE" not in deletes(faulty)


# Requests


def test_requests_are_counted_by_their_kind(bucket: Bucket) -> None:
    assert bucket._honours_conditional_copies
    before = request_counts()
    bucket.promote({KEY: stage(bucket)})
    bucket.exists(KEY)
    bucket.read(KEY)
    bucket.keys("")
    bucket.delete([KEY])
    assert request_counts() - before == {"PUT": 2, "HEAD": 1, "GET": 1, "LIST": 1, "DELETE": 1}
