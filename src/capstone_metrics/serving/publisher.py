"""Gold into the serving tables: all marts in one transaction, only what changed."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg2 import DataError, Error, IntegrityError, errors, sql

from capstone_metrics.errors import CapstoneError
from capstone_metrics.saved import Saved
from capstone_metrics.serving.embedded import OWNER
from capstone_metrics.serving.file import MartFile, text_columns
from capstone_metrics.serving.ledger import Entry, gold_sha256, latest, losses, note
from capstone_metrics.serving.moves import move, remove
from capstone_metrics.serving.tables import drop, migration, name_of, tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg2.extensions import connection, cursor

    from capstone_metrics.schemas import Mart, Publication

LOCK = int.from_bytes(b"capstone")
"""The key of the advisory lock that one publisher holds."""

LIMITS = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED;  -- whose next statement sees what a lock waited for
SET LOCAL lock_timeout = '3s';  -- a table that must change waits for its readers
SET LOCAL statement_timeout = '10min';
SET LOCAL idle_in_transaction_session_timeout = '1min'  -- of a publisher that is gone
"""


def publish(database: connection, publication: Publication, *, whole: bool = False) -> Saved:
    """Make the serving tables equal Gold, and enter it in the ledger.

    Readers see the publication before or this one, and wait for neither, but for those of a table
    whose declaration changed. A Gold that was published last is known by its hash, and then no
    table is looked at; of another, the days whose hashes changed are moved.

    Args:
        database: a connection of the loader.
        publication: the marts and their manifest.
        whole: compare every row with its table, whatever the ledger says.

    Returns:
        Rows that were inserted or changed, and removed.

    Raises:
        CapstoneError: if another publisher is at work, Gold lost too much since the publication
            before, a table cannot become that of its mart or does not equal it, or a key is too
            long for PostgreSQL.
    """
    digest = gold_sha256(publication.manifest)
    with _plainly():
        with database, database.cursor() as db:
            _check_files(publication, latest(db))
        return _publish(database, publication, digest, whole)


def _check_files(publication: Publication, before: Entry) -> None:
    """Refuse an edited mart before there is a transaction that waits for it to be read.

    A file of the version that was published last is known not to have been edited since.
    """
    for name, version in publication.versions.items():
        was, listed = before.marts.get(name, {}), publication.manifest["marts"][name]
        if not version or (was.get("version"), was.get("sha256")) != (version, listed["sha256"]):
            _ = publication.files[name]


def _publish(database: connection, publication: Publication, digest: str, whole: bool) -> Saved:
    with database, database.cursor() as db:
        db.execute(LIMITS)
        db.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        if db.fetchone() != (True,):
            raise CapstoneError(
                "Another publication is at work on this database; wait for it and run again."
            )
        before = latest(db)
        if before.gold_sha256 == digest and not whole:
            return Saved()
        lost = losses(before, publication)
        if lost and not publication.terms.allow_shrink:
            raise CapstoneError(
                f"Gold has lost too much to be published: {', '.join(lost)}. If that is right, "
                "run with --params=allow_shrink=true; if not, 'kedro verify' checks the lake."
            )
        entry = Entry(before.publication + 1, digest, _listed(publication))
        moves = _move_all(db, publication, before, entry, whole)
        changed, deleted = (sum(rows) for rows in zip(*moves, strict=True))
        if changed or deleted or before.gold_sha256 != digest:
            note(db, entry, changed, deleted, publication.terms.changes_kept_days)
    return Saved(rows=changed, removed=deleted)


def _listed(publication: Publication) -> dict[str, Any]:
    """What the ledger says of each mart: what the manifest does, and which version its file is."""
    return {
        name: {**listed, "version": publication.versions[name]}
        if publication.versions.get(name)
        else dict(listed)
        for name, listed in publication.manifest["marts"].items()
    }


def _move_all(
    db: cursor, publication: Publication, before: Entry, entry: Entry, whole: bool
) -> list[tuple[int, int]]:
    """Rows inserted or changed, and deleted, for each table that was looked at."""
    renewed, moves = _have_tables(db, publication.marts, before, entry.publication)
    for name, mart in publication.marts.items():
        listed = entry.marts[name]
        was = before.marts.get(name, {}).get("sha256")
        is_whole = whole or name in renewed
        if was == listed["sha256"] and not is_whole:
            continue
        file = MartFile.of(publication, name)
        try:
            moves.append(move(db, file, entry.publication, whole=is_whole))
        except errors.ProgramLimitExceeded as error:
            raise _too_long(file) from error
        _reconcile(db, mart, listed)
    return moves


