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
from capstone_metrics.sources.presets import all_presets
from tests.dashboard.conftest import (
    AT_7_DAYS,
    BY_CATEGORY,
    BY_CHANNEL,
    BY_NETWORK,
    DECLARED,
    FIRST,
    GAINED,
    INSTITUTIONS,
    LAST,
    LATE,
    NETWORKS,
    QUOTED,
    READER_DSN_VARIABLE,
    VIDEO,
    day_of,
)
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamlit.testing.v1 import AppTest

    from tests.dashboard.conftest import Served

    Read = Callable[..., AppTest]

APP = str(Path(capstone_metrics.dashboard.__file__).parent / "app.py")
FINEST = {GAINED: "data_observacao", AT_7_DAYS: "data_postagem", BY_CHANNEL: "data_postagem"}
"""The marts of the tables, and the day of each."""

PERIOD = dt.date(2026, 2, 1), dt.date(2026, 2, 14)
GAINED_BY_NETWORK = "gold_video_crescimento_dia_rede_social"
AT_7_DAYS_BY_NETWORK = "gold_video_views_7d_dia_rede_social"
GAINED_BY_INSTITUTION = "gold_video_crescimento_dia_faculdade"
OLD_PERIOD = dt.date(2026, 1, 25), dt.date(2026, 2, 7)
DEFAULT_PERIOD = LAST - dt.timedelta(days=13), LAST
BEFORE = dt.date(2026, 1, 18), dt.date(2026, 1, 31)
FIRST_DAYS = {
    "locale": "en-US",
    "period": (FIRST.isoformat(), (FIRST + dt.timedelta(days=13)).isoformat()),
    "network": ("TikTok", "YouTube Shorts"),
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


def page(name: str, language: str = "en", **parameters: Any) -> AppTest:
    from streamlit.testing.v1 import AppTest  # noqa: PLC0415

    def script(name: str, language: str) -> None:
        from capstone_metrics.dashboard.site import show_page  # noqa: PLC0415 - a script of its own
        from capstone_metrics.dashboard.texts import Texts  # noqa: PLC0415

        show_page(name, Texts(language))

    app = AppTest.from_function(script, default_timeout=SECONDS, args=(name, language))
    app.query_params.update(parameters)
    return app.run()


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


def sums(
    served: Served, mart: str, first: dt.date, last: dt.date, more: str = "true"
) -> dict[str, int]:
    """Return the sum of each measure of a mart that adds up, over some days."""
    names = [
        name for name, rule in DECLARED[mart]["measures"].items() if {"sum", "count"} & {*rule}
    ]
    measures = ", ".join(f"sum({name})::BIGINT" for name in names)
    where = f"{day_of(mart)} BETWEEN ? AND ? AND {more}"
    ((*totals,),) = served.from_gold(f"SELECT {measures} FROM {mart} WHERE {where}", first, last)
    return dict(zip(names, totals, strict=True))


def digits(number: str) -> int:
    return int(re.sub(r"\D", "", number))


def even_videos() -> list[tuple[Any, ...]]:
    """Return a video of each day and channel, which all have 8 000 views after 7 days."""
    dates = [FIRST + dt.timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
    counters = (14_000, 1_400, 140)
    return [
        (date, network, institution, "a", f"{date}-{network}-{institution}", *counters)
        for date in dates
        for network in NETWORKS
        for institution in INSTITUTIONS
    ]


def move_to_today(served: Served) -> None:
    """Have the published data end today."""
    for mart in DECLARED:
        day = day_of(mart)
        served.as_admin(f"UPDATE serving.{mart} SET {day} = {day} + (current_date - DATE '{LAST}')")


def labelled(app: AppTest) -> dict[str, Any]:
    """Return the metrics of a page by their labels."""
    return {metric.label: metric for metric in app.metric}


@pytest.mark.parametrize(("locale", "decimal"), [("en-US", "."), ("pt-BR", ",")])
def test_the_figures_are_those_of_gold(
    read: Read, served: Served, locale: str, decimal: str
) -> None:
    app, texts = read(locale, **days(*PERIOD)), Texts("pt_BR" if locale == "pt-BR" else "en")

    def percent(ratio: float, sign: str = "") -> str:
        return f"{100 * ratio:{sign}.1f}%".replace(".", decimal)

    shown = labelled(app)
    gained, gained_before = (sums(served, GAINED, *each) for each in (PERIOD, BEFORE))
    posted, posted_before = (sums(served, BY_CHANNEL, *each) for each in (PERIOD, BEFORE))
    aged, aged_before = (sums(served, AT_7_DAYS, *each) for each in (PERIOD, BEFORE))
    compared = {
        **{name: (gained[name], gained_before[name]) for name in list(gained)[:3]},
        "total_videos": (posted["total_videos"], posted_before["total_videos"]),
    }
    for name, (value, before) in compared.items():
        metric = shown[texts.label(name)]
        assert digits(metric.proto.help) == value
        assert metric.delta == percent(value / before - 1, "+")
    now, before = (
        (each["likes_ganhos"] + each["comentarios_ganhos"]) / each["views_ganhas"]
        for each in (gained, gained_before)
    )
    metric = shown[texts.label("engagement_gained")]
    assert (metric.value, metric.delta) == (percent(now), percent(now / before - 1, "+"))
    now, before = (each["views_7d"] / each["videos_7d"] for each in (aged, aged_before))
    metric = shown[texts.label("views_7d_mean")]
    assert (metric.value, metric.delta) == (texts.compact(now), percent(now / before - 1, "+"))
    so_far = shown[texts.label("total_views")]
    assert (so_far.value, so_far.delta) == (texts.compact(posted["total_views"]), "")
    engagement = (posted["total_likes"] + posted["total_comentarios"]) / posted["total_views"]
    assert shown[texts.label("engagement")].value == percent(engagement)
    young = posted["total_videos"] - aged["videos_7d"]
    assert young
    too_young = texts("too_young", young=young, count=posted["total_videos"])
    assert too_young in [caption.value for caption in app.caption]


def test_the_sentences_on_top_have_the_figures_of_the_page(read: Read, served: Served) -> None:
    for locale, language in (("en-US", "en"), ("pt-BR", "pt_BR")):
        app, texts = read(locale, **days(*PERIOD)), Texts(language)
        (sentences,) = [each.value for each in app.markdown if "14" in each.value]
        numbers = re.findall(r"\*\*(.+?)\*\*", sentences)

        shown = labelled(app)
        leader, share = app.dataframe[0].value.iloc[0][[texts.label("faculdade"), texts("share")]]
        names = ["views_ganhas", "total_videos", "views_7d_mean"]
        values = [shown[texts.label(name)].value for name in names]
        changes = [
            shown[texts.label(name)].delta.strip("+-") for name in ("views_ganhas", "views_7d_mean")
        ]
        assert numbers == [
            values[0],
            changes[0],
            leader,
            texts.percent(share),
            values[1],
            values[2],
            changes[1],
        ]
        less, more = {"en": ("fewer", "more"), "pt_BR": ("a menos", "a mais")}[language]
        gained = shown[texts.label("views_ganhas")].delta
        assert f"{changes[0]}** {less if gained.startswith('-') else more}" in sentences


def test_posts_are_compared_at_an_equal_age(own: Served) -> None:
    """Of posts that all do alike, younger ones have fewer views, which is no change."""
    own.publish(of=even_videos())

    app, texts = opened(), Texts("en")

    so_far = [sums(own, BY_CHANNEL, *each)["total_views"] for each in (DEFAULT_PERIOD, BEFORE)]
    assert so_far[0] < 0.8 * so_far[1]  # what sums by day of posting would say
    metric = labelled(app)[texts.label("views_7d_mean")]
    assert (metric.value, metric.delta) == (texts.compact(8_000), "0.0%")


def test_a_change_is_grey_while_the_last_day_may_be_incomplete(published: Served) -> None:
    texts = Texts("en")
    move_to_today(published)
    today = dt.datetime.now(dt.UTC).date()

    complete = opened()
    first, last = complete.date_input(key="period").value
    assert (last - first).days == 13
    assert today - last <= dt.timedelta(days=2)
    assert last < today
    assert texts("incomplete_text") not in text_of(complete)
    gained = labelled(complete)[texts.label("views_ganhas")]
    assert gained.proto.color in {gained.proto.RED, gained.proto.GREEN}

    partial = opened(**days(first, last + dt.timedelta(days=1)))
    assert texts("incomplete_text") in text_of(partial)
    gained = labelled(partial)[texts.label("views_ganhas")]
    assert gained.proto.color == gained.proto.GRAY
    assert gained.proto.delta_description == texts("partial")


def test_a_change_is_never_above_ten_and_left_out_where_the_base_is_small(own: Served) -> None:
    own.publish()
    own.as_admin(
        f"UPDATE serving.{GAINED} SET views_ganhas = 20 * views_ganhas "
        f"WHERE data_observacao >= '{PERIOD[0]}'; "
        f"UPDATE serving.{GAINED} SET comentarios_ganhos = 0 "
        f"WHERE data_observacao < '{PERIOD[0]}'"
    )
    texts = Texts("en")

    app = opened(**days(*PERIOD), institution=QUOTED)

    shown = labelled(app)
    views, comments = (shown[texts.label(name)] for name in ("views_ganhas", "comentarios_ganhos"))
    assert views.delta == texts("large_change", factor=10)
    assert texts("times_more", factor=10) in text_of(app)
    assert not comments.delta
    assert comments.proto.delta_description == texts("small_base", count=0)


def test_engagement_leaves_out_the_networks_without_likes(own: Served) -> None:
    own.publish()
    own.as_admin(
        f"UPDATE serving.{BY_CHANNEL} SET total_likes = NULL WHERE rede_social = 'tiktok'; "
        f"UPDATE serving.{BY_NETWORK} SET total_likes = NULL WHERE rede_social = 'tiktok'"
    )
    for institutions, more in (((), "true"), (("GRAN",), "faculdade = 'GRAN'")):
        app, texts = opened(**days(*PERIOD), institution=institutions), Texts("en")

        sum_of = sums(own, BY_CHANNEL, *PERIOD, f"rede_social <> 'tiktok' AND {more}")
        engagement = (sum_of["total_likes"] + sum_of["total_comentarios"]) / sum_of["total_views"]
        assert labelled(app)[texts.label("engagement")].value == texts.percent(engagement)


def test_without_a_period_before_nothing_is_compared(read: Read) -> None:
    app = read(**FIRST_DAYS)

    assert not [metric.delta for metric in app.metric if metric.delta]
    assert {metric.proto.delta_description for metric in app.metric} == {
        "no period before",
        "not compared",
    }
    assert Texts("en")("change") not in app.dataframe[0].value  # of the share
    assert "period before:" not in text_of(app)


def test_nothing_is_drawn_after_the_last_observation(own: Served) -> None:
    """What was gained since is not 0, but unknown; posts may be of later days."""
    own.publish()
    last = LAST - dt.timedelta(days=2)
    for mart in DECLARED:
        if "crescimento" in mart:
            own.as_admin(f"DELETE FROM serving.{mart} WHERE data_observacao > '{last}'")
    app = opened(**days(*PERIOD))

    every = [rows for rows in charts(app) if rows and "mean" in rows[0]]
    ends = [max(row["day"].date() for row in rows) for rows in every]
    count = len(NETWORKS)
    assert (set(ends[:count]), set(ends[count:])) == ({last}, {LAST})


def test_the_networks_that_a_sum_leaves_out_are_named(own: Served) -> None:
    """One is not observed by day, one was observed once, and one has no likes."""
    own.publish()
    for mart in (GAINED, GAINED_BY_NETWORK):
        own.as_admin(
            f"DELETE FROM serving.{mart} WHERE rede_social = 'tiktok'; "
            f"UPDATE serving.{mart} SET views_ganhas = NULL, likes_ganhos = NULL, "
            "comentarios_ganhos = NULL WHERE rede_social = 'instagram_reels'"
        )
    own.as_admin(f"UPDATE serving.{BY_NETWORK} SET total_likes = NULL WHERE rede_social = 'tiktok'")
    own.as_admin(f"DELETE FROM serving.{AT_7_DAYS_BY_NETWORK} WHERE rede_social = 'tiktok'")

    for locale, gains, posts in (
        (
            "en-US",
            "Without Instagram Reels and TikTok, for lack of data: views gained, likes gained, "
            "comments gained, and engagement.",
            "Without TikTok, for lack of data: engagement so far. "
            "Without TikTok, for lack of data: average views at 7 days.",
        ),
        (
            "pt-BR",
            "Sem Instagram Reels e TikTok, por falta de dados: visualizações ganhas, curtidas "
            "ganhas, comentários ganhos e engajamento.",
            "Sem TikTok, por falta de dados: engajamento até agora. "
            "Sem TikTok, por falta de dados: média aos 7 dias.",
        ),
    ):
        captions = [caption.value for caption in opened(locale, **days(*PERIOD)).caption]
        assert sum(caption.endswith(gains) for caption in captions) == 1
        assert sum(caption.startswith(posts) for caption in captions) == 1
    drawn = [rows[0]["segment"] for rows in charts(opened(**days(*PERIOD))) if "mean" in rows[0]]
    assert drawn == [LATE, *sorted(NETWORKS)]
    assert "for lack of data" not in text_of(opened(**days(*PERIOD), network="YouTube Shorts"))
    assert "Without Instagram Reels, for lack of data: views gained." in [
        caption.value for caption in page("explorer", mart=GAINED_BY_NETWORK).caption
    ]


def test_a_file_that_was_read_once_shows_what_its_posts_have_so_far(own: Served) -> None:
    own.publish()
    for mart in DECLARED:
        if "crescimento" in mart:
            own.as_admin(f"UPDATE serving.{mart} SET views_ganhas = NULL")
    app, texts = opened(**days(*PERIOD)), Texts("en")

    assert texts("nothing_gained") in [info.value for info in app.info]
    assert [metric.label for metric in app.metric] == [
        texts.label(name) for name in ("total_videos", "views_7d_mean", "total_views", "engagement")
    ]
    assert "Views so far: **" in text_of(app)
    table = app.dataframe[0].value
    assert texts.label("total_views") in table
    assert texts("change") not in table


@pytest.mark.parametrize(
    ("mart", "day", "measure"),
    [(GAINED, "data_observacao", "views_ganhas"), (BY_CHANNEL, "data_postagem", "total_views")],
)
def test_the_charts_have_the_days_of_gold_and_their_mean(
    read: Read, served: Served, mart: str, day: str, measure: str
) -> None:
    every = [rows for rows in charts(read("en-US", **days(*PERIOD))) if rows and "mean" in rows[0]]
    shown = every[:3] if mart == GAINED else every[3:]

    assert len(every) == 6
    for rows in shown:
        network = rows[0]["segment"]
        sums_by_day = dict(
            served.from_gold(
                f"SELECT {day}, sum({measure})::BIGINT FROM {mart} WHERE rede_social = ? "
                "GROUP BY 1",
                network,
            )
        )
        ((first,),) = served.from_gold(f"SELECT min({day}) FROM {mart}")
        dates = [PERIOD[0] + dt.timedelta(days=number) for number in range(14)]
        assert [row["day"].date() for row in rows] == dates
        assert [row["value"] for row in rows] == [sums_by_day.get(date) or 0 for date in dates]
        for row, date in zip(rows, dates, strict=True):
            week = [date - dt.timedelta(days=number) for number in range(7)]
            mean = sum(sums_by_day.get(each) or 0 for each in week) / 7
            assert row["mean"] == (pytest.approx(mean) if week[-1] >= first else None)


def test_days_that_still_grow_are_pale_and_called_so_far(read: Read) -> None:
    app, texts = read("en-US", **days(*PERIOD)), Texts("en")

    every = [rows for rows in charts(app) if rows and "mean" in rows[0]]
    growing_after = LAST - dt.timedelta(days=7)
    for number, rows in enumerate(every):
        pale = {row["day"].date() for row in rows if row["opacity"] < 1}
        young = {row["day"].date() for row in rows if row["day"].date() > growing_after}
        assert pale == (young if number >= 3 else set())
    assert texts("growing", day=texts.date(growing_after)) in text_of(app)
    assert texts("so_far_chart") in [header.value for header in app.subheader]
    old = read("en-US", **days(FIRST, FIRST + dt.timedelta(days=9)))
    assert "Pale:" not in text_of(old)


def test_the_shares_are_those_of_gold(read: Read, served: Served) -> None:
    app = read("en-US", **days(*PERIOD))

    def gained(first: dt.date, last: dt.date) -> dict[str, int]:
        return dict(
            served.from_gold(
                f"SELECT faculdade, sum(views_ganhas)::BIGINT FROM {GAINED} "
                "WHERE data_observacao BETWEEN ? AND ? GROUP BY 1 ORDER BY 2 DESC",
                first,
                last,
            )
        )

    now, before = gained(*PERIOD), gained(*BEFORE)
    rows = app.dataframe[0].value.values.tolist()
    assert len(rows) == 3
    for rank, (row, (name, views)) in enumerate(zip(rows, now.items(), strict=True), 1):
        share, previous = views / sum(now.values()), before[name] / sum(before.values())
        assert row[:4] == [rank, name, views, pytest.approx(share)]
        assert row[4] == f"{100 * (share - previous):+.1f} pp"


def test_a_weekday_with_few_posts_is_blank(read: Read, served: Served) -> None:
    app = read("en-US", **days(*OLD_PERIOD))
    expected = served.from_gold(
        "SELECT isodow(data_postagem), sum(views_7d)::BIGINT / sum(videos_7d)::BIGINT, "
        f"sum(videos_7d) FROM {AT_7_DAYS} WHERE data_postagem BETWEEN ? AND ? "
        "GROUP BY 1 ORDER BY 1",
        *OLD_PERIOD,
    )

    (rows,) = [rows for rows in charts(app) if len(rows) == 7 and "segment" in rows[0]]
    assert [row["segment"] for row in rows][::6] == ["Monday", "Sunday"]
    means = {day: mean for day, mean, count in expected if count >= 5}
    assert len(means) > 3
    assert [row["value"] for row in rows] == [
        pytest.approx(means[day]) if day in means else None for day in range(1, 8)
    ]
    few = read("en-US", **days(*OLD_PERIOD), network="TikTok", institution="GRAN")
    assert labelled(few)
    assert Texts("en")("weekdays") not in [header.value for header in few.header]


def test_the_tables_have_the_rows_of_gold(read: Read, served: Served) -> None:
    app = read("en-US", **days(*PERIOD))

    tables = app.dataframe[1:]
    for (mart, day), table in zip(FINEST.items(), tables, strict=True):
        rows = served.from_gold(
            f"SELECT * FROM {mart} WHERE {day} BETWEEN ? AND ? ORDER BY ALL", *PERIOD
        )
        assert sorted(map(tuple, table.value.values.tolist())) == rows


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("parameters", "more"),
    [
        ({"network": "TikTok"}, "rede_social = 'tiktok'"),
        ({"institution": (QUOTED, "GRAN")}, "faculdade <> 'IMPACTA'"),
        (
            {"network": "TikTok", "institution": "GRAN"},
            "rede_social = 'tiktok' AND faculdade = 'GRAN'",
        ),
    ],
)
def test_a_filter_reaches_every_number(
    read: Read, served: Served, parameters: dict[str, Any], more: str
) -> None:
    app, texts = read("en-US", **days(*PERIOD), **parameters), Texts("en")

    shown = labelled(app)
    for mart, names in {
        GAINED: ["views_ganhas", "likes_ganhos", "comentarios_ganhos"],
        BY_CHANNEL: ["total_videos", "total_views"],
    }.items():
        expected = sums(served, mart, *PERIOD, more)
        for name in names:
            assert digits(shown[texts.label(name)].proto.help.split(". ")[0]) == expected[name]
    aged = sums(served, AT_7_DAYS, *PERIOD, more)
    mean = texts.compact(aged["views_7d"] / aged["videos_7d"])
    assert shown[texts.label("views_7d_mean")].value == mean
    networks = {
        name
        for (name,) in served.from_gold(f"SELECT DISTINCT rede_social FROM {GAINED} WHERE {more}")
    }
    drawn = [rows for rows in charts(app) if rows and "mean" in rows[0]]
    assert {rows[0]["segment"] for rows in drawn} == networks
    for (mart, day), table in zip(FINEST.items(), app.dataframe[1:], strict=True):
        rows = served.from_gold(
            f"SELECT * FROM {mart} WHERE {day} BETWEEN ? AND ? AND {more} ORDER BY ALL", *PERIOD
        )
        assert sorted(map(tuple, table.value.values.tolist())) == rows
    assert ":material/filter_alt_off:" not in text_of(app)


def test_what_a_filter_cannot_reach_is_left_out(own: Served) -> None:
    own.publish({name: each for name, each in DECLARED.items() if "canal" not in name})
    texts = Texts("en")

    network = opened(**days(*PERIOD), network="TikTok")
    expected = sums(own, BY_NETWORK, *PERIOD, "rede_social = 'tiktok'")
    shown = labelled(network)
    assert digits(shown[texts.label("total_videos")].proto.help) == expected["total_videos"]
    assert texts("left_out", columns="Institution and Network") in text_of(network)
    assert len(network.dataframe) == 3  # no table of institutions

    both = opened(**days(*PERIOD), network="TikTok", institution="GRAN")
    assert not both.metric
    assert texts("left_out", columns="Institution and Network") in text_of(both)


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


@pytest.mark.few(1)
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
    assert len(app.metric) == 8
    app.run()
    assert [info.value for info in app.info] == [sentence]
    app.date_input(key="period").set_value(OLD_PERIOD).run()
    assert not app.info


def test_a_period_outside_of_a_new_publication_is_shown(published: Served) -> None:
    app = opened(**days(*PERIOD))
    assert not app.info

    published.publish(most=100)
    app.run()

    ((last,),) = published.from_gold(f"SELECT max(data_observacao) FROM {GAINED}")
    assert last < PERIOD[0]
    default = last - dt.timedelta(days=13), last
    assert app.date_input(key="period").value == default
    assert Texts("en").period(*default) in app.info[0].value


def test_a_filter_without_rows_can_be_cleared() -> None:
    app = opened(**days(FIRST, FIRST + dt.timedelta(days=9)), network="YouTube Shorts")
    texts = Texts("en")

    assert texts("empty") in [info.value for info in app.info]
    assert not app.metric
    app.button[0].click().run()
    assert len(app.metric) == 8
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


def test_the_networks_of_known_exports_have_a_name() -> None:
    for network in {each for preset in all_presets().values() for each in preset.networks}:
        assert Texts("en").label(network) != network
    assert Texts("en").label("outra_rede") == "outra_rede"


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
    assert len(app.metric) == 8


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
    published.as_admin(f"ALTER TABLE serving.{GAINED_BY_INSTITUTION} RENAME views_ganhas TO gone")

    shows_only(page("overview"), "failed")
    assert "UndefinedColumn" in caplog.text


def test_figures_older_than_the_last_deadline_are_stale(
    published: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = {"publication": {"starts": ["23:00"], "minutes": 30}}
    schedule = {"timezone": "America/Sao_Paulo", "layers": layers}
    monkeypatch.setenv(SCHEDULE_VARIABLE, json.dumps(schedule))
    texts = Texts("en")
    move_to_today(published)
    app = opened()
    assert not app.warning
    assert texts("fresh") in text_of(app)
    assert texts("stale") not in text_of(app)

    published.as_admin("UPDATE serving.publications SET published_at = now() - interval '2 days'")
    app.run()
    assert len(app.metric) == 8
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
    assert any(count for _, count in before)
    app.run()
    opened(**days(*PERIOD))
    assert scans() == before

    views = app.metric[0].proto.help
    published.publish(seed=8)
    app.run()
    assert app.metric[0].proto.help != views
    gained = sums(published, GAINED, *PERIOD)["views_ganhas"]
    assert digits(app.metric[0].proto.help) == gained


def test_a_page_reads_one_publication(published: Served) -> None:
    from capstone_metrics.dashboard.database import read_transaction  # noqa: PLC0415

    query = f"SELECT sum(total_views) AS views FROM serving.{BY_NETWORK}"

    with read_transaction() as current:
        before = sums(published, BY_NETWORK, FIRST, LAST)["total_views"]
        published.publish(seed=8)
        assert current.query(query)["views"].tolist() == [before]
    with read_transaction() as current:
        assert current.publication.number == 2
        assert current.query(query)["views"].tolist() == [
            sums(published, BY_NETWORK, FIRST, LAST)["total_views"]
        ]
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            current.query("CREATE TEMPORARY TABLE written (n int)")


def test_a_declared_mart_appears_by_itself(own: Served) -> None:
    own.publish({**DECLARED, "gold_categoria": BY_CATEGORY})

    explorer = page("explorer")
    explorer.selectbox(key="mart").set_value("gold_categoria").run()
    (bars,) = charts(explorer)
    rows = own.from_gold("SELECT categoria, total_videos FROM gold_categoria ORDER BY 2 DESC")
    assert [(row["segment"], row["value"]) for row in bars] == rows


def test_the_explorer_sums_as_gold_does(served: Served) -> None:
    app = page("explorer")
    app.selectbox(key="mart").set_value(BY_NETWORK).run()
    app.selectbox(key="measure_en").set_value("total_likes")
    app.date_input(key="period").set_value(PERIOD)
    for by in ("data_postagem", "rede_social"):
        app.selectbox(key="by_en").set_value(by).run()

        (rows,) = charts(app)
        is_day = by == "data_postagem"
        parts = [row["segment"].date() if is_day else row["segment"] for row in rows]
        gold = served.from_gold(
            f"SELECT {by}, sum(total_likes)::BIGINT FROM {BY_NETWORK} "
            "WHERE data_postagem BETWEEN ? AND ? GROUP BY 1",
            *PERIOD,
        )
        label = Texts("en").label
        expected = {part if is_day else label(part): value for part, value in gold}
        assert dict(zip(parts, (row["value"] for row in rows), strict=True)) == expected


def test_new_posts_are_not_known_where_no_gain_is(own: Served) -> None:
    own.publish()
    unknown = "views_ganhas = NULL, posts = 0 WHERE rede_social = 'tiktok'"
    own.as_admin(f"UPDATE serving.gold_canal_dia SET {unknown}")

    app = page("explorer", mart="gold_canal_dia", by="rede_social", measure="posts")
    (rows,) = charts(app)
    assert [row["segment"] for row in rows if row["value"] is None] == ["TikTok"]
    assert len(rows) == len(NETWORKS)
    assert "Without TikTok, for lack of data: new posts." in [each.value for each in app.caption]


RATES = {
    "key": ["data_postagem", "rede_social"],
    "measures": {
        "total_views": {"sum": "views"},
        "peak": {"max": "views"},
        "likes_rate": {"ratio": ["likes", "views"]},
    },
}


def test_a_measure_that_does_not_add_up_is_shown_row_by_row(own: Served) -> None:
    own.publish({**DECLARED, "gold_taxas": RATES})
    app = page("explorer")
    app.selectbox(key="mart").set_value("gold_taxas").run()
    app.selectbox(key="measure_en").set_value("peak").run()
    peaks = dict(own.from_gold("SELECT data_postagem, max(peak) FROM gold_taxas GROUP BY 1"))
    (rows,) = charts(app)
    shown = {row["segment"].date(): row["value"] for row in rows}
    assert shown
    assert shown == {day: peaks[day] for day in shown}

    app.selectbox(key="measure_en").set_value("likes_rate").run()
    assert [box.value for box in app.info] == [
        Texts("en")("not_additive", measure=Texts("en").label("likes_rate"))
    ]
    app.multiselect(key="network").set_value(["tiktok"]).run()
    (rows,) = charts(app)
    rates = dict(
        own.from_gold(
            "SELECT data_postagem, likes_rate FROM gold_taxas WHERE rede_social = 'tiktok'"
        )
    )
    shown = {row["segment"].date(): row["value"] for row in rows}
    assert shown == {day: rates[day] for day in shown}
    assert any(0 < rate < 1 for rate in shown.values())

    method = page("method")
    assert not method.exception
    assert Texts("en")("totals_agree") in text_of(method)


def test_the_method_page_compares_the_tables_with_what_was_published(published: Served) -> None:
    texts = Texts("en")
    app = page("method")
    for mart, table in zip(sorted(DECLARED), app.dataframe, strict=False):
        rows = table.value
        expected = [
            *published.from_gold(f"SELECT count(*) FROM {mart}")[0],
            *sums(published, mart, FIRST, LAST).values(),
        ]
        assert rows[texts("published_total")].tolist() == expected
        assert rows[texts("counted_total")].tolist() == expected
    assert texts("differs") not in text_of(app)
    assert texts("totals_agree") in text_of(app)

    total = f"{{{VIDEO},totals,total_views}}"
    published.as_admin(f"UPDATE serving.publications SET marts = jsonb_set(marts, '{total}', '1')")
    assert texts("totals_disagree") in text_of(page("method"))
    published.as_admin(f"DELETE FROM serving.{BY_NETWORK} WHERE rede_social = 'tiktok'")
    assert texts("differs") in text_of(page("method"))
