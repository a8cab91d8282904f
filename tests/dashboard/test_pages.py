"""The pages without a browser: each state, each filter, and each number beside Gold's."""

from __future__ import annotations

import datetime as dt
import json
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

import capstone_metrics.dashboard
from capstone_metrics.dashboard.database import VARIABLE, snapshot
from capstone_metrics.dashboard.freshness import VARIABLE as SCHEDULE
from capstone_metrics.dashboard.texts import Texts
from capstone_metrics.serving.embedded import ADMIN
from capstone_metrics.serving.provision import connect
from tests.dashboard.conftest import (
    BY_BOTH,
    BY_CATEGORY,
    BY_INSTITUTION,
    BY_NETWORK,
    DECLARED,
    FIRST,
    LAST,
    QUOTED,
)

if TYPE_CHECKING:
    from tests.dashboard.conftest import Served

APP = str(Path(capstone_metrics.dashboard.__file__).parent / "app.py")
NAMES = ["total_views", "total_likes", "total_comentarios", "total_videos"]
PERIOD = dt.date(2026, 2, 1), dt.date(2026, 2, 14)
BEFORE = dt.date(2026, 1, 18), dt.date(2026, 1, 31)
INNARDS = re.compile(r"psycopg|SELECT|relation|serving\.|Traceback|canary|127\.0\.0\.1|password")


@pytest.fixture(autouse=True)
def environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, served.dataset.reader_dsn())
    monkeypatch.delenv(SCHEDULE, raising=False)


def opened(locale: str | None = "en-US", **parameters: Any) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=30)
    app.context["locale"] = locale
    app.query_params.update(parameters)
    return app.run()


def page(name: str, language: str = "en") -> AppTest:
    def script(name: str, language: str) -> None:
        from capstone_metrics.dashboard.site import show  # noqa: PLC0415 - a script of its own
        from capstone_metrics.dashboard.texts import Texts  # noqa: PLC0415

        show(name, Texts(language))

    return AppTest.from_function(script, default_timeout=30, args=(name, language)).run()


def days(first: dt.date, last: dt.date) -> dict[str, list[str]]:
    return {"period": [first.isoformat(), last.isoformat()]}


def said(app: AppTest) -> str:
    """All that the page is made of, but for the data of its tables and charts."""
    protos = (str(getattr(element, "proto", "")) for element in [*app.main, *app.sidebar])
    return "\n".join(line for text in protos for line in text.split("\n") if "data:" not in line)


def charts(app: AppTest) -> list[list[dict[str, Any]]]:
    """The rows that each chart was given."""
    found = []
    for chart in app.get("vega_lite_chart"):
        (data,) = {each.data.data for each in chart.proto.datasets} or {chart.proto.data.data}
        found.append(pa.ipc.open_stream(data).read_all().to_pylist())
    return found


def sums(served: Served, mart: str, first: dt.date, last: dt.date, more: str = "true") -> list[int]:
    measures = ", ".join(f"sum({name})::BIGINT" for name in NAMES)
    where = f"data_postagem BETWEEN ? AND ? AND {more}"
    ((*found,),) = served.from_gold(f"SELECT {measures} FROM {mart} WHERE {where}", first, last)
    return found


def whole(number: str) -> int:
    return int(re.sub(r"\D", "", number))


@pytest.mark.parametrize(("locale", "decimal"), [("en-US", "."), ("pt-BR", ",")])
def test_the_figures_are_those_of_gold(served: Served, locale: str, decimal: str) -> None:
    app = opened(locale, **days(*PERIOD))

    now, before = sums(served, BY_NETWORK, *PERIOD), sums(served, BY_NETWORK, *BEFORE)
    shown = {metric.label: metric for metric in app.metric}
    texts = Texts("pt_BR" if locale == "pt-BR" else "en")
    for name, value, was in zip(NAMES, now, before, strict=True):
        metric = shown[texts.label(name)]
        assert whole(metric.proto.help) == value
        assert metric.delta == f"{100 * (value / was - 1):+.1f}%".replace(".", decimal)
    engagement = (now[1] + now[2]) / now[0]
    of_before = (before[1] + before[2]) / before[0]
    metric = shown[texts.label("engagement")]
    assert metric.value == f"{100 * engagement:.1f}%".replace(".", decimal)
    assert metric.delta == f"{100 * (engagement / of_before - 1):+.1f}%".replace(".", decimal)
    daily = served.from_gold(
        f"SELECT sum(total_views)::BIGINT FROM {BY_NETWORK} WHERE data_postagem BETWEEN ? AND ? "
        "GROUP BY data_postagem ORDER BY data_postagem",
        *PERIOD,
    )
    assert [row["value"] for row in charts(app)[0]] == [float(value) for (value,) in daily]