def _have_tables(
    db: cursor, marts: Mapping[str, Mart], before: Entry, number: int
) -> tuple[set[str], list[tuple[int, int]]]:
    """Make the tables what the marts declare, and end those of marts that are not any more.

    Returns:
        The tables that were made or changed, and the rows that were taken from tables.
    """
    found = tables(db, [*marts, *before.marts])
    steps = {name: migration(mart, found[name]) for name, mart in marts.items()}
    ended = [name for name in before.marts if name not in marts and found[name].columns]
    rekeyed = [
        name
        for name, mart in marts.items()
        if found[name].columns and set(found[name].key) != set(mart.key)
    ]
    removed = [remove(db, name, found[name].key, number) for name in (*ended, *rekeyed)]
    statements = [*(step for each in steps.values() for step in each), *map(drop, ended)]
    if statements:
        db.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
        for statement in statements:
            db.execute(statement)
        db.execute("SET LOCAL ROLE NONE")
    return {name for name, each in steps.items() if each}, [(0, 0), *removed]


def _reconcile(db: cursor, mart: Mart, listed: Mapping[str, object]) -> None:
    """Refuse a table whose rows and totals are not those of Gold."""
    measures = [measure for measure, _, _ in mart.measures]
    sums = (sql.SQL("coalesce(sum({}), 0)").format(sql.Identifier(name)) for name in measures)
    db.execute(
        sql.SQL("SELECT count(*), {} FROM {}").format(sql.SQL(", ").join(sums), name_of(mart.name))
    )
    rows, *totals = map(int, db.fetchone() or ())
    found = dict(zip(measures, totals, strict=True))
    if (rows, found) != (listed["rows"], listed["totals"]):
        raise CapstoneError(
            f"serving.{mart.name} would have {rows} rows and {found} where Gold has "
            f"{listed['rows']} and {listed['totals']}; nothing was published. If 'kedro verify' "
            "finds nothing wrong with Gold, the table was changed by hand: 'kedro serving check' "
            "says where, and 'kedro serving recreate' makes it right."
        )


def _too_long(file: MartFile) -> CapstoneError:
    """What to do about a key that PostgreSQL cannot index; it compresses values before it does."""
    mart, texts = file.mart, text_columns(file.mart)
    column, value = max(
        {pair for row in file.tuples() for pair in zip(mart.key, row, strict=False)},
        key=lambda pair: (pair[0] in texts, len(zlib.compress(pair[1].encode()))),
    )
    return CapstoneError(
        f"serving.{mart.name}: {column} {value[:20] + '…'!r} has {len(value.encode())} bytes, more "
        "than a key of PostgreSQL can hold; nothing was published. Bring a later observation of "
        f"its videos with a shorter one, or take {column} out of the key in marts.yml, and run "
        "again."
    )


@contextmanager
def _plainly() -> Iterator[None]:
    """Say what to do about a refusal of PostgreSQL."""
    try:
        yield
    except (errors.InvalidSchemaName, errors.UndefinedTable) as error:
        raise CapstoneError(
            f"{_said(error)}: the database is not set up; have its administrator run the SQL that "
            "'kedro serving ddl' prints, in it."
        ) from error
    except errors.InsufficientPrivilege as error:
        raise CapstoneError(
            f"{_said(error)}: nothing was published. The publisher connects as a user with the "
            "rights of the role loader, which 'kedro serving ddl' prints."
        ) from error
    except errors.LockNotAvailable as error:
        raise CapstoneError(
            f"{_said(error)}: another session holds what the publication has to change; nothing "
            "was published. Run again."
        ) from error
    except IntegrityError as error:
        raise CapstoneError(
            f"{_said(error)} ({_line(error.diag.message_detail)}); nothing was published. Drop a "
            "constraint that was added by hand; if it is the table's own, the key that marts.yml "
            "declares does not fit its rows."
        ) from error
    except DataError as error:
        raise CapstoneError(
            f"{_said(error)} ({_line(error.diag.context)}); nothing was published. Bring a later "
            "observation of the videos with a value that PostgreSQL holds, and run again."
        ) from error
    except (errors.DependentObjectsStillExist, errors.FeatureNotSupported) as error:
        raise CapstoneError(
            f"{_said(error)} ({_line(error.diag.message_detail)}); nothing was published. Change "
            "or drop the view first, or declare in marts.yml again what it reads."
        ) from error


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _said(error: Error) -> str:
    return f"PostgreSQL: {error.diag.message_primary}"
