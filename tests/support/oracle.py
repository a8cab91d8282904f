"""Silver, quarantine and Gold again, line by line in plain Python, as slow and simple as can be."""

from __future__ import annotations

import datetime as dt
import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = (
    *("faculdade", "rede_social", "data_postagem", "posted_at", "video_id", "titulo_video"),
    *("categoria", "duracao_seg", "views", "likes", "comentarios", "engagement_rate"),
    *("leads_estimados", "ctr_estimado", "run_id", "ingestion_ts"),
)
DATES = {"data_postagem", "data_observacao"}
TEXTS = {"faculdade", "rede_social", "video_id", "titulo_video", "categoria", "run_id"}
INTEGERS = {"duracao_seg", "views", "likes", "comentarios", "leads_estimados"}
GAINS = {"views": "views_ganhas", "likes": "likes_ganhos", "comentarios": "comentarios_ganhos"}
COUNTERS = {"views", "likes", "comentarios"}
REQUIRED = {"faculdade", "rede_social", "data_postagem", "video_id", "views"}
OF_INCREMENTS = (
    *("faculdade", "rede_social", "video_id", "data_observacao"),
    *("views", "likes", "comentarios", "ingestion_ts"),
)
SPACE = " \t\n\r\v\f"
ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)"
    r"([T ](\d\d):?(\d\d)(:?(\d\d)([.,](\d{1,9}))?)?"
    r"( ?(Z|UTC)|([+-])(0\d|1[0-4])(:?([0-5]\d))?)?)?",
    re.ASCII | re.IGNORECASE,
)
SPOILT = re.compile(
    r"#(N/A|N/D|NAME|NOME|VALUE|VALOR|REF|DIV/0|NULL|NUM|NULO).?"
    r"|[+-]?\d([.,]\d{0,17})?e\+?\d{1,3}|\d{1,17}[.,]\d{0,17}e[+-]?\d{1,3}",
    re.ASCII | re.IGNORECASE,
)


class Number(str):
    """The text of a JSON number."""

    __slots__ = ()


