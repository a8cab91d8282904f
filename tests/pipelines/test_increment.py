"""The objects that a run merges, from the receipts and the head of Silver."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.changes import FORMAT, Bronze
from capstone_metrics.errors import CapstoneError
from capstone_metrics.pipelines.bronze_to_silver.increment import find_increment
from capstone_metrics.sources import files
from capstone_metrics.sources.readers import Reading
from tests.pipelines.conftest import silver_snapshot

if TYPE_CHECKING:
    from capstone_metrics.changes import SilverSnapshot

EARLY = "fonte=x/janela=2026-01-30T20/a.jsonl"
MORNING = "fonte=x/janela=2026-01-31T08/a.jsonl"
EVENING = "fonte=x/janela=2026-01-31T20/a.jsonl"
NAMES = [EARLY, MORNING, EVENING]
SOURCES = {"x": {"type": "faker"}}
FIELDS = {name: name for name in ("faculdade", "data_postagem", "video_id", "views")}
HEAD = {"generation": 3, "format": FORMAT, "objects": 0}


def merging(
    silver: SilverSnapshot, sources: Any = SOURCES, names: list[str] = NAMES, **options: Any
) -> tuple[list[str], bool]:
    """Return the objects that a run merges, and whether it is a full rebuild."""
    read: Any = lambda names, _: names  # noqa: E731 - it stands for the lines
    bronze = Bronze(names, read, lambda: None, dict)  # type: ignore[arg-type, return-value]
    options = {
        "columns": {},
        "full": False,
        "first": None,
        "last": None,
        "allow_refused": "",
        **options,
    }
    increment = find_increment(silver, bronze, sources, ["tiktok"], **options)
    merged_names: Any = increment.validate(None)  # type: ignore[arg-type]
    return merged_names, increment.is_full


def merged(*names: str, head: dict[str, Any] = HEAD) -> SilverSnapshot:
    """Return a Silver that has merged some objects."""
    return silver_snapshot(head=head, receipts={name: {} for name in names})


def test_objects_without_a_receipt_are_merged() -> None:
    assert merging(merged(EARLY, EVENING)) == ([MORNING], False)
    assert merging(merged(*NAMES)) == ([], False)


def test_without_silver_every_object_is_merged() -> None:
    assert merging(silver_snapshot()) == (NAMES, True)


def test_a_full_rebuild_merges_every_object() -> None:
    assert merging(merged(EARLY), full=True) == (NAMES, True)


@pytest.mark.parametrize(
    "why", [{"full": True}, {"columns": {"salvos": "int64"}}], ids=["asked for", "other columns"]
)
def test_a_rebuild_does_not_lose_the_lines_of_a_lost_object(why: dict[str, Any]) -> None:
    with pytest.raises(CapstoneError, match=rf"lost {EARLY} and 1 more.*allow_refused=x\.$"):
        merging(merged(*NAMES), names=[EVENING], **why)
    names = {"allow_refused": "x gold_video"}
    assert merging(merged(*NAMES), names=[EVENING], **names, **why) == ([EVENING], True)
    assert merging(merged(*NAMES), sources={}, names=[EVENING], **why) == ([EVENING], True)


@pytest.mark.parametrize("head", [{}, {"generation": 3}, {"generation": 3, "format": FORMAT - 1}])
def test_silver_without_a_head_of_this_format_is_rebuilt_with_a_message(
    head: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert merging(merged(EARLY, head=head)) == (NAMES, True)
    expected = [f"Silver lacks a head of format {FORMAT}; Silver is rebuilt from all of Bronze."]
    assert caplog.messages == (expected if head else [])


@pytest.mark.parametrize(
    ("built", "declared"),
    [({}, {"alcance": "int64"}), ({"alcance": "int64"}, {}), ({"a": "int64"}, {"a": "float64"})],
)
def test_silver_with_other_columns_is_rebuilt_with_a_message(
    built: dict[str, str], declared: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    silver = merged(EARLY, head={**HEAD, "columns": built, "objects": 1})
    with caplog.at_level(logging.WARNING):
        assert merging(silver, columns=declared) == (NAMES, True)
    assert "Silver has other columns than are declared" in caplog.text
    assert merging(silver, columns=built) == ([MORNING, EVENING], False)


def test_a_backfill_merges_what_is_missing_of_its_windows() -> None:
    span = {"first": "2026-01-31", "last": "2026-01-31"}
    assert merging(merged(), **span) == ([MORNING, EVENING], False)
    assert merging(merged(MORNING), **span) == ([EVENING], False)


def test_lost_receipts_are_an_error_since_their_lines_would_be_counted_again() -> None:
    head = {**HEAD, "objects": 2}
    assert merging(merged(EARLY, MORNING, head=head)) == ([EVENING], False)
    with pytest.raises(CapstoneError, match=r"receipts of 1 objects .* merged 2: .*full=true"):
        merging(merged(EARLY, head=head))
    assert merging(merged(EARLY, head=head), full=True) == (NAMES, True)
    # another run has committed since the head was read, so the commit of this one fails
    assert merging(merged(*NAMES, head=head)) == ([], False)


CONTENT = "0" * 64
FILE = {"type": "files", "format": "csv", "path": "x"}
COMMA, SEMICOLON = ({**FILE, "delimiter": delimiter} for delimiter in (",", ";"))


def object_of(declaration: dict[str, Any]) -> str:
    """Return the name of an object that was read as declared."""
    digest = Reading.of("x", declaration).digest
    return f"fonte=x/janela=2026-01-31T08/file-000001-{CONTENT}-{digest}.jsonl"


def test_a_file_that_was_read_anew_rebuilds_silver_and_withdraws_its_first_reading(
    caplog: pytest.LogCaptureFixture,
) -> None:
    before, after = object_of(COMMA), object_of(SEMICOLON)
    with caplog.at_level(logging.WARNING):
        names = sorted([before, after])
        assert merging(merged(before), {"x": SEMICOLON}, names) == (names, True)
    assert caplog.messages == [
        "Files of x were read anew in another way; Silver is rebuilt from all of Bronze."
    ]
    head = {**HEAD, "withdrawn": [before]}
    assert merging(merged(*names, head=head), {"x": SEMICOLON}, names) == ([], False)


def test_a_backfill_does_not_rebuild_silver_from_its_windows_alone() -> None:
    before, after = object_of(COMMA), object_of(SEMICOLON)
    names = sorted([before, after])
    with pytest.raises(CapstoneError, match="run once without from and to"):
        merging(merged(before), {"x": SEMICOLON}, names, first="2026-01-31", last="2026-01-31")


@pytest.mark.parametrize(
    ("declaration", "withdrawn"), [(SEMICOLON, COMMA), (COMMA, SEMICOLON)], ids=["mended", "undone"]
)
def test_of_two_readings_of_a_file_the_declared_one_counts(
    declaration: dict[str, Any], withdrawn: dict[str, Any]
) -> None:
    names = [object_of(COMMA), object_of(SEMICOLON), EARLY]
    assert files.withdrawn({"x": declaration}, names) == {object_of(withdrawn)}


def test_a_source_of_an_unknown_network_waits_and_stops_a_rebuild() -> None:
    fields = {"rede_social": {"constant": "tiktoc"}}
    sources = {"x": {"type": "faker", "fields": {**FIELDS, **fields}}}
    assert merging(merged(), sources) == ([], False)
    with pytest.raises(CapstoneError, match="'tiktoc' is not one of tiktok"):
        merging(merged(), sources, full=True)
