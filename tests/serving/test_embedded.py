from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg2
import pytest
from filelock import FileLock

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving import ServingDataset, embedded
from capstone_metrics.serving.embedded import ADMIN, HOST, EmbeddedServer, packaged_program_path
from capstone_metrics.serving.provision import connect, provision
from tests.support.processes import child
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from capstone_metrics.serving.embedded import Address


@pytest.fixture
def folder(open_folder: Path) -> Iterator[Path]:
    """An empty folder for a server of the test's own."""
    folder = Path(tempfile.mkdtemp(dir=open_folder, prefix="à parte "))
    folder.chmod(0o755)
    yield folder
    EmbeddedServer(folder, port=0).stop()
    shutil.rmtree(folder)


def postmaster(server: EmbeddedServer) -> psutil.Process:
    return psutil.Process(int((server.cluster / "postmaster.pid").read_text().split()[0]))


def value(address: Address, query: str) -> object:
    with closing(connect(address, "postgres", ADMIN)) as database, database.cursor() as cursor:
        cursor.execute(query)
        return (cursor.fetchone() or ())[0]


def start(folder: str, connection: Connection) -> None:
    """Start the server of a folder in a process, as soon as it is asked to; send its port."""
    connection.send("ready")
    connection.recv()
    connection.send(EmbeddedServer(folder, port=0).start().port)


def test_the_server_starts_whatever_the_environment_says_of_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value_of_another in (("PGPORT", "abc"), ("PGDATA", "/nope"), ("PGOPTIONS", "-x")):
        monkeypatch.setenv(name, value_of_another)
    assert EmbeddedServer(folder, port=0).start().host == HOST


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
    assert value(address, "SHOW unix_socket_directories") == ""


