"""The page of videos: each number beside that of Gold, the outliers, the links, and each state."""

from __future__ import annotations

import datetime as dt
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.dashboard.videos import address
from tests.dashboard.conftest import (
    DECLARED,
    FIRST,
    INSTITUTIONS,
    LAST,
    QUOTED,
    READER_DSN_VARIABLE,
    VIDEO,
)
from tests.dashboard.test_pages import PERIOD, charts, days, page, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.testing.v1 import AppTest

    from tests.dashboard.conftest import Served

    Read = Callable[..., AppTest]

WHOLE = FIRST, LAST
LANGUAGES = ("en", "pt_BR")
MEASURES = ("total_views", "views_ganhas_7d", "views_7d")
VIDEOS_OF_GOLD = f"""
SELECT * FROM (
    SELECT
        CASE titulo_video WHEN '(não informado)' THEN video_id ELSE titulo_video END AS title,
        rede_social, faculdade, data_postagem, DATE '{LAST}' - data_postagem AS age,
        total_views, views_ganhas_7d, views_7d,
        CASE WHEN count(views_7d) OVER channel >= 5
            THEN views_7d / median(views_7d) OVER channel END AS factor
    FROM {VIDEO} WINDOW channel AS (PARTITION BY rede_social, faculdade)
) WHERE data_postagem BETWEEN ? AND ?
"""
"""The columns of the page's tables, of the videos of a period; a median is of all days."""

FILTERS = [
    ({"network": "TikTok"}, "rede_social = 'tiktok'"),
    ({"institution": (QUOTED, "GRAN")}, "faculdade <> 'IMPACTA'"),
    ({"network": "TikTok", "institution": "GRAN"}, "rede_social = 'tiktok' AND faculdade = 'GRAN'"),
]

pytestmark = pytest.mark.parametrize("server", ["packaged"], indirect=True)


@pytest.fixture(autouse=True)
def environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READER_DSN_VARIABLE, served.dataset.reader_dsn())


@pytest.fixture(scope="module")
def read(served: Served) -> Read:
    """Open the page of videos; tests that read the same page share it."""
    return cache(lambda language="en", **parameters: page("videos", language, **parameters))


def rows_of(table: Any, language: str = "en") -> list[tuple[Any, ...]]:
    """Return the rows of a table of videos, with the columns of VIDEOS_OF_GOLD."""
    texts = Texts(language)
    described = map(texts.label, ("titulo_video", "rede_social", "faculdade", "data_postagem"))
    measured = map(texts.label, MEASURES)
    columns = [*described, texts("age_days"), *measured, texts("against_median")]
    assert set(table.value) - {texts("link")} == set(columns)
    frame = table.value[columns].astype(object)
    return list(map(tuple, frame.where(frame.notna(), None).values.tolist()))


def texts_of(table: Any) -> dict[str, list[str]]:
    """Return the columns of a table as they are printed, by label."""
    printed = pa.ipc.open_stream(table.proto.arrow_data.styler.display_values).read_all()
    names = list(table.value.columns)
    columns = [printed.column(number).to_pylist() for number in range(len(names))]
    return dict(zip(names, columns, strict=True))


