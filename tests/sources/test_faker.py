from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import random
import re
import statistics
from collections import Counter
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Calendar, Span
from capstone_metrics.sources import faker, new_objects
from tests.support.selection import sample

if TYPE_CHECKING:
    from collections.abc import Iterable

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
FIELDS = {
    "faculdade": str,
    "qtd_inscritos": int,
    "rede_social": str,
    "data_postagem": str,
    "posted_at": str,
    "video_id": str,
    "titulo_video": str,
    "categoria": str,
    "duracao_seg": int,
    "views": int,
    "likes": int,
    "comentarios": int,
    "engagement_rate": float,
    "leads_estimados": int,
    "ctr_estimado": float,
    "run_id": str,
    "ingestion_ts": str,
}
OF_THE_VIDEO = [
    "faculdade",
    "rede_social",
    "data_postagem",
    "posted_at",
    "titulo_video",
    "categoria",
    "duracao_seg",
    "ctr_estimado",
]
COUNTERS = ["views", "likes", "comentarios", "leads_estimados"]

SIZES = {"nano": 999, "micro": 1_000, "mid": 99_999, "macro": 100_000, "mega": 1_000_000}
CONTRACT = """
tiktok          | .6–3.2 / .4–2.4 / .25–1.8 / .18–1.3 / .12–1.0
                | .04–.10 / .035–.085 / .03–.07 / .025–.06 / .02–.05
                | .003–.010 / .0025–.008 / .002–.006 / .0015–.0045 / .0012–.004
instagram_reels | .5–2.2 / .35–1.7 / .22–1.25 / .16–.95 / .12–.8
                | .03–.08 / .028–.07 / .025–.06 / .02–.05 / .018–.045
                | .0025–.008 / .002–.006 / .0016–.0048 / .0012–.004 / .001–.0035
youtube_shorts  | .4–2.6 / .28–2.0 / .20–1.5 / .15–1.15 / .12–1.0
                | .035–.09 / .03–.08 / .028–.07 / .024–.06 / .022–.055
                | .002–.008 / .0018–.0065 / .0015–.005 / .0012–.0042 / .001–.0038
"""  # noqa: RUF001 - as the contract writes it
KINDS = ["views_per_follower", "like_rate", "comment_rate"]


def contract() -> dict[str, dict[str, list[list[float]]]]:
    cells = [cell.split("|") for cell in CONTRACT.strip().splitlines()]
    ranges = [
        [[float(end) for end in size.split("–")] for size in cell.split("/")]  # noqa: RUF001
        for _, cell in cells
    ]
    networks = [name.strip() for name, _ in cells if name.strip()]
    return {
        network: dict(zip(KINDS, ranges[3 * at : 3 * at + 3], strict=True))
        for at, network in enumerate(networks)
    }


def declared() -> dict[str, Any]:
    file = Path(__file__).parents[2] / "conf/base/parameters/sources.yml"
    source: dict[str, Any] = yaml.safe_load(file.read_text())["sources"]["faker"]
    return source


def channel(
    followers: int, network: str = "tiktok", faculdade: str = "GRAN"
) -> dict[str, str | int]:
    return {"faculdade": faculdade, "rede_social": network, "qtd_inscritos": followers}


def calendar(now: str, *hours: int) -> Calendar:
    moment = dt.datetime.fromisoformat(now).replace(tzinfo=SAO_PAULO)
    return Calendar(SAO_PAULO, hours or (8, 20), moment.astimezone(dt.UTC))


def window(name: str, **changes: Any) -> bytes:
    """The bytes of one window of the declared source, with changes to its declaration."""
    date, hour = name.split("T")
    seen = calendar(f"{date}T{hour}:00", int(hour))
    objects = new_objects("faker", declared() | {"history_days": 1} | changes, seen, ()).objects
    return b"".join(objects[f"fonte=faker/janela={name}/criacao.jsonl"]())


def lines(name: str, **changes: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in window(name, **changes).splitlines()]


def by_video(name: str, **changes: Any) -> dict[str, dict[str, Any]]:
    return {line["video_id"]: line for line in lines(name, **changes)}


