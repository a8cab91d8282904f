"""The roles, database and schema of the embedded server."""

from __future__ import annotations

from contextlib import closing
from importlib import resources
from typing import TYPE_CHECKING

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password

from capstone_metrics.serving.embedded import ADMIN, LOADER, READER, Address

if TYPE_CHECKING:
    from psycopg2.extensions import connection

LOCK = int.from_bytes(b"provide")
"""The key of the advisory lock of one who provisions: PostgreSQL refuses two grants at once."""


def connect(address: Address, database: str, role: str) -> connection:
    """A connection as one of the roles; its password comes from the password file.

    What libpq's own environment says, such as PGSSLMODE, is about other servers.
    """
    return psycopg2.connect(
        host=address.host,
        hostaddr=address.host,
        port=address.port,
        dbname=database,
        user=role,
        passfile=str(address.passfile),
        sslmode="disable",
        client_encoding="UTF8",
        application_name="capstone-metrics",
        connect_timeout=10,
    )


def provision(address: Address, database: str) -> None:
    """Have the roles, the database, the schema `serving` and the rights on it."""
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True  # a database is not made in a transaction
        with admin.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # held until admin closes
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            with closing(connect(address, database, ADMIN)) as owner, owner:
                owner.cursor().execute(script())
            cursor.execute(
                "SELECT rolname FROM pg_authid WHERE rolname = ANY(%s) AND rolpassword IS NULL",
                [[LOADER, READER]],
            )
            for (role,) in cursor.fetchall():
                password = encrypt_password(_password(address, role), role, admin, "scram-sha-256")
                cursor.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(role)), [password]
                )


def script() -> str:
    """The SQL of the roles, the schema, what is beside the marts in it, and the rights."""
    return resources.files(__package__).joinpath("provision.sql").read_text(encoding="utf-8")


def _password(address: Address, role: str) -> str:
    entries = (line.split(":", 4) for line in address.passfile.read_text().splitlines())
    return next(entry[4] for entry in entries if entry[3] == role)
