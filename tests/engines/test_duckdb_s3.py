"""DuckDB and Spark read a bucket where boto3 finds it, by the same rules."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from infra.s3.seaweed import HOST, SeaweedFS
from urllib3 import HTTPResponse

from capstone_metrics.engines import duckdb_s3
from capstone_metrics.engines.duckdb import DuckDBEngine
from capstone_metrics.engines.duckdb_s3 import enable_reads, find_store_error
from capstone_metrics.errors import CapstoneError, EngineError, StorageError
from capstone_metrics.storage.bucket import Bucket
from tests.support.s3_proxy import Faults, Faulty
from tests.support.storages import another, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "gold/a.parquet"
READERS = ["curl", "httplib", "s3fs"]
"""The ways to read a bucket: the two clients of HTTP that httpfs has, and s3fs."""


def content(number: int = 7) -> bytes:
    file = BytesIO()
    pq.write_table(pa.table({"views": [number]}), file)
    return file.getvalue()


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A way to read a bucket."""
    if request.param == "s3fs":
        monkeypatch.setattr(duckdb_s3, "HTTPFS_PACKAGE", "no_such_package")
    return str(request.param)


def read(lake: Bucket, reader: str) -> list[tuple[int]]:
    """Return the rows of the object of these tests, as an engine reads it."""
    lake.keys("gold")
    connection = duckdb.connect()
    if reader != "s3fs":
        assert duckdb_s3._load_httpfs(connection)
        connection.execute(f"SET httpfs_client_implementation = '{reader}'")
    enable_reads(connection, lake, [KEY])
    rows: list[tuple[int]] = connection.execute(
        f"FROM read_parquet('{lake.address(KEY)}')"
    ).fetchall()
    return rows


# Where requests go


@pytest.fixture
def asked() -> Iterator[tuple[int, list[str]]]:
    """A proxy that notes for which hosts it is asked, and its port; nothing leaves this machine."""
    server, hosts = socket.create_server((HOST, 0)), list[str]()

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(1 << 12).split(b"\r\n")[0].decode()
                hosts.append(request.split()[1])
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1], hosts
    server.close()


VPCE = "https://bucket.vpce-0a1b-2c3d.s3.sa-east-1.vpce.amazonaws.com"
PLACES: dict[str, tuple[str, str, str | None, dict[str, str], str]] = {
    "usual": ("lago", "sa-east-1", None, {}, "lago.s3.sa-east-1.amazonaws.com/"),
    "dots": ("meu.lago", "sa-east-1", None, {}, "s3.sa-east-1.amazonaws.com/meu.lago"),
    "China": ("lago", "cn-north-1", None, {}, "lago.s3.cn-north-1.amazonaws.com.cn/"),
    "GovCloud": ("lago", "us-gov-west-1", None, {}, "lago.s3.us-gov-west-1.amazonaws.com/"),
    "PrivateLink": ("lago", "sa-east-1", VPCE, {}, f"{urlsplit(VPCE).netloc}/lago"),
    "PrivateLink of its name": ("bucket", "sa-east-1", VPCE, {}, f"{urlsplit(VPCE).netloc}/bucket"),
    "FIPS": (
        *("lago", "us-east-1", None, {"AWS_USE_FIPS_ENDPOINT": "true"}),
        "lago.s3-fips.us-east-1.amazonaws.com/",
    ),
    "dual-stack": (
        *("lago", "sa-east-1", None, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}),
        "lago.s3.dualstack.sa-east-1.amazonaws.com/",
    ),
    "named dual-stack": (
        *("lago", "sa-east-1", "https://s3.dualstack.sa-east-1.amazonaws.com", {}),
        "s3.dualstack.sa-east-1.amazonaws.com/lago",
    ),
    "another store": ("lago", "auto", "https://x.r2.example.com", {}, "x.r2.example.com/lago"),
    "a store named as its bucket": ("lago", "auto", "https://lago.store", {}, "lago.store/lago"),
}


def answered(lake: Bucket) -> list[str]:
    """Have no request of boto3 leave this machine; return the URLs of those that are made."""
    urls: list[str] = []

    def answer(request: Any, **_: Any) -> AWSResponse:
        urls.append(request.url)
        return AWSResponse(request.url, 200, {}, HTTPResponse(BytesIO(), preload_content=False))

    lake.client.meta.events.register_last("before-send.s3", answer)
    return urls


@pytest.fixture
def placed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Bucket, str]:
    """A lake in one of the places, and the host and path where boto3 goes for it."""
    name, region, endpoint, environment, expected = PLACES[request.param]
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CONFIG_FILE": "/dev/null"}
    for variable, value in {**keys, **environment}.items():
        monkeypatch.setenv(variable, value)
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(variable, raising=False)
    lake = Bucket(f"s3://{name}/cap", region, endpoint)
    urls = answered(lake)
    assert lake.place.region == region
    (url,) = urls
    assert f"{urlsplit(url).netloc}{urlsplit(url).path}" == expected
    return lake, expected


