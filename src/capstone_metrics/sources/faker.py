"""Generate synthetic observations: a pure function of (seed, channel, window).

Every channel has one slot for each posting hour of each day, and a slot has one number drawn
from (seed, channel, day, hour). Whether a video was posted there, what it is and how its
counters grow all follow from that number, so a window is generated independently of others.

The numbers are drawn by SplitMix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number
generators", 2014) and every metric is computed in whole numbers from tables rounded to six
decimals: floating-point functions differ in the last bit between machines, and the bytes of a
window must not.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import math
from collections import Counter
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstone_metrics.config_schema import INTEGER, NUMBER, TEXT, Kind
from capstone_metrics.errors import ConfigError
from capstone_metrics.sources.objects import NewObjects
from capstone_metrics.validation.objects import parse_object_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from zoneinfo import ZoneInfo

    from numpy.typing import NDArray

    from capstone_metrics.schedule import Calendar, Window

    Integers = NDArray[np.uint64]

log = logging.getLogger(__name__)

DAYS = Kind("a number of days, from 0 to 36500", lambda value: _is_between(value, 0, 36_500))
FOLLOWERS = Kind("a number of followers", lambda value: _is_between(value, 0, 1 << 40))
HOURS = Kind(
    "a list of hours, each from 0 to 23",
    lambda value: (
        isinstance(value, list | tuple)
        and bool(value)
        and all(_is_between(hour, 0, 23) for hour in value)
    ),
)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
"""The followers from which a channel is micro, mid, macro and mega; nano below the first."""

RANGES = Kind(
    f"a list of {len(SIZES) + 1} ranges, each [lowest, highest]",
    lambda value: (
        isinstance(value, list | tuple)
        and len(value) == len(SIZES) + 1
        and all(map(_is_range, value))
    ),
)
CHANNEL = {"faculdade": TEXT, "rede_social": TEXT, "qtd_inscritos": FOLLOWERS}
PROFILE = dict.fromkeys(("views_per_follower", "like_rate", "comment_rate"), RANGES)
OPTIONS = {
    "seed": INTEGER,
    "history_days": DAYS,
    "observation_days": DAYS,
    "posts_per_day": NUMBER,
    "posting_hours": HOURS,
    "channels": [CHANNEL],
    "profiles": {"*": PROFILE},
}

CHANNELS_PER_CHUNK = 2_000
MILLION = 1_000_000
VIEW_NOISE, LIKE_NOISE, COMMENT_NOISE = 0.45, 0.20, 0.25
VIRAL_PER_MILLION = 60_000
VIRAL_TENTHS = (18, 60)
VIEW_CAP_PER_FOLLOWER, VIEW_CAP_FLOOR = 35, 2_000
LEADS_PER_BILLION_VIEWS = (2_000_000, 15_000_000)
CTR_HUNDREDTHS = (60, 250)
DURATION_SECONDS = (12, 55)
HALF_LIFE_HOURS = (8, 12, 18, 24, 36, 48, 60, 72)
"""The times after which a video may have half of its views."""

CATEGORIES = ("carreira", "concursos", "depoimentos", "dicas de estudo", "graduação", "vestibular")
TITLES_PER_CATEGORY = 64


def _is_between(value: Any, least: int, most: int) -> bool:
    return INTEGER.includes(value) and least <= value <= most


def _is_range(value: Any) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2  # noqa: PLR2004
    return is_pair and all(map(NUMBER.includes, value)) and 0 <= value[0] <= value[1]


def objects(
    name: str,
    declaration: Mapping[str, Any],
    calendar: Calendar,
    existing: Collection[str],
    _: Mapping[str, str],
) -> NewObjects:
    """Return an object for each window that Bronze lacks, of the last `history_days` or a backfill.

    Raises:
        ConfigError: if the declaration has a channel on a network without a profile, or twice.
    """
    source = _source(name, declaration, calendar.zone)
    windows = calendar.windows_to_ingest(declaration["history_days"])
    if calendar.span is None:
        own = (key for key in existing if key.startswith(f"fonte={name}/"))
        ingested = sorted(parse_object_name(key)[1] for key in own)
        windows = _without_unscheduled(name, windows, ingested)
    names = {window: f"fonte={name}/janela={window}/criacao.jsonl" for window in windows}
    missing = {names[window]: window for window in windows if names[window] not in existing}
    return NewObjects(
        {key: partial(source.lines, window) for key, window in missing.items()},
        channels=[f"{c['faculdade']} on {c['rede_social']}" for c in declaration["channels"]],
    )


def _without_unscheduled(name: str, windows: list[Window], ingested: list[str]) -> list[Window]:
    """Return windows without those at an hour at which no ingestion was scheduled at their time.

    An hour is scheduled from its first window in Bronze on, or if it has none, after the latest
    window there. What was not scheduled is only ingested by a backfill, which the log names.
    """
    if not ingested:
        return windows
    first = {janela[-2:]: janela for janela in reversed(ingested)}
    left_out = []
    for window in windows:
        hour = f"{window.hour:02}"
        since = first.get(hour, ingested[-1])
        is_new = hour not in first or first[hour][:10] > _next_day(ingested[0])
        if is_new and ingested[0] < str(window) < since:
            left_out.append(window)
    if untold := [window for window in left_out if f"{window.hour:02}" not in first]:
        log.warning(
            "sources.%s: %d windows at an hour that is new in the schedule are left out, since it "
            "holds from the next window on. Run with --params=from=%s,to=%s to ingest them.",
            name,
            len(untold),
            untold[0],
            untold[-1],
        )
    return [window for window in windows if window not in left_out]


def _next_day(janela: str) -> str:
    return str(dt.date.fromisoformat(janela[:10]) + dt.timedelta(days=1))


@dataclass(frozen=True)
class Channels:
    """The channels as columns; a rate is a range, lowest and highest, in hundred-thousandths."""

    key: Integers
    followers: Integers
    views_per_follower: Integers
    like_rate: Integers
    comment_rate: Integers
    json: pa.Array

    def __getitem__(self, part: slice) -> Channels:
        return Channels(*(getattr(self, column)[part] for column in self.__dataclass_fields__))


@dataclass(frozen=True)
class FakerSource:
    """A parsed declaration of a synthetic source."""

    name: str
    seed: int
    zone: ZoneInfo
    observation_days: int
    posts_per_day: float
    posting_hours: tuple[int, ...]
    channels: Channels

    def lines(self, window: Window) -> Iterator[bytes]:
        """Yield the JSON lines of a window, in chunks: by channel, then by posting time."""
        titles = _titles(self.seed)
        for start in range(0, len(self.channels.key), CHANNELS_PER_CHUNK):
            yield self._chunk(window, self.channels[start : start + CHANNELS_PER_CHUNK], titles)

    def _chunk(self, window: Window, channels: Channels, titles: pa.Array) -> bytes:
        """Return the JSON lines of some channels in a window."""
        observed = window.due_at(self.zone)
        slots = _slots(window.date, self.observation_days, self.posting_hours, self.zone)
        posts_per_million = int(self.posts_per_day * MILLION / len(self.posting_hours))

        grid = _mix(channels.key[:, None] ^ slots.key[None, :])
        seconds = (_between(_draw(grid, 1), 0, 3_599)).astype(np.int64)
        age = int(observed.timestamp()) - (slots.instant[None, :] + seconds)
        is_observed = (
            (_between(_draw(grid, 2), 1, MILLION) <= posts_per_million)
            & (age >= 0)
            & (age < self.observation_days * 86_400)
        )
        channel_index, slot_index = np.nonzero(is_observed)
        video, age, second = grid[is_observed], age[is_observed], seconds[is_observed]

        counters = _counters(video, age // 3_600, channels, channel_index)
        end = f',"run_id":"{self.name}-{window}","ingestion_ts":"{observed:%Y-%m-%dT%H:%M:%SZ}"}}\n'
        posted = slots.local[slot_index] + second.astype("timedelta64[s]")
        return _join(
            channels.json.take(pa.array(channel_index)),
            ',"data_postagem":"',
            slots.date.take(pa.array(slot_index)),
            '","posted_at":"',
            pa.array(np.datetime_as_string(posted, unit="s")),
            '","video_id":"',
            _uuids(_draw(video, 3), _draw(video, 4)),
            '",',
            titles.take(pa.array(_between(_draw(video, 5), 0, len(titles) - 1))),
            ',"duracao_seg":',
            _between(_draw(video, 6), *DURATION_SECONDS),
            ',"views":',
            counters.views,
            ',"likes":',
            counters.likes,
            ',"comentarios":',
            counters.comments,
            ',"engagement_rate":',
            _decimal(_engagement(counters), decimals=4),
            ',"leads_estimados":',
            counters.leads,
            ',"ctr_estimado":',
            _decimal(_between(_draw(video, 7), *CTR_HUNDREDTHS), decimals=2),
            end,
        )


def _source(name: str, declaration: Mapping[str, Any], zone: ZoneInfo) -> FakerSource:
    """Parse the declaration of a synthetic source."""
    channels, profiles = declaration["channels"], declaration["profiles"]
    unknown = {channel["rede_social"] for channel in channels} - set(profiles)
    if unknown:
        raise ConfigError(
            f"sources.{name}.channels: no profile for {', '.join(sorted(unknown))}; "
            f"declare one under sources.{name}.profiles."
        )
    counts = Counter(f"{channel['faculdade']} on {channel['rede_social']}" for channel in channels)
    repeated = [channel for channel, count in counts.items() if count > 1]
    if repeated:
        raise ConfigError(f"sources.{name}.channels: {', '.join(repeated)} is declared twice.")
    followers = np.array([channel["qtd_inscritos"] for channel in channels], np.uint64)
    sizes = np.searchsorted(np.array(SIZES, np.uint64), followers, side="right")

    def rates(kind: str) -> Integers:
        """Return the range of a rate for each channel, by its network and size."""
        ranges = [
            profiles[channel["rede_social"]][kind][size]
            for channel, size in zip(channels, sizes, strict=True)
        ]
        return np.rint(np.array(ranges, np.float64).reshape(-1, 2) * 100_000).astype(np.uint64)

    return FakerSource(
        name=name,
        seed=declaration["seed"],
        zone=zone,
        observation_days=declaration["observation_days"],
        posts_per_day=declaration["posts_per_day"],
        posting_hours=tuple(declaration["posting_hours"]),
        channels=Channels(
            key=np.array(
                [_channel_key(declaration["seed"], channel) for channel in channels], np.uint64
            ),
            followers=followers,
            views_per_follower=rates("views_per_follower"),
            like_rate=rates("like_rate"),
            comment_rate=rates("comment_rate"),
            json=pa.array([_channel_json(channel) for channel in channels], pa.string()),
        ),
    )


def _channel_key(seed: int, channel: Mapping[str, Any]) -> int:
    name = json.dumps([seed, channel["faculdade"], channel["rede_social"]])
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())


def _channel_json(channel: Mapping[str, Any]) -> str:
    """Return the fields of a channel as JSON, without the closing brace."""
    names = ("faculdade", "qtd_inscritos", "rede_social")
    fields = {name: channel[name] for name in names}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))[:-1]


def _titles(seed: int) -> pa.Array:
    """Return titles with their categories, as the JSON text of both fields."""
    from faker import Faker  # noqa: PLC0415 - only a run with a new window needs it

    fake = Faker("pt_BR")
    fake.seed_instance(seed)
    forms = (
        "{job}: como começar?",
        "Um dia na vida de quem trabalha como {job}",
        "{name} conta como chegou a {job}",
        "3 dicas de {name} para a prova de {job}",
    )
    titles = [
        {"titulo_video": form.format(job=fake.job(), name=fake.first_name()), "categoria": category}
        for category in CATEGORIES
        for form in forms * (TITLES_PER_CATEGORY // len(forms))
    ]
    texts = (json.dumps(title, ensure_ascii=False, separators=(",", ":"))[1:-1] for title in titles)
    return pa.array(texts, pa.string())


@dataclass(frozen=True)
class _Slots:
    """The posting hours of the observed days, as columns.

    `key` is the key to draw from, `instant` is in seconds since 1970.
    """

    key: Integers
    date: pa.Array
    local: NDArray[np.datetime64]
    instant: NDArray[np.int64]


def _slots(last: dt.date, days: int, hours: tuple[int, ...], zone: ZoneInfo) -> _Slots:
    moments = [
        dt.datetime.combine(last - dt.timedelta(days=back), dt.time(hour))
        for back in range(days + 1, -1, -1)
        for hour in hours
    ]
    ordinal = np.array([each.toordinal() * 24 + each.hour for each in moments], np.uint64)
    return _Slots(
        key=_mix(ordinal),
        date=pa.array([each.date().isoformat() for each in moments]),
        local=np.array(moments, "datetime64[s]"),
        instant=np.array(
            [int(each.replace(tzinfo=zone).timestamp()) for each in moments], np.int64
        ),
    )


@dataclass(frozen=True)
class _Counters:
    views: Integers
    likes: Integers
    comments: Integers
    leads: Integers


def _counters(
    video: Integers,
    age_hours: NDArray[np.int64],
    channels: Channels,
    channel_index: NDArray[np.intp],
) -> _Counters:
    """Return the counters of videos at their ages; `channel_index` is the channel of each."""
    followers = channels.followers[channel_index]
    factor = _between(_draw(video, 8), *channels.views_per_follower[channel_index].T)
    views = followers * factor // 100_000 * _noise(_draw(video, 9), VIEW_NOISE) // MILLION
    is_viral = _between(_draw(video, 10), 1, MILLION) <= VIRAL_PER_MILLION
    views = np.where(is_viral, views * _between(_draw(video, 11), *VIRAL_TENTHS) // 10, views)
    views = np.minimum(views, np.maximum(VIEW_CAP_FLOOR, followers * VIEW_CAP_PER_FOLLOWER))

    half_life = _between(_draw(video, 12), 0, len(HALF_LIFE_HOURS) - 1)
    views = views * _growth(half_life, age_hours) // MILLION

    def part_of_views(number: int, ranges: Integers, sigma: float) -> Integers:
        rate = _between(_draw(video, number), *ranges[channel_index].T)
        rate = rate * _noise(_draw(video, number + 1), sigma) // 100
        count: Integers = views * rate // 1_000_000_000
        return count

    return _Counters(
        views=views,
        likes=part_of_views(13, channels.like_rate, LIKE_NOISE),
        comments=part_of_views(15, channels.comment_rate, COMMENT_NOISE),
        leads=views * _between(_draw(video, 17), *LEADS_PER_BILLION_VIEWS) // 1_000_000_000,
    )


def _engagement(counters: _Counters) -> Integers:
    """Return (likes + comments) / views in ten-thousandths, rounded half up; 0 without views."""
    interactions = counters.likes + counters.comments
    views = np.maximum(counters.views, 1)
    rate: Integers = (interactions * 20_000 + views) // (views * 2)
    return rate


def _growth(half_life: Integers, age_hours: NDArray[np.int64]) -> Integers:
    """Return the fraction of its views that a video has at an age, in millionths; never falls."""
    hours = int(age_hours.max(initial=0)) + 1
    table = [
        [round((1 - 0.5 ** ((hour + 1) / half_life_hours)) * MILLION) for hour in range(hours)]
        for half_life_hours in HALF_LIFE_HOURS
    ]
    growth: Integers = np.array(table, np.uint64)[half_life.astype(np.intp), age_hours]
    return growth


def _noise(draw: Integers, sigma: float) -> Integers:
    """Return log-normal noise of median 1, in millionths."""
    normal = NormalDist(0, sigma)
    steps = 4_096
    table = [
        round(math.exp(normal.inv_cdf((step + 0.5) / steps)) * MILLION) for step in range(steps)
    ]
    noise: Integers = np.array(table, np.uint64)[_between(draw, 0, steps - 1).astype(np.intp)]
    return noise


def _mix(x: Integers) -> Integers:
    """Apply the finaliser of SplitMix64 to an array; unsigned arithmetic wraps."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _draw(key: Integers, number: int) -> Integers:
    """Return the draw of a number from each key: 64 independent bits."""
    return _mix(key + np.uint64(number * 0x9E3779B97F4A7C15 % 2**64))