def test_a_change_needs_a_whole_period_before() -> None:
    app = opened(**days(FIRST + dt.timedelta(days=5), FIRST + dt.timedelta(days=12)))

    assert {metric.delta for metric in app.metric} == {""}
    assert {metric.proto.delta_description for metric in app.metric} == {Texts("en")("not_before")}


def test_the_days_of_the_charts_are_those_of_gold(served: Served) -> None:
    *_, lines, heat, _ = charts(opened(**days(*PERIOD)))

    expected = served.from_gold(
        f"""
        WITH days AS (
            SELECT unnest(generate_series(DATE '{FIRST}', DATE '{LAST}', INTERVAL 1 DAY))::DATE AS d
        ), cells AS (
            SELECT d, n, (
                SELECT coalesce(sum(total_views), 0) FROM {BY_NETWORK}
                WHERE data_postagem = d AND rede_social = n
            )::BIGINT AS v
            FROM days, (SELECT DISTINCT rede_social AS n FROM {BY_NETWORK})
        )
        SELECT d, n, v, (
            SELECT avg(v) FROM cells b WHERE b.n = a.n AND b.d BETWEEN a.d - 6 AND a.d
        ) FROM cells a WHERE d BETWEEN ? AND ? ORDER BY d, n
        """,
        *PERIOD,
    )
    label = Texts("en").label
    for rows in (lines, heat):
        found = {(row["day"].date(), row["part"]): (row["views"], row["mean"]) for row in rows}
        assert found == {
            (day, label(name)): (views, pytest.approx(mean)) for day, name, views, mean in expected
        }


def test_there_is_no_mean_before_there_are_seven_days() -> None:
    *_, lines, _, _ = charts(opened(mean="true", **days(FIRST, FIRST + dt.timedelta(days=13))))

    assert min(row["day"].date() for row in lines) == FIRST + dt.timedelta(days=6)


def test_the_ranking_is_that_of_gold(served: Served) -> None:
    app = opened(**days(*PERIOD))

    def ranked(first: dt.date, last: dt.date) -> list[tuple[str, int]]:
        return served.from_gold(
            f"SELECT faculdade, sum(total_views)::BIGINT FROM {BY_INSTITUTION} "
            "WHERE data_postagem BETWEEN ? AND ? GROUP BY 1 ORDER BY 2 DESC",
            first,
            last,
        )

    now, before = ranked(*PERIOD), [name for name, _ in ranked(*BEFORE)]
    total = sum(views for _, views in now)
    rows = app.dataframe[0].value.values.tolist()
    moves = [before.index(name) - place for place, (name, _) in enumerate(now)]
    assert any(moves)
    assert rows == [
        [
            place + 1,
            name,
            views,
            pytest.approx(views / total),
            f"{'▲' if moved > 0 else '▼'} {abs(moved)}" if moved else "=",
        ]
        for place, ((name, views), moved) in enumerate(zip(now, moves, strict=True))
    ]


def test_the_tables_behind_are_the_rows_of_gold(served: Served) -> None:
    app = opened(**days(*PERIOD))

    for mart, table in zip((BY_NETWORK, BY_INSTITUTION), app.dataframe[1:], strict=True):
        rows = served.from_gold(
            f"SELECT * FROM {mart} WHERE data_postagem BETWEEN ? AND ? ORDER BY ALL", *PERIOD
        )
        assert sorted(map(tuple, table.value.values.tolist())) == rows


@pytest.mark.parametrize(
    ("parameters", "mart", "more", "ignored"),
    [
        ({"network": "TikTok"}, BY_NETWORK, "rede_social = 'tiktok'", {"Network"}),
        (
            {"institution": [QUOTED, "GRAN"]},
            BY_INSTITUTION,
            "faculdade <> 'IMPACTA'",
            {"Institution"},
        ),
        (
            {"network": "TikTok", "institution": "GRAN"},
            BY_NETWORK,
            "rede_social = 'tiktok'",
            {"Network", "Institution"},
        ),
    ],
)
def test_a_filter_applies_where_a_mart_has_its_column(
    served: Served, parameters: dict[str, Any], mart: str, more: str, ignored: set[str]
) -> None:
    app = opened(**days(*PERIOD), **parameters)

    views = app.metric[0].proto.help
    assert whole(views) == sums(served, mart, *PERIOD, more)[0]
    notes = re.findall(r"(\w+): not filtered here", said(app))
    assert set(notes) == ignored


