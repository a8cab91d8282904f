"""The serving database in the catalog."""

from __future__ import annotations

import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
from kedro.io import AbstractDataset

from capstone_metrics.errors import CapstoneError
from capstone_metrics.saved import Saved
from capstone_metrics.serving.embedded import LOADER, READER, EmbeddedServer, binary

if TYPE_CHECKING:
    from capstone_metrics.schemas import Publication
    from capstone_metrics.serving.embedded import Address


class ServingDataset(AbstractDataset["Publication", "dict[str, Any]"]):
    """The schema `serving` of a database on the embedded server.

    Saved: a `Publication`. Loaded: the entry of the latest publication in the ledger.

    Args:
        path: the folder of the server's files.
        database: the name of the database.
        port: where the server listens if it can.
        metadata: for Kedro-Viz.
    """

    def __init__(
        self, *, path: str, database: str, port: int, metadata: dict[str, Any] | None = None
    ) -> None:
        self.server = EmbeddedServer(path, port)
        self.database = database
        self.metadata = metadata
        self.saved = Saved()

    def start(self) -> Address:
        """Have the server run with the database, its roles and their rights."""
        from capstone_metrics.serving.provision import provision  # noqa: PLC0415

        try:
            address = self.server.start()
            provision(address, self.database)
        except psycopg2.Error as error:
            raise self._plain(error) from error
        return address

    def save(self, data: Publication) -> None:
        from capstone_metrics.serving.provision import connect  # noqa: PLC0415
        from capstone_metrics.serving.publisher import publish  # noqa: PLC0415

        try:
            with closing(connect(self.start(), self.database, LOADER)) as database:
                self.saved = publish(database, data)
        except psycopg2.Error as error:
            raise self._plain(error) from error

    def load(self) -> dict[str, Any]:
        from psycopg2.extras import RealDictCursor  # noqa: PLC0415

        from capstone_metrics.serving.provision import connect  # noqa: PLC0415

        last = "SELECT * FROM serving.publications ORDER BY publication DESC LIMIT 1"
        try:
            with (
                closing(connect(self.server.start(), self.database, READER)) as database,
                database.cursor(cursor_factory=RealDictCursor) as db,
            ):
                db.execute(last)
                return dict(db.fetchone() or {})
        except psycopg2.Error as error:
            raise self._plain(error) from error

    def psql(self) -> tuple[str, list[str], dict[str, str]]:
        """How a reader opens the database: psql, its options and environment; no password."""
        address = self.start()
        options = ["-h", address.host, "-p", str(address.port), "-U", READER, self.database]
        return binary("psql"), options, {"PGPASSFILE": str(address.passfile)}

    def how_to_connect(self) -> str:
        """The command of `psql`, for a shell."""
        _, options, environment = self.psql()
        settings = (f"{name}={shlex.quote(value)}" for name, value in environment.items())
        return " ".join([*settings, "psql", *options])

    def _plain(self, error: psycopg2.Error) -> CapstoneError:
        said = " ".join(str(error).split())
        return CapstoneError(
            f"PostgreSQL, database {self.database!r}: {said} "
            "Run again; the database can be recreated from Gold at any time."
        )

    def _exists(self) -> bool:
        return self.server.cluster.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.server.folder), "database": self.database}
