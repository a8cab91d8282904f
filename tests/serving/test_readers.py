"""Readers in a loop while a publisher publishes and is killed, on a real server."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import closing, suppress
from functools import cache
from math import sqrt
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from capstone_metrics.serving import ServingDataset
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.ledger import gold_sha256
from capstone_metrics.serving.provision import connect
from tests.serving.publisher import gold_of, publish_from

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from capstone_metrics.serving.embedded import Address, EmbeddedServer

KILLS = 200 if os.environ.get("KILLS") == "all" else 20
BETWEEN_KILLS = 5
"""How many publications are carried out before each kill."""

SLOW = 0.1
"""Seconds that no read waits, but for what holds up any read of this server."""

WAYS = {
    # one snapshot, as one statement has it
    "READ COMMITTED": [
        """
        SELECT
            (SELECT sum(total_views) FROM {schema}.gold_faculdade),
            (SELECT sum(total_views) FROM {schema}.gold_dia),
            (SELECT marts #>> '{{gold_dia,totals,total_views}}' FROM {schema}.publications
             ORDER BY publication DESC LIMIT 1)::numeric
        """
    ],
    "REPEATABLE READ": [
        "SELECT sum(total_views) FROM {schema}.gold_faculdade",
        "SELECT sum(total_views) FROM {schema}.gold_dia",
        "SELECT (marts #>> '{{gold_dia,totals,total_views}}')::numeric FROM {schema}.publications"
        " ORDER BY publication DESC LIMIT 1",
    ],
}
UNTOUCHED = """
CREATE SCHEMA untouched;
CREATE TABLE untouched.gold_faculdade AS TABLE serving.gold_faculdade;
CREATE TABLE untouched.gold_dia AS TABLE serving.gold_dia;
CREATE TABLE untouched.publications AS TABLE serving.publications;
GRANT USAGE ON SCHEMA untouched TO bi_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA untouched TO bi_reader
"""
"""What the same reads are of, in turn with those of the tables that are published."""


class Readers:
    """Readers in a loop, one of each isolation level, until they are stopped.

    Attributes:
        mixed: what was read that is of no one publication.
        refused: reads that waited for a lock longer than they may.
        seen: the totals of the publications that were read.
        seconds: how long each read took, of either schema, in turn.
        lost: how often a connection was lost.
    """

    def __init__(self, address: Address, database: str, lock_timeout: str = "100ms") -> None:
        self.where = (address, database, READER)
        self.lock_timeout = lock_timeout
        self.mixed: list[Any] = []
        self.refused: list[str] = []
        self.seen: set[Any] = set()
        self.seconds: dict[str, list[float]] = {"serving": [], "untouched": []}
        self.lost = 0
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._read, args=(level,)) for level in WAYS]

    def __enter__(self) -> Readers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def slow(self, schema: str) -> int:
        """How many reads took long."""
        return sum(seconds > SLOW for seconds in self.seconds[schema])

    @property
    def were_held_up(self) -> bool:
        """Whether more reads of the published tables were slow than chance explains.

        Noise that strikes either read alike leaves the one number within three standard
        deviations of the other; the fourth of a few is no chance any more.
        """
        ours, others = self.slow("serving"), self.slow("untouched")
        return ours - others > 3 * max(1, sqrt(ours + others))

    def _read(self, level: str) -> None:
        while not self.stop.is_set():
            with suppress(psycopg2.OperationalError), closing(connect(*self.where)) as reader:
                reader.set_session(isolation_level=level)
                while not self.stop.wait(0.003):
                    for schema in self.seconds:
                        self._read_once(reader, level, schema)
                return
            self.lost += 1
            time.sleep(0.01)

    def _read_once(self, reader: Any, level: str, schema: str) -> None:
        cursor, found = reader.cursor(), []
        began = time.monotonic()
        try:
            cursor.execute(f"SET LOCAL lock_timeout = '{self.lock_timeout}'")
            for query in WAYS[level]:
                cursor.execute(query.format(schema=schema))
                found += cursor.fetchall()[0]
        except psycopg2.errors.LockNotAvailable as error:
            self.refused.append(str(error))
        reader.rollback()
        self.seconds[schema].append(time.monotonic() - began)
        if len(set(found)) > 1:
            self.mixed.append(found)
        if schema == "serving":
            self.seen.update(found)


class Publisher:
    """A process that publishes Gold after Gold, and ways to end it while it does."""

    context = get_context("forkserver")  # its imports are made once
    context.set_forkserver_preload(["tests.serving.publisher"])

    def __init__(self, serving: ServingDataset, address: Address, first: int) -> None:
        self.address, self.database = address, serving.database
        self.said: Connection
        self.said, other = self.context.Pipe(duplex=False)
        where = (str(serving.server.folder), serving.server.programs, serving.database)
        self.process: BaseProcess = self.context.Process(
            target=publish_from, args=(*where, first, other), daemon=True
        )
        self.process.start()
        other.close()

    def publications(self, count: int) -> int:
        """Wait until so many more were carried out; the number of the last."""
        for _ in range(count):
            assert self.said.poll(60)
            last = self.said.recv()
            assert isinstance(last, int), last
        return int(last)

    def kill(self, way: str, delay: float) -> None:
        """End it in the middle of a transaction."""
        with closing(connect(self.address, self.database, ADMIN)) as admin:
            admin.autocommit = True
            cursor = admin.cursor()
            while not (found := self._transactions(cursor)):
                assert self.process.is_alive()
            time.sleep(delay)
            if way == "client":
                self.process.kill()
            elif way == "terminated":
                cursor.execute("SELECT pg_terminate_backend(%s)", found)
            else:
                with suppress(ProcessLookupError):
                    os.kill(found[0], signal.SIGKILL)  # all sessions of the server end with it
                    time.sleep(0.1)
        self.process.kill()
        self.process.join()
        self._is_over()

    def _transactions(self, cursor: Any) -> list[int]:
        """The processes of the server that have one of the loader's open."""
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE xact_start IS NOT NULL"
            " AND usename = %s AND datname = %s AND backend_type = 'client backend'",
            [LOADER, self.database],
        )
        return [pid for (pid,) in cursor.fetchall()]

    def _is_over(self) -> None:
        """Wait until the server answers, and nothing that the publisher began goes on."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with (
                suppress(psycopg2.OperationalError),
                closing(connect(self.address, self.database, ADMIN)) as admin,
            ):
                admin.autocommit = True
                if not self._transactions(admin.cursor()):
                    return
            time.sleep(0.01)
        raise AssertionError


@pytest.fixture
def serving(own: EmbeddedServer) -> ServingDataset:
    """A database whose first publication is out, with tables beside it that are never touched."""
    address = own.start()
    programs = str(own.programs) if own.programs else None
    serving = ServingDataset(
        path=str(own.folder), database="capstone", port=address.port, programs=programs
    )
    serving.save(gold_of(1))
    with closing(connect(address, "capstone", ADMIN)) as admin, admin:
        admin.cursor().execute(UNTOUCHED)
    return serving


@cache
def numbers() -> dict[str, int]:
    """Which Gold is which, by its hash."""
    golds = range(1, 1 + (KILLS + 1) * (BETWEEN_KILLS + 20))
    return {gold_sha256(gold_of(number).manifest): number for number in golds}


def ways() -> Iterator[str]:
    """How to kill: at the end the server's process, which makes the whole server restart."""
    yield from ("client" if number % 2 else "terminated" for number in range(KILLS - 2))
    yield from ("crashed", "crashed")


