"""The page on quality and method says when networks changed what they count."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from capstone_metrics.dashboard.database import read_transaction
from capstone_metrics.dashboard.definitions import Definition, read_definitions
from capstone_metrics.dashboard.texts import Texts
from tests.dashboard.test_pages import page

if TYPE_CHECKING:
    from tests.dashboard.conftest import Served

INSERT = """
INSERT INTO serving.definitions VALUES
    ('2026-08-24', 'youtube_shorts', 'likes', 'As for videos.', 'Como nos vídeos.'),
    ('2025-03-31', 'youtube_shorts', 'views', 'Every start.', 'Cada início.')
"""
SENTENCES = {
    "en": ["Every start.", "As for videos."],
    "pt_BR": ["Cada início.", "Como nos vídeos."],
}

pytestmark = pytest.mark.parametrize("server", ["packaged"], indirect=True)


def defined(locale: str) -> list[Definition]:
    with read_transaction() as transaction:
        return read_definitions(transaction, locale)


@pytest.mark.parametrize("locale", SENTENCES)
def test_the_definitions_are_listed_in_the_language_of_the_reader(
    published: Served, locale: str
) -> None:
    texts = Texts(locale)
    assert texts("changes_of_definition") not in headers(locale)
    published.as_admin(INSERT)
    assert texts("changes_of_definition") in headers(locale)
    sentence = texts("counted_from_then")
    (table,) = [each.value for each in page("method", locale).dataframe if sentence in each.value]
    assert table.to_dict("list") == {
        texts("from_day"): [dt.date(2025, 3, 31), dt.date(2026, 8, 24)],
        texts.label("rede_social"): ["youtube_shorts", "youtube_shorts"],
        texts("measure"): [texts.label("views"), texts.label("likes")],
        sentence: SENTENCES[locale],
    }
    first, _ = defined(locale)
    text = SENTENCES[locale][0]
    assert first == Definition(dt.date(2025, 3, 31), "youtube_shorts", "views", text)


def headers(locale: str) -> list[str]:
    app = page("method", locale)
    assert not app.exception
    return [each.value for each in app.header]


def test_a_database_of_an_older_release_has_none(published: Served) -> None:
    published.as_admin("DROP TABLE serving.definitions")
    assert defined("en") == []
    assert Texts("en")("changes_of_definition") not in headers("en")
