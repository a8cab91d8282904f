"""The serving tables beside Gold, row by row; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from capstone_metrics.serving.embedded import LOADER, READER
from capstone_metrics.serving.file import MartFile
from capstone_metrics.serving.ledger import gold_sha256, latest, losses
from capstone_metrics.serving.tables import drop, migration, name_of, names, tables, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg2.extensions import connection, cursor

    from capstone_metrics.schemas import Mart, Publication
    from capstone_metrics.serving.tables import Table

Row = tuple[Any, ...]

RIGHTS = """
SELECT role, privilege, has_table_privilege(role, pg_class.oid, privilege)
FROM pg_class, unnest(%s) AS role, unnest(%s) AS privilege
WHERE relnamespace = to_regnamespace('serving') AND relname = %s
    AND EXISTS (SELECT FROM pg_roles WHERE rolname = role)
"""
GIVEN = {READER: {"SELECT"}, LOADER: {"SELECT", "INSERT", "UPDATE", "DELETE"}}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")


@dataclass(frozen=True)
class Difference:
    """What makes a table other than its mart.

    Attributes:
        mart: the mart.
        statements: the SQL that makes the table what the mart declares.
        rights: those that a role lacks, or has and should not.
        inserted: the rows that only the mart has: their measures, by key.
        updated: the rows whose measures differ: those of the table and of the mart, by key.
        deleted: the rows that only the table has.
    """

    mart: Mart
    statements: list[str] = field(default_factory=list)
    rights: list[str] = field(default_factory=list)
    inserted: dict[Row, Row] = field(default_factory=dict)
    updated: dict[Row, tuple[Row, Row]] = field(default_factory=dict)
    deleted: dict[Row, Row] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, Mapping[Row, Any]]:
        """The rows that differ, by what a publication would do to them."""
        return {"insert": self.inserted, "update": self.updated, "delete": self.deleted}

    @property
    def parts(self) -> list[str]:
        """What differs, each in a phrase; nothing where the table is its mart."""
        rows = [f"{len(rows):,} rows to {verb}" for verb, rows in self.kinds.items() if rows]
        return [*self.statements, *self.rights, *rows]

    def facts(self, most: int | None) -> dict[str, Any]:
        """What differs, for a machine; with as many rows of each kind as are asked for, if any."""
        facts = {
            "mart": self.mart.name,
            "is_equal": not self.parts,
            "statements": self.statements,
            "rights": self.rights,
            **{kind: len(rows) for kind, rows in self.kinds.items()},
        }
        if most is None:
            return facts
        before = {key: was for key, (was, _) in self.updated.items()} | self.deleted
        after = {key: now for key, (_, now) in self.updated.items()} | self.inserted
        shown = {
            kind: [self._row(key, before, after) for key in islice(rows, most)]
            for kind, rows in self.kinds.items()
        }
        return {**facts, "rows": shown}

    def _row(self, key: Row, *sides: Mapping[Row, Row]) -> dict[str, Any]:
        """A row by its names, as it is in the table and as it is in Gold; null where it is not."""
        before, after = (
            dict(zip(self.mart.rules, side[key], strict=True)) if key in side else None
            for side in sides
        )
        return {
            "key": dict(zip(self.mart.key, key, strict=True)),
            "before": before,
            "after": after,
        }

    def lines(self, most: int) -> Iterator[str]:
        """Some of the rows that differ, a line each: `+` only in Gold, `~` changed, `-` gone."""
        measures = [name for name, _, _ in self.mart.measures]
        for key, values in islice(self.inserted.items(), most):
            yield f"+ {_said(key)}: {_said(map('{} {}'.format, measures, values))}"
        for key, (old, new) in islice(self.updated.items(), most):
            pairs = zip(measures, old, new, strict=True)
            changes = (f"{name} {was} → {now}" for name, was, now in pairs if was != now)
            yield f"~ {_said(key)}: {_said(changes)}"
        for key in islice(self.deleted, most):
            yield f"- {_said(key)}"


@dataclass(frozen=True)
class Comparison:
    """The database beside Gold.

    Attributes:
        is_published: whether the latest publication was of this Gold.
        losses: what readers would be left without, for which a publication would be refused.
        ended: the statements that end the tables of marts that are not declared any more.
        differences: of each declared mart.
    """

    is_published: bool
    losses: list[str]
    ended: list[str]
    differences: list[Difference]

    @property
    def is_equal(self) -> bool:
        """Whether the database is what publishing this Gold would make of it."""
        return self.is_published and not any(each.parts for each in self.differences)

    def facts(self, most: int | None = None) -> dict[str, Any]:
        """All of it for a machine, without rows or with some of each kind of each mart."""
        return {
            "is_equal": self.is_equal,
            "is_published": self.is_published,
            "losses": self.losses,
            "ended": self.ended,
            "marts": [each.facts(most) for each in self.differences],
        }


def compare(database: connection, publication: Publication) -> Comparison:
    """Compare all rows of all marts with their tables.

    Args:
        database: a connection of one who may read.
        publication: the marts and their manifest.
    """
    database.set_session(isolation_level="REPEATABLE READ", readonly=True)
    with database, database.cursor() as db:
        db.execute("SET LOCAL datestyle = 'ISO'")
        before = latest(db)
        found = tables(db, [*publication.marts, *before.marts])
        ended = (name for name in before.marts if name not in publication.marts)
        return Comparison(
            is_published=before.gold_sha256 == gold_sha256(publication.manifest),
            losses=losses(before, publication),
            ended=[text(drop(name)) for name in ended if found[name].columns],
            differences=[
                _difference(db, MartFile.of(publication, name), found[name])
                for name in publication.marts
            ],
        )


def _difference(db: cursor, file: MartFile, table: Table) -> Difference:
    mart = file.mart
    statements = [text(step) for step in migration(mart, table)]
    gold = _by_key(mart, file.tuples())
    there: dict[Row, Row] = {}
    if set(mart.key) <= set(table.columns):
        there = _by_key(mart, _rows(db, mart, table.columns))
    return Difference(
        mart,
        statements,
        _rights(db, mart) if table.columns else [],
        inserted={key: gold[key] for key in gold if key not in there},
        updated={
            key: (there[key], gold[key]) for key in gold if key in there and there[key] != gold[key]
        },
        deleted={key: there[key] for key in there if key not in gold},
    )


def _rows(db: cursor, mart: Mart, columns: Mapping[str, Any]) -> list[Row]:
    """The rows of a table, its key as text; a measure that it has not is null in each."""
    keys = (sql.SQL("{}::text").format(sql.Identifier(name)) for name in mart.key)
    measures = (
        sql.Identifier(name) if name in columns else sql.SQL("NULL") for name, _, _ in mart.measures
    )
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}")
    chosen = sql.SQL(", ").join((*keys, *measures))
    db.execute(query.format(chosen, name_of(mart.name), names(mart.key)))
    return db.fetchall()


def _by_key(mart: Mart, rows: Any) -> dict[Row, Row]:
    width = len(mart.key)
    return {row[:width]: row[width:] for row in rows}


def _rights(db: cursor, mart: Mart) -> list[str]:
    db.execute(RIGHTS, [list(GIVEN), list(PRIVILEGES), mart.name])
    return [
        f"{role} {'has' if has else 'lacks'} {privilege}"
        for role, privilege, has in db.fetchall()
        if has != (privilege in GIVEN[role])
    ]


def _said(parts: Any) -> str:
    return ", ".join(map(str, parts))
