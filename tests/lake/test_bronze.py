from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from kedro.io import DatasetError

from capstone_metrics.changes import Ingestion, SourceState
from capstone_metrics.errors import CapstoneError, SourceChangedError, SourceError
from capstone_metrics.lake import BronzeDataset
from capstone_metrics.validation.validator import Validator
from capstone_metrics.write_stats import WriteStats

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PREFIX = "bronze/criacao"
MORNING = "fonte=x/janela=2026-01-31T08/a.jsonl"
EVENING = "fonte=x/janela=2026-01-31T20/a.jsonl"


@pytest.fixture
def bronze(tmp_path: Path) -> BronzeDataset:
    return BronzeDataset(path=str(tmp_path), engine="duckdb")


def objects(**contents: bytes) -> Ingestion:
    """Objects to save: `morning` and `evening`, by their bytes."""
    names = {"morning": MORNING, "evening": EVENING}
    readers = {names[when]: lambda b=content: iter([b]) for when, content in contents.items()}
    return Ingestion(readers, {"x": SourceState()})


def put_object(root: Path, name: str, content: bytes) -> Path:
    path = root / PREFIX / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def loaded(bronze: BronzeDataset) -> list[tuple[str, int, str]]:
    rows = bronze.load().lines().to_pyarrow().to_pylist()
    return sorted((row["objeto"], row["linha"], row["texto"]) for row in rows)


def counts(bronze: BronzeDataset) -> dict[str, int]:
    """Return the number of lines of each object, counted from its bytes."""
    return {name: stats["lines"] for name, stats in bronze.load().stats().items()}


