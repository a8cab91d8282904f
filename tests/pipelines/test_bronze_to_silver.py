"""Silver and its quarantine are what the naive oracle says, and every line is accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.merge import merge, quarantine
from tests.engines import examples
from tests.oracle import rebuild
from tests.pipelines.conftest import NAME, NETWORKS, observed, rows_of
from tests.pipelines.test_verdicts import CSV, LINE, csv_line, line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.pipelines.bronze_to_silver.judge import Judged

FROZEN = {
    "schema_drift": "freeze",
    "fields": {name: name for name in LINE} | {"likes": ["likes", "curtidas"]},
    "other_fields": ["nota"],
}
SOURCES = {"faker": {"type": "faker"}, "mine": CSV, "frozen": FROZEN}

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["12", "-0", " ", "\0", "2026-02-30", "1e5", "naïve 😀", '"', "\\"]),
)
likely = {
    "video_id": st.sampled_from(["a", "b", "c", " "]),
    "rede_social": st.sampled_from([*NETWORKS, "orkut"]),
    "data_postagem": st.sampled_from(["2026-01-29", "2026-01-30", "2026-02-09"]),
    "ingestion_ts": st.sampled_from(
        ["2026-01-31T11:00:00Z", "2026-01-31T08:00:00.25", "2026-01-31T05:30:00-05:30", None]
    ),
    "views": st.integers(-1, 3),
}


@st.composite
def json_line(draw: st.DrawFn) -> bytes:
    fields = {name: draw(values) for name, values in likely.items()}
    for name in draw(st.lists(st.sampled_from(sorted(LINE)), max_size=2)):
        fields[name] = draw(scalars)
    for name in draw(st.lists(st.sampled_from(["curtidas", "nota", "Nota"]), max_size=1)):
        fields[name] = draw(st.integers(0, 3))
    held = {**LINE, **fields}
    for name in draw(st.lists(st.sampled_from(["likes", "views"]), max_size=1)):
        del held[name]
    text = json.dumps(held, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


broken_line = st.one_of(
    st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")),
    st.sampled_from([b"{}", b"[]", b'{"a":1,"a":2}', b'{"views":NaN}', b"", b"\r", b'{"a":1,}']),
    json_line().map(lambda b: b[:-3]),
)
csv_lines = st.builds(
    lambda **changes: csv_line(**changes).rstrip(),
    v=st.sampled_from(["", "0", " 7 ", "-1", "1.0", "9" * 19, "٣"]),
    dia=st.sampled_from(["30/01/26", "31/02/26", "1/1/26", ""]),
    visto=st.sampled_from(["20260131 09:30", "20260131 0930", ""]),
    id=st.sampled_from(["a", "x"]),
)
bronze = st.fixed_dictionaries(
    {
        f"fonte={fonte}/janela=2026-01-{day}T{hour}/o.jsonl": st.lists(
            st.one_of(*kinds), max_size=6
        ).map(b"\n".join)
        for fonte, day, hour, kinds in (
            ("faker", 30, "20", (json_line(), json_line(), broken_line)),
            ("faker", 31, "08", (json_line(), broken_line)),
            ("mine", 30, "08", (csv_lines,)),
            ("frozen", 31, "20", (json_line(), json_line(), broken_line)),
            ("gone", 31, "08", (json_line(),)),
        )
    }
)


@settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
@given(bronze)
def test_silver_and_quarantine_equal_a_naive_rebuild(objects: Mapping[str, bytes]) -> None:
    expected = rebuild(objects, SOURCES, NETWORKS)
    judged = observed(objects, SOURCES)
    current, *_, counts = merge(judged)
    rejected, _ = quarantine(judged)
    found = {(r["objeto"], r["linha"]): set(r["regras"]) for r in rows_of(rejected)}
    assert found == expected.quarantine
    rows = rows_of(current)
    assert {row["video_id"]: row for row in rows} == expected.silver
    assert len(rows) == len(expected.silver)
    assert counts == {"accepted": expected.accepted, "before": 0, "after": len(rows)}


def judged_of(content: bytes, lines: int) -> Judged:
    judged = observed({NAME: content}, SOURCES)
    return replace(judged, objects={NAME: {"lines": lines}})


def test_the_accounts_say_where_each_line_went() -> None:
    judged = judged_of(line() + line(views=5) + line(views="x", likes=-1), lines=3)
    counts = {"accepted": 2, "before": 0, "after": 1}
    receipts, accounts, head = account(judged, counts, 1)
    assert accounts["run"] == {"lines": 3, "accepted": 2, "superseded": 1, "quarantined": 1}
    assert head["total"] == {"lines": 3, "current": 1, "superseded": 1, "quarantined": 1}
    assert head["generation"] == 1
    assert receipts[NAME] == {
        "object": NAME,
        "lines": 3,
        "accepted": 2,
        "quarantined": 1,
        "reasons": {"likes.negative": 1, "views.unreadable": 1},
        "new_fields": {},
    }


@pytest.mark.parametrize(
    ("lines", "after", "quarantined", "what"),
    [
        (3, 2, 0, r"criacao\.jsonl has 3 lines, of which 2"),
        (2, 2, 1, "Bronze has 2 lines, of which 3"),
        (2, 1, 1, "Bronze has 2 lines, of which 3"),
    ],
)
def test_a_line_lost_or_found_on_the_way_is_noticed(
    lines: int, after: int, quarantined: int, what: str
) -> None:
    judged = judged_of(line() + line(video_id="v2"), lines)
    counts = {"accepted": 2, "before": 0, "after": after}
    with pytest.raises(CapstoneError, match=what):
        account(judged, counts, quarantined)
