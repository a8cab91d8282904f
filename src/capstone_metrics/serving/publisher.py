"""Publish Gold to the serving tables: all marts in one transaction, only what changed."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg2 import DataError, Error, IntegrityError, errors, sql

from capstone_metrics.errors import ServingError
from capstone_metrics.serving.definitions import replace_definitions
from capstone_metrics.serving.embedded import OWNER
from capstone_metrics.serving.ledger import (
    LedgerEntry,
    gold_sha256,
    latest_entry,
    losses,
    record_publication,
)
from capstone_metrics.serving.load import delete_all_rows, load_mart
from capstone_metrics.serving.mart_csv import MartCsv, text_columns
from capstone_metrics.serving.tables import (
    drop_table_sql,
    is_rekeyed,
    migration,
    read_tables,
    table_identifier,
)
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg2.extensions import connection, cursor

    from capstone_metrics.marts import Mart
    from capstone_metrics.publication import Publication

MAX_LOSSES = 5
"""How many losses a message names."""

PUBLISH_LOCK_KEY = int.from_bytes(b"capstone")
"""The key of the advisory lock that a publisher holds."""

TRANSACTION_SETTINGS = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;  -- a statement sees what a lock waited for
SET LOCAL lock_timeout = '3s';  -- altering a table waits for its readers
SET LOCAL statement_timeout = '10min';
SET LOCAL idle_in_transaction_session_timeout = '1min'  -- of a publisher that has died
"""


def publish(database: connection, publication: Publication, *, full: bool = False) -> WriteStats:
    """Make the serving tables equal Gold, and add the publication to the ledger.

    Readers see either the previous publication or this one, and do not wait, except readers of a
    table whose declaration changed. If Gold has the hash of the latest publication, no table is
    read but that of the definitions; otherwise the days whose hashes changed are loaded.

    Args:
        database: a connection of the loader.
        publication: the marts and their manifest.
        full: whether to compare every row with its table, whatever the ledger has.

    Returns:
        How many rows were inserted or updated, and how many were deleted.

    Raises:
        CapstoneError: if another publication is running, Gold has lost too much since the latest
            publication, a table cannot be altered as its mart declares, a table does not equal its
            mart after loading, or a key is too long for PostgreSQL.
    """
    digest = gold_sha256(publication.manifest)
    with _translate_errors():
        with database, database.cursor() as db:
            _check_files(publication, latest_entry(db))
        return _publish(database, publication, digest, full)


def _check_files(publication: Publication, latest: LedgerEntry) -> None:
    """Read the files that may have been edited, which raises an error for an edited one.

    They are read before the transaction starts, which would otherwise stay open meanwhile. A file
    with the version and hash of the latest publication has not been edited since.
    """
    for name, version in publication.versions.items():
        published = latest.marts.get(name, {})
        sha256 = publication.manifest["marts"][name]["sha256"]
        if not version or (published.get("version"), published.get("sha256")) != (version, sha256):
            _ = publication.files[name]


def _publish(database: connection, publication: Publication, digest: str, full: bool) -> WriteStats:
    with database, database.cursor() as db:
        db.execute(TRANSACTION_SETTINGS)
        db.execute("SELECT pg_try_advisory_xact_lock(%s)", [PUBLISH_LOCK_KEY])
        if db.fetchone() != (True,):
            raise ServingError(
                "Another publication is running on this database; wait for it to end and run again."
            )
        replace_definitions(db, publication.definitions)
        latest = latest_entry(db)
        if latest.gold_sha256 == digest and not full:
            return WriteStats()
        reader_losses = losses(latest, publication)
        if reader_losses and not publication.policy.allow_shrink:
            others = len(reader_losses) - MAX_LOSSES
            more = f", and {others:,} more" if others > 0 else ""
            raise ServingError(
                f"Gold has lost too much to be published: {', '.join(reader_losses[:MAX_LOSSES])}"
                f"{more}. If this is expected, as after a correction, run 'kedro run "
                "--pipelines=publish_gold --params=allow_shrink=true'; if not, 'kedro verify' "
                "checks the lake."
            )
        entry = LedgerEntry(latest.publication + 1, digest, _mart_entries(publication))
        counts = _load_marts(db, publication, latest, entry, full)
        changed = sum(rows_changed for rows_changed, _ in counts)
        deleted = sum(rows_deleted for _, rows_deleted in counts)
        if changed or deleted or latest.gold_sha256 != digest:
            retention_days = publication.policy.changes_kept_days
            record_publication(db, entry, changed, deleted, retention_days)
    return WriteStats(rows=changed, removed=deleted)


def _mart_entries(publication: Publication) -> dict[str, Any]:
    """Return for each mart its entry in the manifest, and the version of its file if known."""
    return {
        name: {**entry, "version": publication.versions[name]}
        if publication.versions.get(name)
        else dict(entry)
        for name, entry in publication.manifest["marts"].items()
    }


