"""Compare the serving tables with Gold, row by row, and change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from capstone_metrics.serving.definitions import TABLE, read_definitions
from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.ledger import gold_sha256, latest_entry, losses
from capstone_metrics.serving.mart_csv import MartCsv
from capstone_metrics.serving.tables import (
    column_list,
    drop_table_sql,
    migration,
    read_tables,
    table_identifier,
    to_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg2.extensions import connection, cursor

    from capstone_metrics.definitions import Definition
    from capstone_metrics.marts import Mart
    from capstone_metrics.publication import Publication
    from capstone_metrics.serving.tables import Table

Row = tuple[Any, ...]

PRIVILEGES_QUERY = """
SELECT role, privilege, has_table_privilege(role, pg_class.oid, privilege)
FROM pg_class, unnest(%s) AS role, unnest(%s) AS privilege
WHERE relnamespace = to_regnamespace('serving') AND relname = %s
    AND EXISTS (SELECT FROM pg_roles WHERE rolname = role)
"""
EXPECTED_PRIVILEGES = {READER: {"SELECT"}, LOADER: {"SELECT", "INSERT", "UPDATE", "DELETE"}}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True)
class TableDifference:
    """How the table of a mart differs from the mart.

    Attributes:
        mart: the mart.
        statements: the SQL that brings the table's definition to the mart's declaration.
        rights: the privileges that a role lacks, or has and should not have.
        inserted: the rows that only the mart has; the other columns by key.
        updated: the rows that differ; the other columns in the table and in the mart by key.
        deleted: the rows that only the table has; the other columns by key.
    """

    mart: Mart
    statements: list[str] = field(default_factory=list)
    rights: list[str] = field(default_factory=list)
    inserted: dict[Row, Row] = field(default_factory=dict)
    updated: dict[Row, tuple[Row, Row]] = field(default_factory=dict)
    deleted: dict[Row, Row] = field(default_factory=dict)

    @property
    def rows_by_change(self) -> dict[str, Mapping[Row, Any]]:
        """The rows that differ, by what a publication would do to them."""
        return {"insert": self.inserted, "update": self.updated, "delete": self.deleted}

    @property
    def summary(self) -> list[str]:
        """One phrase for each kind of difference; empty if the table equals the mart."""
        counts = [
            f"{len(rows):,} rows to {change}"
            for change, rows in self.rows_by_change.items()
            if rows
        ]
        return [*self.statements, *self.rights, *counts]

    def to_dict(self, max_rows: int | None) -> dict[str, Any]:
        """Return the difference as JSON values.

        Args:
            max_rows: how many rows of each kind to include; None to leave out rows.
        """
        document = {
            "mart": self.mart.name,
            "is_equal": not self.summary,
            "statements": self.statements,
            "rights": self.rights,
            **{change: len(rows) for change, rows in self.rows_by_change.items()},
        }
        if max_rows is None:
            return document
        before = {key: old for key, (old, _) in self.updated.items()} | self.deleted
        after = {key: new for key, (_, new) in self.updated.items()} | self.inserted
        rows_by_change = {
            change: [self._row_to_dict(key, before, after) for key in islice(rows, max_rows)]
            for change, rows in self.rows_by_change.items()
        }
        return {**document, "rows": rows_by_change}

    def _row_to_dict(
        self, key: Row, before: Mapping[Row, Row], after: Mapping[Row, Row]
    ) -> dict[str, Any]:
        """Return a row's key, and its other columns in the table and in Gold, or None."""
        names = self.mart.other_columns
        return {
            "key": dict(zip(self.mart.key, key, strict=True)),
            "before": dict(zip(names, before[key], strict=True)) if key in before else None,
            "after": dict(zip(names, after[key], strict=True)) if key in after else None,
        }

    def row_lines(self, max_rows: int) -> Iterator[str]:
        """Yield a line for each row that differs: `+` only in Gold, `~` changed, `-` deleted.

        Args:
            max_rows: how many rows of each kind to include.
        """
        names = self.mart.other_columns
        for key, values in islice(self.inserted.items(), max_rows):
            yield f"+ {_join(key)}: {_join(map('{} {}'.format, names, values))}"
        for key, (old_values, new_values) in islice(self.updated.items(), max_rows):
            triples = zip(names, old_values, new_values, strict=True)
            changes = (f"{name} {old} → {new}" for name, old, new in triples if old != new)
            yield f"~ {_join(key)}: {_join(changes)}"
        for key in islice(self.deleted, max_rows):
            yield f"- {_join(key)}"


