"""The feed of the keys that publications changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

from capstone_metrics.publication import PublicationPolicy
from capstone_metrics.serving.embedded import ADMIN, READER
from capstone_metrics.serving.publisher import publish
from tests.support.gold import MARTS, gold

if TYPE_CHECKING:
    from psycopg2.extensions import connection

    from tests.serving.conftest import Ask

ALLOW_SHRINK = PublicationPolicy(allow_shrink=True)
FEED = (
    "SELECT publication, key ->> 'faculdade', change FROM serving.changes"
    " WHERE mart = 'gold_faculdade' ORDER BY 1, 2"
)
LAST = "SELECT publication, published_at FROM serving.publications ORDER BY 1 DESC LIMIT 1"
SINCE = "SELECT mart, key, change FROM serving.changes_since(%s, %s)"


def test_each_publication_after_the_first_lists_the_keys_that_it_changed(
    loader: connection, ask: Ask
) -> None:
    publish(loader, gold({"GRAN": 5, "IMPACTA": 7}))
    publish(loader, gold({"GRAN": 6, "OUTRA": 7}))
    publish(loader, gold({"GRAN": 6, "OUTRA": 7}))

    assert ask(READER, FEED) == [
        (2, "GRAN", "update"),
        (2, "IMPACTA", "delete"),
        (2, "OUTRA", "insert"),
    ]
    key = "SELECT DISTINCT key FROM serving.changes WHERE mart = 'gold_dia' AND publication = 2"
    assert ({"data_postagem": "2026-01-31", "faculdade": "GRAN"},) in ask(READER, key)


def test_a_failed_publication_leaves_no_change(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 4}))
    publish(loader, gold({"GRAN": 5}))
    torn = gold({"GRAN": 6})
    torn.manifest["marts"]["gold_dia"]["totals"] = {"total_views": 7}
    with pytest.raises(Exception, match="nothing was published"):
        publish(loader, torn)

    assert ask(READER, FEED) == [(2, "GRAN", "update")]


def test_the_rows_of_a_new_mart_are_changes(loader: connection, ask: Ask) -> None:
    publish(loader, gold({"GRAN": 5}, {"gold_dia": MARTS["gold_dia"]}))
    mark = ask(READER, LAST)[0]
    publish(loader, gold({"GRAN": 5, "IMPACTA": 7}))

    assert ask(READER, FEED) == [(2, "GRAN", "insert"), (2, "IMPACTA", "insert")]
    assert {each[0] for each in ask(READER, SINCE, *mark)} == {"gold_dia", "gold_faculdade"}


STEPS: list[dict[str, int]] = [
    {"A": 1, "B": 1, "C": 1},
    {"A": 2, "B": 1, "D": 1},
    {"A": 3, "C": 1, "E": 1},
    {"A": 3, "C": 2, "D": 2, "F": 1},
    {"B": 1, "C": 2, "F": 1},
]


@pytest.mark.parametrize("seen", range(1, len(STEPS) + 1))
def test_a_consumer_that_follows_the_feed_has_what_the_tables_have(
    loader: connection, ask: Ask, seen: int
) -> None:
    """A copy of an older publication, brought up to date by the feed alone."""
    mark: list[Any] = []
    for step in STEPS:
        publish(loader, gold(step, policy=ALLOW_SHRINK))
        mark += ask(READER, LAST)
    copy = dict(STEPS[seen - 1])
    now = dict(ask(READER, "SELECT faculdade, total_views FROM serving.gold_faculdade"))

    for mart, key, change in ask(READER, SINCE, *mark[seen - 1]):
        name = key["faculdade"]
        if mart == "gold_faculdade":
            assert (change == "insert") == (name not in copy)
            if change == "delete":
                del copy[name]
            else:
                copy[name] = now[name]

    assert copy == now == STEPS[-1]


def test_changes_remain_for_the_days_that_are_declared(loader: connection, ask: Ask) -> None:
    policy = PublicationPolicy(changes_kept_days=7)
    publish(loader, gold({"GRAN": 5}, policy=policy))
    first = ask(READER, LAST)[0]
    publish(loader, gold({"GRAN": 6}, policy=policy))
    second = ask(READER, LAST)[0]
    age = "UPDATE serving.publications SET published_at = published_at - %s::interval"
    ask(ADMIN, f"{age} WHERE publication = 1", "9 days")
    ask(ADMIN, f"{age} WHERE publication = 2", "8 days")
    publish(loader, gold({"GRAN": 7}, policy=policy))

    assert ask(READER, FEED) == [(3, "GRAN", "update")]
    one, two = ask(READER, "SELECT publication, published_at FROM serving.publications LIMIT 2")
    assert [each[2] for each in ask(READER, SINCE, *two)] == ["update"] * 2
    with pytest.raises(psycopg2.Error, match="changes after publication 1 are no longer available"):
        ask(READER, SINCE, *one)
    for former in (first, second):
        with pytest.raises(psycopg2.Error, match="is not one of this database"):
            ask(READER, SINCE, *former)
