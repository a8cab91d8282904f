"""Validate objects of Bronze: read their bytes, and yield the lines as Arrow tables."""

from __future__ import annotations

import os
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from capstone_metrics.validation.blocks import BLOCK_BYTES, ObjectReader
from capstone_metrics.validation.compiler import load_scan
from capstone_metrics.validation.layout import PADDING
from capstone_metrics.validation.lines import REJECTED, count_lines, validate_lines
from capstone_metrics.validation.objects import BronzeObject
from capstone_metrics.validation.observations import Observations, local_days
from capstone_metrics.validation.scanner import Scanner
from capstone_metrics.validation.silver import (
    LIFETIME,
    LINE,
    OBSERVATION,
    SILVER,
    declared_counters,
)
from capstone_metrics.validation.values import ARROW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from capstone_metrics.validation.blocks import Block
    from capstone_metrics.validation.contract import Contract
    from capstone_metrics.validation.lines import BlockResult

    Objects = Iterable[tuple[str, Callable[[], AbstractContextManager[IO[bytes]]]]]

BUFFER_BYTES = BLOCK_BYTES + PADDING
BATCH_BYTES, BATCH_PIECES = 1 << 28, 1 << 11
"""A batch is complete when its rows have this many bytes, or come from so many blocks.

The rows of a small object take some kilobytes, however few they are.
"""

SCANNED_BYTES, COMPILED_BYTES = 1 << 20, 1 << 25
"""From how many bytes of lines on it is worthwhile to load the scanner, and to compile it."""

WAITING_BYTES = 4 * COMPILED_BYTES
"""How much memory blocks fill at most before it is decided whether to load the scanner."""


@dataclass
class ObjectResult:
    """The outcome of the lines of an object.

    Attributes:
        origin: the object.
        bytes, sha256: the size and the hash of its content.
        lines: the number of its lines that are not blank.
        accepted, quarantined: how many of these lines broke no rule, and how many broke one.
        ignored: how many of them are no observations, by the rule that says so.
        withdrawn: how many of them were read anew in another way.
        reasons: how many lines broke each rule.
        new_fields: how many lines have each field that the contract does not name.
    """

    origin: BronzeObject
    bytes: int = 0
    sha256: str = ""
    lines: int = 0
    accepted: int = 0
    quarantined: int = 0
    withdrawn: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    new_fields: Counter[str] = field(default_factory=Counter)

    def add(self, lines: BlockResult) -> None:
        """Add the counts of the next lines."""
        self.lines += lines.count
        self.accepted += sum(batch.num_rows for batch in lines.accepted)
        self.quarantined += sum(batch.num_rows for batch in lines.rejected)
        self.ignored.update(lines.ignored)
        self.withdrawn += lines.withdrawn
        self.reasons.update(lines.reasons)
        self.new_fields.update(lines.new_fields)

    def receipt(self) -> dict[str, Any]:
        """Return the counts of the object, for its receipt."""
        names = ("lines", "bytes", "sha256", "accepted", "quarantined", "withdrawn")
        counters = {
            "ignored": self.ignored,
            "reasons": self.reasons,
            "new_fields": self.new_fields,
        }
        return {name: getattr(self, name) for name in names} | {
            name: dict(sorted(counter.items())) for name, counter in counters.items()
        }


@dataclass(frozen=True)
class ValidatedBatch:
    """The validated lines of some objects.

    Attributes:
        accepted: the lines that broke no rule, without those that a later line of the batch
            supersedes.
        observed: the last of these lines of each video on each day, and all of increments by day;
            none of a source whose counters count in a period.
        rejected: the lines that broke a rule, as `REJECTED`.
        objects: the objects whose last line is in the batch.
    """

    accepted: pa.Table
    observed: pa.Table
    rejected: pa.Table
    objects: list[ObjectResult]


