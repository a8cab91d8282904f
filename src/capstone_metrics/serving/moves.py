"""The rows of a mart into its table: the days that changed, and in these the rows that differ."""

from __future__ import annotations

import hashlib
import io
from itertools import groupby
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
from psycopg2 import sql
from pyarrow.csv import write_csv

from capstone_metrics.serving.tables import name_of, names

if TYPE_CHECKING:
    from psycopg2.extensions import cursor

    from capstone_metrics.schemas import Mart

DAY = "data_postagem"
WHOLE = ""
"""The only part of a mart that has no day in its key."""

UPSERT = """
WITH differing AS (
    SELECT {staged}, {first} IS NULL AS is_new
    FROM {stage} AS new LEFT JOIN {table} AS old ON ({old_key}) = ({new_key})
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
EMPTY = """
WITH gone AS (DELETE FROM {table} RETURNING {key})
INSERT INTO serving.changes (publication, mart, key, change)
SELECT %s, %s, {object}, 'delete' FROM gone
"""


def move(
    db: cursor, mart: Mart, rows: pa.Table, publication: int, *, whole: bool
) -> tuple[int, int]:
    """Bring a table to its mart, and note the keys that this changed.

    Args:
        db: in the transaction of the publication.
        mart: the mart.
        rows: all of its rows.
        publication: the number of the publication.
        whole: compare all rows; else those of the days whose hashes are not those noted last.

    Returns:
        How many rows were inserted or changed, and how many deleted.
    """
    now = digests(mart, rows)
    db.execute("SELECT part, sha256 FROM serving.parts WHERE mart = %s", [mart.name])
    noted = dict(db.fetchall())
    parts = [part for part in {**noted, **now} if noted.get(part) != now.get(part)]
    if whole:
        counts = _bring(db, mart, rows, publication, days=None)
    elif not parts:
        return 0, 0
    else:
        counts = _bring(db, mart, rows, publication, parts if DAY in mart.key else None)
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


def digests(mart: Mart, rows: pa.Table) -> dict[str, str]:
    """The SHA-256 of each day of a mart, by its date; of a mart without days, of all its rows."""
    rows = rows.select(mart.columns)
    if DAY not in mart.key:
        return {WHOLE: _sha256(rows)}
    rows = rows.sort_by([(column, "ascending") for column in (DAY, *mart.key)])
    found, start = {}, 0
    for day, same in groupby(rows[DAY].to_pylist()):
        length = sum(1 for _ in same)
        found[day.isoformat()] = _sha256(rows.slice(start, length))
        start += length
    return found


def _bring(
    db: cursor, mart: Mart, rows: pa.Table, publication: int, days: list[str] | None
) -> tuple[int, int]:
    """Copy the rows of some days, or all, beside the table, then bring over what differs."""
    rows = rows.select(mart.columns)
    if days is not None:
        moved = pa.array(days).cast(pa.date32())
        rows = rows.filter(pc.is_in(rows[DAY], value_set=moved))
    stage = sql.Identifier(f"staged_{mart.name}")
    table = name_of(mart.name)
    db.execute(sql.SQL("CREATE TEMPORARY TABLE {} (LIKE {}) ON COMMIT DROP").format(stage, table))
    copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, HEADER true)")
    db.copy_expert(copy.format(stage, names(mart.columns)).as_string(db), _csv(rows))
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
    }
    db.execute(sql.SQL(UPSERT).format(**parts), [publication, mart.name])
    changed = db.rowcount
    is_moved = sql.SQL("true" if days is None else "old.data_postagem = ANY(%s::date[])")
    values = [publication, mart.name] if days is None else [days, publication, mart.name]
    db.execute(sql.SQL(DELETE).format(**parts, is_moved=is_moved), values)
    return changed, db.rowcount


def _object(key: tuple[str, ...]) -> sql.Composed:
    pairs = (sql.SQL("{}, {}").format(sql.Literal(name), sql.Identifier(name)) for name in key)
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(pairs))


def _sha256(rows: pa.Table) -> str:
    return hashlib.sha256(_csv(rows).getbuffer()).hexdigest()


def _csv(rows: pa.Table) -> io.BytesIO:
    file = io.BytesIO()
    write_csv(rows, file)
    file.seek(0)
    return file
