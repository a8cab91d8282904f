"""Silver and its quarantine equal those of a naive oracle, and every line is accounted for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.account import account
from capstone_metrics.pipelines.bronze_to_silver.merge import MergeResult, merge
from capstone_metrics.quality import QualityReport
from tests.pipelines.conftest import (
    CSV,
    LINE,
    NAME,
    NETWORKS,
    csv_line,
    line,
    rows_of,
    validated,
)
from tests.support.oracle import rebuild
from tests.support.selection import examples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from capstone_metrics.pipelines.bronze_to_silver.validate import ValidationResult

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
    "rede_social": st.sampled_from([*NETWORKS, "orkut"]),
    "data_postagem": st.sampled_from(["2026-01-29", "2026-01-30", "2026-02-09"]),
    "ingestion_ts": st.sampled_from(
        ["2026-01-31T11:00:00Z", "2026-01-31T08:00:00.25", "2026-01-31T05:30:00-05:30", None]
    ),
    "views": st.integers(-1, 3),
}


def ids(case: int, *letters: str) -> st.SearchStrategy[str]:
    """The videos of a case."""
    return st.sampled_from([*(f"{letter}{case}" for letter in letters), " "])


def good_line(case: int) -> st.SearchStrategy[bytes]:
    """A line that every source accepts, of one of the videos of a case."""
    return st.builds(
        line,
        video_id=st.sampled_from([f"{letter}{case}" for letter in "abc"]),
        rede_social=st.sampled_from(NETWORKS),
        data_postagem=st.sampled_from(["2026-01-29", "2026-01-30"]),
        ingestion_ts=likely["ingestion_ts"],
        views=st.integers(0, 3),
        titulo_video=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    ).map(bytes.rstrip)


@st.composite
def any_line(draw: st.DrawFn, case: int) -> bytes:
    """A line that differs from a good one in several fields."""
    fields: dict[str, Any] = {"video_id": draw(ids(case, "a", "b", "c"))}
    fields |= {name: draw(values) for name, values in likely.items()}
    for name in draw(st.lists(st.sampled_from(sorted(LINE)), max_size=2)):
        fields[name] = draw(scalars)
    for name in draw(st.lists(st.sampled_from(["curtidas", "nota", "Nota"]), max_size=1)):
        fields[name] = draw(st.integers(0, 3))
    content = {**LINE, **fields}
    for name in draw(st.lists(st.sampled_from(["likes", "views"]), max_size=1)):
        del content[name]
    text = json.dumps(content, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


def broken_line(case: int) -> st.SearchStrategy[bytes]:
    return st.one_of(
        st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")),
        st.sampled_from(
            [b"{}", b"[]", b'{"a":1,"a":2}', b'{"views":NaN}', b"", b"\r", b'{"a":1,}']
        ),
        any_line(case).map(lambda b: b[:-3]),
    )


def csv_lines(case: int) -> st.SearchStrategy[bytes]:
    return st.builds(
        lambda **changes: csv_line(**changes).rstrip(),
        v=st.sampled_from(["", "0", " 7 ", "-1", "1.0", "9" * 19, "٣"]),
        dia=st.sampled_from(["30/01/26", "31/02/26", "1/1/26", ""]),
        visto=st.sampled_from(["20260131 09:30", "20260131 0930", ""]),
        id=ids(case, "a", "x"),
    )


def lines(case: int, good: int, other: int, broken: int) -> st.SearchStrategy[bytes]:
    """Lines of three kinds, each with its weight: Hypothesis takes equal strategies for one."""
    return st.one_of(
        *(good_line(case) for _ in range(good)),
        *(any_line(case) for _ in range(other)),
        *(broken_line(case) for _ in range(broken)),
    )


def objects_of(case: int) -> st.SearchStrategy[dict[str, bytes]]:
    """A small Bronze, whose objects and videos are its own."""
    kinds = {
        f"fonte=faker/janela=2026-01-30T20/o{case}.jsonl": lines(case, 3, 2, 1),
        f"fonte=faker/janela=2026-01-31T08/o{case}.jsonl": lines(case, 2, 1, 1),
        f"fonte=mine/janela=2026-01-30T08/o{case}.jsonl": csv_lines(case),
        f"fonte=frozen/janela=2026-01-31T20/o{case}.jsonl": lines(case, 3, 2, 1),
        f"fonte=old/janela=2026-01-31T08/o{case}.jsonl": any_line(case),
    }
    return st.fixed_dictionaries(
        {
            name: st.lists(kind, min_size=case % 2, max_size=6).map(b"\n".join)
            for name, kind in kinds.items()
        }
    )


CASES = 10
"""How many are validated at once: a query of a hundred lines takes as long as one of ten."""

bronze = st.tuples(*map(objects_of, range(CASES))).map(
    lambda cases: {name: content for case in cases for name, content in case.items()}
)


@settings(max_examples=examples(2, 40), deadline=None, suppress_health_check=list(HealthCheck))
@given(bronze)
def test_silver_and_quarantine_equal_a_naive_rebuild(objects: Mapping[str, bytes]) -> None:
    expected = rebuild(objects, SOURCES, NETWORKS)
    result = validated(objects, SOURCES)
    merged = merge(result)
    rejected = rows_of(merged.overwrites["quarentena"])
    rules = {(row["objeto"], row["linha"]): set(row["regras"]) for row in rejected}
    assert rules == expected.quarantine
    rows = rows_of(merged.overwrites["criacao"])
    assert {(row["rede_social"], row["video_id"]): row for row in rows} == expected.silver
    assert len(rows) == len(expected.silver)
    counts = (merged.accepted, merged.rows_before, merged.rows_after, merged.quarantined)
    assert counts == (expected.accepted, 0, len(rows), len(rejected))


NOTHING_UNUSUAL = QualityReport("silver", [])


def counted(after: int, quarantined: int) -> MergeResult:
    """Return the result of a merge of two accepted lines into an empty Silver, without its rows."""
    return MergeResult(accepted=2, rows_after=after, quarantined=quarantined)


def result_of(content: bytes, lines: int) -> ValidationResult:
    result = validated({NAME: content}, SOURCES)
    (counts,) = result.objects.values()
    counts = {n: count for n, count in counts.items() if n not in {"bytes", "sha256"}}
    return replace(result, objects={NAME: {**counts, "lines": lines}})


def test_the_accounts_cover_every_line() -> None:
    result = result_of(line() + line(views=5) + line(views="x", likes=-1), lines=3)
    update = account(result, counted(after=1, quarantined=1), NOTHING_UNUSUAL)
    head = update.head
    assert update.accounts["run"] == {
        "lines": 3,
        "accepted": 2,
        "superseded": 1,
        "quarantined": 1,
        "ignored": 0,
        "withdrawn": 0,
    }
    assert head["total"] == {
        "lines": 3,
        "current": 1,
        "superseded": 1,
        "quarantined": 1,
        "ignored": 0,
        "withdrawn": 0,
    }
    assert head["generation"] == 1
    assert update.receipts[NAME] == {
        "object": NAME,
        "lines": 3,
        "accepted": 2,
        "quarantined": 1,
        "withdrawn": 0,
        "ignored": {},
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
def test_a_missing_or_an_extra_line_is_an_error(
    lines: int, after: int, quarantined: int, what: str
) -> None:
    result = result_of(line() + line(video_id="v2"), lines)
    with pytest.raises(CapstoneError, match=what):
        account(result, counted(after, quarantined), NOTHING_UNUSUAL)