@pytest.mark.parametrize("placed", PLACES, indirect=True)
def test_duckdb_goes_where_boto3_goes(
    placed: tuple[Bucket, str], asked: tuple[int, list[str]]
) -> None:
    lake, expected = placed
    port, hosts = asked
    assert duckdb_s3._is_reached_by_httpfs(lake) == ("dualstack" not in expected)
    if "dualstack" in expected:
        return
    connection = duckdb.connect()
    assert duckdb_s3._load_httpfs(connection)
    duckdb_s3._configure_httpfs(connection, lake)
    connection.execute(f"SET http_proxy = '{HOST}:{port}'; SET http_retries = 0")
    with pytest.raises(duckdb.Error):
        connection.execute(f"FROM read_parquet('{lake.address(KEY)}')")
    assert {host.removesuffix(":443") for host in hosts} == {expected.partition("/")[0]}
    assert lake.place.is_path_style == (expected.partition("/")[2] == lake.bucket)


@pytest.mark.parametrize("placed", PLACES, indirect=True)
def test_spark_goes_where_boto3_goes(placed: tuple[Bucket, str]) -> None:
    lake, expected = placed
    options = lake.place.s3a_options
    host, _, path = expected.partition("/")
    if not options:  # its own rule: the bucket's host in the region
        assert host == f"{lake.bucket}.s3.{lake.region}.amazonaws.com"
        return
    of_bucket = "" if path else f"{lake.bucket}."
    assert f"https://{of_bucket}{urlsplit(options['fs.s3a.endpoint']).netloc}" == f"https://{host}"
    assert options["fs.s3a.path.style.access"] == str(bool(path)).lower()
    assert options["fs.s3a.endpoint.region"] == lake.region


# A store below a path


class Anonymous(SeaweedFS):
    """A server that lets everybody do everything: a signature of another path would not hold."""

    def _identities(self) -> list[dict[str, Any]]:
        return [{"name": "anonymous", "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]

    def client(self, endpoint: str = "", access_key: str = "", **config: Any) -> Any:
        """Return a client whose requests are not signed."""
        return super().client(endpoint, access_key, signature_version=UNSIGNED, **config)


@pytest.fixture
def below(tmp_path: Path) -> Iterator[Faulty]:
    """A store that answers below a path alone."""
    server = Anonymous(tmp_path)
    server.start()
    proxy = Faulty(server.endpoint, folder="/lake/storage/v1/s3")
    proxy.start()
    yield proxy
    proxy.stop()
    server.stop()


@pytest.mark.slow
def test_a_store_below_a_path_is_read_by_s3fs_and_not_by_spark(
    below: Faulty, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.environment(below.endpoint).items():
        monkeypatch.setenv(name, value)
    lake = Bucket("s3://lake/below")
    write(lake, KEY, content())
    assert lake.place.folder == "/lake/storage/v1/s3"
    lake.keys("gold")
    connection = duckdb.connect()
    enable_reads(connection, lake, [KEY])
    assert connection.execute(f"FROM read_parquet('{lake.address(KEY)}')").fetchall() == [(7,)]
    lake.delete([KEY])
    pytest.importorskip("pyspark")
    from capstone_metrics.engines import spark  # noqa: PLC0415 - it needs the package

    with pytest.raises(StorageError, match="Spark reads no store below a path, as http://127"):
        spark._hadoop(lake)


# Certificates


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates of two authorities, and of servers that they know."""
    folder = tmp_path_factory.mktemp("authorities")

    def make(name: str, *options: str) -> None:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        files = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-days",
                "2",
                *key,
                *files,
                "-subj",
                f"/CN={name}",
                *options,
            ],
            cwd=folder,
            check=True,
            capture_output=True,
        )

    for name in ("ours", "theirs"):
        make(name)
    for host in ("localhost", "elsewhere.example"):
        issuer = ["-CA", "ours.pem", "-CAkey", "ours.key", "-addext", "basicConstraints=CA:FALSE"]
        make(host, *issuer, "-addext", f"subjectAltName=DNS:{host}")
    return folder


def secured(seaweed: SeaweedFS, authorities: Path, host: str) -> Faulty:
    """Return a server of S3 with TLS, which shows the certificate of a host."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authorities / f"{host}.pem", authorities / f"{host}.key")
    proxy = Faulty(seaweed.endpoint, tls=context)
    proxy.start()
    return proxy


@pytest.fixture
def secure(
    seaweed: SeaweedFS, authorities: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """A lake behind TLS, with a certificate of our authority, which nobody knows yet."""
    write(bucket, KEY, content())
    proxy = secured(seaweed, authorities, "localhost")
    monkeypatch.setattr("capstone_metrics.storage.s3_client.MAX_ATTEMPTS", 1)
    yield Bucket(bucket.root, endpoint_url=proxy.endpoint)
    proxy.stop()


def test_a_store_of_a_private_authority_is_read(
    secure: Bucket, reader: str, authorities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities / "ours.pem"))
    assert read(secure, reader) == [(7,)]


CERTIFICATE = "the certificate of the store is not of a known authority, or not for this host; name"


@pytest.mark.parametrize("bundle", ["theirs.pem", None])
def test_a_store_of_an_unknown_authority_is_refused_by_a_sentence_about_that(
    secure: Bucket, authorities: Path, monkeypatch: pytest.MonkeyPatch, bundle: str | None
) -> None:
    if bundle:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities / bundle))
    with pytest.raises(StorageError, match=CERTIFICATE):
        secure.keys("gold")


@pytest.mark.few(1)
@pytest.mark.parametrize("wrong", ["authority", "host"])
def test_no_way_of_reading_checks_less(  # noqa: PLR0913, PLR0917
    secure: Bucket,
    seaweed: SeaweedFS,
    reader: str,
    authorities: Path,
    monkeypatch: pytest.MonkeyPatch,
    wrong: str,
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities / "ours.pem"))
    secure.keys("gold")  # boto3 has asked: from now on the engine is alone
    if wrong == "authority":
        vars(secure)["certificates"] = str(authorities / "theirs.pem")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authorities / "theirs.pem"))
    else:
        other = secured(seaweed, authorities, "elsewhere.example")
        port = urlsplit(other.endpoint).port
        secure._place = secure.place._replace(host=f"localhost:{port}")
        secure.client.meta._endpoint_url = other.endpoint
    monkeypatch.setattr(secure, "keys", lambda _: None)
    with pytest.raises((duckdb.Error, OSError, CapstoneError)) as raised:
        read(secure, reader)
    assert "certificate" in str(raised.value).lower() or "SSL" in str(raised.value)


