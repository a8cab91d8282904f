"""A PostgreSQL server of the user's own, which the environment names."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import psycopg2
from psycopg2.extensions import connection, make_dsn, parse_dsn

from capstone_metrics.errors import ServingError
from capstone_metrics.serving.secret import fetch_login

DSN_VARIABLE = "CAPSTONE_DSN"
"""The variable with the connection string; libpq's own variables and files fill its gaps."""

SECRET_SUFFIX = "_SECRET"  # noqa: S105
"""The suffix of the variable that names a secret with the user and password."""

REQUIRED_SSLMODE = "verify-full"
PUBLIC_SETTINGS = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "service",
    "passfile",
    "sslmode",
    "sslrootcert",
)
"""The settings that may be shown to another user of the database."""


class RemoteServer:
    """The server that a connection string of libpq names.

    The password may be in the string, in PGPASSWORD or in a password file; or, with the user, in a
    secret of AWS Secrets Manager, which the variable that ends in `_SECRET` names. The secret is
    read for each connection. No message repeats a password. A server beyond loopback must prove its
    identity by TLS.

    Args:
        dsn: `postgresql://…` or `host=… user=…`.
        database: the name of the database.
        variable: the environment variable that the string comes from.

    Raises:
        ServingError: if the string is malformed, names another database, or has an sslmode weaker
            than `verify-full` for a server beyond loopback.
    """

    def __init__(self, dsn: str, database: str, variable: str = DSN_VARIABLE) -> None:
        self.database = database
        self.variable = variable
        self._settings = _settings(dsn, database, variable)
        self._login: dict[str, str] = {}

    def connect(self) -> connection:
        """Connect as the user of the secret or the string, or libpq's default.

        Raises:
            ServingError: if the server refuses or does not answer, with libpq's message; or if the
                secret cannot be read.
        """
        secret_variable = f"{self.variable}{SECRET_SUFFIX}"
        if secret := os.environ.get(secret_variable):
            self._login = fetch_login(secret, secret_variable)
        try:
            database: connection = psycopg2.connect(**{**self._settings, **self._login})
        except psycopg2.Error as error:
            raise ServingError(self.redacted_message(error)) from None
        return database

    def redacted_message(self, error: psycopg2.Error) -> str:
        """Return PostgreSQL's error message without passwords."""
        message = " ".join(str(error).split())
        configured = (self._settings.get(name) for name in ("password", "sslpassword"))
        for secret in (*configured, self._login.get("password"), os.environ.get("PGPASSWORD")):
            message = message.replace(secret, "…") if secret else message
        return f"PostgreSQL of {self.variable}, database {self.database!r}: {message}"

    def conninfo(self, role: str) -> str:
        """Return the connection string of another role, without a password."""
        settings = {k: v for k, v in self._settings.items() if k in PUBLIC_SETTINGS}
        return make_dsn(user=role, **settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(database={self.database!r})"


def dsn_of_environment() -> str | None:
    """Return the connection string of the environment; None if it has none.

    Raises:
        ServingError: if the string is empty, or only the variable of the secret is set.
    """
    dsn = os.environ.get(DSN_VARIABLE)
    if dsn is None and os.environ.get(f"{DSN_VARIABLE}{SECRET_SUFFIX}"):
        raise ServingError(
            f"{DSN_VARIABLE}{SECRET_SUFFIX} is set and {DSN_VARIABLE} is not: set the latter to "
            "the server's connection string, such as 'host=… sslrootcert=system'."
        )
    if dsn is not None and not dsn.strip():
        raise ServingError(
            f"{DSN_VARIABLE} is set and empty: set it to the server's connection string, or unset "
            "it to use the embedded server."
        )
    return dsn


def _settings(dsn: str, database: str, variable: str) -> dict[str, Any]:
    """Return psycopg2's settings; no message repeats a password misread as another part."""
    try:
        parsed = parse_dsn(dsn)
    except psycopg2.Error:
        parsed = {"port": "unreadable"}
    host, port = parsed.get("host", ""), parsed.get("port", "")
    if "@" in host or (port and not port.replace(",", "").isdecimal()):
        raise ServingError(
            f"{variable} is not a connection string of libpq, such as 'host=… user=…' or "
            "'postgresql://user@host/database'; in the second form the characters @ : / ? # % of "
            "a password are written as %40 %3A %2F %3F %23 %25."
        )
    if parsed.get("dbname", database) != database:
        raise ServingError(
            f"{variable} names another database than the configured one, {database!r}; set "
            "'database' in globals.yml to the server's."
        )
    defaults = {
        "application_name": "capstone-metrics",
        "connect_timeout": "10",
        "keepalives_idle": "30",
        "tcp_user_timeout": "30000",  # ms
    }
    settings = {**defaults, **parsed, "dbname": database, "client_encoding": "UTF8"}
    if _is_local(parsed):
        return settings
    sslmode = parsed.get("sslmode") or os.environ.get("PGSSLMODE") or REQUIRED_SSLMODE
    if sslmode != REQUIRED_SSLMODE:
        raise ServingError(
            f"{variable}: sslmode={sslmode} would let another server impersonate this one; beyond "
            f"loopback use {REQUIRED_SSLMODE}, with the authority's certificate in sslrootcert (or "
            "'system')."
        )
    return {**settings, "sslmode": REQUIRED_SSLMODE, "gssencmode": "disable"}


def _is_local(settings: dict[str, str]) -> bool:
    """Return whether every host is loopback or a socket; a service may name any host."""
    if settings.get("service") or os.environ.get("PGSERVICE"):
        return False
    hosts = settings.get("host") or os.environ.get("PGHOST", "")
    addresses = settings.get("hostaddr") or os.environ.get("PGHOSTADDR", "")
    return all(map(_is_loopback, (*hosts.split(","), *addresses.split(","))))


def _is_loopback(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
