from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg2
import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving.embedded import ADMIN, HOST, EmbeddedServer, binary
from capstone_metrics.serving.provision import connect, provision

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving.embedded import Address

START = """
import sys
from capstone_metrics.serving.embedded import EmbeddedServer
print(EmbeddedServer(sys.argv[1], port=0).start().port)
"""


@pytest.fixture
def folder(open_folder: Path) -> Iterator[Path]:
    """Where a server of the test's own may lie."""
    folder = Path(tempfile.mkdtemp(dir=open_folder, prefix="à parte "))
    folder.chmod(0o755)
    yield folder
    EmbeddedServer(folder, port=0).stop()


def postmaster(server: EmbeddedServer) -> psutil.Process:
    return psutil.Process(int((server.cluster / "postmaster.pid").read_text().split()[0]))


def answer(address: Address, query: str) -> object:
    with closing(connect(address, "postgres", ADMIN)) as database, database.cursor() as cursor:
        cursor.execute(query)
        return (cursor.fetchone() or ())[0]


def test_a_second_start_finds_the_server_running(server: EmbeddedServer, address: Address) -> None:
    process = postmaster(server)

    assert EmbeddedServer(server.folder, port=0).start() == address
    assert postmaster(server) == process


def test_it_listens_on_loopback_and_on_no_socket_file(
    server: EmbeddedServer, address: Address
) -> None:
    process = postmaster(server)
    listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]

    assert listening == [(HOST, address.port)]
    assert [c.laddr for c in process.net_connections("unix") if c.laddr] == []
    assert answer(address, "SHOW unix_socket_directories") == ""


@pytest.mark.usefixtures("database")
def test_only_the_right_password_opens_it(address: Address) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(
            host=address.host, port=address.port, dbname="postgres", user=ADMIN, password="wrong"
        )

    methods = answer(address, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
    stored = answer(
        address,
        "SELECT array_agg(DISTINCT split_part(rolpassword, '$', 1)) FROM pg_authid"
        " WHERE rolcanlogin",
    )
    assert (methods, stored) == (["scram-sha-256"], ["SCRAM-SHA-256"])


def test_passwords_are_nowhere_but_in_their_file(folder: Path) -> None:
    server = EmbeddedServer(folder, port=0)
    address = server.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.cursor().execute("SELECT pg_reload_conf()")
    provision(address, "serving")
    with pytest.raises(psycopg2.OperationalError) as refused:
        connect(address, "nowhere", ADMIN)

    passwords = [line.split(":")[4] for line in address.passfile.read_text().splitlines()]
    files = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files["pgpass"]
    said = (repr(server) + repr(address) + repr(refused.value)).encode()
    assert len(passwords) == 3
    assert b"CREATE ROLE" in files["server.log"]
    assert not [p for p in passwords if p.encode() in b"".join([said, *files.values()])]
    assert stat.S_IMODE(address.passfile.stat().st_mode) == 0o600


def test_a_killed_server_starts_again_with_what_was_committed(folder: Path) -> None:
    server = EmbeddedServer(folder, port=0)
    address = server.start()
    with closing(connect(address, "postgres", ADMIN)) as database, database:
        database.cursor().execute("CREATE TABLE kept AS SELECT 7 AS views")
    outlives = "SELECT count(*) FROM (SELECT generate_series(1, 100000000)) AS numbers"
    query = subprocess.Popen(
        [binary("psql"), "-h", HOST, "-p", str(address.port), "-U", ADMIN, "-c", outlives],
        env={**os.environ, "PGPASSFILE": str(address.passfile)},
        stderr=subprocess.PIPE,
    )
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1%'"
    while answer(address, active) != 2:  # that query, and this one
        time.sleep(0.05)

    process = postmaster(server)
    process.kill()
    psutil.wait_procs([process], timeout=1)

    assert answer(server.start(), "SELECT views FROM kept") == 7
    assert b"server closed the connection" in query.communicate()[1]


@pytest.mark.parametrize("other", ["this process", "another PostgreSQL"])
@pytest.mark.usefixtures("address")
def test_a_stale_pid_file_may_name_another_process(
    folder: Path, server: EmbeddedServer, other: str
) -> None:
    own = EmbeddedServer(folder, port=0)
    own.start()
    pid_file = own.cluster / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines()
    own.stop()
    named = psutil.Process() if other == "this process" else postmaster(server)
    pid_file.write_text("\n".join([str(named.pid), *rest]))

    assert answer(own.start(), "SHOW data_directory") == str(own.cluster)
    assert named.is_running()


def test_a_busy_port_is_left_to_its_owner(folder: Path) -> None:
    with socket.socket() as owner:
        owner.bind((HOST, 0))
        owner.listen()
        port = owner.getsockname()[1]
        server = EmbeddedServer(folder, port)
        assert server.start().port != port
        server.stop()

    assert server.start().port == port


def test_a_first_start_that_was_killed_is_done_anew(folder: Path) -> None:
    (folder / "cluster.new" / "base").mkdir(parents=True)
    for left in ("cluster.new/PG_VERSION", "password.new", "pgpass"):
        (folder / left).write_text("18")

    assert answer(EmbeddedServer(folder, port=0).start(), "SELECT 1") == 1
    assert not {"cluster.new", "password.new"} & {path.name for path in folder.iterdir()}


def test_two_starts_at_once_make_one_server(folder: Path) -> None:
    command = [sys.executable, "-c", START, str(folder)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    ports = [int(start.communicate()[0]) for start in starts]

    assert ports == [EmbeddedServer(folder, port=0).start().port] * 2


def test_stop_says_whether_the_server_ran(folder: Path) -> None:
    server = EmbeddedServer(folder, port=0)
    address = server.start()

    assert [server.stop(), server.stop()] == [True, False]
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        connect(address, "postgres", ADMIN)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_root_is_told_of_a_folder_that_the_server_cannot_enter(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(CapstoneError, match=f"cannot enter {re.escape(str(closed))};"):
        EmbeddedServer(closed / "postgres", port=0).start()


def test_a_folder_that_cannot_be_made_is_named(folder: Path) -> None:
    (folder / "file").touch()

    with pytest.raises(CapstoneError, match=f"^{re.escape(str(folder / 'file'))}: .* globals.yml"):
        EmbeddedServer(folder / "file", port=0).start()