def test_readers_see_one_publication_and_wait_for_none(
    own: EmbeddedServer, serving: ServingDataset
) -> None:
    draw, address, first = random.Random(1), own.start(), 2
    done = interrupted = 0
    with Readers(address, serving.database) as readers:
        for way in ways():
            publisher = Publisher(serving, address, first)
            last = publisher.publications(BETWEEN_KILLS)
            done += BETWEEN_KILLS
            publisher.kill(way, draw.uniform(0, 0.02))

            published = numbers()[serving.load()["gold_sha256"]]
            assert published >= last
            assert serving.compare(gold_of(published)).is_equal
            interrupted += published == last
            first = published + 1

    assert interrupted  # the others had just been committed
    assert len(readers.seen) > done / 2
    assert (readers.mixed, readers.refused) == ([], [])
    assert not readers.were_held_up
    assert readers.lost > 0


def test_the_readers_would_notice_a_mix_and_a_wait(
    own: EmbeddedServer, serving: ServingDataset
) -> None:
    address = own.start()
    with Readers(address, serving.database) as readers:
        for mart in ("gold_faculdade", "gold_dia"):  # two transactions
            with closing(connect(address, serving.database, LOADER)) as loader, loader:
                loader.cursor().execute(f"UPDATE serving.{mart} SET total_views = 6")
            time.sleep(0.3)
        assert readers.mixed
        assert not readers.refused
        hold(address, serving.database, 1)
        assert readers.refused
    with Readers(address, serving.database, lock_timeout="0") as patient:
        hold(address, serving.database, 10)
    assert patient.were_held_up


def hold(address: Address, database: str, times: int) -> None:
    """Lock a table that is read, for longer than a read may wait."""
    for _ in range(times):
        with closing(connect(address, database, ADMIN)) as admin:
            admin.cursor().execute("LOCK TABLE serving.gold_dia")
            time.sleep(2 * SLOW)
        time.sleep(0.02)
