"""Which lines are accepted, as what, and which rules the others broke."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver import lot
from capstone_metrics.pipelines.bronze_to_silver.declaration import contract_of
from capstone_metrics.pipelines.bronze_to_silver.verdicts import judge_by_field
from tests.pipelines.conftest import NAME, observed

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir

LINE = {
    "faculdade": "GRAN",
    "rede_social": "tiktok",
    "data_postagem": "2026-01-30",
    "posted_at": "2026-01-30T21:15:00",
    "video_id": "v1",
    "titulo_video": "Título",
    "categoria": "dicas",
    "duracao_seg": 30,
    "views": 100,
    "likes": 10,
    "comentarios": 1,
    "engagement_rate": 0.11,
    "leads_estimados": 2,
    "ctr_estimado": 1.25,
    "run_id": "faker-2026-01-31T08",
    "ingestion_ts": "2026-01-31T11:00:00Z",
}


def line(**changes: Any) -> bytes:
    return json.dumps({**LINE, **changes}, ensure_ascii=False).encode() + b"\n"


def raw(field: str, text: str) -> bytes:
    """A line whose field has this JSON text."""
    return line(**{field: "@"}).replace(b'"@"', text.encode())


def test_a_clean_line_becomes_a_typed_row(to_silver: Callable[..., Any]) -> None:
    (row,), rejected = to_silver(line())
    assert not rejected
    assert row == {
        **LINE,
        "data_postagem": dt.date(2026, 1, 30),
        "posted_at": dt.datetime(2026, 1, 30, 21, 15),  # noqa: DTZ001 - local time
        "ingestion_ts": dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC),
    }


BROKEN = [
    ("views", '"abc"', "views.unreadable"),
    ("views", '"12"', "views.unreadable"),
    ("views", "1.7", "views.unreadable"),
    ("views", "1.0", "views.unreadable"),
    ("views", "1e3", "views.unreadable"),
    ("views", "true", "views.unreadable"),
    ("views", "100000000000000000000000", "views.unreadable"),
    ("views", "9223372036854775808", "views.unreadable"),
    ("views", "[1]", "views.unreadable"),
    ("views", r'"1\n"', "views.unreadable"),
    ("data_postagem", r'"2026-01-30\n"', "data_postagem.unreadable"),
    ("posted_at", r'"2026-01-30T21:15:00\n"', "posted_at.unreadable"),
    ("views", "null", "views.missing"),
    ("views", "-1", "views.negative"),
    ("likes", "-1", "likes.negative"),
    ("comentarios", "-9223372036854775808", "comentarios.negative"),
    ("duracao_seg", '"curto"', "duracao_seg.unreadable"),
    ("engagement_rate", '"0.1"', "engagement_rate.unreadable"),
    ("engagement_rate", "1e999", "engagement_rate.unreadable"),
    ("views", "NaN", "line.not_json"),
    ("ctr_estimado", "-Infinity", "line.not_json"),
    ("views", "01", "line.not_json"),
    ("views", "1,", "line.not_json"),
    ("titulo_video", '"a\tb"', "line.not_json"),
    ("titulo_video", r'"\ud800"', "line.not_json"),
    ("views", '1,"views":2', "line.repeated_keys"),
    ("data_postagem", '"2026-13-45"', "data_postagem.unreadable"),
    ("data_postagem", '"2026-02-30"', "data_postagem.unreadable"),
    ("data_postagem", "20260130", "data_postagem.unreadable"),
    ("data_postagem", '"2026-02-02"', "data_postagem.after_observation"),
    ("posted_at", '"ontem"', "posted_at.unreadable"),
    ("ingestion_ts", '"2026-01-31T25:00:00Z"', "ingestion_ts.unreadable"),
    ("video_id", "null", "video_id.missing"),
    ("video_id", '" "', "video_id.missing"),
    ("video_id", r'"a\u0000"', "video_id.unreadable"),
    ("video_id", "7", "video_id.unreadable"),
    ("faculdade", '""', "faculdade.missing"),
    ("rede_social", '"orkut"', "rede_social.unknown"),
    ("rede_social", '"../../x"', "rede_social.unknown"),
    ("rede_social", "true", "rede_social.unreadable"),
    ("titulo_video", "5", "titulo_video.unreadable"),
]
UNUSUAL = [
    ("views", "0", 0),
    ("views", "-0", 0),
    ("views", "9223372036854775807", 2**63 - 1),
    ("engagement_rate", "1e-3", 0.001),
    ("engagement_rate", "2", 2.0),
    ("engagement_rate", "-2", -2.0),
    ("engagement_rate", "0.1000000000000000055511151231257827021181583404541015625", 0.1),
    ("engagement_rate", "12345678901234567890", 12345678901234567890.0),
    ("engagement_rate", "123456789012345678901234567890", 123456789012345678901234567890.0),
    ("duracao_seg", "null", None),
    ("duracao_seg", "-3", -3),
    ("faculdade", '" GRAN "', " GRAN "),
    ("titulo_video", "null", None),
    ("titulo_video", '""', ""),
    ("titulo_video", r'"a\\u0000"', r"a\u0000"),
    ("titulo_video", r'"\ud83d\ude00 \"x\""', '😀 "x"'),
    ("titulo_video", '"NaN, Infinity,]"', "NaN, Infinity,]"),
    ("faculdade", '"\'); DROP TABLE x; --"', "'); DROP TABLE x; --"),
    ("faculdade", '"../../x"', "../../x"),
    ("data_postagem", '"2026-02-01"', dt.date(2026, 2, 1)),
    ("posted_at", '"2026-01-30T23:15:00Z"', dt.datetime(2026, 1, 30, 20, 15)),  # noqa: DTZ001
    ("posted_at", '"2018-11-04T00:00:00"', dt.datetime(2018, 11, 4)),  # noqa: DTZ001
    ("posted_at", '"2018-11-04T02:59:59Z"', dt.datetime(2018, 11, 3, 23, 59, 59)),  # noqa: DTZ001
    ("posted_at", '"2019-02-17T01:30:00Z"', dt.datetime(2019, 2, 16, 23, 30)),  # noqa: DTZ001
    ("posted_at", '"2026-01-30 21:15:00.5"', dt.datetime(2026, 1, 30, 21, 15, 0, 500_000)),  # noqa: DTZ001
    ("ingestion_ts", '"2026-01-31T08:00:00"', dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)),
    (
        "ingestion_ts",
        '"2026-01-31T08:00:00+05:30"',
        dt.datetime(2026, 1, 31, 2, 30, tzinfo=dt.UTC),
    ),
]


LINES = [raw(field, text) for field, text, _ in (*BROKEN, *UNUSUAL)]


def numbered(at: int) -> bytes:
    """One of these lines, of a video of its own."""
    return LINES[at].replace(b'"v1"', b'"v%d"' % at)


def verdicts_on_all() -> list[dict[str, Any]]:
    """What became of each of these lines. Judged at once: a query may take seconds."""
    content = b"".join(map(numbered, range(len(LINES))))
    judged = observed({NAME: content}, {"faker": {"type": "faker"}})
    accepted, rejected = (t.to_pyarrow().to_pylist() for t in (judged.accepted, judged.rejected))
    found = {row["linha"] - 1: row for row in rejected}
    found |= {row["linha"] - 1: {**row, "regras": None} for row in accepted}
    return [found[at] for at in range(len(LINES))]


@pytest.fixture(scope="module")
def verdicts(on_engine: None) -> list[dict[str, Any]]:
    """What became of each of these lines."""
    return verdicts_on_all()


@pytest.mark.parametrize(("field", "text", "rule"), BROKEN)
def test_a_broken_field_is_quarantined_by_its_rule(
    verdicts: list[dict[str, Any]], field: str, text: str, rule: str
) -> None:
    at = LINES.index(raw(field, text))
    rejected = verdicts[at]
    assert rejected["regras"] == [rule]
    assert rejected["texto"] == numbered(at).decode().rstrip("\n")
    assert rejected["quando"] == "2026-01-31T11:00:00Z"


@pytest.mark.parametrize(("field", "text", "value"), UNUSUAL)
def test_an_unusual_but_good_value_is_accepted(
    verdicts: list[dict[str, Any]], field: str, text: str, value: Any
) -> None:
    row = verdicts[LINES.index(raw(field, text))]
    assert row["regras"] is None
    assert row[field] == value


def test_what_is_accepted_at_one_look_is_so_field_by_field(
    verdicts: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lot, "plain_of", lambda *_: None)
    for at, row in enumerate(verdicts_on_all()):
        assert {name: row[name] for name in verdicts[at]} == verdicts[at]


def test_most_usual_lines_are_accepted_at_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[int] = []

    def judge(lines: ir.Table, *how: Any) -> ir.Table:
        others.extend(lines.linha.to_pyarrow().to_pylist())
        return judge_by_field(lines, *how)

    monkeypatch.setattr(lot, "judge_by_field", judge)
    usual = line() + line(titulo_video=None, engagement_rate=0, duracao_seg=2**40)
    judged = observed({NAME: usual + line(views="x")}, {"faker": {"type": "faker"}})
    assert others == [3]
    assert judged.lines("accepted") == 2


def test_every_broken_rule_is_named(to_silver: Callable[..., Any]) -> None:
    _, (rejected,) = to_silver(line(views=-1, likes="x", rede_social="orkut", video_id=None))
    assert set(rejected["regras"]) == {
        "views.negative",
        "likes.unreadable",
        "rede_social.unknown",
        "video_id.missing",
    }


def test_a_line_that_is_not_utf8_keeps_its_bytes(to_silver: Callable[..., Any]) -> None:
    _, (rejected,) = to_silver(b'{"faculdade": "\xff"}\n')
    assert rejected["regras"] == ["line.not_utf8"]
    assert (rejected["texto"], rejected["texto_base64"]) == (None, "eyJmYWN1bGRhZGUiOiAi/yJ9")


@pytest.mark.parametrize("text", ["", "[1]", '"x"', "5", "null", "{", '{"a":1} x'])
def test_a_line_that_is_no_object_is_not_json(to_silver: Callable[..., Any], text: str) -> None:
    kept, rejected = to_silver(line() + text.encode())
    assert len(kept) == 1
    assert [r["regras"] for r in rejected] == ([["line.not_json"]] if text else [])


def test_byte_order_mark_crlf_and_blank_lines_are_accepted(to_silver: Callable[..., Any]) -> None:
    content = b"\xef\xbb\xbf" + line().replace(b"\n", b"\r\n") + b"\r\n \n" + line(video_id="v2")
    kept, rejected = to_silver(content)
    assert (len(kept), rejected) == (2, [])


def test_the_last_observation_wins_and_then_the_last_place(to_silver: Callable[..., Any]) -> None:
    early, late = (
        "fonte=faker/janela=2026-01-30T08/a.jsonl",
        "fonte=faker/janela=2026-01-31T08/a.jsonl",
    )
    before = "2026-01-30T11:00:00Z"
    objects = {
        late: line(views=1, ingestion_ts=before) + line(views=3),
        early: line(views=2) + line(views=9, ingestion_ts=before),
    }
    (row,), _ = to_silver(objects)
    assert row["views"] == 3
    (row,), _ = to_silver({late: line(views=1) + line(views=2), early: line(views=8)})
    assert row["views"] == 2


def test_what_a_line_does_not_say_comes_from_its_arrival(to_silver: Callable[..., Any]) -> None:
    (row,), _ = to_silver(line(ingestion_ts=None, run_id=None))
    assert row["ingestion_ts"] == dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)
    assert row["run_id"] == "faker-2026-01-31T08"


def test_the_lines_of_an_undeclared_source_are_quarantined(to_silver: Callable[..., Any]) -> None:
    kept, (rejected,) = to_silver({"fonte=old/janela=2026-01-31T08/a.jsonl": line()})
    assert (kept, rejected["regras"]) == ([], ["source.undeclared"])


CSV = {
    "type": "files",
    "format": "csv",
    "path": "x",
    "fields": {
        "faculdade": "canal",
        "rede_social": {"constant": "youtube"},
        "data_postagem": {"field": "dia", "format": "%d/%m/%y", "timezone": "UTC"},
        "video_id": "id",
        "views": "v",
        "likes": "l",
        "comentarios": {"constant": 0},
        "ingestion_ts": {"field": "visto", "format": "%Y%m%d %H:%M", "timezone": "Asia/Tokyo"},
    },
}


def csv_line(**changes: str) -> bytes:
    row = {"canal": "A", "dia": "30/01/26", "id": "1", "v": " 12 ", "l": "3", "visto": ""}
    return json.dumps({**row, **changes}).encode() + b"\n"


def test_a_csv_source_is_read_by_its_declaration(to_silver: Callable[..., Any]) -> None:
    name = "fonte=mine/janela=2026-01-31T08/a.jsonl"
    kept, rejected = to_silver({name: csv_line(visto="20260131 09:30")}, {"mine": CSV})
    assert not rejected
    (row,) = kept
    assert (row["faculdade"], row["rede_social"], row["video_id"]) == ("A", "youtube", "1")
    assert (row["views"], row["likes"], row["comentarios"]) == (12, 3, 0)
    assert row["data_postagem"] == dt.date(2026, 1, 30)
    assert row["ingestion_ts"] == dt.datetime(2026, 1, 31, 0, 30, tzinfo=dt.UTC)
    assert row["titulo_video"] is None


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"v": ""}, "views.missing"),
        ({"v": "1,2"}, "views.unreadable"),
        ({"dia": "2026-01-30"}, "data_postagem.unreadable"),
        ({"dia": "31/02/26"}, "data_postagem.unreadable"),
        ({"visto": "ontem"}, "ingestion_ts.unreadable"),
    ],
)
def test_a_csv_row_that_does_not_fit_is_quarantined(
    to_silver: Callable[..., Any], changes: dict[str, str], rule: str
) -> None:
    name = "fonte=mine/janela=2026-01-31T08/a.jsonl"
    _, (rejected,) = to_silver({name: csv_line(**changes)}, {"mine": CSV})
    assert rejected["regras"] == [rule]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"curtidas": "x"}, "curtidas"),
        ({"views": None}, "views"),
        ({"views": {"field": "v", "constant": 1}}, "views"),
        ({"views": {"field": "v", "format": "%d"}}, "views"),
        ({"data_postagem": {"field": "d", "format": "%d-%b"}}, "data_postagem"),
        ({"data_postagem": {"field": "d", "format": "%H:%M"}}, "data_postagem"),
        ({"data_postagem": {"field": "d", "timezone": "Mars/Base"}}, "Mars/Base"),
    ],
)
def test_a_declaration_that_does_not_hold_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(CapstoneError, match=said):
        contract_of("mine", {**CSV, "fields": {**CSV["fields"], **fields}}, "UTC")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_drift": "discard"}, "schema_drift"),
        ({"other_fields": "tags"}, "other_fields"),
        ({"fields": {**CSV["fields"], "likes": []}}, "likes"),
    ],
)
def test_a_contract_that_does_not_hold_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(CapstoneError, match=said):
        contract_of("mine", {**CSV, **changes}, "UTC")


def test_a_required_field_must_be_declared() -> None:
    with pytest.raises(CapstoneError, match="likes"):
        contract_of("mine", {"fields": {"views": "v"}}, "UTC")
