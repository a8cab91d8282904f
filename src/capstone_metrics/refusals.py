"""Refusals: what the lake lacks of its sources, until that is resolved."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from capstone_metrics.errors import DataError
from capstone_metrics.validation.objects import parse_object_name
from capstone_metrics.wide_sums import overflow_reason

if TYPE_CHECKING:
    from capstone_metrics.changes import SourceState

FILE_OBJECT = re.compile(r"[0-9a-f]{64}")
"""What the name of an object of a file has: the SHA-256 of its content."""

Refusals = Mapping[str, list[str]]
"""The reasons of each source or mart, by its name: sentences, each with a way out."""


def refusals_of(
    declared: Collection[str],
    sources: Mapping[str, SourceState],
    head: Mapping[str, Any],
    manifest: Mapping[str, Any] | None = None,
) -> Refusals:
    """Return what is refused now: sources at the ingestion or by Silver, and sums by Gold.

    An object that Silver refused counts as long as its source is declared, and its file is there.

    Args:
        declared: the names of the declared sources.
        sources: what the last ingestion found in each source, by its name.
        head: the head of Silver.
        manifest: the manifest of Gold; without it, there are no sums.
    """
    refused = defaultdict(list, {name: [*each.refused] for name, each in sources.items()})
    for name, problem in head.get("refused", {}).items():
        fonte, *_ = parse_object_name(name)
        files = sources[fonte].files if fonte in sources else {}
        path = next((path for path, content in files.items() if content in name), None)
        if fonte in declared and (path or not FILE_OBJECT.search(name)):
            refused[fonte].append(f"{path or name} {problem}")
    for each in (manifest or {}).get("overflows", ()):
        refused[each["mart"]].append(overflow_reason(each))
    return {name: reasons for name, reasons in sorted(refused.items()) if reasons}


def refusal_error(
    refusals: Refusals, allowed: Collection[str], *, blocks_gold: bool
) -> DataError | None:
    """Return the error of a run that has refusals which are not allowed; None without any.

    Args:
        refusals: what is refused.
        allowed: the names of the sources and marts of which Gold may lack something.
        blocks_gold: whether Gold is not rebuilt because of them.
    """
    blocking = [(name, reason) for name in refusals for reason in refusals[name]]
    blocking = [(name, reason) for name, reason in blocking if name not in allowed]
    if not blocking:
        return None
    names = dict.fromkeys([*allowed, *(name for name, _ in blocking)])
    others = len(blocking) - 1
    more = f" Refused besides: {others:,}; 'kedro status' names them." if others else ""
    gold = f" Gold was not rebuilt; --params={allowance(names)} builds it without."
    return DataError(f"{blocking[0][1]}{more}{gold if blocks_gold else ''}")


def allowance(names: Iterable[str]) -> str:
    """Return the parameter that allows to go on without some sources or marts."""
    value = " ".join(names)
    return f"allow_refused='{value}'" if " " in value else f"allow_refused={value}"


def allowed_names(value: str | Collection[str]) -> list[str]:
    """Parse `allow_refused`: the names of sources or marts, in a list or separated by blanks."""
    return value.split() if isinstance(value, str) else list(value)
