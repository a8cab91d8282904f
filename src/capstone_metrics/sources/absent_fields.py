"""Fields that a source declares and its files do not have, so that columns would stay empty."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from capstone_metrics.sources.readers.content import shown
from capstone_metrics.sources.records import record_of
from capstone_metrics.validation.contract import contract_of
from capstone_metrics.validation.paths import find

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from capstone_metrics.sources.objects import NewObjects

    Record = Mapping[str, Any]

log = logging.getLogger(__name__)

SAMPLE_RECORDS, SAMPLE_BYTES = 100, 1 << 20
"""How many records of a file are looked at, and how many bytes of them at most."""


def has_none(records: Collection[Record], paths: Collection[str]) -> bool:
    """Return whether no record has a value at any of some paths."""
    return all(find(record, path) is None for record in records for path in paths)


def with_warnings(
    name: str, declaration: Record, declared: Record, columns: Mapping[str, str], new: NewObjects
) -> dict[str, Callable[[], Iterator[bytes]]]:
    """Return the new objects of a source of files, which warn of absent fields as they are read.

    These are what the declaration itself names, and not its preset, but for required fields: lines
    without them are rejected. A source has one warning of each.

    Args:
        name: the name of the source.
        declaration: its declaration as it is written.
        declared: the same with the options of its preset.
        columns: the types of the columns of Silver.
        new: the new objects.
    """
    if not (new.objects and {"fields", "only", "ignore"} & declaration.keys()):
        return new.objects
    contract = contract_of(name, declared, "UTC", columns)
    fields = [contract.fields[column] for column in declaration.get("fields", ())]
    paths = {f"fields.{each.name}": each.paths for each in fields if not each.is_required}
    if "only" in declaration:
        paths |= {f"only.{path}": [path] for path in contract.selection.only_paths}
    if "ignore" in declaration:
        paths |= {f"ignore.{path}": [path] for path in contract.selection.ignore_paths}
    wanted = {f"sources.{name}.{setting}": each for setting, each in paths.items() if each}
    return {
        key: partial(_warn_while_read, wanted, new.path_of(key), chunks)
        for key, chunks in new.objects.items()
    }


def _warn_while_read(
    wanted: dict[str, list[str]], place: str, chunks: Callable[[], Iterator[bytes]]
) -> Iterator[bytes]:
    """Yield the chunks of an object, and log which fields its first records do not have."""
    head = b""
    is_sampled = not wanted
    for chunk in chunks():
        if not is_sampled:
            head += chunk
            is_sampled = len(head) >= SAMPLE_BYTES or head.count(b"\n") >= SAMPLE_RECORDS
            if is_sampled:
                _log_absent(wanted, place, head)
        yield chunk
    if not is_sampled:
        _log_absent(wanted, place, head)


def _log_absent(wanted: dict[str, list[str]], place: str, head: bytes) -> None:
    records = list(filter(None, map(record_of, head.split(b"\n")[:SAMPLE_RECORDS])))
    for setting, paths in list(wanted.items()) if records else ():
        if has_none(records, paths):
            log.warning(
                "%s: %s has no value at %s, as far as its first records show; it has %s.",
                setting,
                place,
                " or ".join(paths),
                shown(_names_beside(paths[0], records[0])),
            )
            wanted.pop(setting, None)


def _names_beside(path: str, record: Record) -> list[str]:
    """Return the fields of a record that are where a path leads to, or nearest to that."""
    parent = path.rpartition(".")[0]
    if not parent:
        return list(record)
    value = find(record, parent)
    if isinstance(value, tuple):  # an object within a record
        return [f"{parent}.{name}" for name, _ in value]
    return _names_beside(parent, record)
