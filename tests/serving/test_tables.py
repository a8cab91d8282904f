"""From the tables that there are to those of the declarations, with their grants and views."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from capstone_metrics.errors import CapstoneError
from capstone_metrics.mart_declarations import mart_of, marts_of
from capstone_metrics.publication import Publication, PublicationPolicy
from capstone_metrics.serving.embedded import ADMIN, LOADER, OWNER, READER
from capstone_metrics.serving.provision import connect, provision
from capstone_metrics.serving.publisher import publish
from capstone_metrics.serving.tables import ddl
from capstone_metrics.validation.silver import columns_of
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import DAY, MARTS, csv_of, entry_of, gold
from tests.support.project import COLUMNS, ROOT

if TYPE_CHECKING:
    from psycopg2.extensions import connection

    from capstone_metrics.serving.embedded import Address
    from tests.serving.conftest import Ask

VIEWS, VIDEOS = {"total_views": {"sum": "views"}}, {"total_videos": {"count": "video_id"}}
GOLD = {"GRAN": 5, "IMPACTA": 7}
SHAPE = """
SELECT attname, format_type(atttypid, atttypmod), attnotnull, atthasdef
FROM pg_attribute WHERE attrelid = 'serving.gold_dia'::regclass AND attnum > 0 AND NOT attisdropped
"""
KEY = """
SELECT pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'serving.gold_dia'::regclass AND contype = 'p'
"""
GRANTS = """
SELECT grantee, privilege_type FROM information_schema.role_table_grants
WHERE table_schema = 'serving' AND table_name = 'gold_dia' ORDER BY 1, 2
"""


@pytest.fixture
def published(loader: connection, ask: Ask) -> connection:
    """Two marts; a team has a view on one of them, and a reader of its own."""
    publish(loader, gold(GOLD))
    ask(
        ADMIN,
        "CREATE SCHEMA team; GRANT USAGE ON SCHEMA team TO bi_reader;"
        "CREATE VIEW team.views AS SELECT faculdade, total_views FROM serving.gold_dia;"
        "GRANT SELECT ON team.views TO bi_reader;"
        "GRANT REFERENCES ON serving.gold_dia TO bi_reader",
    )
    return loader


def declared(key: list[str], *measures: dict[str, Any], **others: Any) -> dict[str, Any]:
    rest = {"gold_faculdade": {"key": ["faculdade"], "measures": VIEWS}}
    merged = {name: rule for each in measures for name, rule in each.items()}
    return marts_of({**rest, "gold_dia": {"key": key, "measures": merged}, **others})


def is_intact(ask: Ask) -> bool:
    """Whether the view reads the table, and its grants exist."""
    rights = [("bi_reader", "REFERENCES"), ("bi_reader", "SELECT"), ("loader", "DELETE")]
    return (
        sorted(ask(READER, "SELECT * FROM team.views")) == sorted(GOLD.items())
        and [each for each in ask(ADMIN, GRANTS) if each in rights] == rights
    )


DAY_KEY = ["data_postagem", "faculdade"]


def test_a_new_measure_is_a_column_of_its_own(published: connection, ask: Ask) -> None:
    more = declared(DAY_KEY, VIEWS, VIDEOS)
    assert publish(published, gold(GOLD, more)) == WriteStats(rows=2)

    assert ask(READER, SHAPE)[-1] == ("total_videos", "bigint", True, False)
    assert ask(READER, "SELECT total_videos FROM serving.gold_dia") == [(1,), (1,)]
    assert is_intact(ask)


def test_a_measure_that_is_not_declared_any_more_is_dropped(loader: connection, ask: Ask) -> None:
    publish(loader, gold(GOLD, declared(DAY_KEY, VIEWS, VIDEOS)))
    ask(ADMIN, "CREATE VIEW public.videos AS SELECT total_videos FROM serving.gold_dia")
    with pytest.raises(
        CapstoneError, match=r"view public\.videos depends on column total_videos .* marts"
    ):
        publish(loader, gold(GOLD))
    assert ask(READER, "SELECT sum(total_videos) FROM serving.gold_dia") == [(2,)]

    ask(ADMIN, "DROP VIEW public.videos")
    publish(loader, gold(GOLD))
    assert [name for name, *_ in ask(READER, SHAPE)] == [*DAY_KEY, "total_views"]


def test_another_key_replaces_the_rows(published: connection, ask: Ask) -> None:
    other = declared(["faculdade"], VIEWS)
    publish(published, gold(GOLD, other, PublicationPolicy(allow_shrink=True)))

    assert ask(READER, KEY) == [("PRIMARY KEY (faculdade)",)]
    assert [name for name, *_ in ask(READER, SHAPE)] == ["faculdade", "total_views"]
    feed = (
        "SELECT key, change FROM serving.changes"
        " WHERE publication = 2 AND mart = 'gold_dia' ORDER BY 2, key ->> 'faculdade'"
    )
    assert ask(READER, feed) == [
        *(({"data_postagem": "2026-01-31", "faculdade": name}, "delete") for name in GOLD),
        *(({"faculdade": name}, "insert") for name in GOLD),
    ]
    assert is_intact(ask)


def test_a_key_in_another_order_is_another_index_and_the_same_rows(
    published: connection, ask: Ask
) -> None:
    publish(published, gold(GOLD, declared(["faculdade", "data_postagem"], VIEWS)))

    assert ask(READER, KEY) == [("PRIMARY KEY (faculdade, data_postagem)",)]
    assert ask(READER, "SELECT count(*) FROM serving.changes WHERE publication = 2") == [(0,)]
    assert is_intact(ask)


def publication(kind: str, measure: dict[str, Any], *rows: tuple[Any, ...]) -> Publication:
    """Return a mart by a declared column of some type."""
    declaration = {"key": ["nota"], "measures": {"n": {"count": "video_id"}, "m": measure}}
    mart = mart_of("gold_dia", declaration, columns_of({"nota": kind}))
    content = csv_of(mart, rows)
    manifest = {"marts": {mart.name: entry_of(mart, rows, content)}, "columns": {"nota": kind}}
    policy = PublicationPolicy(allow_shrink=True)
    return Publication(manifest, {mart.name: mart}, {mart.name: content}, policy)


SUM, RATIO = {"sum": "views"}, {"ratio": ["likes", "views"]}
SOME = Decimal("0.250000")


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        (("string", SUM, ("7", 2, 5)), ("string", RATIO, ("7", 2, SOME)), [("7", 2, SOME)]),
        (("string", RATIO, ("7", 2, SOME)), ("string", SUM, ("7", 2, 0)), [("7", 2, 0)]),
        (("int64", SUM, (7, 2, 5)), ("string", SUM, ("7", 2, 5)), [("7", 2, 5)]),
        (("string", SUM, ("x", 2, 5)), ("int64", SUM, (-1, 2, 5)), [(-1, 2, 5)]),
        (("date", SUM, (DAY, 2, 5)), ("int64", RATIO, (8, 2, None)), [(8, 2, None)]),
    ],
)
def test_a_column_of_another_type_is_loaded_anew(
    loader: connection, ask: Ask, before: Any, after: Any, rows: Any
) -> None:
    publish(loader, publication(*before))
    publish(loader, publication(*after))
    assert ask(READER, "SELECT nota, n, m FROM serving.gold_dia") == rows
    assert ask(READER, KEY) == [("PRIMARY KEY (nota)",)]
    publish(loader, publication(*before))
    (row,) = before[2:]
    assert ask(READER, "SELECT nota, n, m FROM serving.gold_dia") == [row]


def test_a_measure_of_another_aggregate_is_no_loss(loader: connection, ask: Ask) -> None:
    strict = PublicationPolicy()
    for measure, value in (({"sum": "views"}, 500), ({"count": "views"}, 3)):
        publish(loader, replace(publication("string", measure, ("x", 2, value)), policy=strict))
    assert ask(READER, "SELECT m FROM serving.gold_dia") == [(3,)]


def test_a_narrower_type_is_widened(published: connection, ask: Ask) -> None:
    ask(
        ADMIN,
        "DROP VIEW team.views; ALTER TABLE serving.gold_dia ALTER total_views TYPE integer,"
        " ALTER faculdade TYPE varchar(20), ALTER total_views DROP NOT NULL",
    )
    assert publish(published, gold(GOLD), full=True) == WriteStats()

    assert [each[1:3] for each in ask(READER, SHAPE)] == [
        ("date", True),
        ("text", True),
        ("bigint", True),
    ]


def test_a_type_whose_conversion_loses_values_is_an_error(published: connection, ask: Ask) -> None:
    ask(ADMIN, "DROP VIEW team.views; ALTER TABLE serving.gold_dia ALTER total_views TYPE real")
    with pytest.raises(CapstoneError, match=r"gold_dia\.total_views is real .* needs bigint"):
        publish(published, gold(GOLD), full=True)


def test_a_key_that_was_dropped_by_hand_is_created_again(published: connection, ask: Ask) -> None:
    ask(
        ADMIN,
        "ALTER TABLE serving.gold_dia DROP CONSTRAINT gold_dia_pkey;"
        "INSERT INTO serving.gold_dia SELECT * FROM serving.gold_dia",
    )
    publish(published, gold(GOLD), full=True)

    assert ask(READER, KEY) == [("PRIMARY KEY (data_postagem, faculdade)",)]
    assert is_intact(ask)


def test_a_mart_that_is_not_declared_any_more_ends_if_that_is_allowed(
    published: connection, ask: Ask
) -> None:
    one = {"gold_faculdade": MARTS["gold_faculdade"]}
    with pytest.raises(CapstoneError, match="gold_dia is no longer declared"):
        publish(published, gold(GOLD, one))
    allowed = gold(GOLD, one, PublicationPolicy(allow_shrink=True))
    with pytest.raises(CapstoneError, match=r"view team\.views depends on table .* marts\.yml"):
        publish(published, allowed)
    assert is_intact(ask)

    ask(ADMIN, "DROP VIEW team.views")
    assert publish(published, allowed) == WriteStats(removed=2)
    assert ask(READER, "SELECT to_regclass('serving.gold_dia')") == [(None,)]
    assert publish(published, gold(GOLD)) == WriteStats(rows=2)
    assert ("bi_reader", "SELECT") in ask(ADMIN, GRANTS)


def test_a_table_that_was_dropped_by_hand_is_created_again(
    loader: connection, address: Address, database: str, ask: Ask
) -> None:
    publish(loader, gold(GOLD))
    before = ask(READER, SHAPE), ask(READER, KEY), ask(ADMIN, GRANTS)
    ask(ADMIN, "DROP TABLE serving.gold_dia, serving.publications, serving.changes")
    provision(address, database)
    publish(loader, gold(GOLD), full=True)

    assert (ask(READER, SHAPE), ask(READER, KEY), ask(ADMIN, GRANTS)) == before
    assert ask(READER, "SELECT sum(total_views) FROM serving.gold_dia") == [(12,)]


def test_a_loader_that_may_not_become_the_owner_publishes_all_but_changes_of_tables(
    published: connection, ask: Ask, address: Address, database: str
) -> None:
    ask(ADMIN, f"REVOKE {OWNER} FROM {LOADER}")
    try:
        publish(published, gold({**GOLD, "GRAN": 6}))
        with pytest.raises(CapstoneError, match="permission denied to set role"):
            publish(published, gold(GOLD, declared(DAY_KEY, VIEWS, VIDEOS)))
    finally:
        provision(address, database)
    assert ask(READER, "SELECT sum(total_views) FROM serving.gold_dia") == [(13,)]


@pytest.mark.parametrize("seed", range(4))
def test_a_database_that_followed_every_declaration_equals_one_of_the_last(
    address: Address, database: str, loader: connection, ask: Ask, seed: int
) -> None:
    """Random declarations and rows, one after the other; then the last alone in a new database."""
    draw = random.Random(seed)
    for _ in range(6):
        key = draw.choice(
            [["faculdade"], ["data_postagem", "faculdade"], ["faculdade", "data_postagem"]]
        )
        measures = draw.choice([[VIEWS], [VIDEOS], [VIEWS, VIDEOS]])
        rows = {name: draw.randint(0, 3) for name in "ABCDE" if draw.random() < 0.8} or {"A": 1}
        last = gold(rows, declared(key, *measures), PublicationPolicy(allow_shrink=True))
        publish(loader, last)
    provision(address, f"{database}_new")
    with closing(connect(address, f"{database}_new", LOADER)) as other:
        publish(other, last)
        cursor = other.cursor()

        def in_new(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            return cursor.fetchall()

        columns = ", ".join(last.marts["gold_dia"].columns)
        for query in (
            KEY,
            f"SELECT {columns} FROM serving.gold_dia ORDER BY {columns}",
            f"{SHAPE} ORDER BY 1",
            "SELECT mart, part, sha256 FROM serving.parts ORDER BY 1, 2",
        ):
            assert ask(LOADER, query) == in_new(query)


def test_the_script_of_the_default_marts_is_the_one_in_the_repository() -> None:
    declarations = yaml.safe_load((ROOT / "conf/base/parameters/marts.yml").read_text())["marts"]
    declared = marts_of(declarations, COLUMNS)

    assert (ROOT / "infra/serving/schema.sql").read_text() == ddl(declared)


def test_the_script_makes_what_a_publication_would(
    address: Address, database: str, loader: connection, ask: Ask
) -> None:
    publish(loader, gold(GOLD))
    before = ask(READER, SHAPE), ask(READER, KEY), ask(ADMIN, GRANTS)
    ask(ADMIN, "DROP SCHEMA serving CASCADE")
    for _ in range(2):
        ask(ADMIN, ddl(MARTS))
    ask(ADMIN, f"REVOKE {OWNER} FROM {LOADER}")
    try:
        publish(loader, gold(GOLD))
    finally:
        provision(address, database)

    assert (ask(READER, SHAPE), ask(READER, KEY), ask(ADMIN, GRANTS)) == before