@dataclass(frozen=True)
class Comparison:
    """The serving database compared with Gold.

    Attributes:
        is_published: whether the latest publication was of Gold as it is.
        losses: what readers would lose, because of which a publication would be refused.
        drop_statements: the SQL that drops the tables of marts that are no longer declared.
        differences: the difference of each declared mart, also if it is empty.
        definitions: how the table of definitions differs from what is declared, as phrases.
    """

    is_published: bool
    losses: list[str]
    drop_statements: list[str]
    differences: list[TableDifference]
    definitions: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether a publication would leave the database as it is."""
        return self.is_published and not self.definitions and not self.has_other_rows

    @property
    def has_other_rows(self) -> bool:
        """Whether a table differs from its mart."""
        return any(each.summary for each in self.differences)

    def to_dict(self, max_rows: int | None = None) -> dict[str, Any]:
        """Return the comparison as JSON values.

        Args:
            max_rows: how many rows of each kind to include for each mart; None to leave out rows.
        """
        return {
            "is_equal": self.is_equal,
            "is_published": self.is_published,
            "losses": self.losses,
            "drop_statements": self.drop_statements,
            "definitions": self.definitions,
            "marts": [each.to_dict(max_rows) for each in self.differences],
        }


def compare(database: connection, publication: Publication) -> Comparison:
    """Compare every row of every mart with its table.

    Args:
        database: a connection of a role that may read.
        publication: the marts and their manifest.
    """
    database.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with database, database.cursor() as db:
        db.execute("SET LOCAL datestyle = 'ISO'")
        latest = latest_entry(db)
        tables = read_tables(db, [*publication.marts, *latest.marts])
        undeclared = (name for name in latest.marts if name not in publication.marts)
        return Comparison(
            is_published=latest.gold_sha256 == gold_sha256(publication.manifest),
            losses=losses(latest, publication),
            drop_statements=[
                to_text(drop_table_sql(name)) for name in undeclared if tables[name].columns
            ],
            differences=[
                _difference(db, MartCsv.of(publication, name), tables[name])
                for name in publication.marts
            ],
            definitions=_definition_differences(db, set(publication.definitions)),
        )


def _definition_differences(db: cursor, declared: set[Definition]) -> list[str]:
    if not read_tables(db, [TABLE])[TABLE].columns:
        return ["the table is missing"]
    stored = read_definitions(db)
    rows_by_change = {"insert": declared - stored, "delete": stored - declared}
    counts = [f"{len(rows):,} rows to {change}" for change, rows in rows_by_change.items() if rows]
    return [*_privilege_differences(db, TABLE), *counts]


def _difference(db: cursor, mart_csv: MartCsv, table: Table) -> TableDifference:
    mart = mart_csv.mart
    statements = [to_text(statement) for statement in migration(mart, table)]
    gold_rows = _by_key(mart, mart_csv.tuples())
    table_rows: dict[Row, Row] = {}
    if set(mart.key) <= set(table.columns):
        table_rows = _by_key(mart, _table_rows(db, mart, table.columns))
    return TableDifference(
        mart,
        statements,
        _privilege_differences(db, mart.name) if table.columns else [],
        inserted={key: gold_rows[key] for key in gold_rows if key not in table_rows},
        updated={
            key: (table_rows[key], gold_rows[key])
            for key in gold_rows
            if key in table_rows and table_rows[key] != gold_rows[key]
        },
        deleted={key: table_rows[key] for key in table_rows if key not in gold_rows},
    )


def _table_rows(db: cursor, mart: Mart, columns: Mapping[str, Any]) -> list[Row]:
    """Return the rows of a table: what is no measure as text, and null for what it lacks."""
    values = [sql.Identifier(name) if name in columns else sql.SQL("NULL") for name in mart.columns]
    width = len(mart.labels)
    labels = (sql.SQL("{}::text").format(value) for value in values[:width])
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}")
    expressions = sql.SQL(", ").join((*labels, *values[width:]))
    db.execute(query.format(expressions, table_identifier(mart.name), column_list(mart.key)))
    return db.fetchall()


def _by_key(mart: Mart, rows: Any) -> dict[Row, Row]:
    width = len(mart.key)
    return {row[:width]: row[width:] for row in rows}


def _privilege_differences(db: cursor, table: str) -> list[str]:
    db.execute(PRIVILEGES_QUERY, [list(EXPECTED_PRIVILEGES), list(PRIVILEGES), table])
    return [
        f"{role} {'has' if is_granted else 'lacks'} {privilege}"
        for role, privilege, is_granted in db.fetchall()
        if is_granted != (privilege in EXPECTED_PRIVILEGES[role])
    ]


def _join(values: Any) -> str:
    return ", ".join(map(str, values))
