"""The serving database, read as `bi_reader`."""

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

from capstone_metrics.errors import CapstoneError, ConfigError
from capstone_metrics.serving.remote import RemoteServer

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg2.extensions import connection, cursor

READER_DSN_VARIABLE = "CAPSTONE_READER_DSN"
"""The variable with the connection string of the reader."""

DEFAULT_USER, DEFAULT_DATABASE = "bi_reader", "capstone"

SELECT_LATEST_PUBLICATION = """
SELECT publication, published_at, gold_sha256, marts
FROM serving.publications ORDER BY publication DESC LIMIT 1
"""
SELECT_COLUMN_TYPES = """
SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'serving' AND table_name = ANY(%s) ORDER BY table_name, ordinal_position
"""
log = logging.getLogger(__name__)


class DatabaseUnavailableError(Exception):
    """The database does not answer, or the environment does not name one."""


class NeverPublishedError(Exception):
    """The database has no publication."""


class QueryTimeoutError(Exception):
    """The server cancelled a query that exceeded the reader's statement timeout."""


@dataclass(frozen=True)
class PublishedMart:
    """A mart as the ledger describes it.

    Attributes:
        name: the name of the mart and its table.
        key: the columns of the key.
        column_types: the PostgreSQL type of each column, in the table's order.
        measures: {column: its declaration, such as {"sum": "views"}}.
        rows: how many rows were published.
        totals: the published sum of each measure that adds up.
        source: the table of Silver that it is counted from, or `video`.
    """

    name: str
    key: tuple[str, ...]
    column_types: Mapping[str, str]
    measures: Mapping[str, Mapping[str, Any]]
    rows: int
    totals: Mapping[str, int]
    source: str = "criacao"

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns that are no measures: the key, then the attributes."""
        others = {*self.key, *self.measures}
        return (*self.key, *(name for name in self.column_types if name not in others))

    def combining(self, measure: str) -> str | None:
        """Return the aggregate by which the values of rows are combined; None if by none."""
        if measure in self.totals:
            return "sum"
        return "max" if "max" in self.measures[measure] else None

    @property
    def day(self) -> str | None:
        """The column that is a day and no measure; None if there is none."""
        return next((name for name in self.labels if self.column_types[name] == "date"), None)


@dataclass(frozen=True)
class LatestPublication:
    """The latest publication in the ledger.

    Attributes:
        number: its number.
        published_at: when it was published.
        marts: the published marts, by name.
        cache_key: differs from that of any other publication, also of a recreated database.
    """

    number: int
    published_at: dt.datetime
    marts: Mapping[str, PublishedMart]
    cache_key: str


class ReadTransaction:
    """A read-only transaction, whose queries all see the same publication.

    Args:
        database: a connection with isolation level REPEATABLE READ.

    Attributes:
        publication: the latest publication.
    """

    def __init__(self, database: connection) -> None:
        self._database = database
        self.publication = _latest_publication(database)

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """Return the rows of a query; whole numbers are `int`, of any size."""
        with self._database.cursor() as db:
            db.execute(statement, parameters)
            return _data_frame(db)

    def to_csv(self, statement: str, parameters: Sequence[Any] = ()) -> bytes:
        """Return the rows of a query as CSV with a header, in Gold's format."""
        file = io.BytesIO()
        with self._database.cursor() as db:
            query = db.mogrify(statement, parameters).decode()
            db.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)", file)
        return file.getvalue()


@contextmanager
def read_transaction() -> Iterator[ReadTransaction]:
    """Open a transaction on the latest publication, for the rendering of one page.

    Raises:
        DatabaseUnavailableError: if the server does not answer, or the environment names none.
        NeverPublishedError: if nothing was published.
        QueryTimeoutError: if a query took too long.
    """
    with _translate_errors(), closing(_connect()) as database:
        database.set_session(isolation_level="REPEATABLE READ", readonly=True)
        yield ReadTransaction(database)


def reader_dsn(environment: Mapping[str, str]) -> str:
    """Return the connection string of the environment; by default `bi_reader` of `capstone`.

    Raises:
        CapstoneError: if it is missing or malformed; the message does not repeat it.
    """
    dsn = environment.get(READER_DSN_VARIABLE, "").strip()
    if not dsn:
        raise ConfigError(f"{READER_DSN_VARIABLE} is not set; 'make dashboard' sets it.")
    try:
        settings = parse_dsn(dsn)
        user = settings.get("user", DEFAULT_USER)
        return make_dsn(dsn, user=user, dbname=settings.get("dbname", DEFAULT_DATABASE))
    except psycopg2.Error:
        raise ConfigError(
            f"{READER_DSN_VARIABLE} is not a connection string of libpq, such as "
            "'host=… user=bi_reader'."
        ) from None


def _connect() -> connection:
    try:
        dsn = reader_dsn(os.environ)
        return RemoteServer(dsn, parse_dsn(dsn)["dbname"], READER_DSN_VARIABLE).connect()
    except CapstoneError as error:  # has no secret, but says where the server is
        log.error("%s", error)  # noqa: TRY400 - the message has the cause
        raise DatabaseUnavailableError from None


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate PostgreSQL's errors to those of this module; only the log has the original."""
    try:
        yield
    except QueryCanceled as error:
        log.warning("%s", error)
        raise QueryTimeoutError from None
    except (UndefinedTable, InsufficientPrivilege) as error:
        log.warning("%s", error)
        raise NeverPublishedError from None
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        log.warning("%s", error)
        raise DatabaseUnavailableError from None


def _latest_publication(database: connection) -> LatestPublication:
    with database.cursor() as db:
        db.execute(SELECT_LATEST_PUBLICATION)
        row = db.fetchone()
        if row is None:
            raise NeverPublishedError
        number, published_at, sha256, entries = row
        db.execute(SELECT_COLUMN_TYPES, [list(entries)])
        column_types: dict[str, dict[str, str]] = {}
        for mart, column, data_type in db.fetchall():
            column_types.setdefault(mart, {})[column] = data_type
    marts = {
        name: PublishedMart(
            name=name,
            key=tuple(entry["key"]),
            column_types=column_types[name],
            measures=entry["measures"],
            rows=entry["rows"],
            totals=entry["totals"],
            source=entry.get("from", "criacao"),
        )
        for name, entry in sorted(entries.items())
        if name in column_types
    }
    cache_key = f"{number} {published_at.isoformat()} {sha256}"
    return LatestPublication(number, published_at, marts, cache_key)


def _data_frame(db: cursor) -> pd.DataFrame:
    rows = [[_from_decimal(value) for value in row] for row in db.fetchall()]
    return pd.DataFrame(rows, columns=[column.name for column in db.description or ()])


def _from_decimal(value: Any) -> Any:
    """Return a whole Decimal as int, as PostgreSQL's sum of bigint is numeric; a ratio as float."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value == value.to_integral_value() else float(value)
