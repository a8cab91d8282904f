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

PROVISION_LOCK_KEY = int.from_bytes(b"provide")
"""The key of the advisory lock held while provisioning: concurrent GRANTs fail in PostgreSQL."""


def connect(address: Address, database: str, role: str) -> connection:
    """Return a connection as one of the roles."""
    return psycopg2.connect(
        address.dsn(database, role),
        client_encoding="UTF8",
        application_name="capstone-metrics",
        connect_timeout=10,
    )


def provision(address: Address, database: str) -> None:
    """Create or upgrade the roles, the database, the schema `serving` and its privileges."""
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True  # CREATE DATABASE cannot run in a transaction
        with admin.cursor() as cursor:
            # held until admin closes
            cursor.execute("SELECT pg_advisory_lock(%s)", [PROVISION_LOCK_KEY])
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            with closing(connect(address, database, ADMIN)) as in_database, in_database:
                in_database.cursor().execute(provision_sql())
            cursor.execute(
                "SELECT rolname FROM pg_authid WHERE rolname = ANY(%s) AND rolpassword IS NULL",
                [[LOADER, READER]],
            )
            for (role,) in cursor.fetchall():
                set_password(admin, role, _password(address, role))


def set_password(admin: connection, role: str, password: str) -> None:
    """Set the password of a role.

    The server receives only its SCRAM verifier, so that no log of its statements has a password.
    """
    verifier = encrypt_password(password, role, admin, "scram-sha-256")
    statement = sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(role))
    admin.cursor().execute(statement, [verifier])


def has_database(address: Address, database: str) -> bool:
    """Return whether a server has a database."""
    with closing(connect(address, "postgres", ADMIN)) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
        return cursor.fetchone() is not None


def drop_database(address: Address, database: str) -> None:
    """Drop a database, if the server has it, and end the connections to it."""
    with closing(connect(address, "postgres", ADMIN)) as admin:
        admin.autocommit = True  # DROP DATABASE cannot run in a transaction
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        admin.cursor().execute(statement.format(sql.Identifier(database)))


def provision_sql() -> str:
    """Return the SQL of the roles, the schema, its tables other than the marts, and privileges."""
    return resources.files(__package__).joinpath("provision.sql").read_text(encoding="utf-8")


def _password(address: Address, role: str) -> str:
    entries = (line.split(":", 4) for line in address.passfile.read_text().splitlines())
    return next(entry[4] for entry in entries if entry[3] == role)
