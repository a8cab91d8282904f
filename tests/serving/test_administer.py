"""A database of one's own is set up by its administrator, who need not be a superuser."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from capstone_metrics.serving.administer import main
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER, EmbeddedServer
from capstone_metrics.serving.provision import connect
from capstone_metrics.serving.publisher import publish
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import gold

if TYPE_CHECKING:
    from capstone_metrics.serving.embedded import Address

PASSWORDS = {"CAPSTONE_LOADER_PASSWORD": "Canário:1", "CAPSTONE_READER_PASSWORD": "Canário:2"}


@pytest.fixture
def dsn(own: EmbeddedServer) -> str:
    """The connection string of an administrator such as RDS has."""
    address = own.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("CREATE ROLE dba LOGIN CREATEROLE CREATEDB PASSWORD 'dba'")
        admin.cursor().execute("CREATE DATABASE capstone OWNER dba")
    return f"host={address.host} port={address.port} user=dba dbname=capstone"


def administer(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "capstone_metrics.serving.administer"],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def login(dsn: str, role: str, password: str) -> psycopg2.extensions.connection:
    return psycopg2.connect(dsn.replace("user=dba", f"user={role}"), password=password)


def test_it_is_set_up_and_its_passwords_are_rotated(dsn: str) -> None:
    done = administer(CAPSTONE_DSN=dsn, PGPASSWORD="dba", **PASSWORDS)

    assert (done.returncode, done.stderr) == (0, "")
    with closing(login(dsn, LOADER, "Canário:1")) as loader:
        assert publish(loader, gold({"GRAN": 5})).rows
    with closing(login(dsn, READER, "Canário:2")) as reader, reader.cursor() as db:
        db.execute("SELECT count(*) FROM serving.publications")
        assert db.fetchone() == (1,)

    rotated = {**PASSWORDS, "CAPSTONE_LOADER_PASSWORD": "another"}
    assert administer(CAPSTONE_DSN=dsn, PGPASSWORD="dba", **rotated).returncode == 0
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        login(dsn, LOADER, "Canário:1")
    with closing(login(dsn, LOADER, "another")) as loader:
        assert publish(loader, gold({"GRAN": 5})) == WriteStats()


@pytest.mark.parametrize("server", ["packaged"], indirect=True)
def test_no_statement_has_a_password(dsn: str, own: EmbeddedServer) -> None:
    address: Address = own.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.cursor().execute("SELECT pg_reload_conf()")
    administer(CAPSTONE_DSN=dsn, PGPASSWORD="dba", **PASSWORDS)

    logged = "".join(
        p.read_text(errors="replace") for p in own.folder.rglob("*log*") if p.is_file()
    )
    assert "ALTER ROLE" in logged
    assert "SCRAM-SHA-256$" in logged
    assert "Canário" not in logged


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "These variables are not set: CAPSTONE_DSN, CAPSTONE_LOADER_PASSWORD, "),
        ({"CAPSTONE_DSN": "host=db.example", **PASSWORDS}, "CAPSTONE_DSN does not name a database"),
        ({"CAPSTONE_DSN": "Canário:3", **PASSWORDS}, "CAPSTONE_DSN is not a connection string"),
        (
            {"CAPSTONE_DSN": "host=db.example dbname=x sslmode=require", **PASSWORDS},
            "CAPSTONE_DSN: sslmode=require would let another server impersonate",
        ),
        (
            {"CAPSTONE_DSN": "host=127.0.0.1 port=1 dbname=x password=Canário:3", **PASSWORDS},
            "PostgreSQL of CAPSTONE_DSN, database 'x': connection to server",
        ),
    ],
)
def test_an_error_is_one_sentence_without_a_password(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str
) -> None:
    for name in ("CAPSTONE_DSN", *PASSWORDS):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as error:
        main()

    sentence = str(error.value.code)  # which Python writes to standard error, and exits with 1
    assert sentence.startswith(message)
    assert "\n" not in sentence
    assert "Can" not in sentence


def test_an_error_ends_the_process_with_its_sentence() -> None:
    done = administer(CAPSTONE_DSN="host=db.example", **PASSWORDS)

    assert done.returncode == 1
    assert done.stderr.startswith("CAPSTONE_DSN does not name a database")
    assert done.stderr.count("\n") == 1
