"""The pages without a browser: each state, each filter, and each number beside that of Gold."""

from __future__ import annotations

import datetime as dt
import json
import re
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pyarrow as pa
import pytest

import capstone_metrics.dashboard
from capstone_metrics.dashboard.freshness import SCHEDULE_VARIABLE
from capstone_metrics.dashboard.texts import Texts, preferred_language
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
    READER_DSN_VARIABLE,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.testing.v1 import AppTest

    from tests.dashboard.conftest import Served

    Read = Callable[..., AppTest]

APP = str(Path(capstone_metrics.dashboard.__file__).parent / "app.py")
NAMES = ["total_views", "total_likes", "total_comentarios", "total_videos"]
PERIOD = dt.date(2026, 2, 1), dt.date(2026, 2, 14)
OLD_PERIOD = dt.date(2026, 1, 25), dt.date(2026, 2, 7)
DEFAULT_PERIOD = LAST - dt.timedelta(days=27), LAST
BEFORE = dt.date(2026, 1, 18), dt.date(2026, 1, 31)
FIRST_DAYS = {
    "locale": "en-US",
    "period": (FIRST.isoformat(), (FIRST + dt.timedelta(days=13)).isoformat()),
    "network": ("TikTok", "YouTube Shorts"),
    "mean": "true",
    "institution": "?",
}
INTERNALS = re.compile(r"psycopg|SELECT|relation|serving\.|Traceback|canary|127\.0\.0\.1|password")
SECONDS = 300
"""After this time a script is taken to hang."""

pytestmark = pytest.mark.parametrize("server", ["packaged"], indirect=True)


