"""The tables of the marts: their definitions, and the SQL that creates, alters and drops them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from psycopg2 import sql

from capstone_metrics.errors import ServingError
from capstone_metrics.serving.provision import provision_sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg2.extensions import cursor

    from capstone_metrics.marts import Mart

INITIAL_VALUES = {
    "bigint": "0",
    "numeric": "0",
    "text": "''",
    "date": "'epoch'",
}
"""The value of a new column until the mart is loaded, later in the same transaction."""

LOSSLESS_CASTS = {
    "bigint": ("smallint", "integer"),
    "numeric": ("smallint", "integer", "bigint"),
    "text": ("character varying", "character", "name"),
}
"""The types that convert without loss to each type of a mart."""

SELECT_COLUMNS = """
SELECT relname, attname, format_type(atttypid, atttypmod), attnotnull
FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
WHERE relnamespace = to_regnamespace('serving') AND relkind IN ('r', 'p') AND relname = ANY(%s)
ORDER BY relname, attnum
"""
SELECT_PRIMARY_KEYS = """
SELECT relname, conname, array_agg(attname ORDER BY ordinal)
FROM pg_constraint
    JOIN pg_class ON pg_class.oid = conrelid
    CROSS JOIN unnest(conkey) WITH ORDINALITY AS part (number, ordinal)
    JOIN pg_attribute ON attrelid = conrelid AND attnum = number
