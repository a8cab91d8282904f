"""How values are found in a record and read, by what a source declares of its fields."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Literal
from unicodedata import normalize

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.objects import BronzeObject
from capstone_metrics.validation.rules import Outcome, validate_line
from capstone_metrics.validation.silver import columns_of

ZONE = "America/Sao_Paulo"
ORIGIN = BronzeObject("fonte=mine/janela=2026-10-01T08/a.jsonl", ZONE)
GOOD = {"canal": "A", "dia": "2026-09-01", "id": "v1", "v": 1}
FIELDS: dict[str, Any] = {
    "faculdade": "canal",
    "rede_social": {"constant": "tiktok"},
    "data_postagem": "dia",
    "video_id": "id",
    "views": "v",
}


def outcome_of(record: dict[str, Any], **declaration: Any) -> Outcome:
    """Return what becomes of a record of a source that declares further fields."""
    fields = {**FIELDS, **declaration.pop("fields", {})}
    contract = contract_of("mine", {"fields": fields, **declaration}, ZONE)
    line = json.dumps({**GOOD, **record}, ensure_ascii=False).encode()
    return validate_line(line, contract, ORIGIN, ["tiktok", "youtube"])


def read(column: str, rule: Any, record: dict[str, Any], **declaration: Any) -> Any:
    """Return the value of a column, or the rules that the record broke."""
    outcome = outcome_of(record, fields={column: rule}, **declaration)
    return outcome.row[column] if not outcome.broken else set(outcome.broken)


DOT, COMMA = {"thousands": "."}, {"thousands": ","}
PT = {"compact": "pt", "decimal": ",", "thousands": "."}
EN = {"compact": "en", "thousands": ","}
NUMBERS: list[Any] = [
    ({"text": True}, "12040", 12040),
    ({"text": True}, 12040, 12040),
    ({"text": True}, "12040.0", None),
    ({"text": True}, "1e3", None),
    ({"decimal": "."}, "12040.0", 12040),
    ({"decimal": "."}, "12040.00", 12040),
    ({"decimal": "."}, "12040", 12040),
    ({"decimal": "."}, "-0.0", 0),
    ({"decimal": "."}, "12.000", None),  # or twelve thousand
    ({"decimal": "."}, "12.5", None),
    ({"decimal": ","}, "12040,0", 12040),
    ({"text": True}, "-31", -31),
    (DOT, "12.040", 12040),
    (DOT, "1.234.567", 1234567),
    (DOT, "2\u00a0048", 2048),
    (DOT, "999", 999),
    (DOT, "1.20", None),
    (DOT, "1.20.4", None),
    (DOT, "12.0400", None),
    (DOT, ".040", None),
    (DOT, "12,5", None),
    (DOT, "12.040,0", 12040),
    (DOT, "0.123", None),
    (DOT, 1.234, None),
    (DOT, 1234, 1234),
    (COMMA, "1,034,567", 1034567),
    (COMMA, "12,04", None),
    (COMMA, "1,O24", None),
    (EN, "1.2M", 1_200_000),
    (EN, "45.3K", 45_300),
    (EN, "1.1b", 1_100_000_000),
    (EN, "1.234K", 1_234),
    (EN, "1.2345K", None),
    (EN, "1.2X", None),
    (EN, "987", 987),
    pytest.param(EN, f"{'9' * 1_000_000}K", None, id="a million digits"),
    (PT, "1,5 mil", 1_500),
    (PT, "2\u00a0mi", 2_000_000),
    (PT, "1 bi", 1_000_000_000),
    (PT, "12.040", 12_040),
    (PT, "mil", None),
    (PT, "12,000", None),
    (PT, "1,000 mil", 1_000),
    ({"compact": ["es", "en"]}, "1 B", None),  # a thousand millions, or a million of them
    ({"compact": "es"}, "3 M", 3_000_000),
]


@pytest.mark.parametrize(("options", "value", "expected"), NUMBERS)
def test_a_number_is_read_as_it_is_written(
    options: dict[str, Any], value: Any, expected: int | None
) -> None:
    rule = {"field": "n", **options}
    correct = {"leads_estimados.unreadable"} if expected is None else expected
    assert read("leads_estimados", rule, {"n": value}) == correct


def test_a_percentage_is_a_ratio_or_stays_in_percent_as_its_column_is() -> None:
    rule = {"field": "p", "percent": True, "decimal": ","}
    assert read("engagement_rate", rule, {"p": "1,1%"}) == 0.011
    assert read("ctr_estimado", rule, {"p": "1,1 %"}) == 1.1
    assert read("ctr_estimado", rule, {"p": "7%"}) == 7
    assert read("ctr_estimado", rule, {"p": "4,65"}) == 4.65
    assert read("ctr_estimado", rule, {"p": "4.65%"}) == {"ctr_estimado.unreadable"}


DATES: list[tuple[Any, Any, str | None]] = [
    ("%b %-d, %Y", "Sep 4, 2025", "2025-09-04"),
    ("%b %-d, %Y", "sept. 4, 2025", "2025-09-04"),
    ("%b %-d, %Y", "Set 4, 2025", None),
    ("%b %-d, %Y", "Feb 30, 2025", None),
    ("%d-%b-%y", "08-May-20", "2020-05-08"),
    ("%m/%d/%Y %-I:%M %p", "03/15/2026 12:05 am", "2026-03-15"),
    ("%m/%d/%Y %-I:%M %p", "03/15/2026 9:15\u202fPM", "2026-03-15"),
    ("%m/%d/%Y %-I:%M %p", "03/15/2026 13:00 pm", None),
    (["%d/%m/%Y %H:%M", "%d/%m/%Y"], "07/04/2026", "2026-04-07"),
    (["%d/%m/%Y %H:%M", "%d/%m/%Y"], "08/04/2026 25:61", None),
    ("%d/%m/%Y %H:%M %z", "01/02/2026 01:30 +0000", "2026-01-31"),
    ("epoch", 1769818205, "2026-01-30"),
    ("epoch", "1769818205", "2026-01-30"),
    ("epoch", 1769818205.9, "2026-01-30"),
    ("epoch", 1769818205000, None),
    ("epoch_ms", 1769818205000, "2026-01-30"),
    ("epoch_ms", 1769818205, None),
    ("tiktok_id", "7601311310340428631", "2026-01-30"),
    ("iso", "2026-02-01T01:30:00+0000", "2026-01-31"),
    ("iso", "2026-02-01 01:30+00", "2026-01-31"),
    ("iso", "20260201T013000Z", "2026-01-31"),
    ("iso", "2026-02-01", "2026-02-01"),
    ("iso", "01/02/2026", None),
]


@pytest.mark.parametrize(("form", "value", "expected"), DATES)
def test_a_date_is_read_as_it_is_written(form: Any, value: Any, expected: str | None) -> None:
    actual = read("data_postagem", {"field": "d", "format": form}, {"d": value})
    correct = {"data_postagem.unreadable"} if expected is None else dt.date.fromisoformat(expected)
    assert actual == correct


@pytest.mark.parametrize(
    ("language", "form", "value", "expected"),
    [
        ("pt", "%-d de %b de %Y", "28 de fev. de 2026", "2026-02-28"),
        ("pt", "%-d de %b de %Y", "1º de mar. de 2026", "2026-03-01"),
        ("pt", "%-d de %B de %Y", "1 de Marco de 2026", "2026-03-01"),
        ("el", "%-d %B %Y", "9 Μαΐου 2026", "2026-05-09"),
        ("es", "%-d de %B de %Y", "9 de agosto de 2026", "2026-08-09"),
        ("de", "%-d. %B %Y", "3. März 2026", "2026-03-03"),
        (["en", "fr"], "%-d %B %Y", "1er août 2026", "2026-08-01"),
        ("en", "%-d %B %Y", "1 agosto 2026", None),
    ],
)
def test_months_have_the_names_of_the_declared_languages(
    language: Any, form: str, value: str, expected: str | None
) -> None:
    rule = {"field": "d", "format": form, "language": language}
    correct = {"data_postagem.unreadable"} if expected is None else dt.date.fromisoformat(expected)
    assert read("data_postagem", rule, {"d": value}) == correct


@pytest.mark.parametrize(
    ("moment", "day", "expected"),
    [
        ("2026-01-02", "December 31", "2025-12-31"),
        ("2025-12-31", "January 1", "2026-01-01"),
        ("2026-07-26", "July 26", "2026-07-26"),
        ("2026-03-01", "February 29", "2024-02-29"),  # beyond a year: 2025 to 2027 have none
        (None, "July 26", None),
    ],
)
def test_a_date_without_a_year_is_near_another_moment(
    moment: str | None, day: str, expected: str | None
) -> None:
    rule = {"field": "d", "format": "%B %-d", "near": {"field": "at", "format": "%Y-%m-%d"}}
    actual = read("data_postagem", rule, {"d": day, "at": moment})
    if expected is None or day == "February 29":
        assert actual == {"data_postagem.unreadable"}
    else:
        assert actual == dt.date.fromisoformat(expected)


@pytest.mark.parametrize(
    ("written", "zone", "day", "clock"),
    [
        ("2026-03-02T01:00:00", "UTC", "2026-03-01", "22:00"),
        ("2026-06-02T22:12:00", "America/Los_Angeles", "2026-06-03", "02:12"),
        ("2026-06-02T22:12:00", ZONE, "2026-06-02", "22:12"),
        ("2026-06-02T22:12:00Z", "Asia/Tokyo", "2026-06-02", "19:12"),
        ("2026-06-02", "Asia/Tokyo", "2026-06-02", None),
    ],
)
def test_a_time_is_read_in_its_zone_and_kept_in_that_of_the_schedule(
    written: str, zone: str, day: str, clock: str | None
) -> None:
    rule = {"field": "t", "timezone": zone}
    assert read("data_postagem", rule, {"t": written}) == dt.date.fromisoformat(day)
    correct = dt.datetime.fromisoformat(f"{day}T{clock}") if clock else None
    assert read("posted_at", rule, {"t": written}) == correct


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("PT1H2M3S", 3723),
        ("P1DT2H3M", 93780),
        ("PT65S", 65),
        ("P0D", 0),
        ("0:34", 34),
        ("1:02:03", 3723),
        ("00:00:32", 32),
        ("65", 65),
        (31.4, 31),
        (31, 31),
        ("PT", None),
        ("1:2", None),
        ("0:99", None),
        ("-5", None),
        ("31,4", None),
    ],
)
def test_a_duration_is_in_whole_seconds(value: Any, expected: int | None) -> None:
    correct = {"duracao_seg.unreadable"} if expected is None else expected
    assert read("duracao_seg", {"field": "d", "format": "duration"}, {"d": value}) == correct


INSIGHTS = {
    "insights": {
        "data": [
            {"name": "reach", "values": [{"value": 5}]},
            {"name": "views", "values": [{"value": 7}, {"value": 9}]},
        ]
    }
}


@pytest.mark.parametrize(
    ("path", "record", "expected"),
    [
        ("statistics.viewCount", {"statistics": {"viewCount": 7}}, 7),
        ("statistics.viewCount", {"statistics.viewCount": 8, "statistics": {"viewCount": 7}}, 8),
        ("insights.data[name=views].values[0].value", INSIGHTS, 7),
        ("insights.data[name=views].values[1].value", INSIGHTS, 9),
        ("insights.data[name=plays].values[0].value", INSIGHTS, None),
        ("insights.data[7].values[0].value", INSIGHTS, None),
        ("a.b", {"a": [{"b": 1}]}, None),
        ("a.b", {"a": 5}, None),
        ("a.b", {"a": None}, None),
    ],
)
def test_a_path_leads_into_a_record(path: str, record: Any, expected: int | None) -> None:
    assert read("leads_estimados", path, record) == expected


@pytest.mark.parametrize(
    ("rule", "record", "expected"),
    [
        (["a", "b"], {"b": 2}, 2),
        (["a", "b"], {"a": None, "b": 2}, 2),
        (["a", "b"], {"a": 1, "b": 2}, 1),
        (["a", {"field": "b", "text": True}], {"b": "2"}, 2),
        ({"field": ["a", "b"], "text": True}, {"a": "", "b": "2"}, 2),
        ({"field": "a", "missing": ["n/d", -1]}, {"a": -1}, None),
        ({"field": "a", "missing": "n/d", "text": True}, {"a": " N/D "}, None),
        ({"field": "a", "values": {"nenhum": 0}}, {"a": "Nenhum"}, 0),
        ({"field": "a", "empty": 0}, {"a": " "}, 0),
        ({"field": "a", "pattern": r"(\d+) views", "text": True}, {"a": "12 views"}, 12),
        ({"field": "a", "pattern": r"(\d+) views", "text": True}, {"a": "none"}, None),
    ],
)
def test_the_first_place_with_a_value_counts(rule: Any, record: Any, expected: int | None) -> None:
    assert read("leads_estimados", rule, record) == expected


@pytest.mark.parametrize(
    ("own", "record", "expected"),
    [
        ({}, {"saves": 7}, 7),
        ({}, {}, None),
        ({"saves": "s"}, {"saves": 7, "s": 8}, 8),
        ({"saves": "s"}, {"saves": 7}, None),
    ],
)
def test_a_declared_column_without_a_rule_is_a_field_of_its_name(
    own: dict[str, str], record: dict[str, int], expected: int | None
) -> None:
    columns = columns_of({"saves": "int64"})
    contract = contract_of("mine", {"fields": {**FIELDS, **own}}, ZONE, columns)
    line = json.dumps({**GOOD, **record}).encode()
    outcome = validate_line(line, contract, ORIGIN, ["tiktok"])
    assert (outcome.row["saves"], outcome.broken) == (expected, ())


def test_values_are_translated_without_regard_to_case_and_blanks() -> None:
    rule = {"field": "rede", "values": {"TikTok": "tiktok", "You Tube": "youtube"}}
    assert read("rede_social", rule, {"rede": " you tube "}) == "youtube"
    assert read("rede_social", rule, {"rede": "tiktok"}) == "tiktok"
    assert read("rede_social", rule, {"rede": "Orkut"}) == {"rede_social.unknown"}


def test_texts_are_compared_however_their_accents_are_composed() -> None:
    composed, decomposed = "A\u00e7\u00e3o", "Ac\u0327a\u0303o"
    for declared, written in ((composed, decomposed), (decomposed, composed)):
        rule = {"field": "rede", "values": {declared: "tiktok"}, "missing": "x"}
        assert read("rede_social", rule, {"rede": f"{written}\u00a0"}) == "tiktok"
        rule = {"field": "titulo", "missing": declared}
        assert read("titulo_video", rule, {"titulo": written.upper()}) is None
        assert outcome_of({"titulo": written}, ignore={"titulo": declared}).ignored


def test_a_constant_name_is_written_as_one_of_a_line() -> None:
    assert read("faculdade", {"constant": " Ac\u0327a\u0303o "}, {}) == "A\u00e7\u00e3o"
    assert read("faculdade", {"constant": "\u00a0"}, {}) == {"faculdade.missing"}


def test_two_fields_are_joined_by_a_blank() -> None:
    rule = {"join": ["dia", "hora"], "format": ["%d/%m/%Y %H:%M", "%d/%m/%Y"]}
    record = {"dia": "04/05/2026", "hora": "16:20"}
    fields = {"data_postagem": rule, "posted_at": rule}
    row = outcome_of(record, fields=fields).row
    assert row["posted_at"].isoformat() == "2026-05-04T16:20:00"
    assert outcome_of({"dia": "04/05/2026"}, fields=fields).row["posted_at"] is None


def test_a_time_on_another_day_than_the_post_is_left_empty() -> None:
    rule = {"field": "t", "same_day_as": "data_postagem"}
    assert read("posted_at", rule, {"t": "2026-09-01T23:00:00"}) is not None
    assert read("posted_at", rule, {"t": "2026-09-02T00:10:00"}) is None


def test_likes_are_required_only_if_they_are_declared_so() -> None:
    assert read("titulo_video", "titulo", {}) is None  # likes are not declared
    assert read("likes", "l", {}) == {"likes.missing"}
    assert read("likes", {"field": "l", "optional": True}, {}) is None


@pytest.mark.parametrize(
    ("options", "record", "rule"),
    [
        ({"ignore": {"id": "total"}}, {"id": " Total "}, "ignore.id"),
        ({"ignore": {"id": ["Total", "Soma"]}}, {"id": "Soma"}, "ignore.id"),
        ({"ignore": {"id": "Total"}}, {"id": "v1"}, None),
        ({"ignore": {"id": "Total", "canal": "B"}}, {"id": "Total"}, None),
        ({"ignore": [{"id": "x"}, {"slides": True}]}, {"slides": True}, "ignore.slides"),
        ({"ignore": {"url": {"pattern": "/photo/"}}}, {"url": "a/photo/1"}, "ignore.url"),
        ({"only": {"tipo": ["Reel", "Video"]}}, {"tipo": "reel"}, None),
        ({"only": {"tipo": ["Reel", "Video"]}}, {"tipo": "Photo"}, "only.tipo"),
        ({"only": {"tipo": "Reel"}}, {}, None),
        ({"only": {"tipo": "Reel"}}, {"tipo": ""}, None),
        ({"only": {"media.kind": "VIDEO"}}, {"media": {"kind": "IMAGE"}}, "only.media.kind"),
    ],
)
def test_what_is_no_observation_is_ignored_by_its_rule(
    options: Any, record: Any, rule: str | None
) -> None:
    outcome = outcome_of(record, **options)
    assert (outcome.ignored, outcome.broken) == (rule, ())


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        (dict.fromkeys(GOOD, ""), "line.blank"),
        ({**dict.fromkeys(GOOD, None), "canal": "as of today"}, "ignore.one_value"),
        ({**dict.fromkeys(GOOD, None), "id": "v1"}, None),
    ],
)
def test_blank_rows_and_footers_of_a_table_are_ignored(record: Any, rule: str | None) -> None:
    outcome = outcome_of(record, format="xlsx", ignore="one_value")
    assert outcome.ignored == rule


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"views": {"field": "v", "thousand": "."}}, "views: 'thousand' is not one of thousands"),
        ({"views": {"field": "v", "thousands": ".."}}, "views.thousands: '..' is not one char"),
        ({"views": {"field": "v", "thousands": "."}, "x": "y"}, "'x' is not one of"),
        ({"views": {"field": "v", "thousands": "."} | {"decimal": "."}}, "both '.'; they must"),
        ({"views": {"field": "v", "compact": "klingon"}}, "views.compact: 'klingon' is not a k"),
        ({"views": {"field": "v", "format": "duration"}}, "views: 'format' is not one of"),
        ({"views": {"field": "v", "optional": True}}, "views.optional: views is required"),
        ({"likes": {"field": "v", "optional": "yes"}}, "likes.optional: 'yes' must be true"),
        ({"duracao_seg": {"field": "v", "format": "%M"}}, "duracao_seg.format: '%M'; the"),
        ({"data_postagem": {"field": "d", "format": "%B %-d"}}, "has no year; give it one"),
        ({"data_postagem": {"field": "d", "format": "%Q"}}, "has '%Q'; a format is made of"),
        ({"data_postagem": {"field": "d", "format": "%-d/%d %m"}}, "a part of the time twice"),
        ({"data_postagem": {"field": "d", "format": "%d/%m/%Y %I:%M"}}, "%I or %-I with %p"),
        ({"posted_at": {"field": "d", "same_day_as": "x"}}, "only posted_at may have it"),
        ({"video_id": {"field": "u", "pattern": "("}}, "'\\('.* is not a regular expression"),
        ({"video_id": {"join": []}}, "is not a list of names of fields"),
        ({"video_id": {"field": "a[b"}}, "'a\\[b' is not a path such as"),
        ({"video_id": {"field": ".a"}}, "'.a' is not a path such as"),
        ({"rede_social": {"field": "r", "values": ["a"]}}, "must be .value of the source: value"),
        ({"views": {"constant": 1, "text": True}}, "views.text: a constant has no such option"),
    ],
)
def test_a_mistaken_option_is_one_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(CapstoneError, match=message) as raised:
        contract_of("mine", {"fields": {**FIELDS, **fields}}, ZONE)
    assert str(raised.value).startswith("sources.mine.fields")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "Reel"}, "only: 'Reel' must be"),
        ({"ignore": ["one_value"]}, "ignore: one_value is of csv and xlsx alone"),
        ({"ignore": {"a": {"pattern": "("}}}, "ignore.a: .* is not .pattern: a regular"),
        ({"counters": "weekly"}, "counters: 'weekly' is not one of"),
        ({"counters": "daily", "type": "faker"}, "counters: a synthetic source has the counters"),
        ({"counters": "daily"}, "fields: a source of counters: daily has no data_postagem"),
        ({"defaults": {"timezones": "UTC"}}, "defaults: 'timezones' is not one of timezone"),
    ],
)
def test_a_mistaken_option_of_a_source_is_one_sentence(options: Any, message: str) -> None:
    with pytest.raises(CapstoneError, match=f"sources.mine.{message}"):
        contract_of("mine", {"fields": FIELDS, **options}, ZONE)


@pytest.mark.parametrize("declared", ["NFC", "NFD"])
@pytest.mark.parametrize("written", ["NFC", "NFD"])
def test_a_field_is_found_whichever_way_its_accents_are_written(
    declared: Literal["NFC", "NFD"], written: Literal["NFC", "NFD"]
) -> None:
    name, record = normalize(declared, "Promoções"), {normalize(written, "Promoções"): 5}
    assert read("leads_estimados", name, record) == 5
    assert outcome_of(record, ignore={name: "5"}).ignored == f"ignore.{normalize('NFC', name)}"
    assert not outcome_of(record, other_fields=[name], schema_drift="freeze").broken
