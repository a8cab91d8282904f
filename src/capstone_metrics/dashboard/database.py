"""The serving database as the one who reads sees it."""

from __future__ import annotations

import io
import logging
import os
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import psycopg2
from psycopg2.errors import InsufficientPrivilege, QueryCanceled, UndefinedTable
from psycopg2.extensions import make_dsn, parse_dsn

from capstone_metrics.errors import CapstoneError
from capstone_metrics.serving.remote import RemoteServer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg2.extensions import connection, cursor

VARIABLE = "CAPSTONE_READER_DSN"
"""The connection string of the one who reads."""

READER, DATABASE = "bi_reader", "capstone"

LATEST = """
SELECT publication, published_at, gold_sha256, marts
FROM serving.publications ORDER BY publication DESC LIMIT 1
"""
COLUMNS = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'serving' AND table_name = ANY(%s) ORDER BY table_name, ordinal_position
"""
log = logging.getLogger(__name__)


class AwayError(Exception):
    """The database does not answer, or is not named."""


class NeverPublishedError(Exception):
    """There is no publication to read."""


class TooSlowError(Exception):
    """The server ended a statement that took longer than a reader may."""


@dataclass(frozen=True)
class Mart:
    """A published mart.

    Attributes:
        kinds: the type of each column, in the table's order.
        measures: {column: how it was made, such as {"sum": "views"}}.
        totals: what was published, by measure.
    """

    name: str
    key: tuple[str, ...]
    kinds: Mapping[str, str]
    measures: Mapping[str, Mapping[str, str]]
    rows: int
    totals: Mapping[str, int]


@dataclass(frozen=True)
class Publication:
    """What the database holds.

    Attributes:
        identity: what tells it from any other, of this database or one that was made again.
    """

    number: int
    published_at: dt.datetime
    marts: Mapping[str, Mart]
    identity: str


class Snapshot:
    """One publication, read in one transaction: whatever it answers belongs together."""

    def __init__(self, reader: connection) -> None:
        self._reader = reader
        self.publication = _latest(reader)

    def ask(self, statement: str, values: Sequence[Any] = ()) -> pd.DataFrame:
        """The rows that a query gives; whole numbers are `int`, of any size."""
        with self._reader.cursor() as db:
            db.execute(statement, values)
            return _frame(db)

    def csv(self, statement: str, values: Sequence[Any] = ()) -> bytes:
        """The rows that a query gives, as CSV with a header, in the form of Gold."""
        copied = io.BytesIO()
        with self._reader.cursor() as db:
            query = db.mogrify(statement, values).decode()
            db.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", copied)
        return copied.getvalue()


@contextmanager
def snapshot() -> Iterator[Snapshot]:
    """Read the latest publication, for as long as a page takes.

    Raises:
        AwayError: if the server does not answer, or the environment names none.
        NeverPublishedError: if nothing was published.
        TooSlowError: if a query took too long.
    """
    with _plainly(), closing(_connect()) as reader:
        reader.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield Snapshot(reader)


def dsn_of(environment: Mapping[str, str]) -> str:
    """The connection string that the environment has, as `bi_reader` of `capstone` unless said.

    Raises:
        CapstoneError: if there is none, or it cannot be read; none of it is repeated.
    """
    dsn = environment.get(VARIABLE, "").strip()
    if not dsn:
        raise CapstoneError(f"{VARIABLE} is not set; 'make dashboard' sets it.")
    try:
        said = parse_dsn(dsn)
        return make_dsn(dsn, user=said.get("user", READER), dbname=said.get("dbname", DATABASE))
    except psycopg2.Error:
        raise CapstoneError(f"{VARIABLE} is not a connection string of libpq.") from None


def _connect() -> connection:
    try:
        dsn = dsn_of(os.environ)
        return RemoteServer(dsn, parse_dsn(dsn)["dbname"], VARIABLE).connect()
    except CapstoneError as error:  # it holds no secret, but where the server is
        log.error("%s", error)  # noqa: TRY400 - the cause is in the sentence
        raise AwayError from None


@contextmanager
def _plainly() -> Iterator[None]:
    """Tell the reader's errors from one another; what PostgreSQL said goes to the log alone."""
    try:
        yield
    except QueryCanceled as error:
        log.warning("%s", error)
        raise TooSlowError from None
    except (UndefinedTable, InsufficientPrivilege) as error:
        log.warning("%s", error)
        raise NeverPublishedError from None
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        log.warning("%s", error)
        raise AwayError from None


def _latest(reader: connection) -> Publication:
    with reader.cursor() as db:
        db.execute(LATEST)
        entry = db.fetchone()
        if entry is None:
            raise NeverPublishedError
        number, published_at, sha256, listed = entry
        db.execute(COLUMNS, [list(listed)])
        kinds: dict[str, dict[str, str]] = {}
        for mart, column, kind in db.fetchall():
            kinds.setdefault(mart, {})[column] = kind
    marts = {
        name: Mart(
            name=name,
            key=tuple(entry["key"]),
            kinds=kinds[name],
            measures=entry["measures"],
            rows=entry["rows"],
            totals=entry["totals"],
        )
        for name, entry in sorted(listed.items())
        if name in kinds
    }
    identity = f"{number} {published_at.isoformat()} {sha256}"
    return Publication(number, published_at, marts, identity)


def _frame(db: cursor) -> pd.DataFrame:
    rows = [[_plain(value) for value in row] for row in db.fetchall()]
    return pd.DataFrame(rows, columns=[column.name for column in db.description or ()])


def _plain(value: Any) -> Any:
    """A sum of bigint is a numeric in PostgreSQL."""
    return int(value) if isinstance(value, Decimal) else value