def age(line: dict[str, Any]) -> dt.timedelta:
    posted = dt.datetime.fromisoformat(line["posted_at"]).replace(tzinfo=SAO_PAULO)
    return dt.datetime.fromisoformat(line["ingestion_ts"]) - posted.astimezone(dt.UTC)


@pytest.fixture(scope="module")
def crowd() -> list[dict[str, Any]]:
    """A window of many channels of every network and size."""
    channels = [
        channel(followers, network, f"{size} {at}")
        for network in contract()
        for size, followers in SIZES.items()
        for at in range(40)
    ]
    return lines("2026-01-31T20", channels=channels)


def test_the_declared_source_is_that_of_the_contract() -> None:
    source = declared()
    assert source["profiles"] == contract()
    assert source["posting_hours"] == [9, 12, 18, 20, 21, 22]
    assert source["observation_days"] == 30
    assert source["channels"] == [
        channel(3_200_000, "instagram_reels"),
        channel(99_200, "tiktok"),
        channel(2_700_000, "youtube_shorts"),
        channel(36_600, "instagram_reels", "IMPACTA"),
        channel(2_184, "tiktok", "IMPACTA"),
        channel(10_700, "youtube_shorts", "IMPACTA"),
    ]


def test_a_window_has_the_same_bytes_on_any_machine() -> None:
    """A deliberate change of the numbers, or of the package faker's names, changes this."""
    digest = hashlib.sha256(window("2026-01-31T20")).hexdigest()
    assert digest == "0a0fb8f043646f870818b129b5c425f18524360f3161e5678a61adbb53581f2c"


def test_a_window_generated_alone_equals_the_one_generated_among_others() -> None:
    seen = calendar("2026-01-31T20:05")
    objects = new_objects("faker", declared() | {"history_days": 20}, seen, ()).objects
    assert len(objects) == 40
    for name in ("2026-01-12T08", "2026-01-31T20"):
        assert b"".join(objects[f"fonte=faker/janela={name}/criacao.jsonl"]()) == window(name)


def test_a_window_is_the_same_whatever_the_day_of_the_run() -> None:
    key = "fonte=faker/janela=2026-01-20T08/criacao.jsonl"
    first, second = (
        new_objects("faker", declared(), calendar(now), ()).objects[key]
        for now in ("2026-01-20T08:00", "2026-02-10T19:30")
    )
    assert b"".join(first()) == b"".join(first()) == b"".join(second())


def test_channels_generated_in_chunks_equal_those_generated_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = window("2026-01-31T20")
    monkeypatch.setattr(faker, "CHANNELS_PER_CHUNK", 1)
    assert window("2026-01-31T20") == content


def test_another_seed_gives_other_videos() -> None:
    assert not by_video("2026-01-31T20").keys() & by_video("2026-01-31T20", seed=1).keys()


def test_a_new_channel_does_not_change_the_lines_of_another() -> None:
    before = window("2026-01-31T20").splitlines()
    new = channel(5_000, "tiktok", "NOVA")
    after = window("2026-01-31T20", channels=[new, *declared()["channels"]]).splitlines()
    others = [line for line in after if json.loads(line)["faculdade"] != "NOVA"]
    assert others == before
    assert len(after) > len(before)


def test_a_channel_that_grows_keeps_its_videos() -> None:
    few, many = (
        by_video("2026-01-31T20", channels=[channel(followers)]) for followers in (500, 5_000_000)
    )
    assert few.keys() == many.keys()
    assert all(few[video]["posted_at"] == many[video]["posted_at"] for video in few)


def test_windows_in_bronze_are_not_generated_again() -> None:
    seen = calendar("2026-01-31T20:05")
    all_of_them = list(new_objects("faker", declared(), seen, ()).objects)
    *present, missing = all_of_them
    assert len(present) == 59
    assert list(new_objects("faker", declared(), seen, present).objects) == [missing]


def windows_of(objects: Iterable[str]) -> list[str]:
    return sorted(name.split("janela=")[1][:13] for name in objects)


