"""A server that the environment names: the checks of its string, of its name and of the login."""

from __future__ import annotations

import subprocess
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER, EmbeddedServer
from capstone_metrics.serving.provision import connect, provision
from capstone_metrics.serving.remote import RemoteServer
from capstone_metrics.write_stats import WriteStats
from tests.conftest import POSTGRESQL_15
from tests.support.gold import gold

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capstone_metrics.serving.embedded import Address

CANARY = "Canário:9/@%"
QUOTED = "Can%C3%A1rio%3A9%2F%40%25"


@pytest.fixture(autouse=True)
def no_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGSSLMODE", "PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPASSWORD", "PGPASSFILE"):
        monkeypatch.delenv(name, raising=False)


def password_of(address: Address, role: str) -> str:
    lines = (line.split(":", 4) for line in address.passfile.read_text().splitlines())
    return next(line[4] for line in lines if line[3] == role)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://loader:{CANARY}@db.example/capstone",
        "postgresql://loader:Can@ário@db.example/capstone",
        "postgresql://loader:Can/ário@db.example/capstone",
        f"host=db.example password = {CANARY} x",
        "Canário",
        "host=db.example pass=Canário",
        "postgresql://loader@db.example/Canário",
        "host=db.example dbname=Canário",
        "host=db.example password=Canário sslmode=require",
    ],
)
def test_an_invalid_string_is_an_error_that_does_not_repeat_it(dsn: str) -> None:
    with pytest.raises(CapstoneError, match=r"^CAPSTONE_DSN") as error:
        RemoteServer(dsn, "capstone")
    message = str(error.value)
    assert "\n" not in message
    for each in (message, traceback_of(error.value)):
        assert "Can" not in each.replace("CAPSTONE", "")
        assert "ário" not in each


def traceback_of(error: BaseException) -> str:
    """Return an error with its causes, but for the lines of this module."""
    lines = traceback.format_exception(error)
    return "".join(line for line in lines if __file__ not in line)


@pytest.mark.parametrize(
    ("dsn", "variables", "sslmode"),
    [
        ("host=localhost", {}, None),
        ("host=127.0.0.1 sslmode=require", {}, "require"),
        ("host=::1", {}, None),
        ("host=/run/postgresql", {}, None),
        ("postgresql://", {}, None),
        ("host=db.example", {}, "verify-full"),
        ("host=db.example hostaddr=127.0.0.1", {}, "verify-full"),
        ("host=localhost hostaddr=192.0.2.1", {}, "verify-full"),
        ("host=localhost,db.example", {}, "verify-full"),
        ("host=localhost", {"PGHOSTADDR": "192.0.2.1"}, "verify-full"),
        ("postgresql://", {"PGHOST": "db.example"}, "verify-full"),
        ("service=prod", {}, "verify-full"),
        ("host=localhost", {"PGSERVICE": "prod"}, "verify-full"),
    ],
)
def test_beyond_loopback_the_server_is_verified(
    monkeypatch: pytest.MonkeyPatch, dsn: str, variables: dict[str, str], sslmode: str | None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    conninfo = RemoteServer(dsn, "capstone").conninfo(READER)
    assert ("sslmode=" in conninfo) == (sslmode is not None)
    assert f"sslmode={sslmode or ''}" in conninfo + "sslmode="


@pytest.mark.parametrize("sslmode", ["disable", "allow", "prefer", "require", "verify-ca"])
@pytest.mark.parametrize("is_variable", [False, True])
def test_a_weaker_sslmode_is_an_error(
    monkeypatch: pytest.MonkeyPatch, sslmode: str, is_variable: bool
) -> None:
    dsn = "host=db.example"
    if is_variable:
        monkeypatch.setenv("PGSSLMODE", sslmode)
    else:
        dsn += f" sslmode={sslmode}"
    with pytest.raises(
        CapstoneError, match=f"sslmode={sslmode} would let another server impersonate"
    ):
        RemoteServer(dsn, "capstone")


@pytest.mark.parametrize("dsn", ["", " "])
def test_an_empty_string_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dsn: str
) -> None:
    monkeypatch.setenv("CAPSTONE_DSN", dsn)
    serving = ServingDataset(path=str(tmp_path / "none"), database="capstone", port=0)
    with pytest.raises(Exception, match="CAPSTONE_DSN is set and empty"):
        serving.save(gold({"GRAN": 5}))
    assert not (tmp_path / "none").exists()


