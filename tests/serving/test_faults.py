"""Publications that are killed, cut off and raced, on a real server."""

from __future__ import annotations

import contextlib
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from kedro.io.core import DatasetError

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, HOST, LOADER, READER, EmbeddedServer
from capstone_metrics.serving.provision import connect
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import gold
from tests.support.processes import child
from tests.support.publisher import ALLOW_SHRINK, gold_of, publish_from
from tests.support.waiting import SECONDS, wait_until

if TYPE_CHECKING:
    from capstone_metrics.serving.embedded import Address
    from tests.serving.conftest import Ask

TOTAL = "SELECT sum(total_views)::bigint FROM serving.gold_faculdade"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'loader' AND datname = %s"
ROWS = 20_000
BYTES_OF_A_PART = 200_000
"""Of those rows, as they are copied: some, and not all."""


def failure(error: BaseException | None) -> str:
    """Return the sentence behind an error of Kedro's."""
    assert error is not None
    assert isinstance(error.__cause__, CapstoneError), error
    return str(error.__cause__)


class Proxy:
    """A proxy before a server, which may interrupt a publication.

    Args:
        port: of the server.
        cut: when the connection is cut: "before" its COMMIT reaches the server, "after" the server
            has carried it out, in the "copy" of its rows when the server is gone, or "never".

    Attributes:
        cuts: how many connections were cut.
    """

    def __init__(self, port: int, cut: str) -> None:
        self.cut, self.upstream = cut, port
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.cuts = 0
        self._is_committing = False
        self._is_over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def dsn(self, database: str) -> str:
        """Return how to reach a database through the proxy."""
        return f"host={HOST} port={self.port} user=loader dbname={database} sslmode=disable"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection((HOST, self.upstream))
                threading.Thread(target=self._answers, args=(server, client), daemon=True).start()
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        is_entered = False
        copied = 0
        with contextlib.suppress(OSError):
            while message := client.recv(65536):
                is_entered |= b"INSERT INTO serving.publications" in message
                if self.cut == "copy" and (copied or b"COPY " in message):
                    copied += len(message)
                if copied > BYTES_OF_A_PART:
                    self.cuts += 1
                    self._is_over.wait(SECONDS)
                    break
                if is_entered and b"COMMIT\0" in message and self.cut in {"before", "after"}:
                    self.cuts += 1
                    if self.cut == "after":
                        self._is_committing = True  # no answer passes from here on
                        server.sendall(message)
                        self._is_over.wait(SECONDS)
                    break
                server.sendall(message)
        _shut(client, server)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (message := server.recv(65536)) and not self._is_committing:
                client.sendall(message)
        self._is_over.set()
        _shut(client, server)


def _shut(*ends: socket.socket) -> None:
    for each in ends:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def test_a_server_that_restarts_during_the_copy_has_the_publication_before(
    own: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = own.start()
    serving = ServingDataset(
        path=str(own.folder),
        database="capstone",
        port=address.port,
        programs=str(own.programs) if own.programs else None,
    )
    serving.save(gold({"GRAN": 5}))
    big = gold({f"faculdade {n}": n for n in range(ROWS)})
    proxy = Proxy(address.port, "copy")
    monkeypatch.setenv("CAPSTONE_DSN", proxy.dsn("capstone"))
    monkeypatch.setenv("PGPASSFILE", str(address.passfile))
    copied = 0

    def is_copied() -> int:
        nonlocal copied
        assert not publishing.done()
        cursor.execute("SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy")
        ((copied,),) = cursor.fetchall()
        return copied

    with (
        ThreadPoolExecutor() as pool,
        closing(connect(address, "capstone", ADMIN)) as admin,
    ):
        admin.autocommit = True
        cursor = admin.cursor()
        publishing = pool.submit(serving.save, big)
        wait_until(is_copied)
        own._pg_ctl("stop", "-m", "immediate")
        message = failure(publishing.exception(timeout=SECONDS))
    monkeypatch.delenv("CAPSTONE_DSN")
    proxy.listener.close()

    assert proxy.cuts == 1
    assert copied < ROWS
    assert "'kedro serving recreate'" in message
    address = EmbeddedServer(own.folder, address.port, own.programs).start()
    with closing(connect(address, "capstone", READER)) as reader:
        cursor = reader.cursor()
        cursor.execute(TOTAL)
        assert cursor.fetchall() == [(5,)]
    serving.save(big)
    assert serving.write_stats == {"serving": WriteStats(rows=2 * ROWS, removed=2)}


@pytest.mark.parametrize(
    ("cut", "total", "again"),
    [("never", 6, WriteStats()), ("before", 5, WriteStats(rows=2)), ("after", 6, WriteStats())],
)
def test_a_connection_cut_at_commit_leaves_one_complete_publication(  # noqa: PLR0913, PLR0917
    monkeypatch: pytest.MonkeyPatch,
    serving: ServingDataset,
    address: Address,
    database: str,
    ask: Ask,
    cut: str,
    total: int,
    again: WriteStats,
) -> None:
    serving.save(gold({"GRAN": 5}))
    proxy = Proxy(address.port, cut)
    monkeypatch.setenv("CAPSTONE_DSN", proxy.dsn(database))
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
    wait_until(lambda: ask(ADMIN, SESSIONS, database) == [(0,)])
    assert ask(READER, TOTAL) == [(total,)]
    serving.save(gold({"GRAN": 6}))
    assert (serving.write_stats["serving"], ask(READER, TOTAL)) == (again, [(6,)])


def test_the_second_of_two_publishers_reports_that_another_is_at_work(
    server: EmbeddedServer, serving: ServingDataset, address: Address, database: str, ask: Ask
) -> None:
    serving.save(gold_of(1))
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
    with closing(connect(address, database, LOADER)) as holder:
        holder.cursor().execute("SELECT FROM serving.gold_dia FOR UPDATE")
        arguments = (str(server.folder), server.programs, database, 2, 1)
        with child(publish_from, *arguments) as first:
            wait_until(lambda: ask(ADMIN, waits, database) == [(1,)])
            with pytest.raises(DatasetError, match="Another publication is running"):
                serving.save(gold({"GRAN": 1}, policy=ALLOW_SHRINK))
            holder.rollback()
            assert first.receive() == 2

    serving.save(gold({"GRAN": 1}, policy=ALLOW_SHRINK))
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
    content = gold({"GRAN": 5, "IMPACTA": 7})
    serving.save(content)
    before = [ask(ADMIN, query) for query in state]
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True
        admin.cursor().execute(f"DROP DATABASE {database} WITH (FORCE)")
    with pytest.raises(CapstoneError, match=r"does not exist\. .*'kedro serving recreate'"):
        serving.compare(content)

    assert serving.recreate(content) == WriteStats(rows=4)
    assert [ask(ADMIN, query) for query in state] == before
    assert serving.compare(content).is_equal
