"""`python -m capstone_metrics.serving.administer`: set up a database of the user's own.

It connects as the administrator whom `CAPSTONE_DSN` names, makes the roles, the schema and the
rights, and gives `loader` and `bi_reader` the passwords of the environment. Done again, it gives
them new ones.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import encrypt_password, parse_dsn

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.provision import LOCK, script
from capstone_metrics.serving.remote import VARIABLE, RemoteServer

PASSWORDS = {LOADER: "CAPSTONE_LOADER_PASSWORD", READER: "CAPSTONE_READER_PASSWORD"}
"""The variable with the password of each role."""


def administer(dsn: str, passwords: dict[str, str]) -> None:
    """Set the database up, or only bring it to what this version of the project needs of it.

    Args:
        dsn: of its administrator, with `dbname`.
        passwords: of the roles that log in. The server gets to know what verifies them, so they
            are in no log of its statements.

    Raises:
        CapstoneError: for a string without a database, or if the server refuses.
    """
    server = RemoteServer(dsn, _database(dsn))
    try:
        with closing(server.connect()) as admin, admin, admin.cursor() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            db.execute(script())
            for role, password in passwords.items():
                verifier = encrypt_password(password, role, admin, "scram-sha-256")
                statement = sql.SQL("ALTER ROLE {} PASSWORD %s").format(sql.Identifier(role))
                db.execute(statement, [verifier])
    except psycopg2.Error as error:
        raise CapstoneError(server.plainly(error)) from None


def _database(dsn: str) -> str:
    try:
        said = parse_dsn(dsn)
    except psycopg2.Error:
        said = {"dbname": ""}  # what is wrong with it is told by who reads the rest of it
    if "dbname" not in said:
        raise CapstoneError(f"{VARIABLE} names no database; say dbname=… in it.")
    return str(said["dbname"])


def main() -> None:
    """Do it as the environment says.

    Raises:
        SystemExit: with a sentence, if it was not done.
    """
    said = {name: os.environ.get(name, "") for name in (VARIABLE, *PASSWORDS.values())}
    if missing := [name for name, value in said.items() if not value.strip()]:
        sys.exit(f"These variables are not set: {', '.join(missing)}.")
    try:
        administer(said[VARIABLE], {role: said[name] for role, name in PASSWORDS.items()})
    except CapstoneError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