def test_rank_and_share_are_among_all(served: Served) -> None:
    (everyone,) = [opened(**days(*PERIOD)).dataframe[0].value.values.tolist()]
    chosen = opened(**days(*PERIOD), institution="IMPACTA").dataframe[0].value.values.tolist()

    assert chosen == [row for row in everyone if row[1] == "IMPACTA"]


def test_a_url_says_what_is_chosen() -> None:
    """That what is chosen comes to be in the URL is the browser's part, in test_browser.py."""
    app = opened(
        **days(*PERIOD), network=["TikTok", "YouTube Shorts"], mean="true", institution="?"
    )

    assert app.multiselect(key="network").value == ["tiktok", "youtube_shorts"]
    assert app.multiselect(key="institution").value == []
    assert app.date_input(key="period").value == PERIOD
    assert app.toggle(key="mean").value


def test_nothing_for_a_filter_is_said_and_can_be_left() -> None:
    app = opened(**days(FIRST, FIRST + dt.timedelta(days=9)), network="YouTube Shorts")
    texts = Texts("en")

    assert texts("empty") in [info.value for info in app.info]
    assert not app.metric
    app.button[0].click().run()
    assert len(app.metric) == 5
    assert not app.info


@pytest.mark.parametrize("locale", ["en-US", "pt-BR", "fr-FR", None])
def test_the_language_is_the_browsers_until_one_is_chosen(locale: str | None) -> None:
    app = opened(locale)
    portuguese, english = Texts("pt_BR")("title"), Texts("en")("title")

    assert app.title[0].value == (portuguese if locale == "pt-BR" else english)
    assert opened("pt-BR", lang="EN").title[0].value == english


def test_both_languages_say_the_same() -> None:
    english, portuguese = (Texts(locale)._texts for locale in ("en", "pt_BR"))

    for part in ("texts", "labels"):
        assert list(english[part]) == list(portuguese[part])
    fields = re.compile(r"\{\w+\}")
    for name, text in english["texts"].items():
        assert set(fields.findall(text)) == set(fields.findall(portuguese["texts"][name])), name


def shows_only(app: AppTest, state: str, language: str = "en") -> None:
    texts = Texts(language)
    boxes = [*app.info, *app.warning, *app.error]
    assert [box.value for box in boxes] == [texts(state)]
    assert not app.metric
    assert not app.exception
    assert not INNARDS.search(said(app)), said(app)


@pytest.mark.parametrize(
    ("dsn", "name", "language"),
    [
        ("host=127.0.0.1 port=1 password=canary", "overview", "en"),
        ("host=127.0.0.1 port=1 password = canary x", "explorer", "pt_BR"),
        ("postgresql://bi_reader:can@ary@db.example/capstone", "method", "en"),
        ("host=db.example sslmode=require password=canary", "overview", "pt_BR"),
        ("", "overview", "en"),
    ],
)
def test_a_database_that_is_away_is_said(
    monkeypatch: pytest.MonkeyPatch,
    dsn: str,
    name: str,
    language: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(VARIABLE, dsn)

    shows_only(page(name, language), "away", language)
    assert VARIABLE in caplog.text
    assert "canary" not in caplog.text
    assert "can@ary" not in caplog.text


def test_a_database_that_comes_back_is_read(
    monkeypatch: pytest.MonkeyPatch, served: Served
) -> None:
    monkeypatch.setenv(VARIABLE, "host=127.0.0.1 port=1")
    app = opened()
    assert not app.metric

    monkeypatch.setenv(VARIABLE, served.dataset.reader_dsn())
    app.button[0].click().run()
    assert len(app.metric) == 5


def test_nothing_published_is_said(own: Served) -> None:
    shows_only(page("overview"), "never")

    own.as_admin("DROP SCHEMA serving CASCADE")
    shows_only(page("overview"), "never")


def test_a_gold_without_a_row_is_no_fault(own: Served) -> None:
    own.publish(most=0)

    shows_only(page("overview"), "empty")
    shows_only(page("explorer"), "empty")
    assert not page("method").error


def test_what_takes_too_long_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        VARIABLE, served.dataset.reader_dsn() + " options='-c statement_timeout=300'"
    )
    address = served.dataset.server.start()
    with closing(connect(address, served.dataset.database, ADMIN)) as admin:
        admin.cursor().execute(f"LOCK serving.{BY_NETWORK} IN ACCESS EXCLUSIVE MODE")
        app = opened(**days(FIRST, FIRST + dt.timedelta(days=3)), network="Instagram Reels")
        assert Texts("en")("slow") in [box.value for box in app.warning]
        assert not app.metric


def test_a_fault_is_told_without_its_innards(
    published: Served, caplog: pytest.LogCaptureFixture
) -> None:
    published.as_admin(f"ALTER TABLE serving.{BY_INSTITUTION} RENAME total_views TO gone")

    shows_only(page("overview"), "failed")
    assert "UndefinedColumn" in caplog.text


