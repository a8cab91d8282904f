"""Find the Bronze objects that are not merged into Silver yet."""

from __future__ import annotations

import logging
from functools import partial

from capstone_metrics.changes import FORMAT, Bronze, Increment, SilverSnapshot
from capstone_metrics.errors import CapstoneError
from capstone_metrics.schedule import Span
from capstone_metrics.validation.objects import parse_object_name

log = logging.getLogger(__name__)


def find_increment(
    silver: SilverSnapshot, bronze: Bronze, full: bool, first: str | None, last: str | None
) -> Increment:
    """Return the increment of the objects without a receipt, in a backfill of its windows only.

    The receipts are read after the head of Silver: if another run commits in between, the commit of
    this run fails. Without a head of the current format, Silver is built from all of Bronze.

    Args:
        silver: Silver as of its last commit.
        bronze: all objects of Bronze.
        full: whether to rebuild Silver from all objects.
        first: the first day or window of a backfill; None without one.
        last: the last day or window of a backfill.

    Raises:
        CapstoneError: for a backfill and a full rebuild at once; if receipts were deleted, since
            the lines of their objects would be counted again.
    """
    span = Span.of(first, last)
    if span and full:
        raise CapstoneError("full: Silver is rebuilt from all of Bronze; omit from and to.")
    is_full = full or silver.head.get("format") != FORMAT
    if is_full and silver.generation and not full:
        log.warning("Silver lacks a head of format %s; it is rebuilt from all of Bronze.", FORMAT)
    merged = set() if is_full else silver.merged_objects()
    if not is_full and len(merged) < silver.head["objects"]:
        raise CapstoneError(
            f"Silver has receipts of {len(merged):,} objects of Bronze where it merged "
            f"{silver.head['objects']:,}: some were deleted. Rebuild Silver from Bronze: kedro run "
            "--params=full=true."
        )
    names = [
        name
        for name in bronze.names
        if name not in merged and (span is None or parse_object_name(name)[1] in span)
    ]
    return Increment(partial(bronze.validate, names), silver, is_full)