@pytest.mark.parametrize("hours", [(8, 12, 20), (9, 21)], ids=["one more", "others"])
def test_an_hour_that_is_new_in_the_schedule_holds_from_the_next_window_on(
    hours: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    source = declared() | {"history_days": 5}
    present = set(new_objects("faker", source, calendar("2026-01-31T20:05"), ()).objects)
    added: set[str] = set()
    for now in ("2026-01-31T22:00", "2026-02-01T12:05", "2026-02-02T20:05"):
        new = set(new_objects("faker", source, calendar(now, *hours), present | added).objects)
        assert all(window > "2026-01-31T20" for window in windows_of(new)), windows_of(new)
        added |= new
    assert f"{min(hours):02}" in {window[-2:] for window in windows_of(added)}
    first, *_ = caplog.messages
    command = re.search(r"from=(\S+),to=(\S+) to", first)
    assert command
    since, until = command.groups()
    # the command that the message names ingests them
    span = Span.of(since, until)
    backfill = replace(calendar("2026-01-31T22:00", *hours), span=span)
    names = windows_of(new_objects("faker", source, backfill, present).objects)
    assert (names[0], names[-1]) == (since, until)


def test_the_first_days_of_a_lake_are_caught_up_whatever_was_ingested_first() -> None:
    source = declared() | {"history_days": 5}
    seen = calendar("2026-01-31T20:05")
    all_of_them = list(new_objects("faker", source, seen, ()).objects)
    for count in range(len(all_of_them)):
        present = all_of_them[:count]
        new = new_objects("faker", source, seen, present).objects
        assert windows_of([*present, *new]) == windows_of(all_of_them)


def test_a_clock_set_back_generates_no_other_windows() -> None:
    source = declared() | {"history_days": 3}
    before = set(new_objects("faker", source, calendar("2026-01-31T20:05"), ()).objects)
    after = set(new_objects("faker", source, calendar("2026-01-31T09:00"), before).objects)
    assert after == {"fonte=faker/janela=2026-01-28T20/criacao.jsonl"}


def test_a_line_has_the_fields_of_the_contract_with_their_types() -> None:
    for line in lines("2026-01-31T20"):
        assert [(name, type(value)) for name, value in line.items()] == list(FIELDS.items())


def test_a_line_is_compact_json_with_unescaped_letters() -> None:
    content = window("2026-01-31T20").decode()
    assert not content.isascii()
    for line in content.splitlines():
        text = json.loads(line, parse_float=lambda number: f"<{number}>")
        compact = json.dumps(text, ensure_ascii=False, separators=(",", ":"))
        assert compact.replace('"<', "").replace('>"', "") == line


def test_run_and_times_are_those_of_the_window() -> None:
    for line in lines("2026-01-31T08"):
        assert line["run_id"] == "faker-2026-01-31T08"
        assert line["ingestion_ts"] == "2026-01-31T11:00:00Z"
        posted = dt.datetime.fromisoformat(line["posted_at"])
        assert posted.isoformat(timespec="seconds") == line["posted_at"]
        assert posted.date().isoformat() == line["data_postagem"]


def test_numbers_have_the_decimals_of_the_contract() -> None:
    for text in window("2026-01-31T20").splitlines():
        line = json.loads(text, parse_float=str)
        assert len(line["engagement_rate"].partition(".")[2]) == 4
        assert len(line["ctr_estimado"].partition(".")[2]) == 2


def test_engagement_is_likes_and_comments_per_view() -> None:
    observed = window("2026-01-31T20", channels=[channel(n, faculdade=str(n)) for n in (1, 700)])
    without_views = 0
    for text in observed.splitlines():
        line = json.loads(text, parse_float=Decimal)
        acts, views = line["likes"] + line["comentarios"], line["views"]
        rate = Decimal(acts) / views if views else Decimal(0)
        assert line["engagement_rate"] == rate.quantize(Decimal("1e-4"), ROUND_HALF_UP)
        without_views += not views
    assert without_views


def test_values_fill_the_ranges_of_the_contract(crowd: list[dict[str, Any]]) -> None:
    durations = {line["duracao_seg"] for line in crowd}
    assert durations == set(range(12, 56))
    rates = [line["ctr_estimado"] for line in crowd]
    assert (min(rates), max(rates)) == (0.60, 2.50)
    hours = {dt.datetime.fromisoformat(line["posted_at"]).hour for line in crowd}
    assert hours == {9, 12, 18, 20, 21, 22}
    leads = [line["leads_estimados"] / line["views"] for line in crowd if line["views"] > 100_000]
    assert 0.00199 < min(leads) < 0.0021
    assert 0.0149 < max(leads) <= 0.015


def test_a_channel_posts_twice_a_day_and_once_an_hour(crowd: list[dict[str, Any]]) -> None:
    ids = {line["video_id"] for line in crowd}
    assert len(ids) == len(crowd)
    slots = Counter(
        (line["faculdade"], line["rede_social"], line["posted_at"][:13]) for line in crowd
    )
    assert max(slots.values()) == 1
    assert len(crowd) / 600 / 30 == pytest.approx(2, rel=0.02)


@pytest.mark.parametrize("network", contract())
@pytest.mark.parametrize("size", SIZES)
def test_metrics_follow_the_network_and_the_size_of_the_channel(
    crowd: list[dict[str, Any]], network: str, size: str
) -> None:
    followers = SIZES[size]
    views, like, comment = (contract()[network][kind][list(SIZES).index(size)] for kind in KINDS)
    mature = [
        line
        for line in crowd
        if (line["rede_social"], line["qtd_inscritos"]) == (network, followers)
        and age(line).days >= 20
    ]
    assert len(mature) > 500
    for counter, base, (lowest, highest), sigma, boost in (
        ("views", "qtd_inscritos", views, 0.45, 6),
        ("likes", "views", like, 0.20, 1),
        ("comentarios", "views", comment, 0.25, 1),
    ):
        rates = [(line[counter] + 0.5) / line[base] for line in mature]
        assert statistics.median(rates) == pytest.approx((lowest + highest) / 2, rel=0.15)
        for line in mature:
            least = lowest * math.exp(-4 * sigma) * line[base]
            most = highest * math.exp(4 * sigma) * line[base] * boost
            assert 0.99 * least - 1 < line[counter] <= most


def test_noise_and_viral_posts_are_spread_as_in_the_contract() -> None:
    flat = {
        "views_per_follower": [[1, 1]] * 5,
        "like_rate": [[0.05] * 2] * 5,
        "comment_rate": [[0.01] * 2] * 5,
    }
    observed = lines(
        "2026-01-31T20",
        channels=[channel(1_000_000, "tiktok", f"F{at}") for at in range(120)],
        profiles={"tiktok": flat},
        observation_days=120,
    )
    mature = [line for line in observed if age(line).days >= 40]

    draw = random.Random(0)
    expected = [
        draw.lognormvariate(0, 0.45) * (draw.uniform(1.8, 6) if draw.random() < 0.06 else 1)
        for _ in range(100_000)
    ]
    factors = statistics.quantiles((line["views"] / 1e6 for line in mature), n=100)
    assert factors == pytest.approx(statistics.quantiles(expected, n=100), rel=0.12)
    for counter, rate, sigma in (("likes", 0.05, 0.20), ("comentarios", 0.01, 0.25)):
        noise = [math.log(line[counter] / line["views"] / rate) for line in mature]
        assert statistics.mean(noise) == pytest.approx(0, abs=0.01)
        assert statistics.stdev(noise) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(("followers", "cap"), [(10, 2_000), (57, 2_000), (1_000, 35_000)])
def test_views_are_capped(followers: int, cap: int) -> None:
    loud = {kind: [[lowest] * 2] * 5 for kind, lowest in zip(KINDS, (400, 0.01, 0.01), strict=True)}
    observed = lines("2026-01-31T20", channels=[channel(followers)], profiles={"tiktok": loud})
    most = max(line["views"] for line in observed)
    assert 0.99 * cap < most <= cap


def test_a_post_is_observed_from_its_first_window_to_its_thirtieth_day() -> None:
    names = ["2026-01-01T08", "2026-01-01T20", "2026-01-02T08", "2026-01-15T20", "2026-01-31T20"]
    every_post = by_video("2026-01-31T20", observation_days=90)
    posts_seen = [by_video(name) for name in names]
    for name, seen in zip(names, posts_seen, strict=True):
        now = dt.datetime.fromisoformat(f"{name}:00")
        expected = {
            video
            for video, line in every_post.items()
            if dt.timedelta(0)
            <= now - dt.datetime.fromisoformat(line["posted_at"])
            < dt.timedelta(days=30)
        }
        assert seen.keys() == expected
    assert posts_seen[0].keys() ^ posts_seen[1].keys()
    assert posts_seen[0].keys() & posts_seen[1].keys()


def test_counters_only_grow() -> None:
    names = [f"2026-01-{day:02}T{hour:02}" for day in range(10, 25) for hour in (8, 20)]
    grown = 0
    for before, after in pairwise(map(by_video, sample(names, 10))):
        for video in before.keys() & after.keys():
            old, new = before[video], after[video]
            assert [old[name] for name in OF_THE_VIDEO] == [new[name] for name in OF_THE_VIDEO]
            assert all(old[name] <= new[name] for name in COUNTERS)
            grown += old["views"] < new["views"]
    assert grown


@pytest.mark.parametrize(
    ("name", "utc"),
    [
        ("2018-11-03T20", "2018-11-03T23:00:00Z"),
        ("2018-11-04T00", "2018-11-04T03:00:00Z"),
        ("2018-11-04T08", "2018-11-04T10:00:00Z"),
        ("2019-02-16T23", "2019-02-17T01:00:00Z"),
        ("2019-02-17T08", "2019-02-17T11:00:00Z"),
    ],
)
def test_no_post_is_seen_before_it_was_posted_where_clocks_change(name: str, utc: str) -> None:
    observed = lines(name)
    assert {line["ingestion_ts"] for line in observed} == {utc}
    ages = [age(line) for line in observed]
    assert dt.timedelta(0) <= min(ages)
    assert dt.timedelta(days=29) < max(ages) < dt.timedelta(days=30)


@pytest.mark.parametrize("missing", ["seed", "channels", "profiles", "history_days"])
def test_an_incomplete_declaration_is_rejected(missing: str) -> None:
    source = {key: value for key, value in declared().items() if key != missing}
    with pytest.raises(CapstoneError, match=rf"sources\.faker: {missing} is missing"):
        new_objects("faker", source, calendar("2026-01-31T20:05"), ())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("history_days", -1),
        ("observation_days", 10**30),
        ("posts_per_day", float("nan")),
        ("posting_hours", []),
        ("posting_hours", [24]),
        ("channels", [{"faculdade": "GRAN", "rede_social": "tiktok", "qtd_inscritos": -1}]),
        ("profiles", {1: 2}),
        *(
            ("profiles", {"tiktok": dict.fromkeys(KINDS, ranges)})
            for ranges in ([[1, 2]], [[1]] * 5, [1] * 5, [[2, 1]] * 5, [[-1, 1]] * 5)
        ),
    ],
)
def test_a_value_that_cannot_be_is_rejected(option: str, value: object) -> None:
    with pytest.raises(CapstoneError, match=rf"^sources\.faker\.{option}.* must be a "):
        new_objects("faker", declared() | {option: value}, calendar("2026-01-31T20:05"), ())


def test_a_channel_on_a_network_without_a_profile_is_rejected() -> None:
    source = declared() | {"channels": [channel(10, "orkut"), channel(10)]}
    with pytest.raises(CapstoneError, match=r"no profile for orkut; declare one under"):
        new_objects("faker", source, calendar("2026-01-31T20:05"), ())


def test_a_channel_declared_twice_is_rejected() -> None:
    source = declared() | {"channels": [channel(10), channel(20), channel(10, "youtube_shorts")]}
    with pytest.raises(CapstoneError, match=r"GRAN on tiktok is declared twice"):
        new_objects("faker", source, calendar("2026-01-31T20:05"), ())


def test_an_unknown_type_of_source_is_rejected() -> None:
    with pytest.raises(CapstoneError, match=r"sources\.faker\.type: 'api' is not one of faker"):
        new_objects("faker", declared() | {"type": "api"}, calendar("2026-01-31T20:05"), ())


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "a=b", "."])
def test_a_source_whose_name_is_no_folder_is_rejected(name: str) -> None:
    with pytest.raises(CapstoneError, match="name a source by letters, digits, - and _"):
        new_objects(name, declared(), calendar("2026-01-31T20:05"), ())
