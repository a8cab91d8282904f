"""The pages say when networks changed what they count."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from capstone_metrics.dashboard.database import read_transaction
from capstone_metrics.dashboard.definitions import Definition, read_definitions
from capstone_metrics.dashboard.texts import Texts
from tests.dashboard.conftest import FIRST
from tests.dashboard.test_pages import days, opened, page

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

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


@pytest.mark.parametrize(
    ("network", "period", "has_mark", "has_warning"),
    [
        ("TikTok", (20, 33), True, True),
        ("TikTok", (32, 44), False, True),  # it is in the period before
        ("TikTok", (38, 44), False, False),
        ("YouTube Shorts", (32, 44), False, False),
    ],
)
def test_a_change_of_what_is_counted_is_marked_and_said(
    published: Served, network: str, period: tuple[int, int], *, has_mark: bool, has_warning: bool
) -> None:
    day = FIRST + dt.timedelta(days=25)
    published.as_admin(
        "INSERT INTO serving.definitions VALUES "
        f"('{day}', 'tiktok', 'views', 'At once.', 'De imediato.')"
    )
    first, last = (FIRST + dt.timedelta(days=number) for number in period)

    app = opened(**days(first, last), network=network)

    marks = [(row["day"].date(), row["text"]) for rows in rows_with_text(app) for row in rows]
    assert set(marks) == ({(day, "At once.")} if has_mark else set())
    texts = Texts("en")
    words = {"network": "TikTok", "day": texts.date(day), "measure": "views", "text": "At once."}
    sentence = texts("definition_changed", **words)
    assert ([warning.value for warning in app.warning] == [sentence]) == has_warning


def rows_with_text(app: AppTest) -> list[list[dict[str, Any]]]:
    """Return the rows of the data of charts that have a text."""
    tables = [
        pa.ipc.open_stream(dataset.data.data).read_all()
        for chart in app.get("vega_lite_chart")
        for dataset in chart.proto.datasets
    ]
    return [table.to_pylist() for table in tables if "text" in table.column_names]


def headers(locale: str) -> list[str]:
    app = page("method", locale)
    assert not app.exception
    return [each.value for each in app.header]


def test_a_database_of_an_older_release_has_none(published: Served) -> None:
    published.as_admin("DROP TABLE serving.definitions")
    assert defined("en") == []
    assert Texts("en")("changes_of_definition") not in headers("en")