WHERE contype = 'p' AND relnamespace = to_regnamespace('serving') AND relname = ANY(%s)
GROUP BY relname, conname
"""


@dataclass
class Table:
    """The definition of a table in the database.

    Attributes:
        columns: {name: (type, is not null)}; empty if the table does not exist.
        key: the columns of the primary key, in its order.
        constraint: the name of the primary key.
    """

    columns: dict[str, tuple[str, bool]] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    constraint: str = ""


def read_tables(db: cursor, names: Iterable[str]) -> dict[str, Table]:
    """Return the definitions of tables by name; an empty one for a table that does not exist."""
    tables = {name: Table() for name in names}
    db.execute(SELECT_COLUMNS, [list(tables)])
    for name, column, type_name, is_not_null in db.fetchall():
        tables[name].columns[column] = (type_name, is_not_null)
    db.execute(SELECT_PRIMARY_KEYS, [list(tables)])
    for name, constraint, key in db.fetchall():
        tables[name].key = tuple(key)
        tables[name].constraint = constraint
    return tables


def migration(mart: Mart, table: Table) -> list[sql.Composed]:
    """Return the statements that make a table as its mart declares it; its grants and views remain.

    A column that is not declared is dropped, which PostgreSQL refuses while a view reads it.
    If `mart.key` is not the key of the table, the table must be emptied first.

    Raises:
        ServingError: if a column cannot be converted to the declared type.
    """
    if not table.columns:
        return [create_table_sql(mart)]
    actions: list[sql.Composable] = []
    has_key = table.key == mart.key and not is_rekeyed(mart, table)
    if table.constraint and not has_key:
        actions.append(sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(table.constraint)))
    for column in mart.columns:
        actions += _column_actions(mart, column, table)
    if not has_key:
        actions.append(sql.SQL("ADD PRIMARY KEY ({})").format(column_list(mart.key)))
    actions += (
        sql.SQL("DROP COLUMN {}").format(sql.Identifier(column))
        for column in table.columns
        if column not in mart.columns
    )
    alter = sql.SQL("ALTER TABLE {} {}")
    return [alter.format(table_identifier(mart.name), action) for action in actions]


def is_rekeyed(mart: Mart, table: Table) -> bool:
    """Return whether the rows of a table cannot stay, as the mart has another key."""
    return set(table.key) != set(mart.key) or any(_is_retyped(mart, table, c) for c in mart.key)


def _is_retyped(mart: Mart, table: Table, column: str) -> bool:
    """Return whether a column has a type that another declaration of the mart gave it."""
    current, declared = table.columns.get(column, ("", False))[0], sql_type(mart, column)
    is_lossless = current.partition("(")[0] in (declared, *LOSSLESS_CASTS.get(declared, ()))
    return current in INITIAL_VALUES and not is_lossless


def _column_actions(mart: Mart, column: str, table: Table) -> list[sql.Composed]:
    """Return the actions of ALTER TABLE that make a column as the mart declares it."""
    name = sql.Identifier(column)
    declared_type = sql_type(mart, column)
    if _is_retyped(mart, table, column):  # the rows are loaded anew
        others = {other: kind for other, kind in table.columns.items() if other != column}
        added = _column_actions(mart, column, replace(table, columns=others))
        return [sql.SQL("DROP COLUMN {}").format(name), *added]
    if column not in table.columns and mart.may_be_null(column):
        return [sql.SQL("ADD COLUMN {} {}").format(name, sql.SQL(declared_type))]
    if column not in table.columns:
        add = sql.SQL("ADD COLUMN {} {} NOT NULL DEFAULT {}")
        return [
            add.format(name, sql.SQL(declared_type), sql.SQL(INITIAL_VALUES[declared_type])),
            sql.SQL("ALTER COLUMN {} DROP DEFAULT").format(name),
        ]
    current_type, is_not_null = table.columns[column]
    may_be_null = mart.may_be_null(column)
    actions = []
    if current_type != declared_type:
        if current_type.partition("(")[0] not in LOSSLESS_CASTS.get(declared_type, ()):
            raise ServingError(
                f"serving.{mart.name}.{column} is {current_type} and the mart needs "
                f"{declared_type}, to which it cannot be converted without loss. Rename or drop "
                "the table as its owner and run 'kedro serving recreate'."
            )
        actions.append(sql.SQL("ALTER COLUMN {} TYPE {}").format(name, sql.SQL(declared_type)))
    if is_not_null == may_be_null:
        change = "DROP" if may_be_null else "SET"
        actions.append(sql.SQL(f"ALTER COLUMN {{}} {change} NOT NULL").format(name))
    return actions


def create_table_sql(mart: Mart) -> sql.Composed:
    """Return the CREATE TABLE of a mart: its columns, and its primary key.

    Only a column whose values may be unknown may be null.
    """
    columns = (
        sql.SQL("    {} {}{},\n").format(
            sql.Identifier(column),
            sql.SQL(sql_type(mart, column)),
            sql.SQL("" if mart.may_be_null(column) else " NOT NULL"),
        )
        for column in mart.columns
    )
    return sql.SQL("CREATE TABLE IF NOT EXISTS {} (\n{}    PRIMARY KEY ({})\n)").format(
        table_identifier(mart.name), sql.Composed(columns), column_list(mart.key)
    )


def drop_table_sql(mart: str) -> sql.Composed:
    """Return the DROP TABLE of a mart, which PostgreSQL refuses while a view reads the table."""
    return sql.SQL("DROP TABLE {}").format(table_identifier(mart))


def ddl(marts: Mapping[str, Mart]) -> str:
    """Return a script that creates the roles, the schema, the marts' tables and the privileges.

    It creates what a publication to an empty database would. It has no password.
    """
    tables = "".join(f"{to_text(create_table_sql(mart))};\n\n" for mart in marts.values())
    head, marker, rest = provision_sql().partition("-- restore revoked privileges")
    return f"{head}-- the marts\n{tables}{marker}{rest}"


def table_identifier(mart: str) -> sql.Identifier:
    """Return the qualified name of the table of a mart."""
    return sql.Identifier("serving", mart)


def column_list(columns: Iterable[str], table: str | None = None) -> sql.Composed:
    """Return column names separated by commas, qualified by a table or alias if one is given."""
    qualifier = (table,) if table else ()
    return sql.SQL(", ").join(sql.Identifier(*qualifier, column) for column in columns)


def sql_type(mart: Mart, column: str) -> str:
    """Return the PostgreSQL type of a column of a mart."""
    kind = mart.types[column]
    if kind.is_decimal():
        return "numeric"
    return "date" if kind.is_date() else "text" if kind.is_string() else "bigint"


def to_text(statement: sql.Composable) -> str:
    """Return a statement as text, without the connection that psycopg2's `as_string` needs.

    Mart and measure names are identifiers, so they have no quote to escape.
    """
    if isinstance(statement, sql.Composed):
        return "".join(map(to_text, statement.seq))
    if isinstance(statement, sql.Identifier):
        return ".".join(f'"{part}"' for part in statement.strings)
    assert isinstance(statement, sql.SQL)
    return statement.string