@dataclass(frozen=True)
class Validator:
    """Validates lines of Bronze.

    Attributes:
        contracts: the contracts of the sources, by `fonte`.
        networks: the known values of `rede_social`.
        zone: the time zone of windows, and of the days of observations.
        withdrawn: the names of the objects that were read anew in another way, whose lines only
            count.
        columns: the types of the columns of Silver, in order.
    """

    contracts: Mapping[str, Contract]
    networks: tuple[str, ...]
    zone: str
    withdrawn: frozenset[str] = frozenset()
    columns: Mapping[str, str] = field(default_factory=lambda: SILVER)

    @cached_property
    def schemas(self) -> dict[str, pa.Schema]:
        """The schema of each table of a batch.

        An accepted row has the columns of Silver, an observed one what is known of a video at the
        end of a day, and both have the line that they come from.
        """
        row = {name: ARROW[kind] for name, kind in self.columns.items()}
        counters = {name: row[name] for name in declared_counters(self.columns)}
        observation = {name: ARROW[kind] for name, kind in OBSERVATION.items()}
        return {
            "accepted": pa.schema({**row, **{name: observation[name] for name in LINE}}),
            "observed": pa.schema({**observation, **counters}),
            "rejected": REJECTED,
        }

    def validate(
        self, objects: Objects, threads: int = os.cpu_count() or 1
    ) -> Iterator[ValidatedBatch]:
        """Yield the validated lines of objects, in batches that bound memory.

        Args:
            objects: the name of each object, and a function that opens it.
            threads: the number of threads that validate, beside the one that reads.
        """
        batch = _Batch(self)
        for result, lines in self._validate_blocks(objects, threads):
            batch.add(result, lines)
            if batch.bytes >= BATCH_BYTES or batch.pieces >= BATCH_PIECES:
                finished, batch = batch.finish(), _Batch(self)  # so that the lines are freed
                yield finished
                del finished
        if batch.objects:
            yield batch.finish()

    def _validate_blocks(
        self, objects: Objects, threads: int
    ) -> Iterator[tuple[ObjectResult, BlockResult | None]]:
        """Yield the validated lines of each block in order, and None at the end of each object."""
        free: deque[bytearray] = deque()
        blocks = self._read_blocks(objects, free)
        first, size, memory = [], 0, 0
        for result, block in blocks:
            first.append((result, block))
            if block:
                size, memory = size + block.size, memory + len(block.buffer)
            if size >= COMPILED_BYTES or memory >= WAITING_BYTES:
                break
        scanners = self._scanners(max(size, COMPILED_BYTES) if memory >= WAITING_BYTES else size)
        running: deque[tuple[ObjectResult, Block | None, Future[BlockResult] | None]] = deque()

        def finish_first() -> tuple[ObjectResult, BlockResult | None]:
            result, block, future = running.popleft()
            lines = future.result() if future else None
            if block and len(block.buffer) == BUFFER_BYTES:
                free.append(block.buffer)
            return result, lines

        with ThreadPoolExecutor(threads) as pool:
            for result, block in chain(first, blocks):
                fonte = result.origin.fonte
                how = self.contracts.get(fonte), scanners.get(fonte), self.networks
                is_withdrawn = result.origin.objeto in self.withdrawn
                task = (count_lines, block) if is_withdrawn else (validate_lines, block, *how)
                future = pool.submit(*task) if block else None
                running.append((result, block, future))
                if len(running) > 2 * threads:
                    yield finish_first()
            while running:
                yield finish_first()

    def _read_blocks(
        self, objects: Objects, free: deque[bytearray]
    ) -> Iterator[tuple[ObjectResult, Block | None]]:
        """Yield the blocks of each object, and None at its end."""
        for name, open_object in objects:
            result = ObjectResult(BronzeObject(name, self.zone))
            with open_object() as file:
                reader = ObjectReader(result.origin, file, free)
                for block in reader.blocks():
                    yield result, block
            result.bytes, result.sha256 = reader.bytes, reader.sha256
            yield result, None

    def _scanners(self, size: int) -> dict[str, Scanner | None]:
        """Return the scanner of each source; None if all its lines are left to the rules.

        Args:
            size: the number of bytes to read, as far as it is known.
        """
        scan = load_scan(compiles=size >= COMPILED_BYTES) if size >= SCANNED_BYTES else None
        return {
            name: Scanner.of(scan, contract, self.networks)
            for name, contract in self.contracts.items()
        }


