"""Publications that are killed, cut off and raced, and readers meanwhile: on a real server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kedro.io.core import DatasetError

from capstone_metrics.errors import CapstoneError
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import Terms
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, HOST, LOADER, READER, EmbeddedServer
from capstone_metrics.serving.provision import connect
from tests.conftest import ROOT
from tests.serving.gold import gold

if TYPE_CHECKING:
    from capstone_metrics.serving.embedded import Address
    from tests.serving.conftest import Ask

MUCH = Terms(allow_shrink=True)
TOTAL = "SELECT sum(total_views)::bigint FROM serving.gold_faculdade"


@pytest.fixture
def serving(server: EmbeddedServer, address: Address, database: str) -> ServingDataset:
    return ServingDataset(path=str(server.folder), database=database, port=address.port)


def publisher(
    server: EmbeddedServer, database: str, first: int, times: int
) -> subprocess.Popen[str]:
    """A process that publishes a number of times, and prints what became of each."""
    arguments = [str(server.folder), database, str(first), str(times)]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.serving.publisher", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def failure(error: BaseException | None) -> str:
    """The sentence behind an error of Kedro's."""
    assert error is not None
    assert isinstance(error.__cause__, CapstoneError), error
    return str(error.__cause__)


def test_a_server_that_restarts_during_the_copy_has_the_publication_before(
    own: EmbeddedServer,
) -> None:
    address = own.start()
    serving = ServingDataset(
        path=str(own.folder),
        database="capstone",
        port=address.port,
        programs=str(own.programs) if own.programs else None,
    )
    serving.save(gold({"GRAN": 5}))
    big = gold({f"faculdade {n}": n for n in range(200_000)})

    with (
        ThreadPoolExecutor() as pool,
        closing(connect(address, "capstone", ADMIN)) as admin,
    ):
        admin.autocommit = True
        cursor = admin.cursor()
        publishing = pool.submit(serving.save, big)
        copied = 0
        while not copied:
            assert not publishing.done()
            cursor.execute("SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy")
            ((copied,),) = cursor.fetchall()
        own._control("stop", "-m", "immediate")
        said = failure(publishing.exception(timeout=60))

    assert copied < 200_000
    assert "'kedro serving recreate'" in said
    address = EmbeddedServer(own.folder, address.port, own.programs).start()
    with closing(connect(address, "capstone", READER)) as reader:
        cursor = reader.cursor()
        cursor.execute(TOTAL)
        assert cursor.fetchall() == [(5,)]
    serving.save(big)
    assert serving.saved == Saved(rows=400_000, removed=2)


class Proxy:
    """Stands before a server; at the COMMIT of a publication it may cut the connection.

    Args:
        port: of the server.
        cut: "before" this reaches the server, "after" it was carried out, or never.
    """

    def __init__(self, port: int, cut: str) -> None:
        self.cut, self.upstream = cut, port
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((HOST, self.upstream))
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
                threading.Thread(target=self._asks, args=(client, server), daemon=True).start()

    def _asks(self, client: socket.socket, server: socket.socket) -> None:
        is_entered = False
        with contextlib.suppress(OSError):
            while said := client.recv(65536):
                is_entered |= b"INSERT INTO serving.publications" in said
                if is_entered and b"COMMIT\0" in said and self.cut != "never":
                    self.cuts += 1
                    if self.cut == "after":
                        client.shutdown(socket.SHUT_WR)  # no answer passes from here on
                        server.sendall(said)
                        time.sleep(0.5)
                    break
                server.sendall(said)
        for each in (client, server):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := server.recv(65536):
                client.sendall(said)


@pytest.mark.parametrize(
    ("cut", "total", "again"),
    [("never", 6, Saved()), ("before", 5, Saved(rows=2)), ("after", 6, Saved())],
)
def test_a_connection_cut_at_commit_leaves_one_publication_whole(  # noqa: PLR0913, PLR0917
    monkeypatch: pytest.MonkeyPatch,
    serving: ServingDataset,
    address: Address,
    database: str,
    ask: Ask,
    cut: str,
    total: int,
    again: Saved,
) -> None:
    serving.save(gold({"GRAN": 5}))
    proxy = Proxy(address.port, cut)
    monkeypatch.setenv(
        "CAPSTONE_DSN",
        f"host={HOST} port={proxy.port} user=loader dbname={database} sslmode=disable",
    )
    monkeypatch.setenv("PGPASSFILE", str(address.passfile))
    if cut == "never":
        serving.save(gold({"GRAN": 6}))
    else:
        with pytest.raises(Exception, match="server closed the connection") as cut_off:
            serving.save(gold({"GRAN": 6}))
        assert "Run again" in failure(cut_off.value)
    monkeypatch.delenv("CAPSTONE_DSN")
    proxy.listener.close()

    assert proxy.cuts == (cut != "never")
    deadline = time.monotonic() + 30  # the server may still be about to carry it out
    while ask(READER, TOTAL) != [(total,)]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    serving.save(gold({"GRAN": 6}))
    assert (serving.saved, ask(READER, TOTAL)) == (again, [(6,)])


def test_of_two_publishers_one_says_busy(
    server: EmbeddedServer, serving: ServingDataset, address: Address, database: str, ask: Ask
) -> None:
    publisher(server, database, 1, 1).communicate()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    with closing(connect(address, database, LOADER)) as holder:
        holder.cursor().execute("SELECT FROM serving.gold_dia FOR UPDATE")
        first = publisher(server, database, 2, 1)
        while ask(ADMIN, waits, database) != [(1,)]:
            assert first.poll() is None
            time.sleep(0.01)
        with pytest.raises(DatasetError, match="Another publication is at work"):
            serving.save(gold({"GRAN": 1}, terms=MUCH))
        holder.rollback()
        said = first.communicate(timeout=30)[0]

    assert said == "2\n"
    serving.save(gold({"GRAN": 1}, terms=MUCH))
    assert ask(READER, TOTAL) == [(1,)]


def test_a_database_that_was_dropped_is_recreated_with_its_rows_and_grants(
    serving: ServingDataset, address: Address, database: str, ask: Ask
) -> None:
    state = (
        "SELECT * FROM serving.gold_dia ORDER BY 1, 2",
        "SELECT relname, relacl::text, relowner::regrole::text FROM pg_class"
        " WHERE relnamespace = 'serving'::regnamespace ORDER BY 1",
        "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'serving'",
        "SELECT datacl::text FROM pg_database WHERE datname = current_database()",
        "SELECT defaclacl::text FROM pg_default_acl ORDER BY 1",
    )
    what = gold({"GRAN": 5, "IMPACTA": 7})
    serving.save(what)
    before = [ask(ADMIN, query) for query in state]
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"DROP DATABASE {database} WITH (FORCE)")
    with pytest.raises(CapstoneError, match=r"does not exist .* 'kedro serving recreate'"):
        serving.compare(what)

    assert serving.recreate(what) == Saved(rows=4)
    assert [ask(ADMIN, query) for query in state] == before
    assert serving.compare(what).is_equal
