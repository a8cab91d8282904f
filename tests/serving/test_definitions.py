"""The definitions in the database are those that are declared, whatever Gold is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from psycopg2.errors import InsufficientPrivilege

from capstone_metrics.definitions import Definition
from capstone_metrics.errors import ServingError
from capstone_metrics.serving.embedded import ADMIN, LOADER, READER
from capstone_metrics.serving.publisher import publish
from capstone_metrics.write_stats import WriteStats
from tests.support.gold import gold

if TYPE_CHECKING:
    from psycopg2.extensions import connection

    from capstone_metrics.serving import ServingDataset
    from tests.serving.conftest import Ask

ALL = "SELECT * FROM serving.definitions ORDER BY date"
SHORTS = Definition(dt.date(2025, 3, 31), "youtube_shorts", "views", "Every start.", "Cada início.")
REELS = Definition(dt.date(2025, 4, 21), "instagram_reels", "views", "Replays too.", "Repetições.")
GOLD = gold({"GRAN": 5})
DEFINED = replace(GOLD, definitions=[REELS, SHORTS])


def test_a_publication_replaces_the_definitions_also_of_an_unchanged_gold(
    loader: connection, ask: Ask
) -> None:
    publish(loader, DEFINED)
    assert ask(READER, ALL) == [SHORTS, REELS]

    changed = SHORTS._replace(text_en="Every start and replay.")
    assert publish(loader, replace(GOLD, definitions=[changed])) == WriteStats()
    assert ask(READER, ALL) == [changed]
    assert ask(READER, "SELECT count(*) FROM serving.publications") == [(1,)]
    publish(loader, GOLD)
    assert ask(READER, ALL) == []


def test_equal_definitions_are_not_written_again(loader: connection, ask: Ask) -> None:
    publish(loader, DEFINED)
    query = "SELECT DISTINCT xmin::text FROM serving.definitions"
    written = ask(ADMIN, query)
    publish(loader, DEFINED, full=True)
    assert ask(ADMIN, query) == written


def test_a_publication_that_fails_leaves_the_definitions(loader: connection, ask: Ask) -> None:
    publish(loader, DEFINED)
    with pytest.raises(ServingError, match="has lost too much"):
        publish(loader, replace(gold({}), definitions=[]))
    assert ask(READER, ALL) == [SHORTS, REELS]


def test_what_was_dropped_is_published_again(serving: ServingDataset, ask: Ask) -> None:
    serving.save(DEFINED)
    ask(ADMIN, "DROP TABLE serving.definitions")
    serving.save(DEFINED)
    assert ask(READER, ALL) == [SHORTS, REELS]
    serving.drop_database()
    serving.save(DEFINED)
    assert ask(READER, ALL) == [SHORTS, REELS]


def test_a_server_that_was_set_up_before_says_what_to_do(loader: connection, ask: Ask) -> None:
    ask(ADMIN, "DROP TABLE serving.definitions")
    with pytest.raises(ServingError, match="ask its administrator to run the output of 'kedro s"):
        publish(loader, DEFINED)


def test_a_comparison_has_the_differences(serving: ServingDataset, ask: Ask) -> None:
    serving.save(DEFINED)
    assert serving.compare(DEFINED).is_equal
    comparison = serving.compare(replace(GOLD, definitions=[REELS]))
    assert (comparison.is_equal, comparison.has_other_rows) == (False, False)
    assert comparison.to_dict()["definitions"] == ["1 rows to delete"]
    ask(ADMIN, "REVOKE DELETE ON serving.definitions FROM loader")
    assert serving.compare(DEFINED).definitions == ["loader lacks DELETE"]
    ask(ADMIN, "DROP TABLE serving.definitions")
    assert serving.compare(DEFINED).definitions == ["the table is missing"]


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        (READER, "DELETE FROM serving.definitions"),
        (READER, "UPDATE serving.definitions SET measure = 'likes'"),
        (LOADER, "DROP TABLE serving.definitions"),
    ],
)
def test_nobody_else_changes_them(ask: Ask, role: str, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        ask(role, statement)
