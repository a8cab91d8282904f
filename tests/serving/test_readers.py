"""Readers in a loop while a publisher publishes and is killed, on a real server."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import closing, contextmanager, suppress
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.ledger import gold_sha256
from capstone_metrics.serving.provision import connect
from tests.support.processes import child
from tests.support.publisher import gold_of, publish_from, views_of
from tests.support.selection import examples
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capstone_metrics.serving.embedded import Address, EmbeddedServer
    from tests.support.processes import Child

WAYS = ("client", "terminated", "crashed")
"""How a publication ends: its process is killed, its session is ended, or the server crashes."""

RANDOM_KILLS = examples(3, 18)
PUBLICATIONS = 5
"""How many are carried out before each kill, at least."""

QUERIES = {
    # one snapshot, as one statement has it
    "READ COMMITTED": [
        """
        SELECT
            (SELECT sum(total_views) FROM serving.gold_faculdade),
            (SELECT sum(total_views) FROM serving.gold_dia),
            (SELECT marts #>> '{gold_dia,totals,total_views}' FROM serving.publications
             ORDER BY publication DESC LIMIT 1)::numeric
        """
    ],
    "REPEATABLE READ": [
        "SELECT sum(total_views) FROM serving.gold_faculdade",
        "SELECT sum(total_views) FROM serving.gold_dia",
        "SELECT (marts #>> '{gold_dia,totals,total_views}')::numeric FROM serving.publications"
        " ORDER BY publication DESC LIMIT 1",
    ],
}


class Readers:
    """Readers in a loop, one of each isolation level, until they are stopped.

    A read that has to wait for a lock is ended by the server at once.

    Attributes:
        mixed: the isolation level and the totals of reads that are of no one publication.
        blocked: the isolation level of each read that had to wait for a lock.
        totals: of the publications that were read.
        disconnections: how often a connection ended.
    """

    def __init__(self, address: Address, database: str) -> None:
        self.connection = (address, database, READER)
        self.mixed: list[tuple[str, list[Any]]] = []
        self.blocked: list[str] = []
        self.totals: set[Any] = set()
        self.disconnections = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._loop, args=(level,)) for level in QUERIES]

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _loop(self, level: str) -> None:
        while not self.stop.is_set():
            with suppress(psycopg2.OperationalError), closing(connect(*self.connection)) as reader:
                reader.set_session(isolation_level=level)
                while not self.stop.wait(0.003):
                    self._read(reader, level)
                return
            self.disconnections += 1
            self.stop.wait(0.01)

    def _read(self, reader: Any, level: str) -> None:
        cursor, totals = reader.cursor(), []
        try:
            cursor.execute("SET LOCAL lock_timeout = '1ms'")
            for query in QUERIES[level]:
                cursor.execute(query)
                totals += cursor.fetchall()[0]
        except psycopg2.errors.LockNotAvailable:
            self.blocked.append(level)
        reader.rollback()
        if len(set(totals)) > 1:
            self.mixed.append((level, totals))
        self.totals.update(totals)


@contextmanager
def admin_of(address: Address, database: str) -> Iterator[Any]:
    """A cursor of the administrator, outside of transactions."""
    with closing(connect(address, database, ADMIN)) as admin:
        admin.autocommit = True
        yield admin.cursor()


@contextmanager
def lock(address: Address, database: str, statement: str) -> Iterator[None]:
    """Hold a lock on a table, unless the server crashes."""
    with closing(connect(address, database, ADMIN)) as admin:
        admin.cursor().execute(statement)
        yield


def transactions(cursor: Any, condition: str = "true") -> list[int]:
    """Return the processes of the server that have a transaction of the loader open."""
    cursor.execute(
        "SELECT pid FROM pg_stat_activity WHERE xact_start IS NOT NULL AND usename = %s"
        f" AND datname = current_database() AND backend_type = 'client backend' AND {condition}",
        [LOADER],
    )
    return [pid for (pid,) in cursor.fetchall()]


def interrupt(cursor: Any, publisher: Child, way: str, process: int) -> None:
    """End a publication, whose session is a process of the server."""
    if way == "client":
        publisher.kill()
    elif way == "terminated":
        cursor.execute("SELECT pg_terminate_backend(%s)", [process])
    else:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)  # all sessions of the server end with it
            wait_until(lambda: is_over(cursor, process))


def is_over(cursor: Any, process: int) -> bool:
    """Whether the server crashed, or the process had ended just before it was killed."""
    try:
        cursor.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [process])
    except psycopg2.Error:
        return True
    return not cursor.fetchall()


def nothing_is_published(address: Address, database: str) -> bool:
    """Whether the server answers, and no transaction of a publisher is open."""
    with suppress(psycopg2.OperationalError), admin_of(address, database) as cursor:
        return not transactions(cursor)
    return False


def interrupt_in_a_publication(address: Address, database: str, publisher: Child, way: str) -> None:
    """Interrupt a publication that has published one of its marts, and waits for the other."""
    with lock(address, database, "SELECT FROM serving.gold_dia FOR UPDATE"):
        with admin_of(address, database) as cursor:
            waiting = "wait_event_type = 'Lock'"
            wait_until(lambda: transactions(cursor, waiting))
            interrupt(cursor, publisher, way, *transactions(cursor, waiting))
        publisher.kill()


def interrupt_at_a_moment(
    address: Address, database: str, publisher: Child, way: str, delay: float
) -> None:
    """Interrupt a publication some time after the begin of its transaction."""
    begun: list[int] = []
    with admin_of(address, database) as cursor:
        wait_until(lambda: begun.extend(transactions(cursor)) or begun)
        time.sleep(delay)
        interrupt(cursor, publisher, way, begun[0])
    publisher.kill()


def messages(publisher: Child) -> Iterator[int]:
    """Iterate over the numbers that an ended publisher sent and that were not received."""
    with suppress(EOFError):
        while True:
            yield publisher.connection.recv()


def number_of(sha256: str, first: int) -> int:
    """Return the number of the Gold of a hash, among `first` and some after it."""
    numbers = islice(count(first), 1_000)
    return next(n for n in numbers if gold_sha256(gold_of(n).manifest) == sha256)


@pytest.fixture
def serving(own: EmbeddedServer) -> ServingDataset:
    """A database with the first publication, on a server that may crash."""
    address = own.start()
    programs = str(own.programs) if own.programs else None
    serving = ServingDataset(
        path=str(own.folder), database="capstone", port=address.port, programs=programs
    )
    serving.save(gold_of(1))
    return serving


def kills() -> Iterator[tuple[str, bool]]:
    """Iterate over ways to end publications, each in their middle first; crashes are few."""
    yield from ((way, True) for way in WAYS)
    yield from ((WAYS[number % 2], False) for number in range(RANDOM_KILLS - 1))
    yield "crashed", False


def test_readers_see_one_publication_and_wait_for_none(
    own: EmbeddedServer, serving: ServingDataset
) -> None:
    draw, address, database, first = random.Random(1), own.start(), serving.database, 2
    where = (str(own.folder), serving.server.programs, database)
    interrupted = 0
    with Readers(address, database) as readers:
        for way, in_the_middle in kills():
            before = len(readers.totals)
            with child(publish_from, *where, first, None) as publisher:
                last = [publisher.receive() for _ in range(PUBLICATIONS)][-1]
                wait_until(lambda before=before: len(readers.totals) > before + 1)
                if in_the_middle:
                    interrupt_in_a_publication(address, database, publisher, way)
                else:
                    delay = draw.uniform(0, 0.02)
                    interrupt_at_a_moment(address, database, publisher, way, delay)
                numbers = [last, *messages(publisher)]
            wait_until(lambda: nothing_is_published(address, database))

            last = max(each for each in numbers if isinstance(each, int))
            published = number_of(serving.load()["gold_sha256"], last)
            assert published == last or not in_the_middle
            assert serving.compare(gold_of(published)).is_equal
            interrupted += published == last
            total = sum(views_of(published).values())
            wait_until(lambda total=total: total in readers.totals)
            first = published + 1

    assert interrupted >= len(WAYS)  # the others may just have been committed
    assert (readers.mixed, readers.blocked) == ([], [])
    assert readers.disconnections > 0


def test_the_readers_notice_a_mix_and_a_lock(own: EmbeddedServer, serving: ServingDataset) -> None:
    address = own.start()
    with Readers(address, serving.database) as readers:
        for mart in ("gold_faculdade", "gold_dia"):  # two transactions
            with closing(connect(address, serving.database, LOADER)) as loader, loader:
                loader.cursor().execute(f"UPDATE serving.{mart} SET total_views = 6")
            wait_until(lambda: {level for level, _ in readers.mixed} == set(QUERIES))
        assert not readers.blocked
        with lock(address, serving.database, "LOCK TABLE serving.gold_dia"):
            wait_until(lambda: set(readers.blocked) == set(QUERIES))
