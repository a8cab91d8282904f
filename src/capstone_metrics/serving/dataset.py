"""The serving database in the catalog."""

from __future__ import annotations

import logging
import shlex
import shutil
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg2
from kedro.io import AbstractDataset
from psycopg2.extras import RealDictCursor

from capstone_metrics.errors import CapstoneError, ServingError
from capstone_metrics.serving.compare import compare
from capstone_metrics.serving.embedded import LOADER, READER, EmbeddedServer
from capstone_metrics.serving.ledger import latest_entry, losses
from capstone_metrics.serving.provision import connect, drop_database, has_database, provision
from capstone_metrics.serving.publisher import publish
from capstone_metrics.serving.remote import DSN_VARIABLE, RemoteServer, dsn_of_environment
from capstone_metrics.serving.runs import sync_runs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection

    from capstone_metrics.publication import Publication
    from capstone_metrics.serving.compare import Comparison
    from capstone_metrics.serving.embedded import Address
    from capstone_metrics.serving.runs import RunRecords
    from capstone_metrics.write_stats import WriteStats

log = logging.getLogger(__name__)


class ServingDataset(AbstractDataset["Publication", "dict[str, Any]"]):
    """The schema `serving` of a database on the embedded server, or on a server of the user's own.

    A server of the user's own is used if the environment variable `CAPSTONE_DSN` names one. The
    dataset saves a `Publication`, and loads the ledger's entry of the latest publication.

    Args:
        path: the folder of the embedded server's files.
        database: the name of the database.
        port: the port of the embedded server; None for one that it chooses once and keeps.
        programs: the folder with the programs of another PostgreSQL, to run that one instead.
        plan: whether a save does nothing but look at what readers would lose.
        metadata: the metadata for Kedro-Viz.
    """

    def __init__(  # noqa: PLR0913 - one argument for each property of the catalog entry
        self,
        *,
        path: str,
        database: str,
        port: int | None = None,
        programs: str | None = None,
        plan: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.server = EmbeddedServer(path, port, programs)
        self.database = database
        self.metadata = metadata
        self.plan = plan
        self.write_stats: dict[str, WriteStats] = {}
        self.planned_losses: list[str] = []

    def start(self) -> Address:
        """Start the embedded server if needed, and provision the database."""
        if self.remote:
            raise ServingError(
                f"{DSN_VARIABLE} names a server of your own, which kedro neither starts nor stops."
            )
        with self._translate_errors():
            address = self.server.start()
            provision(address, self.database)
        if self.server.port and self.server.port != address.port:
            log.warning(
                "PostgreSQL listens on port %d; on %d, which 'port' in globals.yml sets, after "
                "'kedro serving stop' and another start.",
                *(address.port, self.server.port),
            )
        return address

    def has_database(self) -> bool:
        """Return whether the embedded server has the database."""
        if not self.server.cluster.exists():
            return False
        with self._running() as address:
            return has_database(address, self.database)

    def drop_database(self) -> None:
        """Drop the database of the embedded server; its roles, passwords and port stay."""
        if self.server.cluster.exists():
            with self._running() as address:
                drop_database(address, self.database)

    def save(self, data: Publication) -> None:
        if not self.plan:
            self.write_stats = {"serving": self._publish(data, full=False)}
        elif self.is_up and not data.policy.allow_shrink:
            with (
                suppress(CapstoneError),
                self._translate_errors(),
                closing(self._connect(READER)) as database,
                database.cursor() as db,
            ):
                self.planned_losses = losses(latest_entry(db), data)

    def recreate(self, data: Publication) -> WriteStats:
        """Make the database equal Gold by comparing every row, whatever was changed by hand.

        Returns:
            How many rows were inserted or updated, and how many were removed.
        """
        return self._publish(data, full=True)

    def sync_runs(self, records: RunRecords) -> None:
        """Make the table `serving.runs` equal the run records; the database must be running."""
        with self._translate_errors(), closing(self._connect(LOADER)) as database:
            sync_runs(database, records)

    def compare(self, data: Publication) -> Comparison:
        """Compare the database with Gold, and change nothing."""
        with self._translate_errors(), closing(self._connect(READER)) as database:
            return compare(database, data)

    def load(self) -> dict[str, Any]:
        query = "SELECT * FROM serving.publications ORDER BY publication DESC LIMIT 1"
        with (
            self._translate_errors(),
            closing(self._connect(READER)) as database,
            database.cursor(cursor_factory=RealDictCursor) as db,
        ):
            db.execute(query)
            return dict(db.fetchone() or {})

    @property
    def is_up(self) -> bool:
        """Whether the server is running; a server of the user's own is assumed to be."""
        return self.remote is not None or self.server.is_running

    @property
    def remote(self) -> RemoteServer | None:
        """The server that the environment names; None if it names none."""
        dsn = dsn_of_environment()
        return RemoteServer(dsn, self.database) if dsn else None

    def psql(self) -> tuple[str, list[str], dict[str, str]]:
        """Return psql's path, options and environment to connect as a reader; without a password.

        Raises:
            ServingError: if psql is not installed and the server is one of the user's own.
        """
        if remote := self.remote:
            program = shutil.which("psql")
            if not program:
                raise ServingError(
                    "psql is not installed, and the packaged one has no TLS; install PostgreSQL's "
                    "client programs."
                )
            return program, [remote.conninfo(READER)], {}
        address = self.start()
        options = ["-h", address.host, "-p", str(address.port), "-U", READER, self.database]
        return self.server.program_path("psql"), options, {"PGPASSFILE": str(address.passfile)}

    def reader_dsn(self) -> str:
        """Return the connection string of `bi_reader` on the embedded server, without a password.

        Raises:
            ServingError: if the server is one of the user's own.
        """
        return self.start().dsn(self.database, READER)

    def connect_command(self) -> str:
        """Return the shell command that opens the database in psql as a reader."""
        if remote := self.remote:
            return f"psql {shlex.quote(remote.conninfo(READER))}"
        program, options, environment = self.psql()
        settings = (f"{name}={shlex.quote(value)}" for name, value in environment.items())
        command = "psql" if shutil.which("psql") else shlex.quote(program)
        return " ".join([*settings, command, *options])

    def _publish(self, data: Publication, *, full: bool) -> WriteStats:
        if not self.remote:
            self.start()
        with self._translate_errors(), closing(self._connect(LOADER)) as database:
            write_stats = publish(database, data, full=full)
            return replace(write_stats, address=self._address(database))

    def _address(self, database: connection) -> str:
        """Return the name of the schema `serving` in OpenLineage's form."""
        host, port = database.info.host, database.info.port
        is_tcp = host and not host.startswith("/")
        return f"postgres://{host if is_tcp else 'localhost'}:{port}/{self.database}.serving"

    def _connect(self, role: str) -> connection:
        """Connect as a role of the embedded server, or as the user that the environment names."""
        if remote := self.remote:
            return remote.connect()
        return connect(self.server.start(), self.database, role)

    @contextmanager
    def _running(self) -> Iterator[Address]:
        """Yield the address of the embedded server, which is then stopped again if it was."""
        was_running = self.server.is_running
        try:
            with self._translate_errors():
                yield self.server.start()
        finally:
            if not was_running:
                self.server.stop()

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate PostgreSQL's errors to a CapstoneError, without a password."""
        try:
            yield
        except psycopg2.Error as error:
            message = f"PostgreSQL, database {self.database!r}: {' '.join(str(error).split())}"
            raise ServingError(
                f"{(self.remote.redacted_message(error) if self.remote else message).rstrip('.')}. "
                "Run again; 'kedro serving recreate' rebuilds the database from Gold at any time."
            ) from error

    def _exists(self) -> bool:
        return self.remote is not None or self.server.cluster.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.server.folder), "database": self.database}
