"""Which lines are accepted, as what, and which rules the others broke."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.merge import merge
from capstone_metrics.validation import validator
from capstone_metrics.validation.contract import contract_of
from tests.pipelines.conftest import CSV, LINE, csv_line, line, rows_of, validated
from tests.support import engines

SOURCES: dict[str, Any] = {"faker": {"type": "faker"}, "mine": CSV}
OBJECTS: dict[str, bytes] = {}


def bronze(name: str, content: bytes, source: str = "faker", window: str = "2026-01-31T08") -> str:
    """Add an object to the Bronze of these tests, which is validated once: a query takes a second.

    Each test has objects and videos of its own.
    """
    key = f"fonte={source}/janela={window}/{name}.jsonl"
    assert key not in OBJECTS
    OBJECTS[key] = content
    return key


@dataclass(frozen=True)
class Outcome:
    """The rows of Silver by their video, and the rejected lines by their object and number."""

    silver: dict[str, dict[str, Any]]
    quarantine: dict[tuple[str, int], dict[str, Any]]

    def rejected(self, name: str) -> list[dict[str, Any]]:
        """Return the rejected lines of an object."""
        return [row for (key, _), row in sorted(self.quarantine.items()) if key == name]


def outcome_of_bronze() -> Outcome:
    """Validate and merge every line of these tests."""
    result = validated(OBJECTS, SOURCES)
    overwrites = merge(result).overwrites
    silver = {row["video_id"]: row for row in rows_of(overwrites["criacao"])}
    rejected = rows_of(overwrites["quarentena"])
    return Outcome(silver, {(row["objeto"], row["linha"]): row for row in rejected})


@pytest.fixture(scope="module")
def outcome(on_engine: None) -> Outcome:
    """The rows that Silver and its quarantine get from the lines of these tests."""
    return outcome_of_bronze()


BEFORE = "2026-01-30T11:00:00Z"
bronze(
    "order",
    line(video_id="o1", views=1, ingestion_ts=BEFORE)
    + line(video_id="o1", views=3)
    + line(video_id="o2", views=1)
    + line(video_id="o2", views=2),
)
bronze(
    "order",
    line(video_id="o1", views=2)
    + line(video_id="o1", views=9, ingestion_ts=BEFORE)
    + line(video_id="o2", views=8),
    window="2026-01-30T08",
)


def test_the_last_observation_wins_and_then_the_last_line(outcome: Outcome) -> None:
    assert outcome.silver["o1"]["views"] == 3
    assert outcome.silver["o2"]["views"] == 2


def raw(field: str, text: str) -> bytes:
    """A line whose field has this JSON text."""
    return line(**{field: "@"}).replace(b'"@"', text.encode())


CLEAN = bronze("clean", line(video_id="clean"))


def test_a_clean_line_becomes_a_typed_row(outcome: Outcome) -> None:
    assert outcome.rejected(CLEAN) == []
    assert outcome.silver["clean"] == {
        **LINE,
        "video_id": "clean",
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
    ("video_id", "true", "video_id.unreadable"),
    ("video_id", "7.0", "video_id.mangled"),
    ("video_id", '"7.3E+18"', "video_id.mangled"),
    ("video_id", '"7,30055E+18"', "video_id.mangled"),
    ("video_id", '"#NAME?"', "video_id.mangled"),
    ("video_id", r'"=\"7.3E+18\""', "video_id.mangled"),
    ("video_id", r'"=\"\""', "video_id.missing"),
    ("ingestion_ts", '"2026-02-01T12:00:00Z"', "ingestion_ts.after_arrival"),
    ("faculdade", '""', "faculdade.missing"),
    ("faculdade", r'"\u00a0"', "faculdade.missing"),
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
    ("video_id", "7312345678901234567", "7312345678901234567"),
    ("video_id", '"\\t -bR7mLx2QpA "', "-bR7mLx2QpA"),
    ("video_id", '"1e2e3e4e5e6"', "1e2e3e4e5e6"),
    ("video_id", r'"=\"7312345678901234567\""', "7312345678901234567"),
    ("video_id", r'" =\" a1 \" "', "a1"),
    ("video_id", r'"a=\"1\""', 'a="1"'),
    ("posted_at", '"2026-01-30"', None),
    ("ingestion_ts", '"2026-01-31 08:00-03"', dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)),
    ("ingestion_ts", '"20260131T110000Z"', dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)),
    ("duracao_seg", "null", None),
    ("duracao_seg", "-3", -3),
    ("faculdade", '" GRAN "', "GRAN"),
    ("faculdade", r'"Gran\u00a0\t"', "Gran"),
    ("faculdade", r'"Ac\u0327a\u0303o"', "A\u00e7\u00e3o"),
    ("categoria", r'"\u3000Dicas"', "Dicas"),
    ("categoria", '"  "', None),
    ("titulo_video", r'" a\u0303 "', " a\u0303 "),
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
    """Return one of these lines, of a video of its own."""
    return LINES[at].replace(b'"v1"', b'"v%d"' % at)


TABLE = bronze("table", b"".join(map(numbered, range(len(LINES)))))


@pytest.mark.parametrize(("field", "text", "rule"), BROKEN)
def test_a_broken_field_is_quarantined_by_its_rule(
    outcome: Outcome, field: str, text: str, rule: str
) -> None:
    at = LINES.index(raw(field, text))
    rejected = outcome.quarantine[TABLE, at + 1]
    assert rejected["regras"] == [rule]
    assert rejected["texto"] == numbered(at).decode().rstrip("\n")
    assert rejected["quando"] == "2026-01-31T11:00:00Z"


@pytest.mark.parametrize(("field", "text", "value"), UNUSUAL)
def test_an_unusual_but_good_value_is_accepted(
    outcome: Outcome, field: str, text: str, value: Any
) -> None:
    at = LINES.index(raw(field, text))
    assert (TABLE, at + 1) not in outcome.quarantine
    assert outcome.silver[value if field == "video_id" else f"v{at}"][field] == value


@pytest.mark.skipif(engines.chosen != "duckdb", reason="the workers of Spark have no patch")
def test_lines_have_the_same_outcome_without_the_scanner(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validator, "load_scan", lambda **_: None)
    assert outcome_of_bronze() == outcome


MANY = bronze("many", line(views=-1, likes="x", rede_social="orkut", video_id=None))


def test_every_broken_rule_is_named(outcome: Outcome) -> None:
    (rejected,) = outcome.rejected(MANY)
    assert set(rejected["regras"]) == {
        "views.negative",
        "likes.unreadable",
        "rede_social.unknown",
        "video_id.missing",
    }


BYTES = bronze("bytes", b'{"faculdade": "\xff"}\n')


def test_a_line_that_is_not_utf8_keeps_its_bytes(outcome: Outcome) -> None:
    (rejected,) = outcome.rejected(BYTES)
    assert rejected["regras"] == ["line.not_utf8"]
    assert (rejected["texto"], rejected["texto_base64"]) == (None, "eyJmYWN1bGRhZGUiOiAi/yJ9")


NO_OBJECT = {
    text: bronze(f"no object {at}", line(video_id=f"n{at}") + text.encode())
    for at, text in enumerate(["", "[1]", '"x"', "5", "null", "{", '{"a":1} x'])
}


@pytest.mark.parametrize("text", NO_OBJECT)
def test_a_line_that_is_no_object_is_not_json(outcome: Outcome, text: str) -> None:
    assert f"n{list(NO_OBJECT).index(text)}" in outcome.silver
    rejected = outcome.rejected(NO_OBJECT[text])
    assert [row["regras"] for row in rejected] == ([["line.not_json"]] if text else [])


WINDOWS = bronze(
    "windows",
    b"\xef\xbb\xbf"
    + line(video_id="w1").replace(b"\n", b"\r\n")
    + b"\r\n \n"
    + line(video_id="w2"),
)


def test_byte_order_mark_crlf_and_blank_lines_are_accepted(outcome: Outcome) -> None:
    assert {"w1", "w2"} <= outcome.silver.keys()
    assert outcome.rejected(WINDOWS) == []


bronze("arrival", line(video_id="arrival", ingestion_ts=None, run_id=None))


def test_a_line_without_times_gets_those_of_its_arrival(outcome: Outcome) -> None:
    row = outcome.silver["arrival"]
    assert row["ingestion_ts"] == dt.datetime(2026, 1, 31, 11, tzinfo=dt.UTC)
    assert row["run_id"] == "faker-2026-01-31T08"


UNDECLARED = bronze("undeclared", line(video_id="undeclared"), source="old")


def test_the_lines_of_an_undeclared_source_are_quarantined(outcome: Outcome) -> None:
    (rejected,) = outcome.rejected(UNDECLARED)
    assert rejected["regras"] == ["source.undeclared"]
    assert "undeclared" not in outcome.silver


EXPORT = bronze("export", csv_line(id="csv", visto="20260131 09:30"), source="mine")


def test_a_csv_source_is_read_by_its_declaration(outcome: Outcome) -> None:
    assert outcome.rejected(EXPORT) == []
    row = outcome.silver["csv"]
    assert (row["faculdade"], row["rede_social"], row["video_id"]) == ("A", "youtube", "csv")
    assert (row["views"], row["likes"], row["comentarios"]) == (12, 3, 0)
    assert row["data_postagem"] == dt.date(2026, 1, 30)
    assert row["ingestion_ts"] == dt.datetime(2026, 1, 31, 0, 30, tzinfo=dt.UTC)
    assert row["titulo_video"] is None


BROKEN_ROWS = {
    ("v", ""): "views.missing",
    ("v", "1,2"): "views.unreadable",
    ("dia", "2026-01-30"): "data_postagem.unreadable",
    ("dia", "31/02/26"): "data_postagem.unreadable",
    ("visto", "ontem"): "ingestion_ts.unreadable",
}
ROWS = bronze(
    "rows", b"".join(csv_line(**{name: text}) for name, text in BROKEN_ROWS), source="mine"
)


@pytest.mark.parametrize("row", BROKEN_ROWS)
def test_a_csv_row_that_does_not_fit_is_quarantined(outcome: Outcome, row: tuple[str, str]) -> None:
    rejected = outcome.quarantine[ROWS, list(BROKEN_ROWS).index(row) + 1]
    assert rejected["regras"] == [BROKEN_ROWS[row]]


@pytest.mark.parametrize(
    ("fields", "message"),
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
def test_an_invalid_declaration_is_rejected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CapstoneError, match=message):
        contract_of("mine", {**CSV, "fields": {**CSV["fields"], **fields}}, "UTC")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_drift": "discard"}, "schema_drift"),
        ({"other_fields": "tags"}, "other_fields"),
        ({"fields": {**CSV["fields"], "likes": []}}, "likes"),
    ],
)
def test_an_invalid_contract_is_rejected(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CapstoneError, match=message):
        contract_of("mine", {**CSV, **changes}, "UTC")


def test_a_required_field_must_be_declared() -> None:
    with pytest.raises(CapstoneError, match="faculdade, rede_social, data_postagem, video_id"):
        contract_of("mine", {"fields": {"views": "v"}}, "UTC")