@pytest.mark.usefixtures("database")
def test_only_the_right_password_opens_it(address: Address) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(
            host=address.host, port=address.port, dbname="postgres", user=ADMIN, password="wrong"
        )

    methods = value(address, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
    stored = value(
        address,
        "SELECT array_agg(DISTINCT split_part(rolpassword, '$', 1)) FROM pg_authid"
        " WHERE rolcanlogin",
    )
    assert (methods, stored) == (["scram-sha-256"], ["SCRAM-SHA-256"])


def test_passwords_are_nowhere_but_in_their_file(own: EmbeddedServer) -> None:
    address = own.start()
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute("ALTER SYSTEM SET log_statement = 'all'")
        admin.cursor().execute("SELECT pg_reload_conf()")
    provision(address, "serving")
    with pytest.raises(psycopg2.OperationalError) as error:
        connect(address, "nowhere", ADMIN)

    passwords = [line.split(":")[4] for line in address.passfile.read_text().splitlines()]
    files = {path.name: path.read_bytes() for path in own.folder.rglob("*") if path.is_file()}
    del files["pgpass"]
    output = (repr(own) + repr(address) + repr(error.value)).encode()
    assert len(passwords) == 3
    assert b"CREATE ROLE" in files["server.log"]
    assert not [p for p in passwords if p.encode() in b"".join([output, *files.values()])]
    assert stat.S_IMODE(address.passfile.stat().st_mode) == 0o600


def test_a_killed_server_starts_again_with_what_was_committed(own: EmbeddedServer) -> None:
    address = own.start()
    with closing(connect(address, "postgres", ADMIN)) as database, database:
        database.cursor().execute("CREATE TABLE committed AS SELECT 7 AS views")
    outlives = "SELECT count(*) FROM (SELECT generate_series(1, 100000000)) AS numbers"
    query = subprocess.Popen(
        [
            packaged_program_path("psql"),
            "-h",
            HOST,
            "-p",
            str(address.port),
            "-U",
            ADMIN,
            "-c",
            outlives,
        ],
        env={**os.environ, "PGPASSFILE": str(address.passfile)},
        stderr=subprocess.PIPE,
    )
    active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%generate_series(1%'"
    wait_until(lambda: value(address, active) == 2)  # that query, and this one

    process = postmaster(own)
    process.kill()
    psutil.wait_procs([process], timeout=SECONDS)

    assert value(own.start(), "SELECT views FROM committed") == 7
    assert b"server closed the connection" in query.communicate()[1]


@pytest.mark.parametrize("other", ["this process", "another PostgreSQL"])
@pytest.mark.usefixtures("address")
def test_a_stale_pid_file_may_name_another_process(
    own: EmbeddedServer, server: EmbeddedServer, other: str
) -> None:
    own.start()
    pid_file = own.cluster / "postmaster.pid"
    _, *rest = pid_file.read_text().splitlines()
    own.stop()
    process = psutil.Process() if other == "this process" else postmaster(server)
    pid_file.write_text("\n".join([str(process.pid), *rest]))

    assert value(own.start(), "SHOW data_directory") == str(own.cluster)
    assert process.is_running()


@contextmanager
def taken_port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as owner:
        owner.bind((HOST, 0))
        owner.listen()
        yield owner.getsockname()[1]


def test_the_first_start_takes_the_default_port_or_a_free_one_and_later_ones_reuse_it(
    own: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.port = None
    with taken_port() as default:
        monkeypatch.setattr(embedded, "DEFAULT_PORT", default)
        port = own.start().port
        own.stop()
    again = EmbeddedServer(own.folder, programs=own.programs).start().port
    own.stop()
    own.port_file.unlink()

    assert port == again != default
    assert own.start().port == default


def test_a_server_does_not_move_from_a_port_that_was_taken(own: EmbeddedServer) -> None:
    with taken_port() as port:
        own.port_file.write_text(f"{port}\n")
        with pytest.raises(CapstoneError, match=f"{HOST}:{port}: another program .* globals.yml"):
            own.start()
        assert not own.is_running

    assert own.start().port == port


def test_a_port_that_is_set_is_taken_at_the_next_start(
    own: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = own.start().port
    with taken_port() as port:
        pass
    dataset = ServingDataset(
        path=str(own.folder), database="test", port=port, programs=own.programs
    )

    assert dataset.start().port == first
    assert f"listens on port {first}; on {port}, which 'port' in globals.yml sets" in caplog.text
    own.stop()
    caplog.clear()
    assert dataset.start().port == port
    assert EmbeddedServer(own.folder).start().port == port
    assert not caplog.text


def test_a_server_refuses_the_passwords_of_another(own: EmbeddedServer, address: Address) -> None:
    other = own.start()

    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        connect(other._replace(passfile=address.passfile), "postgres", ADMIN)
    assert value(other, "SELECT 1") == 1


def test_a_first_start_that_was_killed_is_repeated(folder: Path) -> None:
    (folder / "cluster.new" / "base").mkdir(parents=True)
    for left in ("cluster.new/PG_VERSION", "password.new", "pgpass"):
        (folder / left).write_text("18")

    assert value(EmbeddedServer(folder, port=0).start(), "SELECT 1") == 1
    assert not {"cluster.new", "password.new"} & {path.name for path in folder.iterdir()}


def test_two_starts_at_once_make_one_server(folder: Path) -> None:
    with ExitStack() as stack:
        starts = [stack.enter_context(child(start, str(folder))) for _ in range(2)]
        assert [each.receive() for each in starts] == ["ready"] * 2
        for each in starts:
            each.send("start")
        ports = [each.receive() for each in starts]

    assert ports == [EmbeddedServer(folder, port=0).start().port] * 2


def test_stop_returns_whether_the_server_ran(own: EmbeddedServer) -> None:
    address = own.start()

    assert [own.stop(), own.stop()] == [True, False]
    with pytest.raises(psycopg2.OperationalError, match="Connection refused"):
        connect(address, "postgres", ADMIN)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's server runs as somebody else")
def test_a_folder_that_the_server_of_root_cannot_enter_is_an_error(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)

    with pytest.raises(CapstoneError, match=f"cannot enter {re.escape(str(closed))};"):
        EmbeddedServer(closed / "postgres", port=0).start()


def test_a_file_system_without_permissions_is_refused_before_anything_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = os.mkdir
    monkeypatch.setattr(os, "mkdir", lambda path, mode=0o777: make(path) or Path(path).chmod(0o777))
    with pytest.raises(CapstoneError, match="its file system stores no permissions, which Postg"):
        EmbeddedServer(folder, port=0).start()
    assert not (folder / "cluster").exists()


def test_a_folder_that_cannot_be_created_is_an_error_with_its_path(folder: Path) -> None:
    (folder / "file").touch()

    with pytest.raises(CapstoneError, match=f"^{re.escape(str(folder / 'file'))}: .* globals.yml"):
        EmbeddedServer(folder / "file", port=0).start()


def test_a_lock_that_another_process_holds_is_not_reported_as_a_denied_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_TIMEOUT_SECONDS", 0)
    server = EmbeddedServer(tmp_path, port=0)
    with (
        FileLock(tmp_path / "lock"),
        pytest.raises(CapstoneError, match=r"^Another process .* wait for it and run again\.$"),
    ):
        server.start()

    assert not server.stop()  # the lock is free again
