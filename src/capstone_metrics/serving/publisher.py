"""Gold into the serving tables: all marts in one transaction, only the rows that differ."""

from __future__ import annotations

import hashlib
import io
import json
import zlib
from typing import TYPE_CHECKING

import pyarrow.csv as pc
from psycopg2 import sql
from psycopg2.errors import ProgramLimitExceeded
from psycopg2.extras import Json

from capstone_metrics.errors import CapstoneError
from capstone_metrics.saved import Saved
from capstone_metrics.schemas import gold_type

if TYPE_CHECKING:
    import pyarrow as pa
    from psycopg2.extensions import connection, cursor

    from capstone_metrics.schemas import Mart, Publication

LEDGER = """
CREATE TABLE IF NOT EXISTS serving.publications (
    publication bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    published_at timestamptz NOT NULL DEFAULT now(),
    gold_sha256 text NOT NULL,
    marts jsonb NOT NULL,
    rows_changed bigint NOT NULL,
    rows_deleted bigint NOT NULL
)
"""
LOCK = int.from_bytes(b"capstone")
"""The key of the advisory lock that one publisher holds."""


def publish(database: connection, publication: Publication) -> Saved:
    """Make the serving tables equal Gold.

    Readers see the publication before or this one, and wait for neither.

    Args:
        database: a connection of the loader.
        publication: the marts and their manifest.

    Returns:
        Rows that were inserted or changed, and removed.

    Raises:
        CapstoneError: if another publisher is at work, a key is too long for PostgreSQL, or a
            table does not equal its mart.
    """
    digest = hashlib.sha256(json.dumps(publication.manifest, sort_keys=True).encode()).hexdigest()
    with database, database.cursor() as db:
        db.execute("SET LOCAL lock_timeout = '3s'")  # a changed table waits for its readers
        db.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if db.fetchone() != (True,):
            raise CapstoneError(
                "Another publication is at work on this database; wait for it and run again."
            )
        db.execute(LEDGER)
        changed = deleted = 0
        for name, mart in publication.marts.items():
            _have_table(db, mart)
            try:
                more_changed, more_deleted = _move(db, mart, publication.tables[name])
            except ProgramLimitExceeded as error:
                raise _too_long(mart, publication.tables[name]) from error
            changed, deleted = changed + more_changed, deleted + more_deleted
            _reconcile(db, mart, publication.manifest["marts"][name])
        db.execute("SELECT gold_sha256 FROM serving.publications ORDER BY publication DESC LIMIT 1")
        if changed or deleted or db.fetchone() != (digest,):
            db.execute(
                "INSERT INTO serving.publications"
                " (gold_sha256, marts, rows_changed, rows_deleted) VALUES (%s, %s, %s, %s)",
                [digest, Json(publication.manifest["marts"]), changed, deleted],
            )
    return Saved(rows=changed, removed=deleted)


def ddl(mart: Mart) -> sql.Composed:
    """The table of a mart: its columns, none of them null, and its key."""
    columns = (
        sql.SQL("{} {} NOT NULL").format(sql.Identifier(column), sql.SQL(_type(column)))
        for column in mart.columns
    )
    return sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
        _table(mart), sql.SQL(", ").join(columns), _names(mart.key)
    )


def _have_table(db: cursor, mart: Mart) -> None:
    """Make the table, or make it anew where its columns are not those of the declaration."""
    db.execute(
        "SELECT array_agg(column_name || ' ' || data_type ORDER BY ordinal_position)"
        " FROM information_schema.columns WHERE table_schema = 'serving' AND table_name = %s",
        [mart.name],
    )
    (found,) = db.fetchone() or (None,)
    if found == [f"{column} {_type(column)}" for column in mart.columns]:
        return
    db.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_table(mart)))
    db.execute(ddl(mart))


def _move(db: cursor, mart: Mart, rows: pa.Table) -> tuple[int, int]:
    """Copy a mart beside its table, then bring over what differs."""
    table, staged = _table(mart), sql.Identifier(f"staged_{mart.name}")
    csv = io.BytesIO()
    pc.write_csv(rows.select(mart.columns), csv)
    csv.seek(0)
    db.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(staged, table))
    copy = sql.SQL("COPY {} FROM STDIN (FORMAT csv, HEADER true)").format(staged)
    db.copy_expert(copy.as_string(db), csv)

    measures = [column for column in mart.columns if column not in mart.key]
    db.execute(
        sql.SQL(
            "INSERT INTO {table} SELECT * FROM {staged} EXCEPT SELECT * FROM {table}"
            " ON CONFLICT ({key}) DO UPDATE SET ({measures}) = ROW ({new})"
        ).format(
            table=table,
            staged=staged,
            key=_names(mart.key),
            measures=_names(measures),
            new=_names(measures, "excluded"),
        )
    )
    changed = db.rowcount
    db.execute(
        sql.SQL(
            "DELETE FROM {table} AS old WHERE NOT EXISTS"
            " (SELECT FROM {staged} AS new WHERE ROW ({new}) = ROW ({old}))"
        ).format(
            table=table, staged=staged, new=_names(mart.key, "new"), old=_names(mart.key, "old")
        )
    )
    return changed, db.rowcount


def _too_long(mart: Mart, rows: pa.Table) -> CapstoneError:
    """What to do about a key that PostgreSQL cannot index; it compresses values before it does."""
    column, value = max(
        (
            (column, value)
            for column in mart.key
            if gold_type(column).is_string()
            for value in rows[column].unique().to_pylist()
        ),
        key=lambda pair: len(zlib.compress(pair[1].encode())),
    )
    return CapstoneError(
        f"serving.{mart.name}: {column} {value[:20] + '…'!r} has {len(value.encode())} bytes, more "
        "than a key of PostgreSQL can hold; nothing was published. Bring a later observation of "
        f"its videos with a shorter one, or take {column} out of the key in marts.yml, and run "
        "again."
    )


def _reconcile(db: cursor, mart: Mart, listed: dict[str, object]) -> None:
    sums = (
        sql.SQL("coalesce(sum({}), 0)::bigint").format(sql.Identifier(measure))
        for measure, _, _ in mart.measures
    )
    db.execute(
        sql.SQL("SELECT count(*), {} FROM {}").format(sql.SQL(", ").join(sums), _table(mart))
    )
    rows, *totals = db.fetchone() or ()
    found = {measure: total for (measure, _, _), total in zip(mart.measures, totals, strict=True)}
    if (rows, found) != (listed["rows"], listed["totals"]):
        raise CapstoneError(
            f"serving.{mart.name} would have {rows} rows and {found} where Gold has "
            f"{listed['rows']} and {listed['totals']}; nothing was published. Run "
            "'kedro run --pipelines=silver_to_gold,publish_gold' to make both again."
        )


def _type(column: str) -> str:
    kind = gold_type(column)
    return "date" if kind.is_date() else "text" if kind.is_string() else "bigint"


def _table(mart: Mart) -> sql.Identifier:
    return sql.Identifier("serving", mart.name)


def _names(columns: tuple[str, ...] | list[str], of: str | None = None) -> sql.Composed:
    path = (of,) if of else ()
    return sql.SQL(", ").join(sql.Identifier(*path, column) for column in columns)