def test_it_is_published_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: Address, database: str
) -> None:
    serving = ServingDataset(path=str(tmp_path / "none"), database=database, port=0)
    monkeypatch.setenv("PGPASSFILE", str(address.passfile))
    monkeypatch.setenv(
        "CAPSTONE_DSN", f"host={address.host} port={address.port} user=loader dbname={database}"
    )
    serving.save(gold({"GRAN": 5}))

    assert serving.write_stats == {"serving": WriteStats(rows=2)}
    assert serving.load()["publication"] == 1
    assert serving.compare(gold({"GRAN": 5})).is_equal
    assert "user=bi_reader" in serving.connect_command()
    assert not (tmp_path / "none").exists()


def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: Address, database: str
) -> None:
    serving = ServingDataset(path=str(tmp_path), database=database, port=0)
    location = f"{address.host}:{address.port}/{database}"
    monkeypatch.setenv("CAPSTONE_DSN", f"postgresql://loader:{QUOTED}@{location}")
    with pytest.raises(Exception, match="password authentication failed") as error:
        serving.save(gold({"GRAN": 5}))

    shown = [serving, vars(serving), serving.remote, serving.connect_command(), error.value]
    output = repr([*shown, str(error.value), error.value.__cause__]) + traceback_of(error.value)
    assert "Can" not in output.replace("CAPSTONE", "")
    assert "9/@" not in output


def openssl(*arguments: str, folder: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def certificate(folder: Path, authority: str, name: str) -> None:
    """Create an authority, and a certificate of it for a host."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", f"{authority}.key", "-out", f"{authority}.crt"]
    openssl("req", "-x509", *key, *files, "-subj", f"/CN={authority}", folder=folder)
    files = ["-keyout", f"{name}.key", "-out", f"{name}.csr"]
    openssl("req", *key, *files, "-subj", f"/CN={name}", folder=folder)
    (folder / "san").write_text(f"subjectAltName=DNS:{name}")
    signed = ["-CA", f"{authority}.crt", "-CAkey", f"{authority}.key", "-CAcreateserial"]
    rest = ["-in", f"{name}.csr", "-out", f"{name}.crt", "-extfile", "san"]
    openssl("x509", "-req", *signed, *rest, folder=folder)


@pytest.fixture(scope="module")
def tls(
    open_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Address, Path]]:
    """A server with the certificate of db.example; and the folder of the authorities."""
    if not POSTGRESQL_15.exists():
        pytest.skip("the packaged PostgreSQL has no TLS")
    folder = tmp_path_factory.mktemp("certificates")
    certificate(folder, "authority", "db.example")
    certificate(folder, "impostor", "other.example")
    server = EmbeddedServer(open_folder / "tls", 0, POSTGRESQL_15)
    address = server.start()
    provision(address, "capstone")
    for kind in ("key", "crt"):
        file = server.cluster / f"server.{kind}"
        file.touch(mode=0o600)
        file.write_bytes((folder / f"db.example.{kind}").read_bytes())
        server._chown(file)
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("ALTER SYSTEM SET ssl = on")
        admin.cursor().execute("SELECT pg_reload_conf()")
    yield address, folder
    server.stop()


def over_tls(tls: tuple[Address, Path], host: str, authority: str) -> RemoteServer:
    address, folder = tls
    location = f"host={host} hostaddr={address.host} port={address.port}"
    login = f"user=loader password={password_of(address, LOADER)}"
    root = folder / f"{authority}.crt"
    return RemoteServer(f"{location} {login} sslrootcert={root}", "capstone")


def test_a_server_that_proves_its_name_is_connected_to(tls: tuple[Address, Path]) -> None:
    with closing(over_tls(tls, "db.example", "authority").connect()) as database:
        cursor = database.cursor()
        cursor.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert cursor.fetchall() == [(True,)]


@pytest.mark.parametrize(
    ("host", "authority", "why"),
    [
        ("other.example", "authority", "does not match host name"),
        ("db.example", "impostor", "certificate verify failed"),
        ("db.example", "absent", "root certificate file .* does not exist"),
    ],
)
def test_a_server_that_does_not_is_an_error(
    tls: tuple[Address, Path], host: str, authority: str, why: str
) -> None:
    with pytest.raises(CapstoneError, match=why) as error:
        over_tls(tls, host, authority).connect()
    assert password_of(tls[0], LOADER) not in str(error.value)


def test_a_server_without_tls_is_an_error(address: Address) -> None:
    location = f"host=db.example hostaddr={address.host} port={address.port}"
    server = RemoteServer(f"{location} user=loader sslrootcert=system", "capstone")
    with pytest.raises(CapstoneError, match="server does not support SSL"):
        server.connect()
