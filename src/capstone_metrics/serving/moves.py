"""The rows of a mart into its table: the days that changed, and in these the rows that differ."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from psycopg2 import sql

from capstone_metrics.serving.file import WHOLE, text_columns
from capstone_metrics.serving.tables import name_of, names

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

    from capstone_metrics.schemas import Mart
    from capstone_metrics.serving.file import MartFile

COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT csv, HEADER true, ENCODING 'UTF8'{texts})"
BYTES_AT_ONCE = 1 << 16

UPSERT = """
WITH differing AS (
    SELECT {staged}, {first} IS NULL AS is_new
    FROM {stage} AS new LEFT JOIN {table} AS old ON ({old_key}) = ({new_key}) AND {is_moved}
    WHERE ROW ({old}) IS DISTINCT FROM ROW ({new})
), written AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM differing
    ON CONFLICT ({key}) DO UPDATE SET ({measures}) = ROW ({excluded})
)
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {object}, CASE WHEN is_new THEN 'insert' ELSE 'update' END FROM differing
"""
DELETE = """
WITH gone AS (
    DELETE FROM {table} AS old
    WHERE {is_moved}
        AND NOT EXISTS (SELECT FROM {stage} AS new WHERE ({new_key}) = ({old_key}))
    RETURNING {key}
)
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {object}, 'delete' FROM gone
"""
NOTE_ALL = """
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {object}, 'insert' FROM {table}
"""
EMPTY = """
WITH gone AS (DELETE FROM {table} RETURNING {key})
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {object}, 'delete' FROM gone
"""


def move(db: cursor, file: MartFile, publication: int, *, whole: bool) -> tuple[int, int]:
    """Bring a table to its mart, and note the keys that this changed.

    Args:
        db: in the transaction of the publication.
        file: the mart as it lies in Gold.
        publication: the number of the publication.
        whole: compare all rows; else those of the days whose hashes are not those noted last.

    Returns:
        How many rows were inserted or changed, and how many deleted.
    """
    mart, lines = file.mart, file.parts()
    now = {part: _sha256(file.header, rows) for part, rows in lines.items()}
    db.execute("SELECT part, sha256 FROM serving.parts WHERE mart = %s", [mart.name])
    noted = dict(db.fetchall())
    parts = [part for part in {**noted, **now} if noted.get(part) != now.get(part)]
    if not parts and not whole:
        return 0, 0
    if not noted and _is_empty(db, mart):
        counts = _fill(db, file, publication)
    elif whole or WHOLE in parts:
        counts = _bring(db, file, file.content, publication, days=None)
    else:
        moved = b"".join((file.header, *(lines[part] for part in parts if part in lines)))
        counts = _bring(db, file, moved, publication, days=parts)
    db.execute("DELETE FROM serving.parts WHERE mart = %s AND part = ANY(%s)", [mart.name, parts])
    fresh = [part for part in parts if part in now]
    db.execute(
        "INSERT INTO serving.parts SELECT %s, * FROM unnest(%s::text[], %s::text[])",
        [mart.name, fresh, [now[part] for part in fresh]],
    )
    return counts


def remove(db: cursor, name: str, key: tuple[str, ...], publication: int) -> tuple[int, int]:
    """Take all rows from a table, and note their keys where it has a key."""
    db.execute("DELETE FROM serving.parts WHERE mart = %s", [name])
    table = name_of(name)
    if not key:
        db.execute(sql.SQL("DELETE FROM {}").format(table))
        return 0, 0
    statement = sql.SQL(EMPTY).format(table=table, key=names(key), object=_object(key))
    db.execute(statement, [publication, name])
    return 0, db.rowcount


def _is_empty(db: cursor, mart: Mart) -> bool:
    db.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(name_of(mart.name)))
    return db.fetchone() == (True,)


def _fill(db: cursor, file: MartFile, publication: int) -> tuple[int, int]:
    """Copy all rows into the empty table.

    Of the first publication no key is noted: there is none before it to follow from.
    """
    table = name_of(file.mart.name)
    rows = _copy(db, file, table, file.content)
    if publication > 1:
        statement = sql.SQL(NOTE_ALL).format(table=table, object=_object(file.mart.key))
        db.execute(statement, [publication, file.mart.name])
    return rows, 0


def _copy(db: cursor, file: MartFile, table: sql.Identifier, lines: bytes) -> int:
    """Send lines of the file as they are; the header is the first. An empty text is no null."""
    texts = text_columns(file.mart)
    kept = sql.SQL(", FORCE_NOT_NULL ({})").format(names(texts)) if texts else sql.SQL("")
    copy = sql.SQL(COPY).format(table=table, columns=names(file.columns), texts=kept)
    db.copy_expert(copy.as_string(db), io.BytesIO(lines), BYTES_AT_ONCE)
    return db.rowcount


def _bring(
    db: cursor, file: MartFile, lines: bytes, publication: int, days: list[str] | None
) -> tuple[int, int]:
    """Copy the lines of some days, or all, beside the table, then bring over what differs."""
    mart = file.mart
    stage = sql.Identifier(f"staged_{mart.name}")
    table = name_of(mart.name)
    db.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(stage, table))
    _copy(db, file, stage, lines)
    db.execute(sql.SQL("ANALYZE {}").format(stage))

    measures = [name for name, _, _ in mart.measures]
    parts = {
        "table": table,
        "stage": stage,
        "columns": names(mart.columns),
        "staged": names(mart.columns, "new"),
        "key": names(mart.key),
        "old_key": names(mart.key, "old"),
        "new_key": names(mart.key, "new"),
        "first": sql.Identifier("old", mart.key[0]),
        "measures": names(measures),
        "old": names(measures, "old"),
        "new": names(measures, "new"),
        "excluded": names(measures, "excluded"),
        "object": _object(mart.key),
        # has the index used whatever is known of the table
        "is_moved": sql.SQL("true" if days is None else "old.data_postagem = ANY(%s::date[])"),
    }
    values = [publication, mart.name] if days is None else [days, publication, mart.name]
    db.execute(sql.SQL(UPSERT).format(**parts), values)
    changed = db.rowcount
    db.execute(sql.SQL(DELETE).format(**parts), values)
    return changed, db.rowcount


def _object(key: tuple[str, ...]) -> sql.Composed:
    pairs = (sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(name)) for name in key)
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _sha256(header: bytes, lines: memoryview) -> str:
    digest = hashlib.sha256(header)
    digest.update(lines)
    return digest.hexdigest()
