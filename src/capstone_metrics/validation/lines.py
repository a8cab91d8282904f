"""Validate the lines of a block: most by the scanner, the others by the rules."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.rules import validate_line
from capstone_metrics.validation.silver import QUARANTINE, SILVER
from capstone_metrics.validation.values import ARROW, DAY_US

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from capstone_metrics.validation.blocks import Block
    from capstone_metrics.validation.contract import Contract
    from capstone_metrics.validation.objects import BronzeObject
    from capstone_metrics.validation.scanner import Scanner

MAX_SCANNED_BYTES = 1 << 30
"""The largest block for the scanner, which counts in 32 bits.

Only a line of half a gigabyte makes a block larger.
"""

REJECTED = pa.schema({name: ARROW[kind] for name, kind in QUARANTINE.items()})
"""A rejected line, as the quarantine has it."""


@dataclass
class BlockResult:
    """The validated lines of a block.

    Attributes:
        accepted: the lines that broke no rule, as `row_schema`.
        rejected: the lines that broke a rule, as `REJECTED`.
        count: the number of lines that are not blank.
        withdrawn: how many of these lines are of an object that was read anew in another way.
        reasons: how many lines broke each rule.
        ignored: how many lines are no observations, by the rule that says so.
        new_fields: how many lines have each field that the contract does not name.
    """

    accepted: list[pa.RecordBatch] = field(default_factory=list)
    rejected: list[pa.RecordBatch] = field(default_factory=list)
    count: int = 0
    withdrawn: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    new_fields: Counter[str] = field(default_factory=Counter)


def row_schema(columns: Mapping[str, str]) -> pa.Schema:
    """Return the schema of a row, with the number of the line in its object.

    Args:
        columns: the types of the columns of the row.
    """
    return pa.schema({**{name: ARROW[kind] for name, kind in columns.items()}, "linha": pa.int64()})


def validate_lines(
    block: Block, contract: Contract | None, scanner: Scanner | None, networks: Collection[str]
) -> BlockResult:
    """Validate the lines of a block.

    Args:
        block: the lines.
        contract: the contract of their source; None if the source is not declared.
        scanner: the scanner of their source; None if all lines are left to the rules.
        networks: the known values of `rede_social`.
    """
    result = BlockResult()
    if scanner is None or block.size > MAX_SCANNED_BYTES:
        lines = [(number, line) for number, line in enumerate(block.lines()) if line.strip()]
        _validate_by_rules(lines, block, contract, networks, result)
        result.count = len(lines)
        return result
    scan = scanner.read(block)
    assert contract is not None  # a source without one has no scanner
    schema = row_schema(contract.columns)
    early: list[tuple[int, int]] = []
    for chunk, columns in enumerate(scan.columns):
        starts, numbers = scan.starts[chunk], scan.numbers[chunk]
        batch = _batch(block, numbers, dict(zip(contract.columns, columns, strict=True)), schema)
        is_left = scan.left[chunk] | _is_untimely(batch, contract.day, block.origin)
        is_ignored = np.zeros(len(numbers), bool)
        for rule, ignored in scan.ignored[chunk]:
            is_ignored |= ignored
            result.ignored += Counter({rule: int(ignored.sum())})
        is_left &= ~is_ignored
        if is_left.any() or is_ignored.any():
            batch = batch.filter(pa.array(~(is_left | is_ignored)))
            early += zip(numbers[is_left].tolist(), starts[is_left].tolist(), strict=True)
        result.accepted.append(batch)
    early_lines, other_lines = (
        [(number, block.line(start)) for number, start in left] for left in (early, scan.others)
    )
    _validate_by_rules(early_lines, block, contract, networks, result)
    result.new_fields = scan.new_fields  # which includes those of early lines
    _validate_by_rules(other_lines, block, contract, networks, result)
    result.count = scan.filled_lines
    return result


def count_lines(block: Block) -> BlockResult:
    """Count the lines of a block of an object that was read anew in another way."""
    count = sum(1 for line in block.lines() if line.strip())
    return BlockResult(count=count, withdrawn=count)


def _validate_by_rules(
    lines: list[tuple[int, bytes]],
    block: Block,
    contract: Contract | None,
    networks: Collection[str],
    result: BlockResult,
) -> None:
    """Validate numbered lines of a block by the rules, and add them to a result."""
    accepted: dict[int, Mapping[str, Any]] = {}
    rejected: dict[int, Mapping[str, Any]] = {}
    for number, line in lines:
        outcome = validate_line(line, contract, block.origin, networks)
        if outcome.new_fields:
            result.new_fields.update(outcome.new_fields)
        if outcome.ignored:
            result.ignored[outcome.ignored] += 1
        elif outcome.broken:
            result.reasons.update(outcome.broken)
            rejected[number] = {"regras": outcome.broken, **text_of(line)}
        else:
            accepted[number] = outcome.row
    row = row_schema(contract.columns if contract else SILVER)
    for rows, batches, schema in (
        (accepted, result.accepted, row),
        (rejected, result.rejected, REJECTED),
    ):
        if rows:
            columns = {
                name: pa.array([row.get(name) for row in rows.values()], schema.field(name).type)
                for name in schema.names
            }
            batches.append(_batch(block, np.array(list(rows)), columns, schema))


def _batch(
    block: Block, numbers: NDArray[np.int32], columns: Mapping[str, pa.Array], schema: pa.Schema
) -> pa.RecordBatch:
    """Return rows of a schema: their columns, and the columns that name their line of Bronze."""
    origin = block.origin
    objects = {
        name: pa.repeat(getattr(origin, name), len(numbers))
        for name in ("fonte", "janela", "lote", "objeto", "quando")
        if name in schema.names
    }
    lines = pa.array(numbers.astype(np.int64) + block.first)
    every = {**columns, **objects, "linha": lines}
    return pa.RecordBatch.from_arrays([every[name] for name in schema.names], schema=schema)


def _is_untimely(batch: pa.RecordBatch, day: str, origin: BronzeObject) -> NDArray[np.bool_]:
    """Return which lines were observed before the day that they are of, or after they arrived."""
    observed = batch["ingestion_ts"].view(pa.int64()).to_numpy()
    days = batch[day].view(pa.int32()).fill_null(0).to_numpy()
    arrival = int(origin.arrival.timestamp()) * 1_000_000
    is_untimely: NDArray[np.bool_] = (days > observed // DAY_US + 1) | (observed > arrival + DAY_US)
    return is_untimely


def text_of(line: bytes) -> dict[str, str]:
    """Return the column of the quarantine for a line: its text, or its bytes if it is not UTF-8."""
    line = line.rstrip(b"\r\n")
    try:
        return {"texto": line.decode()}
    except UnicodeDecodeError:
        return {"texto_base64": base64.b64encode(line).decode()}