@pytest.fixture(autouse=True)
def environment(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(READER_DSN_VARIABLE, served.dataset.reader_dsn())
    monkeypatch.delenv(SCHEDULE_VARIABLE, raising=False)


@pytest.fixture(scope="module")
def read(served: Served) -> Read:
    """Open a page that is only read: tests that read the same page share it."""
    return cache(opened)


def opened(locale: str | None = "en-US", **parameters: Any) -> AppTest:
    from streamlit.testing.v1 import AppTest  # noqa: PLC0415 - it is slow to import

    app = AppTest.from_file(APP, default_timeout=SECONDS)
    app.context["locale"] = locale
    app.query_params.update(parameters)
    return app.run()


def page(name: str, language: str = "en") -> AppTest:
    from streamlit.testing.v1 import AppTest  # noqa: PLC0415

    def script(name: str, language: str) -> None:
        from capstone_metrics.dashboard.site import show_page  # noqa: PLC0415 - a script of its own
        from capstone_metrics.dashboard.texts import Texts  # noqa: PLC0415

        show_page(name, Texts(language))

    return AppTest.from_function(script, default_timeout=SECONDS, args=(name, language)).run()


def days(first: dt.date, last: dt.date) -> dict[str, tuple[str, str]]:
    return {"period": (first.isoformat(), last.isoformat())}


def text_of(app: AppTest) -> str:
    """Return all text of a page, but for the data of its tables and charts."""
    protos = (str(getattr(element, "proto", "")) for element in [*app.main, *app.sidebar])
    return "\n".join(line for text in protos for line in text.split("\n") if "data:" not in line)


def charts(app: AppTest) -> list[list[dict[str, Any]]]:
    """Return the rows of each chart."""
    rows = []
    for chart in app.get("vega_lite_chart"):
        (data,) = {each.data.data for each in chart.proto.datasets} or {chart.proto.data.data}
        rows.append(pa.ipc.open_stream(data).read_all().to_pylist())
    return rows


def channels(spec: Any) -> Iterator[dict[str, Any]]:
    """Return the parts of a chart's specification that have a field and a title."""
    if isinstance(spec, dict):
        if "field" in spec and spec.get("title"):
            yield spec
        spec = list(spec.values())
    if isinstance(spec, list):
        for part in spec:
            yield from channels(part)


def sums(served: Served, mart: str, first: dt.date, last: dt.date, more: str = "true") -> list[int]:
    measures = ", ".join(f"sum({name})::BIGINT" for name in NAMES)
    where = f"data_postagem BETWEEN ? AND ? AND {more}"
    ((*totals,),) = served.from_gold(f"SELECT {measures} FROM {mart} WHERE {where}", first, last)
    return totals


def digits(number: str) -> int:
    return int(re.sub(r"\D", "", number))


@pytest.mark.parametrize(("locale", "decimal"), [("en-US", "."), ("pt-BR", ",")])
def test_the_figures_are_those_of_gold(
    read: Read, served: Served, locale: str, decimal: str
) -> None:
    app = read(locale, **days(*PERIOD))

    now, before = sums(served, BY_NETWORK, *PERIOD), sums(served, BY_NETWORK, *BEFORE)
    shown = {metric.label: metric for metric in app.metric}
    texts = Texts("pt_BR" if locale == "pt-BR" else "en")
    for name, value, was in zip(NAMES, now, before, strict=True):
        metric = shown[texts.label(name)]
        assert digits(metric.proto.help) == value
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


def test_a_change_is_grey_while_the_videos_are_young(read: Read) -> None:
    young, old = read("en-US", **days(*PERIOD)), read("en-US", **days(*OLD_PERIOD))

    for metric in young.metric:
        assert metric.delta
        assert metric.proto.color == metric.proto.GRAY
        assert metric.proto.delta_description == "still growing"
    assert "still gaining views" in text_of(young)
    assert Texts("en")("change_text", days=14) in text_of(young)
    for metric in old.metric:
        assert metric.proto.color in {metric.proto.RED, metric.proto.GREEN}
        assert metric.proto.delta_description == Texts("en")("vs_previous_period", days=14)
    assert "still gaining views" not in text_of(old)


def test_a_change_is_never_above_ten_and_left_out_where_the_base_is_small(own: Served) -> None:
    own.publish()
    own.as_admin(
        f"UPDATE serving.{BY_INSTITUTION} SET total_views = 20 * total_views "
        f"WHERE data_postagem >= '{PERIOD[0]}'; "
        f"UPDATE serving.{BY_INSTITUTION} SET total_comentarios = 0 "
        f"WHERE data_postagem < '{PERIOD[0]}'"
    )
    texts = Texts("en")

    app = opened(**days(*PERIOD), institution=QUOTED)

    shown = {metric.label: metric for metric in app.metric}
    assert shown[texts.label("total_views")].delta == texts("large_change", factor=10)
    comments = shown[texts.label("total_comentarios")]
    assert not comments.delta
    assert comments.proto.delta_description == texts("small_base", count=10)


def test_a_change_needs_a_complete_period_before(read: Read) -> None:
    app = read(**FIRST_DAYS)

    assert {metric.delta for metric in app.metric} == {""}
    assert {metric.proto.delta_description for metric in app.metric} == {
        Texts("en")("no_previous_period")
    }


def test_the_days_of_the_charts_are_those_of_gold(read: Read, served: Served) -> None:
    *_, lines, heat, _ = charts(read("en-US", **days(*PERIOD)))

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
        values = {(row["day"].date(), row["segment"]): (row["views"], row["mean"]) for row in rows}
        assert values == {
            (day, label(name)): (views, pytest.approx(mean)) for day, name, views, mean in expected
        }


def test_a_mean_needs_seven_days(read: Read) -> None:
    *_, lines, _, _ = charts(read(**FIRST_DAYS))

    assert min(row["day"].date() for row in lines) == FIRST + dt.timedelta(days=6)


@pytest.mark.parametrize(
    ("locale", "so_far", "by_day"),
    [("en-US", "so far", "by day of posting"), ("pt-BR", "até agora", "por dia de postagem")],
)
def test_sums_by_day_of_posting_are_called_so_far(
    read: Read, locale: str, so_far: str, by_day: str
) -> None:
    app = read(locale, **days(*PERIOD))

    titles = [
        channel["title"]
        for chart in app.get("vega_lite_chart")
        for channel in channels(json.loads(chart.proto.spec))
        if channel["field"] in {"views", "mean"}
    ]
    assert len(titles) >= 5
    sums_of_videos = [metric.label for metric in app.metric][:3]
    over_time, heatmap, ranking = [header.value for header in app.header][:3]
    texts = [*titles, *sums_of_videos, over_time, heatmap, ranking]
    assert not [text for text in texts if so_far not in text]
    assert by_day in over_time
    assert by_day in heatmap
    assert [tab.label.lower().startswith(f"{so_far}, {by_day}") for tab in app.tabs] == [True] * 2


def test_the_ranking_is_that_of_gold(read: Read, served: Served) -> None:
    app = read("en-US", **days(*PERIOD))

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
    changes = [before.index(name) - rank for rank, (name, _) in enumerate(now)]
    assert any(changes)
    assert rows == [
        [
            rank + 1,
            name,
            views,
            pytest.approx(views / total),
            f"{'▲' if change > 0 else '▼'} {abs(change)}" if change else "=",
        ]
        for rank, ((name, views), change) in enumerate(zip(now, changes, strict=True))
    ]


def test_the_tables_have_the_rows_of_gold(read: Read, served: Served) -> None:
    app = read("en-US", **days(*PERIOD))

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
            {"institution": (QUOTED, "GRAN")},
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
def test_a_filter_applies_where_a_mart_has_its_column(  # noqa: PLR0913, PLR0917
    read: Read, served: Served, parameters: dict[str, Any], mart: str, more: str, ignored: set[str]
) -> None:
    app = read("en-US", **days(*PERIOD), **parameters)

    views = app.metric[0].proto.help
    assert digits(views) == sums(served, mart, *PERIOD, more)[0]
    notes = re.findall(r"(\w+): not filtered here", text_of(app))
    assert set(notes) == ignored


def test_rank_and_share_are_of_all_institutions(read: Read) -> None:
    everyone = read("en-US", **days(*PERIOD)).dataframe[0].value.values.tolist()
    filtered = read("en-US", **days(*PERIOD), institution=(QUOTED, "GRAN"))

    rows = [row for row in everyone if row[1] != "IMPACTA"]
    assert len(rows) == 2 < len(everyone)
    assert filtered.dataframe[0].value.values.tolist() == rows


def test_a_url_sets_the_filters(read: Read) -> None:
    """That filters set the URL is tested in a browser, in test_browser.py."""
    app = read(**FIRST_DAYS)

    assert app.multiselect(key="network").value == ["tiktok", "youtube_shorts"]
    assert app.multiselect(key="institution").value == []
    assert app.date_input(key="period").value == (FIRST, FIRST + dt.timedelta(days=13))
    assert app.toggle(key="mean").value


@pytest.mark.parametrize(
    ("requested", "shown"),
    [
        (
            (dt.date(2025, 1, 1), FIRST + dt.timedelta(days=9)),
            (FIRST, FIRST + dt.timedelta(days=9)),
        ),
        ((dt.date(2024, 1, 1), dt.date(2024, 1, 31)), DEFAULT_PERIOD),
        ((LAST, LAST + dt.timedelta(days=9)), DEFAULT_PERIOD),  # one day of it has data
    ],
)
def test_a_period_outside_of_the_data_is_shown(
    requested: tuple[dt.date, dt.date], shown: tuple[dt.date, dt.date]
) -> None:
    app, texts = opened(**days(*requested)), Texts("en")

    periods = {"requested": requested, "available": (FIRST, LAST), "shown": shown}
    sentence = texts("period_outside", **{k: texts.period(*each) for k, each in periods.items()})
    assert [info.value for info in app.info] == [sentence]
    assert app.date_input(key="period").value == shown
    in_url = [] if shown == DEFAULT_PERIOD else [day.isoformat() for day in shown]
    assert app.query_params.get("period", []) == in_url
    assert len(app.metric) == 5
    app.toggle(key="mean").set_value(True).run()
    assert [info.value for info in app.info] == [sentence]
    app.date_input(key="period").set_value(PERIOD).run()
    assert not app.info


def test_a_period_outside_of_a_new_publication_is_shown(published: Served) -> None:
    app = opened(**days(*PERIOD))
    assert not app.info

    published.publish(most=100)
    app.run()

    ((last,),) = published.from_gold(f"SELECT max(data_postagem) FROM {BY_NETWORK}")
    assert last < PERIOD[0]
    assert app.date_input(key="period").value == (FIRST, last)
    assert Texts("en").period(FIRST, last) in app.info[0].value


def test_a_filter_without_rows_can_be_cleared() -> None:
    app = opened(**days(FIRST, FIRST + dt.timedelta(days=9)), network="YouTube Shorts")
    texts = Texts("en")

    assert texts("empty") in [info.value for info in app.info]
    assert not app.metric
    app.button[0].click().run()
    assert len(app.metric) == 5
    assert not app.info


@pytest.mark.parametrize(
    "locale",
    ["en-US", "pt-BR", *(pytest.param(each, marks=pytest.mark.slow) for each in ("fr-FR", None))],
)
def test_the_language_is_that_of_the_browser(read: Read, locale: str | None) -> None:
    title = read(locale, **days(*PERIOD)).title[0].value

    assert title == Texts("pt_BR" if locale == "pt-BR" else "en")("title")


def test_a_language_can_be_chosen() -> None:
    assert opened("pt-BR", lang="EN").title[0].value == Texts("en")("title")


@pytest.mark.parametrize(
    ("locale", "language"), [("en-US", "EN"), ("pt-BR", "PT"), ("fr-FR", "EN"), (None, "EN")]
)
def test_other_languages_than_portuguese_are_english(locale: str | None, language: str) -> None:
    assert preferred_language(locale) == language


def test_both_languages_have_the_same_texts() -> None:
    english, portuguese = (Texts(locale)._entries for locale in ("en", "pt_BR"))

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
    assert not INTERNALS.search(text_of(app)), text_of(app)


@pytest.mark.parametrize(
    "dsn",
    [
        "host=127.0.0.1 port=1 password=canary",
        "host=127.0.0.1 port=1 password = canary x",
        "postgresql://bi_reader:can@ary@db.example/capstone",
        "host=db.example sslmode=require password=canary",
        "",
    ],
)
def test_a_log_of_a_database_that_is_away_has_no_password(
    monkeypatch: pytest.MonkeyPatch, dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    from capstone_metrics.dashboard.database import DatabaseUnavailableError, read_transaction  # noqa: PLC0415

    monkeypatch.setenv(READER_DSN_VARIABLE, dsn)

    with pytest.raises(DatabaseUnavailableError) as error, read_transaction():
        pass
    assert READER_DSN_VARIABLE in caplog.text
    for password in ("canary", "can@ary"):
        assert password not in caplog.text
        assert password not in repr(error.value)


@pytest.mark.parametrize(
    ("dsn", "name", "language"),
    [
        ("host=127.0.0.1 port=1 password=canary", "overview", "en"),
        ("postgresql://bi_reader:can@ary@db.example/capstone", "method", "pt_BR"),
        *(
            pytest.param(dsn, name, language, marks=pytest.mark.slow)
            for dsn, name, language in [
                ("host=127.0.0.1 port=1 password = canary x", "explorer", "pt_BR"),
                ("host=db.example sslmode=require password=canary", "overview", "pt_BR"),
                ("", "overview", "en"),
            ]
        ),
    ],
)
def test_a_database_that_is_away_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    dsn: str,
    name: str,
    language: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(READER_DSN_VARIABLE, dsn)

    shows_only(page(name, language), "unavailable", language)
    assert READER_DSN_VARIABLE in caplog.text
    assert "canary" not in caplog.text
    assert "can@ary" not in caplog.text


@pytest.mark.slow  # the browser's pass has it, too
def test_a_database_that_comes_back_is_read(
    monkeypatch: pytest.MonkeyPatch, served: Served
) -> None:
    monkeypatch.setenv(READER_DSN_VARIABLE, "host=127.0.0.1 port=1")
    app = opened()
    assert not app.metric

    monkeypatch.setenv(READER_DSN_VARIABLE, served.dataset.reader_dsn())
    app.button[0].click().run()
    assert len(app.metric) == 5


def test_a_database_without_a_publication_is_reported(own: Served) -> None:
    shows_only(page("overview"), "unpublished")

    own.as_admin("DROP SCHEMA serving CASCADE")
    shows_only(page("overview"), "unpublished")


def test_a_gold_without_a_row_is_no_fault(own: Served) -> None:
    own.publish(most=0)

    shows_only(page("overview"), "empty")
    shows_only(page("explorer"), "empty")
    assert not page("method").error


def test_a_query_that_takes_too_long_is_reported(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        READER_DSN_VARIABLE, served.dataset.reader_dsn() + " options='-c statement_timeout=300'"
    )
    address = served.dataset.server.start()
    with closing(connect(address, served.dataset.database, ADMIN)) as admin:
        admin.cursor().execute(f"LOCK serving.{BY_NETWORK} IN ACCESS EXCLUSIVE MODE")
        app = opened(**days(FIRST, FIRST + dt.timedelta(days=3)), network="Instagram Reels")
        assert Texts("en")("slow") in [box.value for box in app.warning]
        assert not app.metric


def test_an_error_is_reported_without_its_internals(
    published: Served, caplog: pytest.LogCaptureFixture
) -> None:
    published.as_admin(f"ALTER TABLE serving.{BY_INSTITUTION} RENAME total_views TO gone")

    shows_only(page("overview"), "failed")
    assert "UndefinedColumn" in caplog.text


def test_figures_older_than_the_last_deadline_are_stale(
    published: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = {"timezone": "America/Sao_Paulo", "starts": ["23:00"], "minutes": 30}
    monkeypatch.setenv(SCHEDULE_VARIABLE, json.dumps(schedule))
    texts = Texts("en")
    for mart in (BY_NETWORK, BY_INSTITUTION):
        shift = f"current_date - DATE '{LAST}'"
        published.as_admin(f"UPDATE serving.{mart} SET data_postagem = data_postagem + ({shift})")
    app = opened()
    assert not app.warning
    assert texts("fresh") in text_of(app)
    assert texts("stale") not in text_of(app)

    published.as_admin("UPDATE serving.publications SET published_at = now() - interval '2 days'")
    app.run()
    assert len(app.metric) == 5
    assert [box.value.split(",")[0] for box in app.warning] == [
        texts("stale_text", deadline="", moment="").split(",")[0]
    ]
    assert texts("stale") in text_of(app)
    assert texts("fresh") not in text_of(app)


@pytest.mark.parametrize(
    ("locale", "old_data", "end"),
    [
        ("en-US", "Data from", "Data up to Feb 14, 2026. Published"),
        ("pt-BR", "atrás", "Dados até 14 de fev. de 2026. Última publicação"),
    ],
)
def test_a_new_publication_of_old_data_is_not_up_to_date(
    read: Read, locale: str, old_data: str, end: str
) -> None:
    text = text_of(read(locale, **days(*PERIOD)))

    assert ":orange-badge[" in text
    assert ":green-badge[" not in text
    assert old_data in text
    assert end in text


def test_a_new_publication_is_shown_at_once_and_an_unchanged_one_queries_no_mart(
    published: Served,
) -> None:
    sessions = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )

    def scans() -> list[tuple[Any, ...]]:
        wait_until(lambda: not published.as_admin(sessions))  # they count theirs when they end
        return published.as_admin(
            "SELECT relname, seq_scan + coalesce(idx_scan, 0) FROM pg_stat_user_tables "
            "WHERE relname LIKE 'gold%' ORDER BY 1"
        )

    app = opened(**days(*PERIOD))
    before = scans()
    assert all(count for _, count in before)
    app.run()
    opened(**days(*PERIOD))
    assert scans() == before

    views = app.metric[0].proto.help
    published.publish(seed=8)
    app.run()
    assert app.metric[0].proto.help != views
    assert digits(app.metric[0].proto.help) == sums(published, BY_NETWORK, *PERIOD)[0]


def test_a_page_reads_one_publication(published: Served) -> None:
    from capstone_metrics.dashboard.database import read_transaction  # noqa: PLC0415

    query = f"SELECT sum(total_views) AS views FROM serving.{BY_NETWORK}"

    with read_transaction() as current:
        before = sums(published, BY_NETWORK, FIRST, LAST)[0]
        published.publish(seed=8)
        assert current.query(query)["views"].tolist() == [before]
    with read_transaction() as current:
        assert current.publication.number == 2
        assert current.query(query)["views"].tolist() == [
            sums(published, BY_NETWORK, FIRST, LAST)[0]
        ]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            current.query("CREATE TEMPORARY TABLE written (n int)")


def test_a_declared_mart_appears_by_itself_and_widens_the_filters(own: Served) -> None:
    own.publish({**DECLARED, "gold_dia_cruzado": BY_BOTH, "gold_categoria": BY_CATEGORY})

    explorer = page("explorer")
    explorer.selectbox(key="mart").set_value("gold_categoria").run()
    (bars,) = charts(explorer)
    rows = own.from_gold("SELECT categoria, total_videos FROM gold_categoria ORDER BY 2 DESC")
    assert [(row["segment"], row["value"]) for row in bars] == rows

    app = opened(**days(*PERIOD), network="TikTok", institution="GRAN")
    more = "rede_social = 'tiktok' AND faculdade = 'GRAN'"
    assert digits(app.metric[0].proto.help) == sums(own, "gold_dia_cruzado", *PERIOD, more)[0]
    assert "not filtered here" not in text_of(app)


def test_the_explorer_sums_as_gold_does(served: Served) -> None:
    app = page("explorer")
    app.selectbox(key="mart").set_value(BY_NETWORK).run()
    app.selectbox(key="measure").set_value("total_likes")
    app.date_input(key="period").set_value(PERIOD)
    for by in ("data_postagem", "rede_social"):
        app.selectbox(key="by").set_value(by).run()

        (rows,) = charts(app)
        parts = [row["segment"] if by == "rede_social" else row["segment"].date() for row in rows]
        assert dict(zip(parts, (row["value"] for row in rows), strict=True)) == dict(
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
    assert texts("differs") not in text_of(app)

    published.as_admin(f"DELETE FROM serving.{BY_NETWORK} WHERE rede_social = 'tiktok'")
    assert texts("differs") in text_of(page("method"))