def _load_marts(
    db: cursor, publication: Publication, latest: LedgerEntry, entry: LedgerEntry, full: bool
) -> list[tuple[int, int]]:
    """Load the marts that changed.

    Returns:
        How many rows were inserted or updated, and deleted, for each table that was compared.
    """
    migrated, counts = _migrate_tables(db, publication.marts, latest, entry.publication)
    for name, mart in publication.marts.items():
        mart_entry = entry.marts[name]
        published_sha256 = latest.marts.get(name, {}).get("sha256")
        is_full = full or name in migrated
        if published_sha256 == mart_entry["sha256"] and not is_full:
            continue
        mart_csv = MartCsv.of(publication, name)
        try:
            counts.append(load_mart(db, mart_csv, entry.publication, full=is_full))
        except errors.ProgramLimitExceeded as error:
            raise _key_too_long_error(mart_csv) from error
        _reconcile(db, mart, mart_entry)
    return counts


def _migrate_tables(
    db: cursor, marts: Mapping[str, Mart], latest: LedgerEntry, number: int
) -> tuple[set[str], list[tuple[int, int]]]:
    """Create and alter the tables as the marts declare, and drop those no longer declared.

    Returns:
        The tables that were created or altered; and how many rows were inserted or updated, and
        deleted, for each table that was emptied.
    """
    tables = read_tables(db, [*marts, *latest.marts])
    migrations = {name: migration(mart, tables[name]) for name, mart in marts.items()}
    undeclared = [name for name in latest.marts if name not in marts and tables[name].columns]
    rekeyed = [
        name
        for name, mart in marts.items()
        if tables[name].columns and is_rekeyed(mart, tables[name])
    ]
    counts = [
        delete_all_rows(db, name, tables[name].key, number) for name in (*undeclared, *rekeyed)
    ]
    statements = [
        *(statement for statements in migrations.values() for statement in statements),
        *map(drop_table_sql, undeclared),
    ]
    if statements:
        db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        for statement in statements:
            db.execute(statement)
        db.execute("SET LOCAL ROLE NONE")
    migrated = {name for name, statements in migrations.items() if statements}
    return migrated, counts


def _reconcile(db: cursor, mart: Mart, entry: Mapping[str, object]) -> None:
    """Raise an error if a table and Gold differ in the number of rows or in a total."""
    sums = (
        sql.SQL("coalesce(sum({}), 0)").format(sql.Identifier(name)) for name in mart.additive_names
    )
    counted = sql.SQL(", ").join([sql.SQL("count(*)"), *sums])
    db.execute(sql.SQL("SELECT {} FROM {}").format(counted, table_identifier(mart.name)))
    rows, *values = map(int, db.fetchone() or ())
    totals = dict(zip(mart.additive_names, values, strict=True))
    if (rows, totals) != (entry["rows"], entry["totals"]):
        raise ServingError(
            f"serving.{mart.name} would have {rows} rows and {totals} where Gold has "
            f"{entry['rows']} and {entry['totals']}; nothing was published. If 'kedro verify' "
            "finds nothing wrong with Gold, the table was changed by hand: 'kedro serving check' "
            "shows where, and 'kedro serving recreate' corrects it."
        )


def _key_too_long_error(mart_csv: MartCsv) -> ServingError:
    """Return the error for a key that is too long for PostgreSQL's index.

    PostgreSQL compresses values before it indexes them, so the longest compressed one is reported.
    """
    mart = mart_csv.mart
    texts = text_columns(mart)
    column, value = max(
        {pair for row in mart_csv.tuples() for pair in zip(mart.key, row, strict=False)},
        key=lambda pair: (pair[0] in texts, len(zlib.compress(pair[1].encode()))),
    )
    return ServingError(
        f"serving.{mart.name}: {column} {value[:20] + '…'!r} has {len(value.encode())} bytes, more "
        "than a key of PostgreSQL can hold; nothing was published. Ingest a later observation of "
        f"its videos with a shorter value, or remove {column} from the key in marts.yml, and run "
        "again."
    )


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate PostgreSQL's errors to a CapstoneError that says what to do."""
    try:
        yield
    except (errors.InvalidSchemaName, errors.UndefinedTable) as error:
        raise ServingError(
            f"{_message(error)}: the database is not set up; ask its administrator to run the "
            "output of 'kedro serving ddl' in it."
        ) from error
    except errors.InsufficientPrivilege as error:
        raise ServingError(
            f"{_message(error)}: nothing was published. Connect as a user with the rights of the "
            "role loader, which 'kedro serving ddl' prints."
        ) from error
    except errors.LockNotAvailable as error:
        raise ServingError(
            f"{_message(error)}: another session holds a lock that the publication needs; nothing "
            "was published. Run again."
        ) from error
    except IntegrityError as error:
        raise ServingError(
            f"{_message(error)} ({_one_line(error.diag.message_detail)}); nothing was published. "
            "Drop a constraint that was added by hand; if it is the table's own, the key declared "
            "in marts.yml does not fit its rows."
        ) from error
    except DataError as error:
        raise ServingError(
            f"{_message(error)} ({_one_line(error.diag.context)}); nothing was published. Ingest a "
            "later observation of the videos with a value that PostgreSQL can hold, and run again."
        ) from error
    except (errors.DependentObjectsStillExist, errors.FeatureNotSupported) as error:
        raise ServingError(
            f"{_message(error)} ({_one_line(error.diag.message_detail)}); nothing was published. "
            "Change or drop the view, or declare what it reads in marts.yml again."
        ) from error


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _message(error: Error) -> str:
    return f"PostgreSQL: {error.diag.message_primary}"
