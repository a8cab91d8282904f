"""Load the rows of a mart into its table: only the days, and in these the rows, that changed."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from psycopg2 import sql

from capstone_metrics.serving.mart_csv import SINGLE_PART, text_columns
from capstone_metrics.serving.tables import column_list, table_identifier

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

    from capstone_metrics.marts import Mart
    from capstone_metrics.serving.mart_csv import MartCsv

COPY = "COPY {table} ({columns}) FROM STDIN (FORMAT csv, HEADER true, ENCODING 'UTF8'{not_null})"
COPY_BUFFER_BYTES = 1 << 16

UPSERT = """
WITH differing AS (
    SELECT {staged_columns}, {old_first_key} IS NULL AS is_new
    FROM {staging} AS new LEFT JOIN {table} AS old
        ON ({old_key}) = ({new_key}) AND {is_loaded_day}
    WHERE ROW ({old_values}) IS DISTINCT FROM ROW ({new_values})
), written AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM differing
    ON CONFLICT ({key}) DO UPDATE SET ({values}) = ROW ({excluded_values})
)
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {key_object}, CASE WHEN is_new THEN 'insert' ELSE 'update' END FROM differing
"""
DELETE = """
WITH deleted AS (
    DELETE FROM {table} AS old
    WHERE {is_loaded_day}
        AND NOT EXISTS (SELECT FROM {staging} AS new WHERE ({new_key}) = ({old_key}))
    RETURNING {key}
)
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {key_object}, 'delete' FROM deleted
"""
RECORD_ALL_INSERTED = """
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {key_object}, 'insert' FROM {table}
"""
DELETE_ALL = """
WITH deleted AS (DELETE FROM {table} RETURNING {key})
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {key_object}, 'delete' FROM deleted
"""


def load_mart(db: cursor, mart_csv: MartCsv, publication: int, *, full: bool) -> tuple[int, int]:
    """Make a table equal its mart, and record the keys of the rows that changed.

    Args:
        db: a cursor in the transaction of the publication.
        mart_csv: the mart's file in Gold.
        publication: the number of the publication.
        full: whether to compare all rows, and not only the days whose hashes changed.

    Returns:
        How many rows were inserted or updated, and how many were deleted.
    """
    mart = mart_csv.mart
    parts = mart_csv.parts()
    new_hashes = {part: _sha256(mart_csv.header, lines) for part, lines in parts.items()}
    db.execute("SELECT part, sha256 FROM serving.parts WHERE mart = %s", [mart.name])
    old_hashes = dict(db.fetchall())
    changed_parts = [
        part
        for part in {**old_hashes, **new_hashes}
        if old_hashes.get(part) != new_hashes.get(part)
    ]
    if not changed_parts and not full:
        return 0, 0
    if not old_hashes and _is_empty(db, mart):
        counts = _fill(db, mart_csv, publication)
    elif full or SINGLE_PART in changed_parts:
        counts = _merge(db, mart_csv, mart_csv.content, publication, days=None)
    else:
        content = b"".join(
            (mart_csv.header, *(parts[part] for part in changed_parts if part in parts))
        )
        counts = _merge(db, mart_csv, content, publication, days=changed_parts)
    db.execute(
        "DELETE FROM serving.parts WHERE mart = %s AND part = ANY(%s)", [mart.name, changed_parts]
    )
    new_parts = [part for part in changed_parts if part in new_hashes]
    db.execute(
        "INSERT INTO serving.parts SELECT %s, * FROM unnest(%s::text[], %s::text[])",
        [mart.name, new_parts, [new_hashes[part] for part in new_parts]],
    )
    return counts


def delete_all_rows(
    db: cursor, name: str, key: tuple[str, ...], publication: int
) -> tuple[int, int]:
    """Delete all rows of a table, and record their keys if the table has a key.

    Returns:
        How many rows were inserted or updated, which is none, and how many were deleted.
    """
    db.execute("DELETE FROM serving.parts WHERE mart = %s", [name])
    table = table_identifier(name)
    if not key:
        db.execute(sql.SQL("DELETE FROM {}").format(table))
        return 0, 0
    statement = sql.SQL(DELETE_ALL).format(
        table=table, key=column_list(key), key_object=_key_object(key)
    )
    db.execute(statement, [publication, name])
    return 0, db.rowcount


def _is_empty(db: cursor, mart: Mart) -> bool:
    db.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {})").format(table_identifier(mart.name)))
    return db.fetchone() == (True,)


def _fill(db: cursor, mart_csv: MartCsv, publication: int) -> tuple[int, int]:
    """Copy all rows into the empty table; return how many were inserted, and that none was deleted.

    The keys of the first publication are not recorded, as no consumer starts from an earlier one.
    """
    table = table_identifier(mart_csv.mart.name)
    rows = _copy(db, mart_csv, table, mart_csv.content)
    if publication > 1:
        statement = sql.SQL(RECORD_ALL_INSERTED).format(
            table=table, key_object=_key_object(mart_csv.mart.key)
        )
        db.execute(statement, [publication, mart_csv.mart.name])
    return rows, 0


def _copy(db: cursor, mart_csv: MartCsv, table: sql.Identifier, content: bytes) -> int:
    """Copy CSV with a header into a table; return how many rows it has. Empty text is not null."""
    texts = text_columns(mart_csv.mart)
    not_null = sql.SQL(", FORCE_NOT_NULL ({})").format(column_list(texts)) if texts else sql.SQL("")
    copy = sql.SQL(COPY).format(
        table=table, columns=column_list(mart_csv.columns), not_null=not_null
    )
    db.copy_expert(copy.as_string(db), io.BytesIO(content), COPY_BUFFER_BYTES)
    return db.rowcount


def _merge(
    db: cursor, mart_csv: MartCsv, content: bytes, publication: int, days: list[str] | None
) -> tuple[int, int]:
    """Copy the CSV of some days, or of all, to a staging table, then write the rows that differ.

    Returns:
        How many rows were inserted or updated, and how many were deleted.
    """
    mart = mart_csv.mart
    staging = sql.Identifier(f"staged_{mart.name}")
    table = table_identifier(mart.name)
    db.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(staging, table))
    _copy(db, mart_csv, staging, content)
    db.execute(sql.SQL("ANALYZE {}").format(staging))

    fragments = {
        "table": table,
        "staging": staging,
        "columns": column_list(mart.columns),
        "staged_columns": column_list(mart.columns, "new"),
        "key": column_list(mart.key),
        "old_key": column_list(mart.key, "old"),
        "new_key": column_list(mart.key, "new"),
        "old_first_key": sql.Identifier("old", mart.key[0]),
        "values": column_list(mart.other_columns),
        "old_values": column_list(mart.other_columns, "old"),
        "new_values": column_list(mart.other_columns, "new"),
        "excluded_values": column_list(mart.other_columns, "excluded"),
        "key_object": _key_object(mart.key),
        # makes PostgreSQL use the index even without statistics of the table
        "is_loaded_day": sql.SQL("true" if days is None else "{} = ANY(%s::date[])").format(
            sql.Identifier("old", mart.basis.day)
        ),
    }
    values = [publication, mart.name] if days is None else [days, publication, mart.name]
    db.execute(sql.SQL(UPSERT).format(**fragments), values)
    rows_changed = db.rowcount
    db.execute(sql.SQL(DELETE).format(**fragments), values)
    return rows_changed, db.rowcount


def _key_object(key: tuple[str, ...]) -> sql.Composed:
    """Return the SQL of a row's key as a JSON object."""
    pairs = (sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(name)) for name in key)
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _sha256(header: bytes, lines: memoryview) -> str:
    digest = hashlib.sha256(header)
    digest.update(lines)
    return digest.hexdigest()