@dataclass
class Lake:
    """Silver by network and video, its days, and the quarantine, with the counts of lines."""

    silver: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    days: dict[tuple[str, str, dt.date], dict[str, Any]] = field(default_factory=dict)
    observed: dict[tuple[str, str], dt.date] = field(default_factory=dict)
    quarantine: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    lines: int = 0
    accepted: int = 0
    current: int = 0

    def mart(self, *key: str) -> dict[tuple[Any, ...], list[int]]:
        """Return views, likes, comments and videos by a key."""
        totals: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for row in self.silver.values():
            counts = (row["views"], row["likes"], row["comentarios"], 1)
            group = totals[tuple(row[k] for k in key)]
            group[:] = [a + (b or 0) for a, b in zip(group, counts, strict=True)]
        return dict(sorted(totals.items()))

    def growth(self, *key: str) -> dict[tuple[Any, ...], list[int | None]]:
        """Return what was gained, and the number of videos observed, by a key."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in self.days.values():
            groups[tuple(row[k] for k in key)].append(row)
        return {
            group: [*(_sum(row[gain] for row in rows) for gain in GAINS.values()), len(rows)]
            for group, rows in sorted(groups.items())
        }

    def at_days(self, age: int, *key: str) -> dict[tuple[Any, ...], list[int]]:
        """Return the views that videos of an age had at that age, and their number, by a key."""
        totals: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
        for (network, video), row in self.silver.items():
            posted = row["data_postagem"]
            last = self.observed.get((network, video), dt.date.min)
            known = {
                day: each["views"]
                for (*other, day), each in self.days.items()
                if other == [network, video] and each["views"] is not None
                if -1 <= (day - posted).days <= age
            }
            if known and (last - posted).days >= age:
                group = totals[tuple(row[k] for k in key)]
                group[:] = [group[0] + known[max(known)], group[1] + 1]
        return dict(sorted(totals.items()))

    def channels(self) -> dict[tuple[Any, ...], list[int | None]]:
        """Return the followers, the new posts and the views gained of each channel and day."""
        groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
        for row in self.days.values():
            key = row["data_observacao"], row["rede_social"], row["faculdade"]
            groups[key].append(row)
        return {
            key: [
                _last("qtd_inscritos", rows),
                sum(row["dias"] is None and row["views_ganhas"] is not None for row in rows),
                _sum(row["views_ganhas"] for row in rows),
            ]
            for key, rows in sorted(groups.items())
        }

    def videos(self) -> dict[tuple[str, str], list[Any]]:
        """Return each video: what describes it, its counters, its latest gain, and at 7 days."""
        at_7_days = self.at_days(7, "rede_social", "video_id")
        rows = {}
        for video, row in sorted(self.silver.items()):
            texts = [row[name] or "(não informado)" for name in ("titulo_video", "categoria")]
            gained = _sum(
                each["views_ganhas"]
                for (*other, day), each in self.days.items()
                if tuple(other) == video and video in self.observed
                if 0 <= (self.observed[video] - day).days < 7
            )
            views_7d, _ = at_7_days.get(video, (None, 0))
            counters = [row[name] for name in ("views", "likes", "comentarios")]
            hour = row["posted_at"].hour if row["posted_at"] else None
            described = [row["data_postagem"], hour, row["faculdade"], *texts]
            rows[video] = [*described, *counters, gained, views_7d]
        return rows


def _last(name: str, rows: Iterable[Mapping[str, Any]]) -> int | None:
    known = [(row["ingestion_ts"], row[name]) for row in rows if row[name] is not None]
    return max(known)[1] if known else None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def rebuild(
    objects: Mapping[str, bytes],
    sources: Mapping[str, Any],
    networks: Iterable[str],
    zone: str = "America/Sao_Paulo",
    declared: tuple[str, ...] = (),
) -> Lake:
    """Read every Bronze object, `fonte=…/janela=…/….jsonl`, and keep the latest of each video.

    Videos of two networks are two, even if they have one id. Declared columns are counters.
    """
    lake, latest = Lake(), {}
    days: dict[Any, Any] = {}
    reports: dict[Any, list[Any]] = defaultdict(list)
    for name, number, line in _lines(objects):
        fonte, janela = (part.partition("=")[2] for part in name.split("/")[:2])
        arrival = dt.datetime.strptime(janela, "%Y-%m-%dT%H").replace(tzinfo=ZoneInfo(zone))
        source = sources.get(fonte)
        row, broken = _validate(line, source, set(networks), arrival, declared)
        lake.lines += 1
        if broken:
            if "ignored" not in broken:
                lake.quarantine[name, number] = broken
            continue
        lake.accepted += 1
        order = (row["ingestion_ts"], name, number)
        video = row["rede_social"], row["video_id"]
        counters = source.get("counters", "lifetime")
        if counters == "daily":
            reports[(*video, row["data_observacao"]), name].append((order, row))
            continue
        row["run_id"] = f"{fonte}-{janela}" if row["run_id"] is None else row["run_id"]
        if video not in latest or order > latest[video]:
            latest[video] = order
            lake.silver[video] = row
        day = row["ingestion_ts"].astimezone(ZoneInfo(zone)).date()
        if counters == "lifetime":
            lake.observed[video] = max(day, lake.observed.get(video, day))
            days[(*video, day)] = max(days.get((*video, day), (order,)), (order, row))
    observed = {key: row for key, (_, row) in days.items()}
    increments = _last_reports(reports, observed.keys())
    lake.days = _by_day(observed, declared) | _sums(increments, declared)
    for key in observed:
        _take_off(key, lake.days[key], increments)
    lake.current = len(lake.silver) + sum(map(len, increments.values()))
    return lake


def _lines(objects: Mapping[str, bytes]) -> Iterable[tuple[str, int, bytes]]:
    for name, content in sorted(objects.items()):
        for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
            if line.strip():
                yield name, number, line


def _sums(increments: Mapping[Any, Any], declared: tuple[str, ...]) -> dict[Any, Any]:
    """Return a row of gains for each video and day."""
    rows = {}
    for key, lines in increments.items():
        names = ("faculdade", "rede_social", "video_id", "data_observacao")
        row = dict.fromkeys(("data_postagem", *GAINS, *declared))
        row |= {name: lines[-1][name] for name in names}
        row["ingestion_ts"] = max(line["ingestion_ts"] for line in lines)
        gains = {gain: _sum(line[name] for line in lines) for name, gain in GAINS.items()}
        rows[key] = {**row, **gains, "dias": 1}
    return rows


def _last_reports(reports: Mapping[Any, list[Any]], observed: Iterable[Any]) -> dict[Any, Any]:
    """Return the increments of the last report of each video and day without an observation."""
    last: dict[Any, Any] = {}
    for (key, name), lines in reports.items():
        if key not in observed:
            order = max(row["ingestion_ts"] for _, row in lines), name
            last[key] = max(last.get(key, (order, [])), (order, [row for _, row in lines]))
    return {key: rows for key, (_, rows) in last.items()}


def _take_off(key: Any, row: dict[str, Any], increments: Mapping[Any, Any]) -> None:
    """Take off what was gained on the days between an observation and the one before."""
    *video, day = key
    since = day - dt.timedelta(row["dias"]) if row["dias"] else None
    since = since or row["data_postagem"] - dt.timedelta(2)
    for (*other, each), lines in increments.items():
        if other == video and since < each < day:
            for name, gain in GAINS.items():
                if row[gain] is not None:
                    row[gain] -= _sum(line[name] for line in lines) or 0


def _by_day(
    last: Mapping[tuple[str, str, dt.date], dict[str, Any]], declared: tuple[str, ...]
) -> dict[Any, dict[str, Any]]:
    """Return the last row of each video and day with what it gained since the one before."""
    rows, before = {}, {}
    for key, row in sorted(last.items()):
        network, video, day = key
        days, previous = before.get((network, video), (None, None))
        is_recent = row["data_postagem"] >= day - dt.timedelta(days=1)
        names = ("faculdade", "rede_social", "video_id", "data_postagem", "ingestion_ts")
        result = {name: row[name] for name in (*names, *GAINS, *declared)}
        result["data_observacao"] = day
        for counter, gain in GAINS.items():
            known = row[counter]
            if previous is None:
                result[gain] = known if is_recent else None
            else:
                is_known = None not in {known, previous[counter]}
                result[gain] = known - previous[counter] if is_known else None
        result["dias"] = (day - days).days if days else None
        rows[key] = result
        before[network, video] = day, row
    return rows


SHAPE = {"_extra": "line.extra_values", "_missing": "line.too_few_values"}


def _validate(
    line: bytes,
    source: Any,
    networks: set[str],
    arrival: dt.datetime,
    declared: tuple[str, ...],
) -> tuple[dict[str, Any], set[str]]:
    if source is None:
        return {}, {"source.undeclared"}
    fields = _record(line)
    if isinstance(fields, str):
        return {}, {fields}
    row = {}
    shape = SHAPE if source.get("format") in {"csv", "xlsx"} else {}
    values = [value for name, value in fields.items() if name not in SHAPE]
    extra = fields.get("_extra")
    values += extra if isinstance(extra, list) else [extra]
    if shape and not any(map(_is_filled, values)):
        return {}, {"ignored"}  # a blank row of a table
    broken = {rule for name, rule in shape.items() if name in fields}
    if source.get("schema_drift") == "freeze" and set(fields) - set(shape) - _declared(source):
        broken.add("line.new_field")
    zone = str(arrival.tzinfo)
    is_daily = source.get("counters") == "daily"
    for name in OF_INCREMENTS if is_daily else (*NAMES, *declared):
        row[name], rules = _field(name, fields, source, zone, name in declared)
        broken |= rules
    row["ingestion_ts"] = row["ingestion_ts"] or arrival.astimezone(dt.UTC)
    day = "data_observacao" if is_daily else "data_postagem"
    return row, broken | _broken_by_row(row, day, networks, arrival)


def _record(line: bytes) -> dict[str, Any] | str:
    """Return the fields of a line, or the rule that it breaks as a whole."""
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "line.not_utf8"
    try:
        pairs = json.loads(
            text,
            object_pairs_hook=lambda pairs: pairs,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
        )
        json.dumps(pairs, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return "line.not_json"
    if not text.strip().startswith("{"):
        return "line.not_json"
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else "line.repeated_keys"


def _is_filled(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and not value.strip())


def _broken_by_row(row: Any, day: str, networks: set[str], arrival: dt.datetime) -> set[str]:
    seen, tolerance = row["ingestion_ts"], dt.timedelta(days=1)
    rules = {
        "rede_social.unknown": row["rede_social"] not in {None, *networks},
        f"{day}.after_observation": row[day] is not None and row[day] > seen.date() + tolerance,
        "ingestion_ts.after_arrival": seen > arrival + tolerance,
    }
    return {rule for rule, is_broken in rules.items() if is_broken}


def _declared(source: Any) -> set[str]:
    rules = source.get("fields", {name: name for name in NAMES}).values()
    origins = (rule.get("field", []) if isinstance(rule, dict) else rule for rule in rules)
    lists = ([origin] if isinstance(origin, str) else origin for origin in origins)
    return {name for names in lists for name in names} | set(source.get("other_fields", []))


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _field(
    name: str, fields: Any, source: Any, zone: str, is_declared_counter: bool
) -> tuple[Any, set[str]]:
    rule = source["fields"].get(name) if "fields" in source else name
    rule = {"field": rule} if isinstance(rule, str | list) else (rule or {})
    origins = rule.get("field", [])
    origins = [origins] if isinstance(origins, str) else origins
    quoted = source.get("format") == "csv" or "constant" in rule
    values = [str(rule["constant"])] if "constant" in rule else map(fields.get, origins)
    for value in values:
        blank = isinstance(value, str) and not isinstance(value, Number) and not value.strip(SPACE)
        if value is None or (blank and (quoted or name in {"faculdade", "categoria", "video_id"})):
            continue
        if name == "video_id" and isinstance(value, str) and _is_spoilt(value):
            return None, {"video_id.mangled"}
        try:
            read = _value("views" if is_declared_counter else name, value, rule, quoted, zone)
        except (ValueError, OverflowError):
            return None, {f"{name}.unreadable"}
        if read is None:
            continue
        is_counter = name in COUNTERS or is_declared_counter
        is_counter = is_counter and source.get("counters") != "daily"
        return read, {f"{name}.negative"} if is_counter and read < 0 else set()
    is_declared = name in source.get("fields", NAMES)
    is_missing = name in {*REQUIRED, "data_observacao"} or (name in COUNTERS and is_declared)
    return None, {f"{name}.missing"} if is_missing else set()


def _is_spoilt(value: str) -> bool:
    is_fraction = isinstance(value, Number) and not re.fullmatch("-?[0-9]+", value)
    return is_fraction or (SPOILT.fullmatch(_unwrapped(value)) is not None and "\0" not in value)


def _unwrapped(value: str) -> str:
    text = value.strip()
    return text[2:-1].strip() if len(text) > 2 and text[:2] == '="' and text[-1] == '"' else text


def _value(name: str, value: Any, rule: Any, quoted: bool, zone: str) -> Any:
    is_text = isinstance(value, str) and not isinstance(value, Number)
    if name == "video_id":
        _require(value, isinstance(value, str) and "\0" not in value)
        return _unwrapped(value) or None
    if name in TEXTS:
        text = _require(value, is_text and "\0" not in value)
        is_name = name in {"faculdade", "categoria"}
        return (unicodedata.normalize("NFC", text.strip()) or None) if is_name else text
    if name in INTEGERS or name in {"engagement_rate", "ctr_estimado"}:
        number = value.strip(SPACE) if quoted and is_text else value
        _require(number, is_text if quoted else isinstance(number, Number))
        if name in INTEGERS:
            _require(number, re.fullmatch("-?[0-9]+", number))
            return _require(int(number), -(2**63) <= int(number) < 2**63)
        _require(number, re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", number))
        return _require(float(number), abs(float(number)) < float("inf"))
    return _time(name, _require(value, is_text), rule, zone)


def _time(name: str, value: str, rule: Any, zone: str) -> Any:
    if "format" in rule:
        moment = dt.datetime.strptime(value, rule["format"])  # noqa: DTZ007
        _require(value, moment.strftime(rule["format"]) == value)
        has_clock = "%H" in rule["format"]
    else:
        moment, has_clock = _iso(value)
    _require(value, 1000 <= moment.year < 3000)
    if not moment.tzinfo:
        moment = moment.replace(tzinfo=ZoneInfo(rule.get("timezone", zone)))
    if name == "ingestion_ts":
        return moment.astimezone(dt.UTC)
    if not has_clock:
        return moment.date() if name in DATES else None
    is_kept_there = moment.tzinfo == ZoneInfo(zone)  # else an hour that is skipped would move
    local = (moment if is_kept_there else moment.astimezone(ZoneInfo(zone))).replace(tzinfo=None)
    return local.date() if name in DATES else local


def _iso(value: str) -> tuple[dt.datetime, bool]:
    match = _require(ISO.fullmatch(value), ISO.fullmatch(value))
    year, month, day, time, hour, minute, seconds, second, _, part, *offset = match.groups()
    _, utc, sign, hours, _, minutes = offset
    is_separated = value[4] == "-"
    separators = {is_separated, value[7 if is_separated else 6] == "-"}
    separators |= {text[at] == ":" for text, at in ((time, 3), (seconds, 0)) if text}
    _require(value, len(separators) == 1)
    zone: dt.tzinfo | None = dt.UTC if utc else None
    if sign:
        span = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
        zone = dt.timezone(-span if sign == "-" else span)
    micros = int((part or "0").ljust(6, "0")[:6])
    clock = (int(hour or 0), int(minute or 0), int(second or 0), micros)
    return dt.datetime(int(year), int(month), int(day), *clock, tzinfo=zone), bool(time)


def _require(value: Any, condition: Any) -> Any:
    if not condition:
        raise ValueError(value)
    return value
