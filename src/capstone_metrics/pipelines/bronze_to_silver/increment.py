"""Find the Bronze objects that are not merged into Silver yet."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from capstone_metrics.changes import FORMAT, Bronze, Increment, SilverSnapshot
from capstone_metrics.errors import ConfigError, StorageError
from capstone_metrics.refusals import allowance, allowed_names
from capstone_metrics.schedule import Span
from capstone_metrics.sources import Declarations, files
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.validation.silver import columns_of

log = logging.getLogger(__name__)


def find_increment(
    silver: SilverSnapshot,
    bronze: Bronze,
    sources: Mapping[str, Any],
    networks: list[str],
    columns: Mapping[str, str],
    full: bool,
    first: str | None,
    last: str | None,
    allow_refused: Any,
) -> Increment:
    """Return the increment of the objects without a receipt, in a backfill of its windows only.

    The receipts are read after the head of Silver: if another run commits in between, the commit of
    this run fails. Silver is built from all of Bronze if its head is not of the current format, if
    it has other columns than are declared, or if a file whose lines it has was read anew in another
    way. The objects of a source whose declaration is wrong are left for a later run.

    Args:
        silver: Silver as of its last commit.
        bronze: all objects of Bronze.
        sources: the declarations of the sources, by `fonte`.
        networks: the known values of `rede_social`.
        columns: the types of the declared columns, by name.
        full: whether to rebuild Silver from all objects.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.
        allow_refused: the names of the sources of which a rebuild may lack objects that are lost,
            and of marts.

    Raises:
        CapstoneError: for a backfill where a full rebuild is needed; for a rebuild of
            a source whose declaration is wrong, or of which Bronze has lost an object; if receipts
            were deleted, since the lines of their objects would be counted again.
    """
    span = Span.of(first, last)
    declared = Declarations.of(sources, networks, columns_of(columns))
    withdrawn = files.withdrawn(declared.of_files, bronze.names)
    withdrawn |= {
        name
        for name in silver.head.get("withdrawn", ())
        if parse_object_name(name)[0] in declared.errors
    }
    reason = None if full else _rebuild_reason(silver, withdrawn, columns)
    if reason and silver.generation and span:
        raise ConfigError(
            f"{reason}, so Silver has to be rebuilt from all of Bronze; run once without from and "
            "to."
        )
    if reason and silver.generation:
        log.warning("%s; Silver is rebuilt from all of Bronze.", reason)
    is_full = full or reason is not None
    if is_full and (error := _error_of_a_source(declared, bronze.names)):
        raise error  # a rebuild would lose its rows
    if is_full and silver.generation:
        required = set(sources).difference(allowed_names(allow_refused))
        _require_merged_objects(silver, bronze.names, required)
    merged = set() if is_full else silver.merged_objects()
    if not is_full and len(merged) < silver.head["objects"]:
        raise StorageError(
            f"Silver has receipts of {len(merged):,} objects of Bronze where it merged "
            f"{silver.head['objects']:,}: some were deleted. Rebuild Silver from Bronze: kedro run "
            "--params=full=true."
        )
    names = [
        name
        for name in bronze.names
        if name not in merged
        and parse_object_name(name)[0] not in declared.errors
        and (span is None or parse_object_name(name)[1] in span)
    ]
    return Increment(partial(bronze.validate, names), silver, is_full, withdrawn)


def _require_merged_objects(
    silver: SilverSnapshot, names: Collection[str], sources: Collection[str]
) -> None:
    """Raise an error if Bronze has lost an object of these sources that Silver has lines of."""
    lost = sorted(
        name
        for name in silver.merged_objects().difference(names)
        if parse_object_name(name)[0] in sources
    )
    if lost:
        fontes = sorted({parse_object_name(name)[0] for name in lost})
        more = f" and {len(lost) - 1:,} more" if len(lost) > 1 else ""
        raise StorageError(
            f"Bronze has lost {lost[0]}{more}, so Silver cannot be rebuilt with these lines; "
            "restore them, or rebuild without: kedro run "
            f"--params=full=true,{allowance(fontes)}."
        )


def _error_of_a_source(declared: Declarations, names: list[str]) -> ConfigError | None:
    """Return the error of the first declaration that is wrong and has lines in Bronze."""
    fontes = {parse_object_name(name)[0] for name in names}
    return next((error for name, error in declared.errors.items() if name in fontes), None)


def _rebuild_reason(
    silver: SilverSnapshot, withdrawn: frozenset[str], columns: Mapping[str, str]
) -> str | None:
    """Return why Silver has to be rebuilt; None if it has not."""
    if silver.head.get("format") != FORMAT:
        return f"Silver lacks a head of format {FORMAT}"
    if silver.columns != columns:
        return f"Silver has other columns than are declared ({', '.join(columns) or 'none'})"
    merged = silver.merged_objects() if withdrawn or silver.head.get("withdrawn") else set()
    changed = (withdrawn & merged).symmetric_difference(silver.head.get("withdrawn", ()))
    fontes = sorted({parse_object_name(name)[0] for name in changed})
    return f"Files of {', '.join(fontes)} were read anew in another way" if fontes else None
