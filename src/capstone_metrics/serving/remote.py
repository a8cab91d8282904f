"""A PostgreSQL of the user's own, which the environment names."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import psycopg2
from psycopg2.extensions import connection, make_dsn, parse_dsn

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving.secret import login_of

VARIABLE = "CAPSTONE_DSN"
"""The connection string; what it leaves out libpq takes from its own variables and files."""

SECRET = "_SECRET"  # noqa: S105
"""After the name of the variable: the one that names a secret with the user and the password."""

STRICT = "verify-full"
SHOWN = ("host", "hostaddr", "port", "dbname", "service", "passfile", "sslmode", "sslrootcert")
"""What another user of the database may be told of the string."""


class RemoteServer:
    """The server that a connection string of libpq names.

    Its password may be in the string, in PGPASSWORD, in a password file; or in a secret of AWS
    Secrets Manager, with the user, if the environment names one: its variable ends in `_SECRET`.
    The secret is read for each connection. No message repeats a password. Beyond loopback the
    server proves by TLS that it is the one that was named.

    Args:
        dsn: `postgresql://…` or `host=… user=…`.
        database: the name of the database.
        variable: of the environment, where the string is from.

    Raises:
        CapstoneError: for a string that is none, names another database, or asks for less than
            `sslmode=verify-full` of a server beyond loopback.
    """

    def __init__(self, dsn: str, database: str, variable: str = VARIABLE) -> None:
        self.database = database
        self.variable = variable
        self._settings = _settings(dsn, database, variable)
        self._login: dict[str, str] = {}

    def connect(self) -> connection:
        """A connection as the user that the secret or the string names, or libpq's default.

        Raises:
            CapstoneError: if the server refuses or does not answer, in libpq's words; or if the
                secret cannot be read.
        """
        named = f"{self.variable}{SECRET}"
        if secret := os.environ.get(named):
            self._login = login_of(secret, named)
        try:
            made: connection = psycopg2.connect(**{**self._settings, **self._login})
        except psycopg2.Error as error:
            raise CapstoneError(self.plainly(error)) from None
        return made

    def plainly(self, error: psycopg2.Error) -> str:
        """What PostgreSQL said, without the password."""
        said = " ".join(str(error).split())
        hidden = (self._settings.get(name) for name in ("password", "sslpassword"))
        for secret in (*hidden, self._login.get("password"), os.environ.get("PGPASSWORD")):
            said = said.replace(secret, "…") if secret else said
        return f"PostgreSQL of {self.variable}, database {self.database!r}: {said}"

    def conninfo(self, role: str) -> str:
        """The connection string of another role, without a password."""
        return make_dsn(user=role, **{k: v for k, v in self._settings.items() if k in SHOWN})

    def __repr__(self) -> str:
        return f"{type(self).__name__}(database={self.database!r})"


def dsn_of_environment() -> str | None:
    """The connection string, if the environment has one.

    Raises:
        CapstoneError: if it has an empty one, as where a secret is missing, or a secret alone.
    """
    dsn = os.environ.get(VARIABLE)
    if dsn is None and os.environ.get(f"{VARIABLE}{SECRET}"):
        raise CapstoneError(
            f"{VARIABLE}{SECRET} is set and {VARIABLE} is not: name the server in it, such as "
            "'host=… sslrootcert=system'."
        )
    if dsn is not None and not dsn.strip():
        raise CapstoneError(
            f"{VARIABLE} is set and empty: name the server in it, or unset it to have the embedded "
            "one."
        )
    return dsn


def _settings(dsn: str, database: str, variable: str) -> dict[str, Any]:
    """What to connect with; a password misread as another part is not repeated in a message."""
    try:
        said = parse_dsn(dsn)
    except psycopg2.Error:
        said = {"port": "unreadable"}
    host, port = said.get("host", ""), said.get("port", "")
    if "@" in host or (port and not port.replace(",", "").isdecimal()):
        raise CapstoneError(
            f"{variable} is not a connection string of libpq, such as 'host=… user=…' or "
            "'postgresql://user@host/database'; in the second form the characters @ : / ? # % of "
            "a password are written as %40 %3A %2F %3F %23 %25."
        )
    if said.get("dbname", database) != database:
        raise CapstoneError(
            f"{variable} names another database than the configuration, {database!r}; set "
            "'database' in globals.yml to that of the server."
        )
    defaults = {
        "application_name": "capstone-metrics",
        "connect_timeout": "10",
        "keepalives_idle": "30",
        "tcp_user_timeout": "30000",  # ms
    }
    settings = {**defaults, **said, "dbname": database, "client_encoding": "UTF8"}
    if _is_local(said):
        return settings
    asked = said.get("sslmode") or os.environ.get("PGSSLMODE") or STRICT
    if asked != STRICT:
        raise CapstoneError(
            f"{variable}: sslmode={asked} would let another server pass for this one; beyond "
            f"loopback use {STRICT}, with the authority's certificate in sslrootcert (or "
            "'system')."
        )
    return {**settings, "sslmode": STRICT, "gssencmode": "disable"}


def _is_local(said: dict[str, str]) -> bool:
    """Whether all that is said of the place is loopback or a socket; a service may say anything."""
    if said.get("service") or os.environ.get("PGSERVICE"):
        return False
    hosts = said.get("host") or os.environ.get("PGHOST", "")
    addresses = said.get("hostaddr") or os.environ.get("PGHOSTADDR", "")
    return all(map(_is_loopback, (*hosts.split(","), *addresses.split(","))))


def _is_loopback(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