class _Batch:
    """The batch of validated lines that is being collected."""

    def __init__(self, validator: Validator) -> None:
        self.bytes = 0
        self.objects: list[ObjectResult] = []
        self._validator = validator
        self._accepted: list[tuple[BronzeObject, pa.RecordBatch]] = []
        self._daily: list[tuple[BronzeObject, pa.RecordBatch]] = []
        self._rejected: list[pa.RecordBatch] = []

    @property
    def pieces(self) -> int:
        """The number of blocks whose rows the batch has."""
        return len(self._accepted) + len(self._daily) + len(self._rejected)

    def add(self, result: ObjectResult, lines: BlockResult | None) -> None:
        """Add the next lines of an object; None at its end."""
        if lines is None:
            self.objects.append(result)
            return
        result.add(lines)
        contract = self._validator.contracts.get(result.origin.fonte)
        accepted = self._daily if contract and contract.is_daily else self._accepted
        accepted += [(result.origin, batch) for batch in lines.accepted if batch.num_rows]
        self._rejected += lines.rejected
        self.bytes += sum(batch.nbytes for batch in (*lines.accepted, *lines.rejected))

    def finish(self) -> ValidatedBatch:
        """Return the batch, without accepted lines that a later one supersedes."""
        schema = self._validator.schemas["observed"]
        observed = [_daily_rows(schema, origin, batch) for origin, batch in self._daily]
        if not self._accepted:
            return self._batch([], observed)
        accepted: list[pa.RecordBatch] = []
        zone = self._validator.zone
        days = [local_days(batch["ingestion_ts"], zone) for _, batch in self._accepted]
        is_observed = [
            np.full(len(day), self._validator.contracts[origin.fonte].counters == LIFETIME)
            for (origin, _), day in zip(self._accepted, days, strict=True)
        ]
        observations = Observations(self._accepted)
        outcomes = observations.latest(), observations.latest_by_day(days, is_observed)
        for (origin, batch), day, is_latest, is_last_of_day in zip(
            self._accepted, days, *outcomes, strict=True
        ):
            for name, is_kept, kept in (
                ("accepted", is_latest, accepted),
                ("observed", is_last_of_day, observed),
            ):
                if is_kept.any():
                    schema = self._validator.schemas[name]
                    kept.append(_rows(schema, origin, batch, day, is_kept))
        return self._batch(accepted, observed)

    def _batch(
        self, accepted: list[pa.RecordBatch], observed: list[pa.RecordBatch]
    ) -> ValidatedBatch:
        parts = {"accepted": accepted, "observed": observed, "rejected": self._rejected}
        schemas = self._validator.schemas
        tables = {name: pa.Table.from_batches(rows, schemas[name]) for name, rows in parts.items()}
        return ValidatedBatch(**tables, objects=self.objects)


def _rows(
    schema: pa.Schema,
    origin: BronzeObject,
    batch: pa.RecordBatch,
    day: NDArray[np.int32],
    is_kept: NDArray[np.bool_],
) -> pa.RecordBatch:
    """Return some rows of a batch with the columns of a schema."""
    count = int(is_kept.sum())
    own = {
        "data_observacao": pa.array(day[is_kept], pa.date32()),
        "objeto": pa.repeat(origin.objeto, count),
        "linhas_somadas": pa.repeat(0, count),
    }
    columns = batch.select([name for name in schema.names if name not in own])
    kept = columns.filter(pa.array(is_kept))
    return pa.RecordBatch.from_arrays(
        [own[name] if name in own else kept[name] for name in schema.names], schema=schema
    )


def _daily_rows(schema: pa.Schema, origin: BronzeObject, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return increments by day as observations, each of one line."""
    count = batch.num_rows
    own = {"objeto": pa.repeat(origin.objeto, count), "linhas_somadas": pa.repeat(1, count)}
    columns = {**own, **{name: batch[name] for name in batch.schema.names}}
    return pa.RecordBatch.from_arrays(
        [columns.get(each.name, pa.nulls(count, each.type)) for each in schema], schema=schema
    )