def test_a_bundle_that_is_missing_is_refused_before_anything_is_asked(
    secure: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such.pem")
    with pytest.raises(StorageError, match=r"/no/such.pem, the cert.* correct AWS_CA_BUNDLE"):
        secure.keys("gold")


# Proxies


def test_a_proxy_is_used_as_boto3_uses_it(
    bucket: Bucket, seaweed: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bucket, KEY, content())
    monkeypatch.setattr("capstone_metrics.storage.s3_client.MAX_ATTEMPTS", 1)
    monkeypatch.setenv("HTTP_PROXY", f"http://{HOST}:1")
    monkeypatch.setenv("NO_PROXY", f"{HOST},localhost")
    lake = Bucket(bucket.root, endpoint_url=seaweed.endpoint)
    lake.keys("gold")
    connection = duckdb.connect()
    enable_reads(connection, lake, [KEY])
    assert connection.execute(f"FROM read_parquet('{lake.address(KEY)}')").fetchall() == [(7,)]
    monkeypatch.setenv("NO_PROXY", "")
    refused = Bucket(bucket.root, endpoint_url=seaweed.endpoint)
    with pytest.raises(StorageError, match="the proxy does not answer; correct HTTPS_PROXY"):
        refused.keys("gold")


def test_all_requests_go_through_the_proxy(
    bucket: Bucket, seaweed: SeaweedFS, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bucket, KEY, content())
    monkeypatch.setenv("HTTP_PROXY", faulty.endpoint)
    monkeypatch.setenv("NO_PROXY", "elsewhere.example")
    lake = Bucket(bucket.root, endpoint_url=seaweed.endpoint)
    lake.keys("gold")
    connection = duckdb.connect()
    enable_reads(connection, lake, [KEY])
    before = len(faulty.requests)
    assert connection.execute(f"FROM read_parquet('{lake.address(KEY)}')").fetchall() == [(7,)]
    assert before
    assert {each.method for each in faulty.requests[before:]} == {"GET"}


# Whose fault it is


def test_another_run_is_named_only_where_one_changed_what_is_read(bucket: Bucket) -> None:
    write(bucket, KEY, content())
    bucket.keys("gold")
    versions = {KEY: bucket.listing_entry(KEY)["ETag"]}

    def check() -> CapstoneError | None:
        return find_store_error(bucket, versions, "it reported this")

    assert "it reported this" in str(check())
    assert isinstance(check(), EngineError)
    write(another(bucket), "gold/b.parquet", content())
    assert isinstance(check(), EngineError)
    write(another(bucket), KEY, content(8))
    assert check() is None
    another(bucket).delete([KEY])
    assert check() is None


def test_a_lake_that_was_read_before_is_no_part_of_another(bucket: Bucket) -> None:
    engine = DuckDBEngine({})
    for lake, number in ((bucket, 1), (Bucket(f"{bucket.root}/other"), 2)):
        key = f"gold/{number}.parquet"
        write(lake, key, content(number))
        lake.keys("gold")
        engine._enable_reads(lake, [key])
    assert engine.connection.find_store_error
    assert isinstance(engine.connection.find_store_error("it reported this"), EngineError)


def test_a_store_that_refuses_now_is_named(bucket: Bucket, proxied: Bucket, faulty: Faulty) -> None:
    write(bucket, KEY, content())
    proxied.keys("gold")
    versions = {KEY: proxied.listing_entry(KEY)["ETag"]}
    faulty.faults = Faults(errors=1, error=(403, "AccessDenied"))
    assert "the store denies access" in str(find_store_error(proxied, versions, ""))
