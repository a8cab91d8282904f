"""Counts the requests that this process makes to an object store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_counts: Counter[str] = Counter()
_engines: dict[int, Callable[[], dict[str, int]]] = {}


def count_requests(events: Any) -> None:
    """Count the requests of a boto3 or s3fs client, including retries, through its events."""
    events.register("before-send.s3", _count)


def count_engine_requests(engine_id: int, fetch_counts: Callable[[], dict[str, int]]) -> None:
    """Count the requests of an engine.

    Args:
        engine_id: identifies the engine, so that it is counted once.
        fetch_counts: returns the engine's requests since its last call, by method.
    """
    _engines[engine_id] = fetch_counts


def request_counts() -> Counter[str]:
    """Return the number of requests so far, by kind: LIST, HEAD, GET, PUT, DELETE."""
    for fetch_counts in _engines.values():
        _counts.update(fetch_counts())
    return _counts.copy()


def _count(request: Any, **_: Any) -> None:
    is_list = request.method == "GET" and "list-type=" in request.url
    is_delete = request.method == "POST" and "delete" in request.url
    _counts["LIST" if is_list else "DELETE" if is_delete else request.method] += 1
