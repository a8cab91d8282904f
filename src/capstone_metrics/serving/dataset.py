"""The serving database in the catalog."""

from __future__ import annotations

import shlex
import shutil
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg2
from kedro.io import AbstractDataset
from psycopg2.extensions import make_dsn

from capstone_metrics.errors import CapstoneError
from capstone_metrics.saved import Saved
from capstone_metrics.serving.embedded import LOADER, READER, EmbeddedServer
from capstone_metrics.serving.remote import VARIABLE, RemoteServer, dsn_of_environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg2.extensions import connection

    from capstone_metrics.schemas import Publication
    from capstone_metrics.serving.compare import Comparison
    from capstone_metrics.serving.embedded import Address
    from capstone_metrics.serving.history import Records


class ServingDataset(AbstractDataset["Publication", "dict[str, Any]"]):
    """The schema `serving` of a database on the embedded server, or on one of the user's own.

    The latter is the one that the environment variable `CAPSTONE_DSN` names, if there is one.
    Saved: a `Publication`. Loaded: the entry of the latest publication in the ledger.

    Args:
        path: the folder of the embedded server's files.
        database: the name of the database.
        port: where the embedded server listens if it can.
        programs: the folder of another PostgreSQL's programs, to embed that one.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self,
        *,
        path: str,
        database: str,
        port: int,
        programs: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.server = EmbeddedServer(path, port, programs)
        self.database = database
        self.metadata = metadata
        self.saved = Saved()

    def start(self) -> Address:
        """Have the embedded server run with the database, its roles and their rights."""
        from capstone_metrics.serving.provision import provision  # noqa: PLC0415

        if self.remote:
            raise CapstoneError(
                f"{VARIABLE} names the server, which is not started or stopped from here."
            )
        with self._plainly():
            address = self.server.start()
            provision(address, self.database)
        return address

    def save(self, data: Publication) -> None:
        self.saved = self._publish(data, whole=False)

    def recreate(self, data: Publication) -> Saved:
        """Have the database be what Gold makes of it, whatever became of it: every row is compared.

        Returns:
            Rows that were inserted or changed, and removed.
        """
        return self._publish(data, whole=True)

    def mirror(self, records: Records) -> None:
        """Copy the records of runs to the table `serving.runs` of a database that is up."""
        from capstone_metrics.serving.history import mirror  # noqa: PLC0415

        with self._plainly(), closing(self._connect(LOADER)) as database:
            mirror(database, records)

    def compare(self, data: Publication) -> Comparison:
        """The database beside Gold; nothing is changed."""
        from capstone_metrics.serving.compare import compare  # noqa: PLC0415

        with self._plainly(), closing(self._connect(READER)) as database:
            return compare(database, data)

    def load(self) -> dict[str, Any]:
        from psycopg2.extras import RealDictCursor  # noqa: PLC0415

        last = "SELECT * FROM serving.publications ORDER BY publication DESC LIMIT 1"
        with (
            self._plainly(),
            closing(self._connect(READER)) as database,
            database.cursor(cursor_factory=RealDictCursor) as db,
        ):
            db.execute(last)
            return dict(db.fetchone() or {})

    @property
    def is_up(self) -> bool:
        """Whether it can be asked without starting a server: one of the user's own is there."""
        return self.remote is not None or self.server.is_running

    @property
    def remote(self) -> RemoteServer | None:
        """The server that the environment names, if it does."""
        dsn = dsn_of_environment()
        return RemoteServer(dsn, self.database) if dsn else None

    def psql(self) -> tuple[str, list[str], dict[str, str]]:
        """How a reader opens the database: psql, its options and environment; no password.

        Raises:
            CapstoneError: if no psql is installed that could open a server of the user's own.
        """
        if remote := self.remote:
            program = shutil.which("psql")
            if not program:
                raise CapstoneError("psql is not installed here: that of the package has no TLS.")
            return program, [remote.conninfo(READER)], {}
        address = self.start()
        options = ["-h", address.host, "-p", str(address.port), "-U", READER, self.database]
        return self.server.program("psql"), options, {"PGPASSFILE": str(address.passfile)}

    def reader_dsn(self) -> str:
        """The connection string of `bi_reader` on the embedded server, without a password.

        Raises:
            CapstoneError: if the server is one of the user's own.
        """
        address = self.start()
        return make_dsn(
            host=address.host,
            hostaddr=address.host,
            port=address.port,
            user=READER,
            dbname=self.database,
            passfile=str(address.passfile),
            sslmode="disable",
        )

    def how_to_connect(self) -> str:
        """The command of `psql`, for a shell."""
        if remote := self.remote:
            return f"psql {shlex.quote(remote.conninfo(READER))}"
        _, options, environment = self.psql()
        settings = (f"{name}={shlex.quote(value)}" for name, value in environment.items())
        return " ".join([*settings, "psql", *options])

    def _publish(self, data: Publication, *, whole: bool) -> Saved:
        from capstone_metrics.serving.publisher import publish  # noqa: PLC0415

        if not self.remote:
            self.start()
        with self._plainly(), closing(self._connect(LOADER)) as database:
            saved = publish(database, data, whole=whole)
            return replace(saved, address=self._address(database))

    def _address(self, database: connection) -> str:
        """The schema whose tables were written, as OpenLineage calls it."""
        host, port = database.info.host, database.info.port
        is_network = host and not host.startswith("/")
        return f"postgres://{host if is_network else 'localhost'}:{port}/{self.database}.serving"

    def _connect(self, role: str) -> connection:
        """As a role of the embedded server, or as the user whom the environment names."""
        from capstone_metrics.serving.provision import connect  # noqa: PLC0415

        if remote := self.remote:
            return remote.connect()
        return connect(self.server.start(), self.database, role)

    @contextmanager
    def _plainly(self) -> Iterator[None]:
        """Tell an error of PostgreSQL in a sentence, without a password."""
        try:
            yield
        except psycopg2.Error as error:
            said = f"PostgreSQL, database {self.database!r}: {' '.join(str(error).split())}"
            raise CapstoneError(
                f"{self.remote.plainly(error) if self.remote else said} "
                "Run again; 'kedro serving recreate' makes the database from Gold at any time."
            ) from error

    def _exists(self) -> bool:
        return self.remote is not None or self.server.cluster.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.server.folder), "database": self.database}