def read(bronze: BronzeDataset, names: list[str]) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Return the statistics of some objects and their lines, all of which are rejected."""
    validated = bronze.load().validate(names, Validator({}, (), "UTC"))
    rows = validated.rejected.to_pyarrow().to_pylist()
    stats = {
        name: {part: receipt[part] for part in ("lines", "bytes", "sha256")}
        for name, receipt in validated.objects.items()
    }
    return stats, sorted((row["objeto"], row["linha"], row["texto"]) for row in rows)


def test_objects_lie_in_bronze_as_the_source_gave_them(
    bronze: BronzeDataset, tmp_path: Path
) -> None:
    content = b'\xef\xbb\xbf{"views": 1.70}\r\n\nnot json \xff'
    bronze.save(objects(morning=content, evening=b""))
    assert (tmp_path / PREFIX / MORNING).read_bytes() == content
    assert sorted(tmp_path.glob("bronze/**/*.jsonl")) == [
        tmp_path / PREFIX / MORNING,
        tmp_path / PREFIX / EVENING,
    ]


def test_every_line_is_loaded_with_its_object_and_number(bronze: BronzeDataset) -> None:
    bronze.save(objects(morning=b"{}\n\n[]\n", evening=b"{}"))
    assert loaded(bronze) == [(MORNING, 1, "{}"), (MORNING, 3, "[]"), (EVENING, 1, "{}")]
    assert bronze.load().names == [MORNING, EVENING]
    assert counts(bronze) == {MORNING: 2, EVENING: 1}


def test_the_objects_that_are_asked_for_are_validated(bronze: BronzeDataset) -> None:
    bronze.save(objects(morning=b"{}\n\n[]\n", evening=b"1"))
    stats, lines = read(bronze, [EVENING])
    assert lines == [(EVENING, 1, "1")]
    assert stats == {EVENING: bronze.load().stats()[EVENING]}
    assert read(bronze, [])[1] == []
    assert len(read(bronze, [MORNING, EVENING])[1]) == 3


def test_an_object_is_measured_by_its_bytes(bronze: BronzeDataset) -> None:
    content = b"\xef\xbb\xbf\r\n \n{}\r\n\xff\n[]"
    bronze.save(objects(morning=content, evening=b""))
    expected = {
        MORNING: {
            "lines": 3,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        },
        EVENING: {"lines": 0, "bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
    }
    assert bronze.load().stats() == expected
    assert read(bronze, [MORNING, EVENING])[0] == expected


def test_a_later_load_sees_what_was_added(bronze: BronzeDataset) -> None:
    bronze.save(objects(morning=b"{}\n"))
    assert len(loaded(bronze)) == 1
    bronze.save(objects(evening=b"{}\n"))
    assert len(loaded(bronze)) == 2


def test_objects_are_only_added(bronze: BronzeDataset, tmp_path: Path) -> None:
    bronze.save(objects(morning=b"old\n"))
    before = (tmp_path / PREFIX / MORNING).stat().st_mtime_ns
    bronze.save(objects(morning=b"new\n", evening=b"1\n2\n"))
    assert (tmp_path / PREFIX / MORNING).read_bytes() == b"old\n"
    assert (tmp_path / PREFIX / MORNING).stat().st_mtime_ns == before
    assert bronze.write_stats == {"bronze_criacao": WriteStats(rows=2, files=1)}
    assert bronze.write_stats["bronze_criacao"].lines == {EVENING: 2}


def test_a_plan_holds_objects_in_memory_beside_those_that_are_stored(
    bronze: BronzeDataset, tmp_path: Path
) -> None:
    bronze.save(objects(morning=b"{}\n"))
    plan = BronzeDataset(path=str(tmp_path), engine="duckdb", plan=True)
    plan.save(objects(evening=b"1\n2\n"))
    assert plan.write_stats == {"bronze_criacao": WriteStats(rows=2, files=1)}
    assert plan.load().names == [MORNING, EVENING]
    stats, lines = read(plan, [MORNING, EVENING])
    assert lines == [(MORNING, 1, "{}"), (EVENING, 1, "1"), (EVENING, 2, "2")]
    assert bronze.load().names == [MORNING]

    bronze.save(objects(evening=b"1\n2\n"))
    assert (stats, lines) == read(bronze, [MORNING, EVENING])


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (SourceError("e.csv: no header; declare it."), ["e.csv: no header; declare it."]),
        (SourceChangedError("e.csv: changed while it was read."), []),
    ],
    ids=["refused", "still being copied"],
)
def test_a_file_that_fails_is_left_out_and_the_others_are_ingested(
    bronze: BronzeDataset, error: SourceError, refused: list[str]
) -> None:
    def fails() -> Iterator[bytes]:
        yield b"half"
        raise error

    known = {"x": SourceState()}
    bronze.save(Ingestion({MORNING: fails, **objects(evening=b"{}\n").objects}, known))
    assert counts(bronze) == {EVENING: 1}
    assert bronze.load().sources == {"x": SourceState(refused=refused)}
    bronze.save(Ingestion({}, known))
    assert bronze.load().sources == known


@pytest.mark.parametrize("content", [b"", b"[]", b'{"x": 1}', b'{"x": {"refusals": []}}'])
def test_a_damaged_state_of_the_sources_is_found_again(
    bronze: BronzeDataset, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "operations/sources.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert bronze.load().sources == {}
    bronze.save(Ingestion({}, {"x": SourceState(refused=["no file"])}))
    assert bronze.load().sources == {"x": SourceState(refused=["no file"])}


def test_an_error_that_is_not_of_a_file_stops_the_ingestion(bronze: BronzeDataset) -> None:
    def fails() -> Iterator[bytes]:
        yield b"half"
        raise CapstoneError("the disk is full.")

    with pytest.raises(DatasetError, match="the disk is full"):
        bronze.save(Ingestion({**objects(morning=b"{}\n").objects, EVENING: fails}, {}))
    assert counts(bronze) == {MORNING: 1}


def test_an_empty_bronze_has_no_lines(bronze: BronzeDataset) -> None:
    assert not bronze.exists()
    assert loaded(bronze) == []
    assert bronze.load().names == []
    assert counts(bronze) == {}


@pytest.mark.parametrize(
    "unknown",
    [
        ".DS_Store",
        "a.jsonl",
        "fonte=x/a.jsonl",
        "fonte=x/janela=2026-01-31T08/a.json",
        "fonte=x/janela=2026-01-31T08/.a.jsonl",
        "fonte=x/janela=2026-01-31T08/more/a.jsonl",
        "janela=2026-01-31T08/fonte=x/a.jsonl",
        "fonte=x/janela=whenever/a.jsonl",
        "fonte=x/janela=2026-02-30T08/a.jsonl",
        "fonte=x/janela=2026-01-31/a.jsonl",
        "fonte=x/janela=9999-12-31T23/a.jsonl",
    ],
)
def test_a_file_that_is_no_object_is_reported_and_left_alone(
    bronze: BronzeDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, unknown: str
) -> None:
    bronze.save(objects(morning=b"{}\n"))
    path = put_object(tmp_path, unknown, b"strange\n")
    with caplog.at_level(logging.WARNING):
        assert loaded(bronze) == [(MORNING, 1, "{}")]
    assert [record.getMessage() for record in caplog.records] == [
        f"{PREFIX}/{unknown} is not a Bronze object; it is ignored."
    ]
    assert bronze.load().names == [MORNING]
    assert list(counts(bronze)) == [MORNING]
    assert path.read_bytes() == b"strange\n"


def test_an_object_added_by_hand_is_read(bronze: BronzeDataset, tmp_path: Path) -> None:
    put_object(tmp_path, "fonte=a b=ç/janela=2026-01-31T09/x y.jsonl", b"{}")
    (row,) = bronze.load().lines().to_pyarrow().to_pylist()
    assert (row["fonte"], row["janela"], row["texto"]) == ("a b=ç", "2026-01-31T09", "{}")