def test_figures_older_than_the_last_deadline_are_stale(
    published: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {"timezone": "America/Sao_Paulo", "starts": ["23:00"], "minutes": 30}
    monkeypatch.setenv(SCHEDULE, json.dumps(schedule))
    texts = Texts("en")
    app = opened()
    assert not app.warning
    assert texts("fresh") in said(app)
    assert texts("stale") not in said(app)

    published.as_admin("UPDATE serving.publications SET published_at = now() - interval '2 days'")
    app.run()
    assert len(app.metric) == 5
    assert [box.value.split(",")[0] for box in app.warning] == [
        texts("stale_text", deadline="", moment="").split(",")[0]
    ]
    assert texts("stale") in said(app)
    assert texts("fresh") not in said(app)


def test_a_new_publication_is_seen_at_once_and_an_unchanged_one_asks_no_mart(
    published: Served,
) -> None:
    def scans() -> list[tuple[Any, ...]]:
        return published.as_admin(
            "SELECT relname, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables "
            "WHERE relname LIKE 'gold%' ORDER BY 1"
        )

    app = opened(**days(*PERIOD))
    asked = scans()
    assert all(count for _, count in asked)
    app.run()
    opened(**days(*PERIOD))
    assert scans() == asked

    before = app.metric[0].proto.help
    published.publish(seed=8)
    app.run()
    assert app.metric[0].proto.help != before
    assert whole(app.metric[0].proto.help) == sums(published, BY_NETWORK, *PERIOD)[0]


def test_what_a_page_reads_is_of_one_publication(published: Served) -> None:
    query = f"SELECT sum(total_views) AS views FROM serving.{BY_NETWORK}"

    with snapshot() as taken:
        before = sums(published, BY_NETWORK, FIRST, LAST)[0]
        published.publish(seed=8)
        assert taken.ask(query)["views"].tolist() == [before]
    with snapshot() as taken:
        assert taken.publication.number == 2
        assert taken.ask(query)["views"].tolist() == [sums(published, BY_NETWORK, FIRST, LAST)[0]]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            taken.ask("CREATE TEMPORARY TABLE written (n int)")


def test_a_declared_mart_appears_by_itself_and_widens_the_filters(own: Served) -> None:
    own.publish({**DECLARED, "gold_dia_cruzado": BY_BOTH, "gold_categoria": BY_CATEGORY})

    explorer = page("explorer")
    explorer.selectbox(key="mart").set_value("gold_categoria").run()
    (bars,) = charts(explorer)
    rows = own.from_gold("SELECT categoria, total_videos FROM gold_categoria ORDER BY 2 DESC")
    assert [(row["part"], row["value"]) for row in bars] == rows

    app = opened(**days(*PERIOD), network="TikTok", institution="GRAN")
    more = "rede_social = 'tiktok' AND faculdade = 'GRAN'"
    assert whole(app.metric[0].proto.help) == sums(own, "gold_dia_cruzado", *PERIOD, more)[0]
    assert "not filtered here" not in said(app)


@pytest.mark.parametrize("by", ["data_postagem", "rede_social"])
def test_the_explorer_sums_as_gold_does(served: Served, by: str) -> None:
    app = page("explorer")
    app.selectbox(key="mart").set_value(BY_NETWORK).run()
    app.selectbox(key="by").set_value(by)
    app.selectbox(key="measure").set_value("total_likes")
    app.date_input(key="period").set_value(PERIOD).run()

    (drawn,) = charts(app)
    found = {
        row["part"] if by == "rede_social" else row["part"].date(): row["value"] for row in drawn
    }
    assert found == dict(
        served.from_gold(
            f"SELECT {by}, sum(total_likes)::BIGINT FROM {BY_NETWORK} "
            "WHERE data_postagem BETWEEN ? AND ? GROUP BY 1",
            *PERIOD,
        )
    )


def test_the_method_page_compares_the_tables_with_what_was_published(published: Served) -> None:
    texts = Texts("en")
    app = page("method")
    for mart, table in zip((BY_INSTITUTION, BY_NETWORK), app.dataframe, strict=False):
        rows = table.value
        expected = [
            *published.from_gold(f"SELECT count(*) FROM {mart}")[0],
            *sums(published, mart, FIRST, LAST),
        ]
        assert rows[texts("published_total")].tolist() == expected
        assert rows[texts("counted_total")].tolist() == expected
    assert texts("differs") not in said(app)

    published.as_admin(f"DELETE FROM serving.{BY_NETWORK} WHERE rede_social = 'tiktok'")
    assert texts("differs") in said(page("method"))
