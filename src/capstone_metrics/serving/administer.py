"""`python -m capstone_metrics.serving.administer`: set up a PostgreSQL database of your own.

It connects as the administrator that `CAPSTONE_DSN` names, creates the roles, the schema and the
privileges, and sets the passwords of `loader` and `bi_reader` from the environment. Running it
again rotates those passwords.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

import psycopg2
from psycopg2.extensions import parse_dsn

from capstone_metrics.errors import CapstoneError, ServingError
from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.provision import PROVISION_LOCK_KEY, provision_sql, set_password
from capstone_metrics.serving.remote import DSN_VARIABLE, RemoteServer

PASSWORD_VARIABLES = {LOADER: "CAPSTONE_LOADER_PASSWORD", READER: "CAPSTONE_READER_PASSWORD"}
"""The environment variable with the password of each role."""


def set_up_database(dsn: str, passwords: dict[str, str]) -> None:
    """Create or upgrade the roles, schema and privileges, and set the passwords of the roles.

    Args:
        dsn: the connection string of the administrator, with `dbname`.
        passwords: by role.

    Raises:
        CapstoneError: if the connection string has no database, or the server refuses.
    """
    server = RemoteServer(dsn, _database_name(dsn))
    try:
        with closing(server.connect()) as admin, admin, admin.cursor() as db:
            db.execute("SELECT pg_advisory_xact_lock(%s)", [PROVISION_LOCK_KEY])
            db.execute(provision_sql())
            for role, password in passwords.items():
                set_password(admin, role, password)
    except psycopg2.Error as error:
        raise ServingError(server.redacted_message(error)) from None


def _database_name(dsn: str) -> str:
    try:
        settings = parse_dsn(dsn)
    except psycopg2.Error:
        settings = {"dbname": ""}  # RemoteServer reports what is wrong with the string
    if "dbname" not in settings:
        raise ServingError(f"{DSN_VARIABLE} does not name a database; add dbname=… to it.")
    return str(settings["dbname"])


def main() -> None:
    """Set up the database that the environment describes.

    Raises:
        SystemExit: with an error message, if it could not be set up.
    """
    names = (DSN_VARIABLE, *PASSWORD_VARIABLES.values())
    variables = {name: os.environ.get(name, "") for name in names}
    if missing := [name for name, value in variables.items() if not value.strip()]:
        sys.exit(f"These variables are not set: {', '.join(missing)}.")
    passwords = {role: variables[name] for role, name in PASSWORD_VARIABLES.items()}
    try:
        set_up_database(variables[DSN_VARIABLE], passwords)
    except CapstoneError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