def _between(draw: Integers, lowest: int | Integers, highest: int | Integers) -> Integers:
    """Return a whole number in [lowest, highest] from the upper 32 bits of each draw."""
    low = np.asarray(lowest, np.uint64)
    width = np.asarray(highest, np.uint64) - low + np.uint64(1)
    return low + ((draw >> np.uint64(32)) * width >> np.uint64(32))


def _uuids(high: Integers, low: Integers) -> pa.Array:
    """Return UUIDs of version 4 (RFC 9562), made of 122 of the 128 bits of `high` and `low`."""
    high = high & np.uint64(0xFFFFFFFFFFFF0FFF) | np.uint64(0x4000)
    low = low & np.uint64(0x3FFFFFFFFFFFFFFF) | np.uint64(0x8000000000000000)
    octets = np.stack([high, low], axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.full((len(octets), 36), ord("-"), np.uint8)
    columns = np.array([column for column in range(36) if column not in {8, 13, 18, 23}])
    text[:, columns[0::2]] = digits[octets >> 4]
    text[:, columns[1::2]] = digits[octets & 15]
    return pa.array(text.reshape(-1).view("S36"), pa.binary(36)).cast(pa.binary()).cast(pa.string())


def _decimal(number: Integers, decimals: int) -> pa.Array:
    """Return numbers in units of 10^-decimals as decimal text."""
    integer, fraction = np.divmod(number, np.uint64(10**decimals))
    return pc.binary_join_element_wise(
        pa.array(integer).cast(pa.string()),
        pc.utf8_lpad(pa.array(fraction).cast(pa.string()), decimals, "0"),
        ".",
    )


def _join(*parts: str | Integers | pa.Array) -> bytes:
    """Concatenate texts and columns row by row; return the bytes of all rows."""
    texts = [part if isinstance(part, str) else pa.array(part).cast(pa.string()) for part in parts]
    _, _, text = pc.binary_join_element_wise(*texts, "").buffers()
    return text.to_pybytes() if text else b""
