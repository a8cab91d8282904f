"""Objects are validated in batches, whose size makes no difference."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from capstone_metrics.errors import CapstoneError
from capstone_metrics.validation import blocks, validator
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.validator import Validator
from tests.support.mutations import near_line
from tests.support.oracle import rebuild
from tests.validation.conftest import LINE, NETWORKS, OTHER_NAMES, SOURCES, ZONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DECLARATIONS = {source: declaration for source, (declaration, _) in SOURCES.items()}
CONTRACTS = {source: contract_of(source, d, ZONE) for source, d in DECLARATIONS.items()}


@pytest.fixture(autouse=True)
def _scan_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validator, "SCANNED_BYTES", 0)
    monkeypatch.setattr(validator, "COMPILED_BYTES", 0)


def bronze(seed: int) -> dict[str, bytes]:
    """Some objects of each source, and of one that is not declared."""
    random = Random(seed)
    objects = {}
    for source in (*SOURCES, "old"):
        _, good = SOURCES.get(source, ({}, LINE))
        key = "id" if source == "csv" else "video_id"
        for window in ("2026-01-30T20", "2026-01-31T08"):
            lines = (
                near_line(random, {**good, key: f"v{random.randrange(6)}"}, OTHER_NAMES)
                for _ in range(20)
            )
            objects[f"fonte={source}/janela={window}/a.jsonl"] = b"\n".join(lines)
    return objects


def validated(objects: Mapping[str, bytes], **how: Any) -> dict[str, Any]:
    """Return the latest accepted line of each video, the rejected lines, and the receipts."""
    accepted, rejected, receipts = [], [], {}
    openers = [(name, partial(BytesIO, content)) for name, content in objects.items()]
    batches = list(Validator(CONTRACTS, NETWORKS, ZONE).validate(openers, **how))
    for batch in batches:
        accepted += batch.accepted.to_pylist()
        rejected += batch.rejected.to_pylist()
        receipts |= {result.origin.objeto: result.receipt() for result in batch.objects}
    order = sorted(accepted, key=lambda row: (row["ingestion_ts"], row["objeto"], row["linha"]))
    return {
        "silver": {(row["rede_social"], row["video_id"]): row for row in order},
        "rejected": sorted(rejected, key=lambda row: (row["objeto"], row["linha"])),
        "receipts": receipts,
    }


@pytest.mark.parametrize("seed", range(3))
def test_objects_are_validated_as_by_the_oracle(seed: int) -> None:
    objects = bronze(seed)
    result, lake = validated(objects), rebuild(objects, DECLARATIONS, NETWORKS, ZONE)
    rules = {(row["objeto"], row["linha"]): set(row["regras"]) for row in result["rejected"]}
    assert rules == lake.quarantine
    assert {
        video: {name: row[name] for name in LINE} for video, row in result["silver"].items()
    } == lake.silver
    assert sum(receipt["accepted"] for receipt in result["receipts"].values()) == lake.accepted


@pytest.mark.parametrize(
    ("block_bytes", "batch_bytes", "threads"), [(1, 1, 1), (100, 3000, 2), (700, 1 << 28, 3)]
)
def test_the_size_of_blocks_and_batches_makes_no_difference(
    block_bytes: int, batch_bytes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = bronze(0)
    expected = validated(objects)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(validator, "BATCH_BYTES", batch_bytes)
    assert validated(objects, threads=threads) == expected


def test_a_batch_has_the_latest_line_of_each_video() -> None:
    lines = [json.dumps({**LINE, "views": views}).encode() for views in range(5)]
    (batch,) = Validator(CONTRACTS, NETWORKS, ZONE).validate(
        [("fonte=plain/janela=2026-01-31T08/a.jsonl", partial(BytesIO, b"\n".join(lines)))]
    )
    assert [(row["views"], row["linha"]) for row in batch.accepted.to_pylist()] == [(4, 5)]


def test_a_receipt_counts_lines_and_bytes() -> None:
    content = b'\xef\xbb\xbf{"x": 1}\r\n \n\x0b\n' + json.dumps({**LINE, "new": 1}).encode()
    name = "fonte=plain/janela=2026-01-31T08/a.jsonl"
    receipt = validated({name: content, name.replace("a.", "b."): b""})["receipts"][name]
    assert (receipt["lines"], receipt["accepted"], receipt["quarantined"]) == (2, 1, 1)
    assert receipt["bytes"] == len(content)
    assert receipt["sha256"] == hashlib.sha256(content).hexdigest()
    assert receipt["new_fields"] == {"new": 1, "x": 1}
    assert list(receipt["reasons"]) == sorted(receipt["reasons"])


def test_an_error_while_reading_reaches_the_function_that_opened_the_object() -> None:
    class Broken(BytesIO):
        def readinto(self, _: Any) -> int:
            raise OSError

    @contextmanager
    def opened() -> Iterator[BytesIO]:
        try:
            yield Broken()
        except OSError as error:
            raise CapstoneError("broken") from error

    objects = [("fonte=plain/janela=2026-01-31T08/a.jsonl", opened)]
    with pytest.raises(CapstoneError, match="broken"):
        list(Validator(CONTRACTS, NETWORKS, ZONE).validate(objects))


def test_an_object_of_no_window_is_one_sentence() -> None:
    with pytest.raises(CapstoneError, match="'whenever' is not a window"):
        validated({"fonte=plain/janela=whenever/a.jsonl": b"{}"})