def expected(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows of Gold, whose last column is a quotient."""
    return [(*row[:8], None if row[8] is None else pytest.approx(row[8])) for row in rows]


def channel(
    views: list[int],
    network: str = "youtube",
    institution: str = "GRAN",
    prefix: str = "abcdefghi-",
) -> list[tuple[Any, ...]]:
    """Return a video of January for each number of views at 7 days."""
    day = dt.date(2026, 1, 10)
    return [
        (day, network, institution, "a", f"{prefix}{number}", 14 * each, 14, 14)
        for number, each in enumerate(views)
    ]


@pytest.mark.parametrize(("language", "hours"), [("en", [9, 21]), ("pt_BR", [9, 21])])
def test_the_best_hours_are_those_of_gold(
    read: Read, served: Served, language: str, hours: list[int]
) -> None:
    app = read(language, **days(*WHOLE))
    gold = served.from_gold(
        f"SELECT hora_postagem, avg(views_7d) FROM {VIDEO} WHERE hora_postagem IS NOT NULL "
        "AND views_7d IS NOT NULL GROUP BY 1 HAVING count(*) >= 5 ORDER BY 1"
    )

    (rows,) = charts(app)
    assert [hour for hour, _ in gold] == hours
    texts = Texts(language)
    assert [(row["segment"], row["value"]) for row in rows] == [
        (texts("hour", hour=hour), pytest.approx(mean)) for hour, mean in gold
    ]
    few = page("videos", language, **days(FIRST, FIRST), network="TikTok")
    assert texts("hours") not in [header.value for header in few.header]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("measure", MEASURES)
def test_the_top_videos_are_those_of_gold(
    read: Read, served: Served, measure: str, language: str
) -> None:
    app, texts = read(language, **days(*WHOLE), top=measure), Texts(language)

    table = app.dataframe[0]
    gold = served.from_gold(
        f"{VIDEOS_OF_GOLD} AND {measure} IS NOT NULL ORDER BY {measure} DESC LIMIT 50", *WHOLE
    )
    assert rows_of(table, language) == expected(gold)
    assert len(gold) == 50
    assert list(table.value)[:2] == [texts.label("titulo_video"), texts.label(measure)]
    assert any(not title.startswith("Aula") for title, *_ in gold)
    assert app.title[0].value == texts("videos")
    printed = texts_of(table)[texts("against_median")]
    decimal = "," if language == "pt_BR" else "."
    assert printed == [
        "–" if factor is None else f"×{factor:.1f}".replace(".", decimal)  # noqa: RUF001
        for *_, factor in gold
    ]


@pytest.mark.parametrize(("parameters", "more"), FILTERS)
def test_a_filter_reaches_every_table(
    read: Read, served: Served, parameters: dict[str, Any], more: str
) -> None:
    app = read("en", **days(*PERIOD), **parameters)

    tables = list(app.dataframe)
    top = served.from_gold(
        f"{VIDEOS_OF_GOLD} AND {more} ORDER BY total_views DESC LIMIT 50", *PERIOD
    )
    above = served.from_gold(
        f"{VIDEOS_OF_GOLD} AND {more} AND factor >= 3 ORDER BY factor DESC LIMIT 20", *PERIOD
    )
    rows = served.from_gold(
        f"SELECT * FROM {VIDEO} WHERE data_postagem BETWEEN ? AND ? AND {more} ORDER BY ALL",
        *PERIOD,
    )
    assert rows_of(tables[0]) == expected(top)
    assert len(tables) == (3 if above else 2)
    if above:
        assert rows_of(tables[1]) == expected(above)
    frame = tables[-1].value.astype(object)
    assert sorted(map(tuple, frame.where(frame.notna(), None).values.tolist())) == rows


def test_the_file_has_the_rows_of_gold_of_the_period(served: Served) -> None:
    from capstone_metrics.dashboard.database import read_transaction  # noqa: PLC0415
    from capstone_metrics.dashboard.queries import Filter  # noqa: PLC0415
    from capstone_metrics.dashboard.view import _csv  # noqa: PLC0415

    with read_transaction() as transaction:
        mart = transaction.publication.marts[VIDEO]

    head, *lines = _csv(mart, Filter(*PERIOD, {"faculdade": ["GRAN"]})).decode().splitlines()

    gold_head, *gold = (served.gold / f"{VIDEO}.csv").read_text().splitlines()
    period = {(PERIOD[0] + dt.timedelta(days=number)).isoformat() for number in range(14)}
    of_period = [line for line in gold if line.split(",")[2] in period and ",GRAN," in line]
    assert head == gold_head
    assert sorted(lines) == sorted(of_period)
    assert 0 < len(lines) < len(gold)


def test_outliers_are_three_times_the_median_of_their_channel(own: Served) -> None:
    own.publish(
        of=[
            *channel([800, 1_600, 2_400, 4_792, 4_800, 800, 1_600]),  # the median is 1 600
            *channel([80] * 5 + [8_000], network="tiktok", prefix="t"),
            *channel([80] * 3 + [8_000], institution="IMPACTA", prefix="few"),  # only four videos
            *channel([0] * 5 + [8_000], network="kwai", prefix="zero"),  # no multiple of none
        ]
    )
    texts = Texts("en")

    app = page("videos", **days(FIRST, LAST))

    table = app.dataframe[1]
    rows = [(row[1], row[7], row[8]) for row in rows_of(table)]
    assert rows == [("tiktok", 64_000, 100), ("youtube", 38_400, 3)]
    assert texts_of(table)[texts("against_median")] == ["×100.0", "×3.0"]  # noqa: RUF001
    top = {(row[1], row[2]): row[8] for row in rows_of(app.dataframe[0])}
    assert top["youtube", "IMPACTA"] is top["kwai", "GRAN"] is None
    assert "at an equal age" in text_of(app)


def test_a_median_is_of_the_videos_of_all_days(own: Served) -> None:
    old = [(dt.date(2026, 1, 8), *row[1:]) for row in channel([80] * 4, prefix="old")]
    own.publish(of=[*old, *channel([800])])

    app = page("videos", **days(dt.date(2026, 1, 9), LAST))

    assert [row[8] for row in rows_of(app.dataframe[0])] == [10]
    assert [row[8] for row in rows_of(app.dataframe[1])] == [10]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("views", "text"),
    [([80, 160, 240, 320, 400], "no_outliers"), ([80, 160, 240, 32_000], "no_medians")],
)
def test_without_an_outlier_a_sentence_says_so(
    own: Served, language: str, views: list[int], text: str
) -> None:
    own.publish(of=channel(views))

    app = page("videos", language, **days(FIRST, LAST))

    expected = Texts(language)(text, least=3, videos=5)
    assert expected in [each.value for each in app.markdown]
    assert len(app.dataframe) == 2


def test_a_video_of_youtube_has_a_link(own: Served) -> None:
    own.publish(
        of=[
            *channel([500, 400], network="youtube_shorts", prefix="a_cdefghi-"),
            *channel([300], prefix="too-short"),
            *channel([200], network="tiktok"),
        ]
    )
    texts = Texts("en")

    table = page("videos", **days(FIRST, LAST)).dataframe[0]

    assert [each for each in table.value[texts("link")] if isinstance(each, str)] == [
        f"https://www.youtube.com/watch?v=a_cdefghi-{number}" for number in range(2)
    ]
    assert [row[1] for row in rows_of(table)][:2] == ["youtube_shorts"] * 2
    assert '"type":"link"' in table.proto.columns.replace(" ", "")


def test_without_a_link_the_column_is_left_out(read: Read) -> None:
    for table in read("en", **days(*WHOLE), top="total_views").dataframe:
        assert Texts("en")("link") not in table.value


@pytest.mark.parametrize(
    ("network", "video_id", "is_known"),
    [
        ("youtube", "dQw4w9WgXcQ", True),
        ("youtube_shorts", "-_-_-_-_-_-", True),
        ("tiktok", "dQw4w9WgXcQ", False),
        ("youtube", "dQw4w9WgXcQ\n", False),
        ("youtube", "dQw4w9WgXc", False),
        ("youtube", "dQw4w9WgXcQ&", False),
        ("youtube", "dQw4w9W&t=é", False),
    ],
)
def test_a_link_is_made_only_of_an_id_of_youtube(
    network: str, video_id: str, is_known: bool
) -> None:
    assert (address(network, video_id) is not None) == is_known


def test_the_choice_is_in_the_url(read: Read) -> None:
    app = page("videos", **days(*WHOLE))
    assert "top" not in app.query_params

    app.selectbox(key="top_en").set_value("views_7d").run()
    assert app.query_params["top"] == "views_7d"
    assert rows_of(app.dataframe[0]) == rows_of(
        read("en", **days(*WHOLE), top="views_7d").dataframe[0]
    )
    app.selectbox(key="top_en").set_value("total_views").run()
    assert "top" not in app.query_params
    assert page("videos", top="unknown").selectbox(key="top_en").value == "total_views"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_choice_that_is_known_of_no_video_is_a_sentence(read: Read, language: str) -> None:
    app = read(language, **days(LAST - dt.timedelta(days=3), LAST), top="views_7d")

    assert Texts(language)("top_none") in [each.value for each in app.caption]
    assert len(app.dataframe) == 1


def test_a_filter_without_videos_can_be_cleared() -> None:
    early = days(FIRST, FIRST + dt.timedelta(days=9))
    app, texts = page("videos", **early, network="YouTube Shorts"), Texts("en")

    assert [info.value for info in app.info] == [texts("empty")]
    assert not app.dataframe
    app.button[0].click().run()
    assert not app.info
    assert app.dataframe


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_the_mart_the_page_says_how_to_declare_it(own: Served, language: str) -> None:
    own.publish({name: each for name, each in DECLARED.items() if name != VIDEO})

    app = page("videos", language)

    assert [info.value for info in app.info] == [Texts(language)("no_video_mart")]
    assert not app.dataframe
    assert not app.exception


def test_a_mart_without_a_row_is_no_fault(own: Served) -> None:
    own.publish(most=0)

    app = page("videos")

    assert [info.value for info in app.info] == [Texts("en")("empty")]


def test_the_mart_of_each_video_is_enough(own: Served) -> None:
    own.publish({VIDEO: DECLARED[VIDEO]})

    app = page("videos", **days(*WHOLE), institution="GRAN")

    assert {row[2] for row in rows_of(app.dataframe[0])} == {"GRAN"}
    assert app.multiselect(key="institution").options == sorted(INSTITUTIONS)
    assert [info.value for info in page("overview").info] == [Texts("en")("no_mart")]


def test_the_explorer_has_the_attributes_of_a_video(served: Served) -> None:
    app = page("explorer")
    assert app.selectbox(key="mart").value != VIDEO
    app.selectbox(key="mart").set_value(VIDEO).run()
    app.selectbox(key="measure_en").set_value("views_7d")
    app.date_input(key="period").set_value(PERIOD)
    for by in ("faculdade", "categoria", "data_postagem"):
        app.selectbox(key="by_en").set_value(by).run()

        (rows,) = charts(app)
        parts = [row["segment"].date() if by.startswith("data") else row["segment"] for row in rows]
        gold = served.from_gold(
            f"SELECT {by}, sum(views_7d)::BIGINT FROM {VIDEO} "
            "WHERE data_postagem BETWEEN ? AND ? GROUP BY 1",
            *PERIOD,
        )
        assert dict(zip(parts, (row["value"] for row in rows), strict=True)) == dict(gold)
