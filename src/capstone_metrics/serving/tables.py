"""The tables of the marts: their declarations as SQL, and the way from what is there to these."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from psycopg2 import sql

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schemas import gold_type
from capstone_metrics.serving.provision import script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg2.extensions import cursor

    from capstone_metrics.schemas import Mart

ZERO = {"bigint": "0", "text": "''", "date": "'epoch'"}
"""What a new column holds until the rows of its mart are brought over, in the same transaction."""

WIDENED = {
    "bigint": ("smallint", "integer"),
    "text": ("character varying", "character", "name"),
}
"""The types that lose nothing when they become one of a mart."""

COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = to_regnamespace('serving') AND relkind IN ('r', 'p') AND relname = ANY(%s)
ORDER BY relname, attnum
"""
KEYS = """
SELECT relname, conname, array_agg(attname ORDER BY place)
FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid
    CROSS JOIN unnest(conkey) WITH ORDINALITY AS part (number, place)
    JOIN pg_attribute ON attrelid = conrelid AND attnum = number
WHERE contype = 'p' AND relnamespace = to_regnamespace('serving') AND relname = ANY(%s)
GROUP BY relname, conname
"""


@dataclass
class Table:
    """A table as it is: columns with their type and whether they may be null, and the key.

    Attributes:
        columns: {name: (type, is not null)}; none where there is no table.
        key: the columns of the primary key, in its order.
        constraint: the name of the primary key.
    """

    columns: dict[str, tuple[str, bool]] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    constraint: str = ""


def tables(db: cursor, names: Iterable[str]) -> dict[str, Table]:
    """The tables of these names as they are; an empty one for a name that there is not."""
    found = {name: Table() for name in names}
    db.execute(COLUMNS, [list(found)])
    for name, column, kind, is_not_null in db.fetchall():
        found[name].columns[column] = (kind, is_not_null)
    db.execute(KEYS, [list(found)])
    for name, constraint, key in db.fetchall():
        found[name].key, found[name].constraint = tuple(key), constraint
    return found


def migration(mart: Mart, table: Table) -> list[sql.Composed]:
    """The statements that make a table that of its mart; its grants and the views on it stay.

    A column that is no longer declared is dropped, which PostgreSQL refuses while a view reads it.
    Where `mart.key` is not the key of the table, the table is to be emptied first.

    Raises:
        CapstoneError: if a column has a type that cannot become that of the declaration.
    """
    if not table.columns:
        return [create(mart)]
    steps: list[sql.Composable] = []
    is_keyed = table.key == mart.key
    if table.constraint and not is_keyed:
        steps.append(sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(table.constraint)))
    for column in mart.columns:
        steps += _column_steps(mart, column, table)
    if not is_keyed:
        steps.append(sql.SQL("ADD PRIMARY KEY ({})").format(names(mart.key)))
    steps += (
        sql.SQL("DROP COLUMN {}").format(sql.Identifier(column))
        for column in table.columns
        if column not in mart.columns
    )
    return [sql.SQL("ALTER TABLE {} {}").format(name_of(mart.name), step) for step in steps]


def _column_steps(mart: Mart, column: str, table: Table) -> list[sql.Composed]:
    name, wanted = sql.Identifier(column), kind_of(column)
    if column not in table.columns:
        add = sql.SQL("ADD COLUMN {} {} NOT NULL DEFAULT {}")
        return [
            add.format(name, sql.SQL(wanted), sql.SQL(ZERO[wanted])),
            sql.SQL("ALTER COLUMN {} DROP DEFAULT").format(name),
        ]
    kind, is_not_null = table.columns[column]
    steps = []
    if kind != wanted:
        if kind.partition("(")[0] not in WIDENED.get(wanted, ()):
            raise CapstoneError(
                f"serving.{mart.name}.{column} is {kind} and the mart needs {wanted}, which it "
                "cannot become without loss. Rename or drop the table as its owner and run 'kedro "
                "serving recreate'."
            )
        steps.append(sql.SQL("ALTER COLUMN {} TYPE {}").format(name, sql.SQL(wanted)))
    if not is_not_null:
        steps.append(sql.SQL("ALTER COLUMN {} SET NOT NULL").format(name))
    return steps


def create(mart: Mart) -> sql.Composed:
    """The table of a mart: its columns, none of them null, and its key."""
    columns = (
        sql.SQL("    {} {} NOT NULL,\n").format(sql.Identifier(column), sql.SQL(kind_of(column)))
        for column in mart.columns
    )
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} (\n{}    PRIMARY KEY ({})\n)").format(
        name_of(mart.name), sql.Composed(columns), names(mart.key)
    )


def drop(name: str) -> sql.Composed:
    """End the table of a mart that is no longer declared; refused while a view reads it."""
    return sql.SQL("DROP TABLE {}").format(name_of(name))


def ddl(marts: Mapping[str, Mart]) -> str:
    """A script that makes the roles, the schema, the tables of the marts and the rights on them.

    It is what a publication to an empty database would make. It holds no password.
    """
    made = "".join(f"{text(create(mart))};\n\n" for mart in marts.values())
    head, mark, rest = script().partition("-- rights that were lost")
    return f"{head}-- the marts\n{made}{mark}{rest}"


def name_of(mart: str) -> sql.Identifier:
    """The table of a mart, in its schema."""
    return sql.Identifier("serving", mart)


def names(columns: Iterable[str], of: str | None = None) -> sql.Composed:
    """A list of columns, of a table if that is said."""
    path = (of,) if of else ()
    return sql.SQL(", ").join(sql.Identifier(*path, column) for column in columns)


def kind_of(column: str) -> str:
    """The type of a column of a mart in PostgreSQL."""
    kind = gold_type(column)
    return "date" if kind.is_date() else "text" if kind.is_string() else "bigint"


def text(statement: sql.Composable) -> str:
    """A statement of names alone, without the connection that psycopg2 asks for.

    A name of a mart or measure is an identifier, so there is no quote in it to escape.
    """
    if isinstance(statement, sql.Composed):
        return "".join(map(text, statement.seq))
    if isinstance(statement, sql.Identifier):
        return ".".join(f'"{part}"' for part in statement.strings)
    assert isinstance(statement, sql.SQL)
    return statement.string
